redis_proxy: plain commands cost a third to three quarters less: single ones, pipelines over several servers, ``MGET``.
