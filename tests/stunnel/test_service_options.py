"""Tests for meshd.stunnel.service_options."""

from __future__ import annotations

import pytest

from meshd.stunnel.service_options import SERVICE
from tests.stunnel.reading import SERVICE as BASIS
from tests.stunnel.reading import refused, service


class TestOptions:
    """Options of a section."""

    @pytest.mark.parametrize(
        ("text", "path", "value"),
        [
            ("TIMEOUTclose = 5", "timeout_close", 5),
            ("failover = rr", "round_robin", True),
            ("options = -NO_ticket\noptions = NO_TLSv1", "tls.options", ["-NO_TICKET", "NO_TLSv1"]),
            ("sslVersion = TLSv1.2", "tls.min_version", "TLSv1.2"),
            ("verify = 0", "tls.request_cert", True),
            ("verify = 1\nCAfile = x", "tls.require_cert", False),
            ("verify = 1\nCAfile = x", "tls.verify_chain", True),
            ("verify = 4\nCAfile = x", "tls.verify_chain", False),
            ("verify = 4\nCAfile = x", "tls.verify_peer", True),
            ("verifyChain = yes\nCAfile = x", "tls.require_cert", True),
            ("requireCert = yes", "tls.request_cert", True),
            ("transparent = no", "transparent", "none"),
            ("config = MinProtocol:TLSv1.2", "tls.commands", [("MinProtocol", "TLSv1.2")]),
            ("sni =", "sni", ""),
            ("execArgs = a  b", "exec_args", ["a", "b"]),
            ("local = 127.0.0.1", "local", "127.0.0.1"),
            ("retry = 10", "retry", 10),
            ("protocol = SMTP", "protocol.name", "smtp"),
            ("curve = P-256", "tls.curves", "P-256"),
            ("debug = err", "level", 3),
        ],
    )
    def test_values(self, text: str, path: str, value: object) -> None:
        """They are read to plain values."""
        found: object = service(text + "\n")
        for part in path.split("."):
            found = getattr(found, part)
        assert found == value

    @pytest.mark.parametrize("name", ["CAstore", "engineId", "engineNum"])
    def test_refused(self, name: str) -> None:
        """What OpenSSL as we have it cannot do is refused, not passed over."""
        assert f'"{name} = x"' in refused(BASIS + f"{name} = x\n")

    def test_ocsp_flags(self) -> None:
        """Some are honoured, some hold anyway, some mean nothing here; the others are refused by name."""
        found = service("OCSPflag = nosigs\nOCSPflag = NOCHAIN\nOCSPflag = NOTIME\n")
        assert found.tls.ocsp_flags == ["NOSIGS"]
        assert found.idle == ["OCSPflag NOTIME"]
        for name in ("NOCHECKS", "TRUSTOTHER"):
            assert f"OCSPflag {name} is not supported" in refused(BASIS + f"OCSPflag = {name}\n")

    def test_names(self) -> None:
        """Every option has its name as stunnel writes it."""
        assert all(name.lower() == key for key, (name, _) in SERVICE.items())
