"""
The candidates' files of the rows of TLS.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.bench import tls_proxies


class TestCandidates:
    """What each is configured with."""

    def test_shared_file(self, tmp_path: Path) -> None:
        """The file of meshd and Envoy terminates TLS 1.3 with the certificate that was written."""
        config = yaml.safe_load(Path(tls_proxies.tls_file(tmp_path, 81, 82)).read_text())
        socket = config["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"]
        common = socket["typed_config"]["common_tls_context"]
        chain = Path(common["tls_certificates"][0]["certificate_chain"]["filename"])
        assert b"BEGIN CERTIFICATE" in chain.read_bytes()
        assert set(common["tls_params"].values()) == {"TLSv1_3"}

    def test_others(self, tmp_path: Path) -> None:
        """HAProxy and stunnel have both ports, and a certificate."""
        tls_proxies.haproxy(tmp_path, 81, 82)
        text = (tmp_path / "haproxy.cfg").read_text()
        assert f"bind 127.0.0.1:81 backlog 4096 ssl crt {tmp_path}/both.pem" in text
        assert b"PRIVATE KEY" in (tmp_path / "both.pem").read_bytes()
        tls_proxies.stunnel(tmp_path, 81, 82)
        text = (tmp_path / "stunnel.conf").read_text()
        assert "accept = 127.0.0.1:81" in text and "connect = 127.0.0.1:82" in text
