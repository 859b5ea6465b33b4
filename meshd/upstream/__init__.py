"""
Upstream: the clusters, and the connections to their hosts.

A ``cluster`` is put together from a ``discovery`` (static, DNS), which makes a
``host`` of each of the ``endpoints`` of the config or of what the ``resolver``
finds (``dns_config`` says whom it asks); from a ``picker``, which picks by
``priorities`` and panic, and then leaves the host to a balancer; from
``limits``, its circuit breakers; ``stats``, its numbers; and ``bind``, where its
connections come from.  ``clusters`` makes the cluster of a message.  The balancers
are in ``balancers`` (round robin, least request, random; weighted ones take turns
by ``edf``), ``ring`` and ``maglev`` (by the hashes of ``hashing``, passing busy hosts
over by ``bounded``); ``policy`` reads from the config which it is.

A Redis Cluster (``redis_cluster``) has a discovery and a picker of its own:
``redis_discovery`` asks its nodes (``redis_asking``) for the topology
(``redis_topology``), and ``redis_slots`` picks by slot.  ``protocol_options`` has
the password.

Everything that can be decided when the hosts change is decided then, so that
the usual pick is one call.  ``connect`` makes the connection to the host that
was picked, ``proxy_protocol`` what is sent at its start; ``dial`` connects any
Twisted protocol through them.  Nothing else here touches a socket, except
``resolver``.
"""
