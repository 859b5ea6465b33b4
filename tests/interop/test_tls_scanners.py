"""
testssl and sslscan on the default config: no finding above LOW but those about a certificate of our own.

What they found is kept in build/tls-scans, as JSON and XML.
"""

import json
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.interop.oracle import CHECKOUT, Proxy
from tests.interop.tls_parts import secure_front, server_tls
from tests.tls.authority import Authority

RESULTS = CHECKOUT / "build" / "tls-scans"

#: What testssl says of any certificate that no public authority signed, for names that do not resolve.
OF_OUR_CERTIFICATE = {
    "cert_trust",
    "cert_chain_of_trust",
    "cert_expirationStatus",
    "cert_notAfter",
    "cert_revocation",
    "cert_crlDistributionPoints",
    "cert_ocspURL",
    "DNS_CAArecord",
    "cert_caIssuers",
    "overall_grade",  # T, for a certificate that is not trusted
}
FINE = {"OK", "INFO", "LOW"}
#: What it says of itself, and of a server that does not speak HTTP.  Its check of resumption takes the
#: end of a connection for a failure now and then; test_tls_resumption is about that.
OF_THE_SCAN = {"engine_problem", "service", "sessionresumption"}


@pytest.fixture
def port(tmp_path: Path) -> Any:
    """Where meshd serves TLS, with certificates of both kinds and all else as it is by default."""
    root = Authority()
    shows = [
        root.issue("localhost", dns=["localhost"], ip=["127.0.0.1"], kind=kind) for kind in ("ecdsa", "rsa")
    ]
    proxy = Proxy("meshd", secure_front(server_tls(*shows)), tmp_path)
    try:
        yield proxy.address()[1]
        assert proxy.process.poll() is None
        assert "Traceback" not in proxy.said()
    finally:
        proxy.stop()


@pytest.mark.slow
def test_testssl(port: int) -> None:
    """testssl has nothing to say that is worse than LOW."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "testssl.json"
    path.unlink(missing_ok=True)
    command = ["testssl", "--quiet", "--color", "0", "--sneaky", "--jsonfile", str(path), f"127.0.0.1:{port}"]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=900, check=False)
    found = json.loads(path.read_text())
    ids = {each["id"] for each in found}
    assert {"TLS1_2", "TLS1_3", "secure_renego", "heartbleed", "ROBOT", "BEAST"} <= ids, (
        "the scan is not complete"
    )
    ours = (*OF_OUR_CERTIFICATE, *OF_THE_SCAN)
    bad = [each for each in found if each["severity"] not in FINE and not each["id"].startswith(ours)]
    assert not bad, bad


def test_sslscan(port: int) -> None:
    """sslscan finds TLS 1.2 and 1.3 with strong ciphers, and nothing else."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "sslscan.xml"
    command = ["sslscan", "--no-colour", f"--xml={path}", f"127.0.0.1:{port}"]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True)
    test = ElementTree.parse(path).find("ssltest")
    assert test is not None
    enabled = {
        f"{each.get('type')}{each.get('version')}"
        for each in test.iter("protocol")
        if each.get("enabled") == "1"
    }
    assert enabled == {"tls1.2", "tls1.3"}
    assert {each.get("strength") for each in test.iter("cipher")} <= {"strong", "acceptable"}
    assert all(each.get("vulnerable") == "0" for each in test.iter("heartbleed"))
    assert {each.get("supported") for each in test.iter("compression")} <= {"0"}
    for each in test.iter("renegotiation"):
        assert each.get("secure") == "1" or each.get("supported") == "0"
