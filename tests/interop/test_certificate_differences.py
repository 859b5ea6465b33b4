"""
What certificates both proxies refuse at load, and where they differ on purpose (docs/differences.rst).
"""

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.case import Case
from tests.interop.oracle import try_config
from tests.interop.peers import wait_until
from tests.interop.test_tls_certificates import front, san, trusted
from tests.interop.test_tls_secrets import put, rotating, secret, source, subject
from tests.interop.tls_parts import (
    TLS12,
    TLSBackend,
    client_context,
    client_tls,
    inline,
    knock,
    s_client,
    secure_front,
    secure_relay,
    server_context,
    server_tls,
    trusting,
    write_pem,
)
from tests.interop.yaml_parts import Part
from tests.tls.authority import DAY, Authority, now

ROOT = Authority()
LEAF, OTHER = ROOT.issue("leaf"), ROOT.issue("other")


def binary(data: bytes) -> Part:
    """A DataSource of bytes."""
    return {"inline_bytes": base64.b64encode(data).decode()}


def shown(**certificate: Any) -> Part:
    """A config that shows one certificate."""
    return secure_front(server_tls(common={"tls_certificates": [certificate]}))


def held(**validation: Any) -> Part:
    """A config that holds clients against a validation context."""
    return front(validation, require_client_certificate=True)


CHAIN, KEY = LEAF.inline()["certificate_chain"], LEAF.inline()["private_key"]
PIN = {"match_typed_subject_alt_names": [san("DNS", exact="x")]}
LIST = {"crl": inline(ROOT.crl())}
NO_OID = {"match_typed_subject_alt_names": [san("OTHER_NAME", exact="x")]}

