"""Tests for meshd.stunnel.listeners."""

from __future__ import annotations

from typing import Any

import pytest

from meshd.stunnel.listeners import bootstrap
from meshd.stunnel.syntax import Failure
from tests.stunnel.reading import SERVICE, read


def listeners(text: str) -> list[dict[str, Any]]:
    """Return the listeners of a file."""
    found: list[dict[str, Any]] = bootstrap(read(text)[0])["static_resources"]["listeners"]
    return found


def filters(chain: dict[str, Any]) -> list[str]:
    """Return the names of a chain's filters."""
    return [each["name"].rpartition(".")[2] for each in chain["filters"]]


SERVER = "[srv]\naccept = 127.0.0.1:1\nconnect = 2\ncert = x\n"


class TestListeners:
    """What accepts."""

    def test_server(self) -> None:
        """A server has TLS outside of the tunnel's filters; a client has none there."""
        server, client = listeners(SERVER + SERVICE)
        (chain,) = server["filter_chains"]
        assert chain["transport_socket"]["name"] == "envoy.transport_sockets.tls"
        assert filters(chain) == ["stunnel", "tcp_proxy"]
        assert "transport_socket" not in client["filter_chains"][0]

    def test_addresses(self) -> None:
        """Several addresses, paths and IPv6."""
        (listener,) = listeners(SERVICE + "accept = :::5\naccept = /run/x\n")
        assert [each["address"] for each in listener["additional_addresses"]] == [
            {"socket_address": {"address": "::", "port_value": 5, "ipv4_compat": True}},
            {"pipe": {"path": "/run/x"}},
        ]

    def test_hosts(self) -> None:
        """The name of a host stands for its addresses."""
        (listener,) = listeners("[s]\nclient = yes\naccept = localhost:5\nconnect = 1\n")
        assert listener["address"]["socket_address"]["address"] in ("127.0.0.1", "::1")

    def test_unknown_host(self) -> None:
        """A host that is not known is refused."""
        with pytest.raises(Failure, match="Cannot resolve accept target"):
            listeners("[s]\nclient = yes\naccept = nosuch.invalid:5\nconnect = 1\n")

    def test_sni(self) -> None:
        """Sections that are chosen by server name are chains; the first one with a pattern has it."""
        text = (
            SERVER
            + "[a]\nsni = srv:*.A.com\nsni = srv:b.com\nconnect = 3\ncert = x\n"
            + "[b]\nsni = SRV:b.com\nsni = srv:c.com\nconnect = 3\ncert = x\n"
        )
        (listener,) = listeners(text)
        assert [each["filter_chain_match"]["server_names"] for each in listener["filter_chains"]] == [
            ["*.a.com", "b.com"],
            ["c.com"],
        ]
        assert listener["default_filter_chain"]["name"] == "srv"
        assert [each["name"].rpartition(".")[2] for each in listener["listener_filters"]] == [
            "stunnel",
            "tls_inspector",
        ]

    def test_patterns(self) -> None:
        """A pattern that filter chains cannot have is refused by name."""
        with pytest.raises(Failure, match='the pattern "\\*x" is not supported'):
            listeners(SERVER + "[a]\nsni = srv:*x\nconnect = 3\ncert = x\n")

    @pytest.mark.parametrize("protocol", ["smtp", "pop3", "imap", "pgsql", "cifs", "connect"])
    def test_starttls(self, protocol: str) -> None:
        """A server that begins in clear text."""
        (listener,) = listeners(SERVER + f"protocol = {protocol}\n")
        (chain,) = listener["filter_chains"]
        assert chain["transport_socket"]["name"] == "envoy.transport_sockets.starttls"
        assert filters(chain) == ["dialogue", "stunnel", "tcp_proxy"]

    def test_programs(self) -> None:
        """A program that connects has a listener without socket."""
        text = "[s]\nclient = yes\nexec = /bin/x\nconnect = 1\nretry = 250\n"
        (listener,) = listeners(text)
        running = listener["metadata"]["filter_metadata"]["meshd.exec"]
        assert listener["bind_to_port"] is False
        assert (running["program"], running["arguments"], running["retry"]) == ("/bin/x", ["/bin/x"], "0.25s")

    def test_inetd(self) -> None:
        """From inetd there is one connection, on descriptors 0 and 1."""
        (listener,) = listeners("client = yes\nconnect = 1\n")
        assert listener["metadata"]["filter_metadata"] == {"meshd.inetd": {"input": 0, "output": 1}}

    def test_sockets(self) -> None:
        """Options of listening and of local sockets."""
        (listener,) = listeners(SERVICE + "socket = a:SO_RCVBUF=5\nsocket = l:SO_LINGER=1:60\n")
        assert [each["name"] for each in listener["socket_options"]] == [13, 8]

    def test_extras(self) -> None:
        """The admin page, the PROXY header of clients, and how many there may be."""
        text = "; meshd: admin = 9901\n; meshd: max_clients = 7\n" + SERVICE + "; meshd: accept_proxy = yes\n"
        made = bootstrap(read(text)[0])
        assert made["admin"]["address"]["socket_address"]["port_value"] == 9901
        (monitor,) = made["overload_manager"]["resource_monitors"]
        assert monitor["typed_config"]["max_active_downstream_connections"] == 7
        (listener,) = made["static_resources"]["listeners"]
        assert listener["listener_filters"][1]["name"] == "envoy.filters.listener.proxy_protocol"

    def test_original_destination(self) -> None:
        """The tunnel finds out where clients wanted to go, for itself or for a SOCKS server."""
        client = "[s]\nclient = yes\naccept = 1\n"
        for text, wanted in (
            (client + "transparent = destination\n", True),
            (client + "transparent = source\nconnect = 2\n", False),
            (client + "protocol = socks\nconnect = 2\n", True),
            (client + "protocol = socks\nconnect = 2\nprotocolHost = a:1\n", False),
        ):
            (listener,) = listeners(text)
            tunnel = listener["filter_chains"][0]["filters"][0]
            assert tunnel["typed_config"]["value"]["original_destination"] is wanted

    def test_persistence(self) -> None:
        """Servers know where sessions went, if it is the order of connect lines that decides."""
        plain = "[s]\naccept = 1\ncert = x\n"
        for text, wanted in (
            (plain + "connect = 2\nsessionCacheSize = 5\n", (True, 5, "300s")),
            (plain + "connect = 2\nsessionResume = no\n", (None, None, None)),
            (plain + "connect = 2\n; meshd: balance = random\n", (None, None, None)),
            (plain + "exec = /bin/x\n", (None, None, None)),
            (SERVICE, (None, None, None)),
        ):
            (listener,) = listeners(text)
            tunnel = listener["filter_chains"][0]["filters"][0]["typed_config"]["value"]
            names = ("persistence", "session_cache_size", "session_timeout")
            assert tuple(tunnel.get(name) for name in names) == wanted
