redis_proxy: messages that a server sends in one go are written to each subscriber in one go.
