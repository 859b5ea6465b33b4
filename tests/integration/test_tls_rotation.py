"""Certificates are exchanged while the process serves with them."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_real_traffic import where
from tests.integration.tls import (
    LEAF,
    NAME,
    ROOT,
    TLS,
    connect,
    downstream,
    echo_server,
    read_all,
    trusting,
)
from tests.interop.case import Case
from tests.interop.oracle import Proxy
from tests.interop.yaml_parts import Part


class Kubernetes:
    """A directory of files that are exchanged all at once, as kubelet does it with ..data."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.mkdir()
        self._turn = 0

    def put(self, **contents: bytes) -> None:
        """Have these files, and no others."""
        self._turn += 1
        place = self.path / f"..{self._turn}"
        place.mkdir()
        for name, data in contents.items():
            (place / name).write_bytes(data)
            link = self.path / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        fresh = self.path / "..data_tmp"
        fresh.symlink_to(place.name)
        fresh.rename(self.path / "..data")


class Visitors:
    """Clients that connect time and again, and check what they are shown."""

    def __init__(self, proxy: Proxy) -> None:
        self.address = where(proxy)
        self.failures: list[BaseException] = []
        self.seen: set[int] = set()
        self.count = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._visit) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _visit(self) -> None:
        context = trusting()
        while not self._over.is_set():
            try:
                raw = socket.create_connection(self.address, 20)
                with context.wrap_socket(raw, server_hostname=NAME) as made:
                    made.sendall(b"hello")
                    assert read_all(made, 5) == b"hello"
                    certificate: Any = made.getpeercert()
                    self.seen.add(int(certificate["serialNumber"], 16))
                    self.count += 1
            except BaseException as error:
                self.failures.append(error)
                return

    def stop(self) -> None:
        """End them."""
        self._over.set()
        for thread in self._threads:
            thread.join()


def secret(directory: Path) -> bytes:
    """Return the SDS file of a certificate in a directory."""
    certificate = {
        "certificate_chain": {"filename": str(directory / "chain")},
        "private_key": {"filename": str(directory / "key")},
    }
    resource = {"@type": f"{TLS}.Secret", "name": "served", "tls_certificate": certificate}
    return json.dumps({"resources": [resource]}).encode()


@pytest.mark.parametrize("way", ["sds", "watched_directory"])
def test_rotation(case: Case, way: str) -> None:
    """Certificates are exchanged under load: no client fails, and connections that there are go on."""
    mount = Kubernetes(case.directory / "mount")
    leaves = [ROOT.issue(f"server {number}", dns=[NAME]) for number in range(4)]
    sds = case.directory / "sds.json"
    sds.write_bytes(secret(mount.path))
    watched = {"path": str(mount.path)}
    mount.put(chain=leaves[0].pem, key=leaves[0].key_pem)
    if way == "sds":
        source = {"path_config_source": {"path": str(sds), "watched_directory": watched}}
        context: Part = {
            "tls_certificates": [],
            "tls_certificate_sds_secret_configs": [{"name": "served", "sds_config": source}],
        }
    else:
        certificate = {
            "certificate_chain": {"filename": str(mount.path / "chain")},
            "private_key": {"filename": str(mount.path / "key")},
            "watched_directory": watched,
        }
        context = {"tls_certificates": [certificate]}
    proxy = case.start(echo_server(downstream(context)))
    old = connect(proxy)
    visitors = Visitors(proxy)
    try:
        name = "listener.front.server_ssl_socket_factory.ssl_context_update_by_sds"
        for leaf in leaves[1:]:
            before = proxy.stat(name)
            mount.put(chain=leaf.pem, key=leaf.key_pem)
            proxy.await_stat(name, before + 1)
    finally:
        visitors.stop()
    assert visitors.failures == []
    with connect(proxy) as made:
        certificate_now: Any = made.getpeercert()
    assert int(certificate_now["serialNumber"], 16) == leaves[-1].certificate.serial_number
    assert visitors.count > 10
    assert visitors.seen <= {each.certificate.serial_number for each in leaves}
    assert len(visitors.seen) > 1
    old.sendall(b"still here")
    assert read_all(old, 10) == b"still here"
    old.close()


def test_rotation_of_rubbish(case: Case) -> None:
    """A certificate that cannot be read changes nothing."""
    mount = Kubernetes(case.directory / "mount")
    mount.put(chain=LEAF.pem, key=LEAF.key_pem)
    certificate = {
        "certificate_chain": {"filename": str(mount.path / "chain")},
        "private_key": {"filename": str(mount.path / "key")},
        "watched_directory": {"path": str(mount.path)},
    }
    proxy = case.start(echo_server(downstream({"tls_certificates": [certificate]})))
    good = ROOT.issue("good", dns=[NAME])
    name = "listener.front.server_ssl_socket_factory.ssl_context_update_by_sds"
    mount.put(chain=good.pem, key=LEAF.key_pem)
    with connect(proxy) as made:
        made.sendall(b"x")
        assert read_all(made, 1) == b"x"
    before = proxy.stat(name)
    mount.put(chain=good.pem, key=good.key_pem)
    proxy.await_stat(name, before + 1)
    with connect(proxy) as made:
        shown: Any = made.getpeercert()
    assert int(shown["serialNumber"], 16) == good.certificate.serial_number
