"""Tests for meshd.stunnel.clusters."""

from __future__ import annotations

from glob import glob
from typing import Any

import pytest

from meshd.stunnel.clusters import PRELOADED, clusters, program
from meshd.stunnel.syntax import Failure
from tests.stunnel.reading import read, service


def one(text: str) -> dict[str, Any]:
    """Return the cluster of a client service, of SERVICE and what is behind it."""
    return clusters(service(text), {})[0]


def policy(cluster: dict[str, Any]) -> Any:
    """Return the fields of the cluster's own policy."""
    return cluster["load_balancing_policy"]["policies"][0]["typed_extension_config"]["typed_config"]["value"]


class TestClusters:
    """Where sections connect to."""

    def test_addresses(self) -> None:
        """IP addresses and paths are a static cluster, tried in order."""
        cluster = one("connect = /run/x\nTIMEOUTconnect = 3\n")
        assert (cluster["type"], cluster["connect_timeout"], policy(cluster)) == ("STATIC", "3s", {})
        endpoints = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        assert [each["endpoint"]["address"] for each in endpoints] == [
            {"socket_address": {"address": "127.0.0.1", "port_value": 8002}},
            {"pipe": {"path": "/run/x"}},
        ]

    def test_names(self) -> None:
        """Names are looked up once, or again if that is wanted."""
        assert one("connect = a.example:1\n")["dns_refresh_rate"] == "31536000s"
        for text in ("delay = yes\n", "; meshd: dns = follow\n"):
            cluster = one("connect = a.example:1\n" + text)
            assert cluster["type"] == "STRICT_DNS" and cluster["respect_dns_ttl"]

    def test_order(self) -> None:
        """Round robin goes round, but not over names that are looked up late."""
        assert policy(one("failover = rr\n")) == {"rotate": True}
        assert policy(one("failover = rr\ndelay = yes\n")) == {}

    def test_balance(self) -> None:
        """Another policy may take the place of failover."""
        assert one("; meshd: balance = least_request\n")["lb_policy"] == "LEAST_REQUEST"

    def test_bind(self) -> None:
        """The source address and the options of remote sockets."""
        config = one("local = 127.0.0.2\nsocket = r:SO_KEEPALIVE=1\n")["upstream_bind_config"]
        assert config["source_address"]["address"] == "127.0.0.2"
        assert [(each["name"], each["int_value"]) for each in config["socket_options"]] == [(9, 1)]

    def test_exec(self) -> None:
        """A program stands for a host."""
        text = "[s]\naccept = 1\nexec = /bin/cat\nexecArgs = cat -u\ncert = x\npty = yes\n"
        (cluster,) = clusters(read(text)[0].services[0], {"A": "b"})
        assert cluster["cluster_type"]["name"] == "meshd.clusters.exec"
        assert cluster["cluster_type"]["typed_config"]["value"] == {
            "program": "/bin/cat",
            "arguments": ["cat", "-u"],
            "environment": {"A": "b"},
            "pty": True,
        }

    def test_socks(self) -> None:
        """A SOCKS server's clients say where to."""
        (cluster,) = clusters(read("[s]\naccept = 1\nprotocol = socks\ncert = x\n")[0].services[0], {})
        assert cluster["cluster_type"]["name"] == "meshd.clusters.named_target"

    def test_dialogue(self) -> None:
        """What is said before TLS stands around it."""
        socket = one("protocol = smtp\nprotocolUsername = me\n")["transport_socket"]
        assert socket["name"] == "meshd.transport_sockets.dialogue"
        value = socket["typed_config"]["value"]
        assert (value["protocol"], value["username"]) == ("smtp", "me")
        assert value["transport_socket"]["name"] == "envoy.transport_sockets.tls"
        with pytest.raises(Failure, match="protocolHost not specified"):
            one("protocol = connect\n")

    def test_meaningless(self) -> None:
        """What means nothing to the protocol is left out, and a method that it does not know."""
        text = "protocol = pop3\nprotocolHost = x\nprotocolUsername = me\nprotocolAuthentication = login\n"
        value = one(text)["transport_socket"]["typed_config"]["value"]
        assert set(value) == {"protocol", "transport_socket"}
        value = one("protocol = smtp\nprotocolAuthentication = foo\n")["transport_socket"]["typed_config"][
            "value"
        ]
        assert set(value) == {"protocol", "transport_socket"}

    def test_proxy(self) -> None:
        """A PROXY header goes before everything."""
        socket = one("; meshd: send_proxy = v2\n")["transport_socket"]
        assert socket["typed_config"]["config"]["version"] == "V2"
        assert socket["typed_config"]["transport_socket"]["name"] == "envoy.transport_sockets.tls"
        text = "[s]\naccept = 1\nconnect = 2\nprotocol = proxy\ncert = x\n"
        socket = clusters(read(text)[0].services[0], {})[0]["transport_socket"]
        assert socket["typed_config"]["config"] == {"version": "V1"}

    def test_redirect(self) -> None:
        """A redirect is a cluster of its own, without TLS."""
        text = "[s]\naccept = 1\nconnect = 2\nredirect = 3\ncert = x\nverifyChain = yes\nCAfile = x\n"
        _, other = clusters(read(text)[0].services[0], {})
        assert other["name"] == "s redirect" and "transport_socket" not in other

    def test_transparent(self) -> None:
        """Connections go where clients want, or come from where they come."""
        text = "[s]\nclient = yes\naccept = 1\n"
        (found,) = clusters(read(text + "transparent = both\n")[0].services[0], {})
        assert found["cluster_type"]["name"] == "meshd.clusters.named_target"
        selector = found["upstream_bind_config"]["local_address_selector"]
        assert selector["name"] == "meshd.local_address_selectors.client"
        assert found["transport_socket"]["name"] == "envoy.transport_sockets.tls"
        assert (
            "upstream_bind_config"
            not in clusters(read(text + "transparent = destination\n")[0].services[0], {})[0]
        )

    def test_preloaded(self) -> None:
        """A program sees the client as its peer by stunnel's library; without that it is refused."""
        text = "[s]\nclient = yes\naccept = 1\nexec = /bin/x\ntransparent = source\n"
        found = read(text)[0].services[0]
        libraries = [path for pattern in PRELOADED for path in glob(pattern)]
        if libraries:
            assert program(found, {})["environment"] == {"LD_PRELOAD": sorted(libraries)[0]}
        else:
            with pytest.raises(Failure, match="libstunnel"):
                program(found, {})
