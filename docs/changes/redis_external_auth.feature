redis_proxy: external_auth_provider is served: a gRPC service says who is let in, and for how long.
