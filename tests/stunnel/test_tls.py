"""Tests for meshd.stunnel.tls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshd.stunnel import tls
from meshd.stunnel.syntax import Failure
from tests.stunnel.reading import service


def options(context: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the TlsOptions in a context."""
    value: dict[str, Any] = context["common_tls_context"]["custom_handshaker"]["typed_config"]["value"]
    return value


class TestContexts:
    """Contexts of clients and servers."""

    def test_defaults(self) -> None:
        """A client believes everybody, sends the host's name, and speaks TLS from version 1 on."""
        context = tls.upstream(service(""))
        assert context["sni"] == "127.0.0.1"
        assert "validation_context" not in context["common_tls_context"]
        assert options(context)["min_version"] == "TLSv1"
        assert options(context)["request_certificate"] == "no"
        assert options(context)["openssl_options"] == ["NO_SSLv2", "NO_SSLv3"]

    @pytest.mark.parametrize(
        ("text", "name"),
        [("sni = a", "a"), ("sni =", None), ("protocol = connect\nprotocolHost = b:443", "b")],
    )
    def test_names(self, text: str, name: str | None) -> None:
        """The name is that of sni, of protocolHost, or of the first connect; an empty one is not sent."""
        assert tls.upstream(service(text + "\n")).get("sni") == name

    def test_no_host(self) -> None:
        """Where only a port is said the name is this machine's."""
        found = service("")
        found.connect = found.connect[:0]
        assert tls.server_name(found) == ""

    def test_validation(self) -> None:
        """Chain, pinned peer, names and revocation lists."""
        text = "verifyChain = yes\nverifyPeer = yes\nCAfile = /ca\nCRLfile = /crl\n"
        text += "checkHost = a\ncheckHost = b\n"
        context = tls.upstream(service(text))
        assert context["common_tls_context"]["validation_context"] == {
            "trusted_ca": {"filename": "/ca"},
            "crl": {"filename": "/crl"},
            "only_verify_leaf_cert_crl": True,
        }
        assert options(context)["verify_peer"] and options(context)["check_hosts"] == ["a", "b"]

    def test_any_certificate(self) -> None:
        """requireCert alone wants a certificate, be it whose it may."""
        context = tls.downstream(service("client = no\ncert = /c\nrequireCert = yes\n"))
        assert context["require_client_certificate"] is True
        validation = context["common_tls_context"]["validation_context"]
        assert validation == {"trust_chain_verification": "ACCEPT_UNTRUSTED"}

    def test_redirect(self) -> None:
        """With a redirect nobody is turned away in the handshake."""
        text = "client = no\ncert = /c\nverifyChain = yes\nCAfile = /ca\nredirect = 5\n"
        context = tls.downstream(service(text))
        assert "require_client_certificate" not in context
        assert options(context)["late_verdict"] and options(context)["request_certificate"] == "request"

    def test_certificates(self, tmp_path: Path) -> None:
        """A file is PEM or PKCS#12 by what is in it; the key is in the same one if none is named."""
        (tmp_path / "pem").write_text("-----BEGIN CERTIFICATE-----")
        (tmp_path / "p12").write_bytes(b"\x30\x82")
        found = service(f"cert = {tmp_path}/pem\n; meshd: watch = yes\n")
        assert tls.upstream(found)["common_tls_context"]["tls_certificates"] == [
            {
                "certificate_chain": {"filename": f"{tmp_path}/pem"},
                "private_key": {"filename": f"{tmp_path}/pem"},
                "watched_directory": {"path": str(tmp_path)},
            }
        ]
        found = service(f"cert = {tmp_path}/p12\n")
        assert tls.upstream(found)["common_tls_context"]["tls_certificates"] == [
            {"pkcs12": {"filename": f"{tmp_path}/p12"}}
        ]

    def test_passphrase(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The passphrase of a key is asked for on a terminal, and only there."""
        (tmp_path / "cert").write_text("-----BEGIN CERTIFICATE-----")
        (tmp_path / "key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        (tmp_path / "p12").write_bytes(b"no PKCS#12, or a locked one")
        asked: list[str] = []

        def ask(prompt: str) -> str:
            asked.append(prompt)
            return "secret"

        monkeypatch.setattr(tls, "getpass", ask)
        for text in (f"cert = {tmp_path}/cert\nkey = {tmp_path}/key\n", f"cert = {tmp_path}/p12\n"):
            for terminal in (True, False):
                monkeypatch.setattr(
                    "sys.stdin", type("Terminal", (), {"isatty": lambda self, it=terminal: it})()
                )
                (made,) = tls.upstream(service(text))["common_tls_context"]["tls_certificates"]
                assert made.get("password") == ({"inline_string": "secret"} if terminal else None)
        assert asked == [f"Enter {tmp_path}/{name} pass phrase:" for name in ("key", "p12")]

    def test_directory(self, tmp_path: Path) -> None:
        """The certificates of a directory are taken together."""
        (tmp_path / "1.0").write_text("-----BEGIN A")
        (tmp_path / "2.0").write_text("-----BEGIN B")
        (tmp_path / "README").write_text("nothing")
        context = tls.upstream(service(f"verifyChain = yes\nCApath = {tmp_path}\n"))
        trusted = context["common_tls_context"]["validation_context"]["trusted_ca"]
        assert trusted == {"inline_string": "-----BEGIN A\n-----BEGIN B"}

    def test_psk(self, tmp_path: Path) -> None:
        """The keys are read; a client takes the first identity if none is said."""
        path = tmp_path / "psk"
        path.write_text("a:" + "x" * 17 + "\nb:" + "00" * 16)
        path.chmod(0o600)
        fields = options(tls.upstream(service(f"PSKsecrets = {path}\n")))
        assert (fields["psk"]["b"], fields["psk_identity"]) == ("00" * 16, "a")

    def test_commands(self) -> None:
        """What SSL_CONF_cmd calls our options by is taken, and nothing else."""
        assert options(tls.upstream(service("config = MinProtocol:TLSv1.3\n")))["min_version"] == "TLSv1.3"
        for text in ("config = x:y\n", "config = Groups\n"):
            with pytest.raises(Failure, match="Failed to initialize TLS context"):
                tls.upstream(service(text))

    def test_ocsp(self) -> None:
        """A responder is asked if one is named, or those of the certificates."""
        fields = options(tls.upstream(service("OCSP = http://x\nOCSPnonce = yes\nOCSPflag = NOINTERN\n")))
        assert fields["ocsp"]["url"] == "http://x" and fields["ocsp"]["nonce"]
        assert fields["ocsp"]["flags"] == ["NOINTERN"]
