Clusters of the types STATIC, STRICT_DNS and LOGICAL_DNS, with Envoy's five load balancers, priorities, circuit breakers, source addresses, and the PROXY protocol towards the host.
