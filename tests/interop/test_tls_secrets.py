"""Secrets from files and from the bootstrap: how they are exchanged, counted and told."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.interop.case import Case
from tests.interop.peers import wait_until
from tests.interop.test_tls_certificates import (
    BETWEEN,
    FRONT,
    GOOD,
    OTHER,
    ROOT,
    SECOND,
    STRANGER,
    san,
    trusted,
)
from tests.interop.tls_parts import client_context, inline, knock, s_client, secure_front, server_tls
from tests.interop.yaml_parts import Part

STAPLE = BETWEEN.ocsp(GOOD)
SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


def secret(name: str, **fields: Any) -> Part:
    """A secret in a file."""
    return {"@type": SECRET, "name": name, **fields}


def put(path: Path, *secrets: Part, version: str = "1") -> None:
    """Put secrets into a file, in place of what was there."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"version_info": version, "resources": list(secrets)}))
    os.rename(new, path)


def source(name: str, path: Path | None = None, **fields: Any) -> Part:
    """An SdsSecretConfig."""
    if path is None:
        return {"name": name}
    where = {"path_config_source": {"path": str(path), **fields}, "resource_api_version": "V3"}
    return {"name": name, "sds_config": where}


def rotating(common: Part, **fields: Any) -> Part:
    """A config whose listener has its secrets by name."""
    config = secure_front(server_tls(common=common))
    config["node"] = {"id": "n", "cluster": "c"}
    config["static_resources"].update(fields)
    return config


def subject(case: Case) -> str:
    """Return whose certificate the listener shows."""
    return s_client(case).get("Peer certificate", "")


def counts(case: Case, name: str = "srv") -> dict[str, int]:
    """Return what is counted of a secret, but for times."""
    found = case.proxy.stats(f"^sds[.]{name}[.]")
    return {key: value for key, value in found.items() if not key.endswith(("update_time", "version"))}


def test_exchanged(case: Case) -> None:
    """A certificate is exchanged with its file; what is wrong is counted alike, and changes nothing."""
    path = case.directory / "sds.yaml"
    put(path, secret("srv", tls_certificate=FRONT.inline()), version="v1")
    case.start(rotating({"tls_certificate_sds_secret_configs": [source("srv", path)]}))
    noted: list[Any] = [subject(case)]
    mixed = {**FRONT.inline(), "private_key": SECOND.inline()["private_key"]}
    for number, secrets in enumerate(
        (
            [secret("srv", tls_certificate=SECOND.inline())],
            [secret("other", tls_certificate=FRONT.inline())],
            [secret("srv", tls_certificate=FRONT.inline()), secret("b", tls_certificate=FRONT.inline())],
            [],
            [secret("srv", tls_certificate=mixed)],
            [secret("srv", validation_context=trusted())],
            [secret("srv", tls_certificate=FRONT.inline())],
        ),
        2,
    ):
        put(path, *secrets, version=f"v{number}")
        case.proxy.await_stat("sds.srv.update_attempt", number)
        noted += [subject(case), counts(case)]
    path.with_suffix(".new").write_text("rubbish: [")
    os.rename(path.with_suffix(".new"), path)
    case.proxy.await_stat("sds.srv.update_failure", 1)
    noted += [subject(case), counts(case)]
    case.note(noted=noted, version=case.proxy.stat("sds.srv.version"))
    case.lines = len([each for each in noted if isinstance(each, str)])


@pytest.mark.parametrize("at_first", ["rubbish: [", "resources: []"])
def test_late(case: Case, at_first: str) -> None:
    """While there is no certificate clients are turned away and counted; when it comes they are served."""
    path = case.directory / "sds.yaml"
    path.write_text(at_first)
    case.start(rotating({"tls_certificate_sds_secret_configs": [source("srv", path)]}))
    case.note(before=subject(case))
    put(path, secret("srv", tls_certificate=FRONT.inline()))
    case.proxy.await_stat("sds.srv.update_success", 1)
    wait_until(lambda: subject(case), "the certificate to be shown")
    case.compare_log = False
    case.note(after=subject(case), counts=counts(case))
    case.ignore("ssl[.]|_cx_", "how often it was tried until the certificate was there")