REFUSED: dict[str, tuple[Part, str]] = {
    "another's key": (
        shown(certificate_chain=CHAIN, private_key=OTHER.inline()["private_key"]),
        "Failed to load private key from <inline>, Cause: ",
    ),
    "no certificate": (
        shown(certificate_chain=inline("nonsense"), private_key=KEY),
        "Failed to load certificate chain from <inline>",
    ),
    "no key": (
        shown(certificate_chain=CHAIN, private_key=inline("nonsense")),
        "Failed to load private key from <inline>, Cause: ",
    ),
    "key missing": (shown(certificate_chain=CHAIN), "Failed to load incomplete private key from path: "),
    "locked key": (
        shown(certificate_chain=CHAIN, private_key=inline(LEAF.locked_key("x"))),
        "Failed to load private key from <inline>, Cause: ",
    ),
    "wrong password": (
        shown(certificate_chain=CHAIN, private_key=inline(LEAF.locked_key("x")), password=inline("y")),
        "Failed to load private key from <inline>, Cause: ",
    ),
    "pkcs12 and key": (
        shown(pkcs12=binary(LEAF.pkcs12("x")), password=inline("x"), private_key=KEY),
        "Certificate configuration can't have both pkcs12 and private_key",
    ),
    "no pkcs12": (shown(pkcs12=binary(b"rubbish")), "Failed to load pkcs12 from <inline>"),
    "short RSA": (
        shown(**ROOT.issue(kind="rsa1024").inline()),
        "Failed to load certificate chain from <inline>, only RSA certificates with 2048-bit or larger keys "
        "are supported",
    ),
    "another's staple": (
        shown(**LEAF.inline(), ocsp_staple=binary(ROOT.ocsp(OTHER))),
        "OCSP response does not match its TLS certificate",
    ),
    "staple demanded by the certificate": (
        shown(**ROOT.issue(must_staple=True).inline()),
        "OCSP response is required for must-staple certificate",
    ),
    "staple demanded by the policy": (
        secure_front(server_tls(LEAF, ocsp_staple_policy="MUST_STAPLE")),
        "Required OCSP response is missing from TLS context",
    ),
    "none trusted": (
        held(trusted_ca=inline("nonsense")),
        "Failed to load trusted CA certificates from <inline>",
    ),
    "list without trust": (held(**LIST), "Failed to load CRL from <inline> without trusted CA"),
    "names without trust": (
        held(**PIN),
        "SAN-based verification of peer certificates without trusted CA is insecure and not allowed",
    ),
    "dates without trust": (
        held(allow_expired_certificate=True),
        "Certificate validity period is always ignored without trusted CA",
    ),
    "no hash": (
        held(verify_certificate_hash=["z" * 64]),
        f"Invalid hex-encoded SHA-256 {'z' * 64}",
    ),
    "no pin": (held(verify_certificate_spki=["z" * 44]), f"Invalid base64-encoded SHA-256 {'z' * 44}"),
    "no object identifier": (
        held(**trusted(ROOT, **NO_OID)),
        "Failed to create SAN matcher for OTHER_NAME with OID: ",
    ),
    "unknown secret": (
        secure_front(server_tls(common={"tls_certificate_sds_secret_configs": [source("srv")]})),
        "Unknown static secret: srv",
    ),
    "file of secrets that is not there": (
        rotating({"tls_certificate_sds_secret_configs": [source("srv", Path("/no/such"))]}),
        "paths must refer to an existing path in the system: '/no/such' does not exist",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(kind: str, tmp_path: Path, name: str) -> None:
    """Both refuse it, in the same words; meshd may add to them."""
    config, text = REFUSED[name]
    code, said = try_config(kind, config, tmp_path)
    assert code != 0
    assert text in said


@pytest.fixture
def alone(kind: str, tmp_path: Path) -> Iterator[Case]:
    """A scenario whose outcome is not compared, since it is to differ."""
    made = Case(kind, tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_nothing_trusted(kind: str, tmp_path: Path) -> None:
    """Both refuse an empty file of trusted certificates."""
    empty = tmp_path / "empty"
    empty.touch()
    code, said = try_config(kind, held(trusted_ca={"filename": str(empty)}), tmp_path)
    assert code != 0
    assert f"file {empty} is empty" in said


@pytest.mark.parametrize("content", ["", "nonsense"])
def test_no_list(kind: str, tmp_path: Path, content: str) -> None:
    """Envoy takes a file without a revocation list for none, and revokes nothing; meshd refuses it."""
    path = tmp_path / "crl.pem"
    path.write_text(content)
    code, said = try_config(kind, held(**trusted(ROOT, crl={"filename": str(path)})), tmp_path)
    assert (code == 0) == (kind == "envoy"), said
    assert (str(path) in said) == (kind == "meshd")


@pytest.mark.parametrize("names", [["go*.example"], ["*.example"]])
def test_wide_wildcards(kind: str, alone: Case, names: list[str]) -> None:
    """auto_sni_san_validation: only Envoy accepts wildcards for part of a label or a top-level domain."""
    backend = alone.have(TLSBackend(server_context(ROOT.issue(dns=names))))
    socket_ = client_tls(sni="good.example", auto_sni_san_validation=True, common=trusting(ROOT))
    alone.start(secure_relay(socket_, backend))
    client = alone.client()
    client.send(b"hello")
    assert client.some() == (b"hello" if kind == "envoy" else b"")


def test_demanded_of_anybody(kind: str, alone: Case) -> None:
    """A certificate is required, with nobody to vouch for it: Envoy asks for none, meshd demands any."""
    alone.start(secure_front(server_tls(LEAF, require_client_certificate=True)))
    refused = "failure" in knock(alone, client_context(maximum_version=TLS12))
    assert refused == (kind == "meshd")


def test_alerts(kind: str, alone: Case, tmp_path: Path) -> None:
    """Of pins Envoy has an alert of its own; OpenSSL knows none for it."""
    alone.start(front({"verify_certificate_hash": ["00" * 32]}))
    failure = s_client(alone, "-tls1_2", *write_pem(LEAF, tmp_path, "leaf"))["failure"]
    envoy, meshd = "tlsv1 bad certificate hash value", "sslv3 alert certificate unknown"
    assert failure == (envoy if kind == "envoy" else meshd)


def test_alert_of_the_future(kind: str, alone: Case) -> None:
    """A certificate that is not yet valid has expired, says Envoy's alert; OpenSSL's says that it is bad."""
    alone.start(front(trusted(ROOT)))
    failure = knock(alone, client_context(shows=ROOT.issue(not_before=now() + DAY)))["failure"]
    assert failure == f"SSLV3_ALERT_{'CERTIFICATE_EXPIRED' if kind == 'envoy' else 'BAD_CERTIFICATE'}"


def test_alert_without_staple(kind: str, alone: Case) -> None:
    """A handshake that fails for want of an OCSP response: OpenSSL has another alert, the log says why."""
    old = {**LEAF.inline(), "ocsp_staple": binary(ROOT.ocsp(LEAF, this_update=now() - 9 * DAY))}
    config = secure_front(server_tls(common={"tls_certificates": [old]}, ocsp_staple_policy="MUST_STAPLE"))
    alone.start(config)
    said = s_client(alone, "-status")["failure"]
    assert said == ("sslv3 alert handshake failure" if kind == "envoy" else "tlsv1 alert internal error")
    (line,) = alone.log()
    reason = line["DOWNSTREAM_TRANSPORT_FAILURE_REASON"]
    assert ("CONNECTION_REJECTED" if kind == "envoy" else "the_OCSP_response_has_expired") in reason


def test_written_in_place(kind: str, alone: Case, tmp_path: Path) -> None:
    """A file of secrets that is written to, and not renamed, is read anew by meshd only."""
    path = tmp_path / "sds.yaml"
    put(path, secret("srv", tls_certificate=LEAF.inline()))
    alone.start(rotating({"tls_certificate_sds_secret_configs": [source("srv", path)]}))
    other = tmp_path / "other.yaml"
    put(other, secret("srv", tls_certificate=OTHER.inline()))
    path.write_bytes(other.read_bytes())
    if kind == "meshd":
        wait_until(lambda: subject(alone).endswith("other"), "the other certificate to be shown")
    else:
        time.sleep(0.3)
        assert subject(alone).endswith("leaf")


def test_watched_outside_of_secrets(kind: str, alone: Case, tmp_path: Path) -> None:
    """watched_directory of certificates in the context itself is for meshd only."""
    chain, key = LEAF.write(tmp_path, "tls")
    certificate = {
        "certificate_chain": {"filename": chain},
        "private_key": {"filename": key},
        "watched_directory": {"path": str(tmp_path)},
    }
    alone.start(shown(**certificate))
    for leaf_path, old in zip(OTHER.write(tmp_path, "new"), (chain, key), strict=True):
        Path(leaf_path).rename(old)
    if kind == "meshd":
        wait_until(lambda: subject(alone).endswith("other"), "the other certificate to be shown")
    else:
        time.sleep(0.3)
        assert subject(alone).endswith("leaf")


def test_no_node(kind: str, tmp_path: Path) -> None:
    """Secrets from files need no node's id with meshd."""
    path = tmp_path / "sds.yaml"
    put(path, secret("srv", tls_certificate=LEAF.inline()))
    config = rotating({"tls_certificate_sds_secret_configs": [source("srv", path)]})
    del config["node"]
    code, said = try_config(kind, config, tmp_path)
    assert (code == 0) == (kind == "meshd"), said


def test_chain_of_the_refused(kind: str, alone: Case) -> None:
    """Of a client that is refused meshd's log has its own certificate only, not what it sent besides."""
    between = ROOT.intermediate()
    alone.start(front(trusted(Authority("another root"))))
    knock(alone, client_context(shows=between.issue("x")))
    (line,) = alone.log()
    assert line["DOWNSTREAM_PEER_SUBJECT"] == "CN=x"
    assert line["DOWNSTREAM_PEER_CHAIN_SERIALS"].count(",") == (1 if kind == "envoy" else 0)


def test_system_roots(kind: str, tmp_path: Path) -> None:
    """system_root_certs are served by meshd; to Envoy, which has them for gRPC only, nobody is trusted."""
    config = held(system_root_certs={}, **PIN)
    code, said = try_config(kind, config, tmp_path)
    assert (code == 0) == (kind == "meshd"), said
