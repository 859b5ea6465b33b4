redis_proxy: Redis servers behind one address, as in Envoy; with pub/sub, blocking commands, RESP3, retries, a command log and hot keys (see docs/redis_proxy.rst).