def test_kubernetes(case: Case) -> None:
    """Files that are exchanged by a link to their directory are read anew, certificate and key at once."""
    for name, leaf in (("v1", FRONT), ("v2", SECOND)):
        (case.directory / name).mkdir()
        leaf.write(case.directory / name, "tls")
    os.symlink("v1", case.directory / "..data")
    for name in ("tls.pem", "tls.key"):
        os.symlink(f"..data/{name}", case.directory / name)
    path = case.directory / "sds.yaml"
    files = {
        "certificate_chain": {"filename": str(case.directory / "tls.pem")},
        "private_key": {"filename": str(case.directory / "tls.key")},
        "watched_directory": {"path": str(case.directory)},
    }
    put(path, secret("srv", tls_certificate=files))
    case.start(rotating({"tls_certificate_sds_secret_configs": [source("srv", path)]}))
    before = subject(case)
    os.symlink("v2", case.directory / "..new")
    os.rename(case.directory / "..new", case.directory / "..data")
    wait_until(lambda: subject(case) != before, "the other certificate to be shown")
    case.compare_log = False
    case.note(before=before, after=subject(case), counts=counts(case))
    case.ignore("ssl[.]|_cx_", "how often it was tried until the certificate was there")


def test_validation_exchanged(case: Case) -> None:
    """Those that are trusted are exchanged with their file, under what the config says itself."""
    path = case.directory / "sds.yaml"
    put(path, secret("val", validation_context=trusted(OTHER)))
    combined = {
        "default_validation_context": {"match_typed_subject_alt_names": [san("DNS", exact="good.example")]},
        "validation_context_sds_secret_config": source("val", path),
    }
    common = {"tls_certificates": [FRONT.inline()], "combined_validation_context": combined}
    case.start(rotating(common))
    served = ["failure" not in knock(case, client_context(shows=client)) for client in (GOOD, STRANGER)]
    put(path, secret("val", validation_context=trusted(ROOT)))
    case.proxy.await_stat("sds.val.update_success", 2)
    wait_until(
        lambda: "failure" not in knock(case, client_context(shows=GOOD)), "the other authority to be trusted"
    )
    served += ["failure" not in knock(case, client_context(shows=client)) for client in (FRONT, STRANGER)]
    case.compare_log = False
    case.note(served=served, counts=counts(case, "val"))
    case.ignore("ssl[.]|_cx_", "how often it was tried until the other was trusted")


def test_static(case: Case) -> None:
    """Secrets of the bootstrap are found by name; /certs and the gauges tell of them alike."""
    common = {
        "tls_certificate_sds_secret_configs": [source("srv")],
        "validation_context_sds_secret_config": source("val"),
    }
    secrets = [
        {"name": "srv", "tls_certificate": FRONT.inline()},
        {"name": "val", "validation_context": trusted()},
    ]
    case.start(rotating(common, secrets=secrets))
    case.note(shown=subject(case), certs=certs(case), expiry=expiry(case))
    case.lines = 1


def certs(case: Case) -> Any:
    """Return what /certs answers, but for days, which may change while we ask."""

    def timeless(found: Any) -> Any:
        if isinstance(found, list):
            return [timeless(each) for each in found]
        if isinstance(found, dict):
            return {key: timeless(found[key]) for key in found if key != "days_until_expiration"}
        return found

    return timeless(case.proxy.get("/certs").json)


def expiry(case: Case) -> dict[str, int]:
    """Return the gauges of expiry."""
    return case.proxy.stats("[.]ssl[.]certificate[.]")


def test_certs(case: Case) -> None:
    """/certs lists all certificates of all contexts, in the same form; so do the gauges."""
    staple = {"inline_bytes": base64.b64encode(STAPLE).decode()}
    common = {
        "tls_certificates": [FRONT.inline(), {**GOOD.inline(), "ocsp_staple": staple}],
        "validation_context": {"trusted_ca": inline(ROOT.alone + OTHER.alone)},
    }
    case.start(secure_front(server_tls(common=common)))
    case.note(certs=certs(case), names=sorted(expiry(case)))
    case.compare_log = False


def test_dump(case: Case) -> None:
    """/config_dump tells the secrets, but nothing that is secret."""
    path, late = case.directory / "sds.yaml", case.directory / "late.yaml"
    put(path, secret("srv", tls_certificate=FRONT.inline()), version="7")
    late.write_text("rubbish: [")
    common = {
        "tls_certificate_sds_secret_configs": [source("srv", path)],
        "validation_context_sds_secret_config": source("val", late),
    }
    locked = {**SECOND.inline(), "password": {"inline_string": "secret"}}
    case.start(rotating(common, secrets=[{"name": "unused", "tls_certificate": locked}]))
    dumps = case.proxy.get("/config_dump").json["configs"]
    (dump,) = [each for each in dumps if each["@type"].endswith("SecretsConfigDump")]
    for key in ("dynamic_active_secrets", "dynamic_warming_secrets"):
        for each in dump[key]:
            del each["last_updated"]
    case.note(dump=dump)
    case.compare_log = False
