The load balancing policy ``meshd.load_balancing_policies.failover``: each connection tries the hosts in their order, every one once.
