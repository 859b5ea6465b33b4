"""
A gRPC client: how meshd itself asks other services.

Whoever wants to ask gets a Channel (channel) from its factory context, made of a
GrpcService message (service).  A call is a Call (call), whose receiver is told what
comes of it; Unary (unary) is the receiver of calls with one message each way.
A Pool (pool) has the connections to the hosts of one cluster, a Connection
(connection) each, shared by all channels of a worker; what HTTP/2 and gRPC look like
on the wire is in meshd.codec.http2 and meshd.codec.grpc.
"""
