redis_proxy: credentials of single addresses are served for Redis Clusters too.
