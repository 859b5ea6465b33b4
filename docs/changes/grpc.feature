A gRPC client over HTTP/2 asks the services of the config (GrpcService.envoy_grpc), over the clusters' connections, balancers, TLS and limits.
