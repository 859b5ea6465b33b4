redis_proxy: a read is retried at another server or replica than the one that failed; one of all servers (SCAN, DBSIZE) at the same.
