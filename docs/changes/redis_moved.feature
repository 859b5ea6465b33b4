redis_proxy: a transaction that meets MOVED follows it as a whole.
