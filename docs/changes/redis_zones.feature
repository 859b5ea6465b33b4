Reads of a Redis Cluster go to nodes in our own availability zone, with ``read_policy`` of ``redis_options``.
