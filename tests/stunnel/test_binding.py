"""Tests for meshd.stunnel.binding."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshd.net.sockets import ListenOptions
from meshd.stunnel.binding import Sockets, bind, taken
from meshd.stunnel.model import Configuration, Service
from meshd.stunnel.syntax import Failure


class FakeListener:
    """What binding knows of a listener."""

    def __init__(self, name: str, *addresses: Any, binds: bool = True) -> None:
        self.name = name
        options = ListenOptions(reuse_port=False)
        self.setup = SimpleNamespace(bind=binds, addresses=[(each, options) for each in addresses])
        self.sockets: list[socket.socket] = []

    def adopt(self, socks: list[socket.socket]) -> None:
        """Take the sockets."""
        self.sockets = socks

    def give_up_sockets(self) -> list[socket.socket]:
        """Give them back."""
        given, self.sockets = self.sockets, []
        return given


class TestBinding:
    """Sockets for listeners."""

    def setup_method(self) -> None:
        """Have a service."""
        self.found = Configuration(services=[Service("s")])
        self.said: list[str] = []
        self.open: list[socket.socket] = []

    def teardown_method(self) -> None:
        """Close what is open."""
        for each in self.open:
            each.close()

    def bind(self, listener: FakeListener, sockets: Sockets | None = None) -> None:
        """Bind, and keep what is said."""
        bind(self.found, [listener], sockets or Sockets(), lambda level, text: self.said.append(text))
        self.open += listener.sockets

    def test_bound(self) -> None:
        """A socket is made and told."""
        listener = FakeListener("s", ("127.0.0.1", 0))
        self.bind(listener)
        (sock,) = listener.sockets
        host, port = sock.getsockname()
        assert self.said[-1] == f"Service [s] (FD={sock.fileno()}) bound to {host}:{port}"

    def test_occupied(self) -> None:
        """An address that somebody else has is told; one of several is enough."""
        other = socket.create_server(("127.0.0.1", 0))
        self.open.append(other)
        taken_address = other.getsockname()
        self.bind(FakeListener("s", taken_address, ("127.0.0.1", 0)))
        line = f"Binding service [s] to 127.0.0.1:{taken_address[1]}: Address already in use (98)"
        assert line in self.said
        with pytest.raises(Failure, match=r"Binding service \[s\] failed"):
            self.bind(FakeListener("s", taken_address))

    def test_systemd(self) -> None:
        """Sockets that systemd has opened come first."""
        activated = socket.create_server(("127.0.0.1", 0))
        listener = FakeListener("s", ("127.0.0.1", 0))
        self.bind(listener, Sockets(activated=[activated]))
        assert listener.sockets == [activated]

    def test_kept(self) -> None:
        """Sockets of the config before are kept by their address; what nobody wants is closed."""
        old = FakeListener("s", ("127.0.0.1", 0))
        self.bind(old)
        (sock,) = old.sockets
        kept = Sockets(kept=taken([old]))
        new = FakeListener("s", ("127.0.0.1", 0))
        self.bind(new, kept)
        assert new.sockets == [sock]
        kept.kept["x"] = other = socket.create_server(("127.0.0.1", 0))
        kept.close()
        assert other.fileno() == -1

    def test_owner(self, tmp_path: Path) -> None:
        """A unix socket is given to whom its section says."""
        self.found.services[0].setuid = os.getuid()
        path = str(tmp_path / "x")
        self.bind(FakeListener("s", path))
        assert os.stat(path).st_uid == os.getuid()
        assert self.said[-1].endswith(f"bound to {path}")

    def test_unbound(self) -> None:
        """A listener without sockets is passed over; a program's is told."""
        self.found.services[0].exec = "/bin/x"
        self.bind(FakeListener("s", binds=False))
        assert self.said == ["Skipped exec+connect service [s]", "Starting exec+connect service [s]"]
