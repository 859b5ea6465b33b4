"""A client, a tcp_proxy and a cluster of the test's: what the tests of tcp_proxy share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.json_format import ParseDict
from zope.interface import implementer

from meshd.filters.network.tcp_proxy import tcp_proxy
from meshd.interfaces import IAccessLogger
from meshd.testing import FakeClient, FakeCluster, FakeConnecting, FakeContext

#: One access log, of any kind: LoggingContext makes them all the same.
LOG = [{"name": "envoy.access_loggers.stdout"}]


@implementer(IAccessLogger)
class Line:
    """Notes how a connection stood when it was logged: kind, flags, bytes each way."""

    def __init__(self, lines: list[tuple[str, str, int, int]]) -> None:
        self._lines = lines

    def log(self, info: Any) -> None:
        """Note a line."""
        flags = ",".join(sorted(info.flags)) or "-"
        self._lines.append((info.log_type, flags, info.bytes_received, info.bytes_sent))


class LoggingContext(FakeContext):
    """A context whose access loggers write into lines."""

    def __init__(self, *clusters: FakeCluster) -> None:
        super().__init__(*clusters)
        self.lines: list[tuple[str, str, int, int]] = []

    def access_loggers(self, configs: Sequence[Any]) -> Sequence[Any]:
        """Return a Line for each config."""
        return [Line(self.lines) for _ in configs]


def message(**config: Any) -> Any:
    """Return a TcpProxy message: with the prefix t, to the cluster c, unless the config says otherwise."""
    named = {} if "weighted_clusters" in config else {"cluster": "c"}
    return ParseDict({"stat_prefix": "t", **named, **config}, TcpProxy())


class Conversation:
    """
    A client that has connected; each connection that the proxy wants waits in cluster.connects.

    Its filters come before the tcp_proxy in the chain.
    """

    def __init__(
        self, *clusters: FakeCluster, filters: Sequence[Any] = (), state: Any = None, **config: Any
    ) -> None:
        self.cluster = FakeCluster("c")
        self.context = LoggingContext(*(clusters or (self.cluster,)))
        self.lines = self.context.lines
        self.clock = self.context.clock
        self.build = tcp_proxy.configure(message(**config), self.context)
        self.state = state or {}
        self.client = self.another(*filters)

    def another(self, *filters: Any) -> FakeClient:
        """Return another client of the same proxy."""
        client = Client(self.state, *filters, self.build())
        client.last_active = self.clock.seconds()
        return client

    @property
    def info(self) -> Any:
        """What is known of the client's connection."""
        return self.client.info

    @property
    def host(self) -> FakeConnecting:
        """The connection that was wanted last."""
        return self.cluster.connects[-1]

    def accept(self) -> FakeConnecting:
        """Let the last connection stand."""
        return self.host.accept()

    def stat(self, name: str) -> int:
        """Return tcp.t.<name>."""
        return self.context.stats[f"tcp.t.{name}"]

    def outcome(self) -> tuple[set[str], str]:
        """Return the flags and why we closed."""
        return self.info.flags, self.info.local_close_reason


class Client(FakeClient):
    """A client of whom a filter before left some state."""

    def __init__(self, state: dict[str, Any], *filters: Any) -> None:
        self.state = state
        super().__init__(*filters, terminal=True)

    def connectionMade(self) -> None:
        if self.state:
            self.info.filter_state.update(self.state)
        super().connectionMade()
