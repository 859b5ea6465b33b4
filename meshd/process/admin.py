"""
The admin page's listening socket: an ordinary Twisted port, off the hot path.

Its connections are counted as listener.admin.*, as in Envoy.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from meshd.admin.site import site
from meshd.config.errors import BadConfig
from meshd.interfaces import SocketAddress
from meshd.net.sockets import (
    ListenOptions,
    close_listening,
    listening_socket,
    read_address,
    read_socket_options,
)
from meshd.observe.info import address_text
from meshd.plugin import ConfigError
from meshd.xds.listeners import at


class _Counted(ProtocolWrapper):
    """One connection to the admin page."""

    factory: _Counting

    def connectionMade(self) -> None:
        self.start = time.time()
        self.factory.total.inc()
        self.factory.active.inc()
        super().connectionMade()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.factory.active.dec()
        self.factory.destroy.inc()
        self.factory.length.record((time.time() - self.start) * 1000)
        super().connectionLost(reason)


class _Counting(WrappingFactory):
    protocol = _Counted
    noisy = False

    def __init__(self, inner: IProtocolFactory, stats: Any) -> None:
        super().__init__(inner)
        scope = stats.scope("listener.admin")
        self.total = scope.counter("downstream_cx_total")
        self.active = scope.gauge("downstream_cx_active")
        self.destroy = scope.counter("downstream_cx_destroy")
        self.length = scope.histogram("downstream_cx_length_ms")


def _check_unlogged(admin: Any) -> None:
    """Raise ConfigError if a log of the page's requests is wanted: there is none but /dev/null."""
    wrong = "meshd does not log the requests to the admin page: only /dev/null is served"
    if admin.access_log_path not in ("", os.devnull):
        raise ConfigError(wrong, "access_log_path")
    for index, each in enumerate(admin.access_log):
        file = FileAccessLog()
        if not each.typed_config.Unpack(file) or file.path != os.devnull:
            raise ConfigError(wrong, "access_log", index)


class AdminPort:
    """Where the admin page listens; nowhere, if the config does not say."""

    def __init__(self, server: Any) -> None:
        """Raise BadConfig if the config says no address that can be listened on."""
        self.server = server
        self._socket: Any = None
        self._port: Any = None
        try:
            with at("admin"):
                self._where = self._read(server.bootstrap.admin)
        except ConfigError as error:
            raise BadConfig([server.document.problem(error.message, *error.path)]) from None

    def _read(self, admin: Any) -> tuple[SocketAddress, ListenOptions] | None:
        _check_unlogged(admin)
        if not admin.HasField("address"):
            return None
        with at("address"):
            address, mode, compatible = read_address(admin.address)
        options = read_socket_options(admin.socket_options)
        return address, ListenOptions(reuse_port=False, options=options, ipv4_compat=compatible, mode=mode)

    def open(self) -> None:
        """Make the listening socket; raise OSError if it cannot be had."""
        if self._where is not None:
            self._socket = listening_socket(*self._where)

    def start(self) -> None:
        """Serve the page, and write its address where --admin-address-path says."""
        if self._socket is None:
            return
        sock, server = self._socket, self.server
        self._socket = None
        factory = _Counting(site(server, server.reactor), server.stats)
        self._port = server.reactor.adoptStreamPort(sock.fileno(), sock.family, factory)
        name = sock.getsockname()
        if server.options.admin_address_path:
            text = address_text(name if isinstance(name, str) else (name[0], name[1]))
            Path(server.options.admin_address_path).write_text(text)
        sock.close()

    def stop(self) -> Deferred[Any]:
        """Listen no more."""
        if self._socket is not None:
            close_listening(self._socket)
            self._socket = None
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(lambda: None)
