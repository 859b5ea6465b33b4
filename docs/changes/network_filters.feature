The network filters ``tcp_proxy``, ``echo``, ``direct_response``, ``connection_limit`` and ``local_ratelimit``.
