"""Tests for meshd.stunnel.checks."""

from __future__ import annotations

import pytest

from tests.stunnel.reading import SERVICE, read, refused, service


class TestChecks:
    """What must go together."""

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("exec = /bin/true", "Each service must define two endpoints"),
            ("checkHost = a", 'Either "verifyChain" or "verifyPeer" has to be enabled'),
            ("verifyChain = yes", 'Either "CAengine", "CAfile" or "CApath" has to be configured'),
            ("protocol = x", "Protocol not supported"),
            ("protocol = proxy", "The 'proxy' protocol is not supported in the client mode"),
            ("transparent = destination", "Each service must define two endpoints"),
            (
                f"client = no\ncert = x\nticketKeySecret = {'00' * 16}\nticketMacSecret = {'00' * 16}",
                '"ticketKeySecret" is not supported',
            ),
            ("protocol = capwin", "The 'capwin' protocol is not supported: it is CapWIN's own"),
            ("redirect = 1", '"redirect" is unsupported in client sections'),
            ("client = no", "TLS server needs a certificate"),
            ("sslVersionMin = TLSv1.3\nsslVersionMax = TLSv1", "Invalid protocol version range"),
            (
                f"client = no\ncert = x\nticketKeySecret = {'00' * 16}",
                '"ticketKeySecret" and "ticketMacSecret" must',
            ),
            ("client = no\ncert = x\nsni = a", "Invalid SNI parameter format"),
            ("client = no\ncert = x\nsni = a:b", "SNI section name not found"),
            ("client = no\ncert = x\nredirect = 1", 'Either "verifyChain" or "verifyPeer" has to be'),
            ("client = no\ncert = x\nredirect = 1\nprotocol = smtp", '"redirect" is incompatible'),
        ],
    )
    def test_refused(self, text: str, why: str) -> None:
        """Each is refused, with the section's name."""
        assert f"Service [s]: {why}" in refused(SERVICE + text + "\n")

    def test_inetd(self) -> None:
        """Without a section there is one end, and it does not listen."""
        assert refused("client = yes\n") == "Inetd mode: Inetd mode must define one endpoint"
        assert "only allowed in a [section]" in refused("client = yes\naccept = 1\n")
        assert read("client = yes\nconnect = 1\n")[0].inetd

    def test_unresolved(self) -> None:
        """Names of connect may be looked up later, those of accept must be good."""
        assert "Cannot resolve accept target" in refused("[s]\nclient=yes\naccept=a:nosuch\nconnect=1\n")
        found, _ = read("[s]\nclient = yes\naccept = 1\nconnect = a:nosuch\n")
        assert found.services[0].delay

    def test_warnings(self) -> None:
        """A client that believes everybody is warned of."""
        _, said = read(SERVICE)
        assert (4, "Service [s] needs authentication to prevent MITM attacks") in said
        _, said = read(SERVICE + "verifyChain = yes\nCAfile = x\n")
        assert (4, 'Service [s] uses "verifyChain" without subject checks') in said
        _, said = read(SERVICE + "verifyChain = yes\nCAfile = x\ncheckHost = a\n")
        assert not [line for level, line in said if level == 4]

    def test_addresses(self) -> None:
        """Where no host is said it is everywhere, or this machine."""
        found = service("accept = 5\nconnect = 6\n")
        assert [str(each) for each in (*found.accept, *found.connect)] == [
            *("127.0.0.1:8001", "0.0.0.0:5"),
            *("127.0.0.1:8002", "localhost:6"),
        ]

    def test_paths(self) -> None:
        """Log and pid file must be full paths."""
        assert refused("pid = x\n" + SERVICE) == "Global options: Pid file must include full path name"
        assert refused("output = x\n" + SERVICE) == "Global options: Log file must include full path name"
