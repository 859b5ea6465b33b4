``rewrite_channels`` of ``redis_options`` calls channels upstream what the routes call keys, and puts the names back into messages.
