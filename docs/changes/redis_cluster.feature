Clusters of the type envoy.clusters.redis: the hosts and slots of a Redis Cluster are asked of its nodes, with a password from RedisProtocolOptions; reads can go to replicas.
