Access logs tell of TLS with Envoy's operators: ``DOWNSTREAM_TLS_*``, ``DOWNSTREAM_PEER_*``, ``DOWNSTREAM_LOCAL_*``, ``UPSTREAM_TLS_*``, ``UPSTREAM_PEER_*``.
