"""
Clusters whose host is, for each connection, where a filter says.

The filter state meshd.target of the client's connection is (host, port): host
is a name, an IP address, or a tuple of IP addresses.  A name is looked up, of
the family that the cluster's dns_lookup_family says.  Each attempt to connect
takes the next address; once all have been tried there is no host.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from meshd.interfaces import IConnecting, IStreamInfo, IUpstream, NoHost
from meshd.upstream.cluster import Cluster, ClusterContext
from meshd.upstream.dns_config import read_dns, read_resolver
from meshd.upstream.endpoints import is_ip
from meshd.upstream.host import Host
from meshd.upstream.resolver import Answer

NAME = "meshd.clusters.named_target"
#: Filter state: (host, port).
TARGET_KEY = "meshd.target"


@attrs.frozen
class NamedTarget:
    """The config of meshd.clusters.named_target; there is nothing to say."""


class NamedTargetCluster(Cluster):
    """A cluster without hosts of its own."""

    def __init__(self, settings: NamedTarget, config: Any, context: ClusterContext) -> None:
        super().__init__(config, context)
        self._family = read_dns(config).family
        self._resolver = read_resolver(config, context)

    def connect(self, upstream: IUpstream, info: IStreamInfo, hash_key: int | None = None) -> IConnecting:
        target = info.filter_state.get(TARGET_KEY) if info.has_filter_state else None
        if target is None:
            raise self._no_host()
        host, port = target
        if isinstance(host, str) and not is_ip(host):
            return self._look_up(host, port, upstream, info)
        addresses = (host,) if isinstance(host, str) else host
        tried = 0 if info.upstream is None else info.upstream.attempts
        if tried >= len(addresses):
            raise self._no_host()
        made: IConnecting = self.context.connector(self, Host((addresses[tried], port)), upstream, info)
        return made

    def _no_host(self) -> NoHost:
        self.stats.upstream_cx_none_healthy.inc()
        return NoHost(self.name)

    def _look_up(self, name: str, port: int, upstream: IUpstream, info: IStreamInfo) -> IConnecting:
        """Connect once the name is looked up; the addresses stay for the attempts to come."""
        host = Host((name, port), hostname=name)
        connector: Any = self.context.connector
        connecting = connector.prepare(self, host, upstream, info)

        def found(answer: Answer) -> None:
            addresses = tuple(answer[0])
            if not addresses:
                connecting.fail_soon(f"{name} has no address")
                return
            info.filter_state[TARGET_KEY] = (addresses, port)
            host.address = (addresses[0], port)
            connecting.dial()

        def failed(failure: Failure) -> None:
            connecting.fail_soon(f"DNS lookup failed: {failure.getErrorMessage()}")

        self.stats.update_attempt.inc()
        lookup: Deferred[Any] = self._resolver.lookup(name, self._family)
        lookup.addCallback(found).addErrback(failed)
        result: IConnecting = connecting
        return result
