"""
Sends back what the client sends.

A client that does not read is not read from either, once its connection's
buffer is full.  When the client has sent its last byte, what is left is sent and
the connection closed.

Serves envoy.extensions.filters.network.echo.v3.Echo.
"""

from __future__ import annotations

from envoy.extensions.filters.network.echo.v3.echo_pb2 import Echo as Config

from meshd.filter import TerminalFilter
from meshd.interfaces import IFactoryContext
from meshd.plugin import NetworkFilterPlugin


class Echo(TerminalFilter):
    """Writes what it receives, and is the producer of what is written."""

    def connectionMade(self) -> None:
        self.info = self.connection.info
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        size = len(data)
        self.info.bytes_received += size
        self.info.bytes_sent += size
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    # Asked by the connection, whose buffer the echo fills.

    def pauseProducing(self) -> None:
        self.connection.pause(self)

    def resumeProducing(self) -> None:
        self.connection.resume(self)

    def stopProducing(self) -> None:
        pass


def configure(config: Config, context: IFactoryContext) -> type[Echo]:
    """Return what makes an echo for each connection; there is nothing to read."""
    return Echo


echo = NetworkFilterPlugin("envoy.filters.network.echo", Config, configure, serves=(), terminal=True)
