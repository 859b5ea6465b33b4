"""
A MongoDB server and its clients, for the tests of mongo_proxy.

The server is nx-27017, which speaks MongoDB's wire protocol over SQLite, or a
real mongod if the environment variable MESHD_MONGOD names one, or one is on PATH.
The clients are pymongo's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo

from tests.interop.case import Case
from tests.interop.oracle import Proxy, die_with_parent
from tests.interop.peers import wait_until
from tests.interop.yaml_parts import NETWORK, Part, bootstrap, chain, cluster, listener, tcp_proxy
from tests.ports import free_port

OWN = "meshd.filters.network.mongo"


def mongod() -> str | None:
    """Return the path of a real mongod, or None."""
    return os.environ.get("MESHD_MONGOD") or shutil.which("mongod")


class Server:
    """A MongoDB server on a port of its own."""

    def __init__(self, directory: Path, real: bool = False) -> None:
        self.port = free_port()
        directory.mkdir(exist_ok=True)
        if real:
            data = directory / "data"
            data.mkdir(exist_ok=True)
            command = [
                str(mongod()),
                "--dbpath",
                str(data),
                "--bind_ip",
                "127.0.0.1",
                "--port",
                str(self.port),
            ]
        else:
            nx = str(Path(sys.executable).with_name("nx-27017"))
            command = [nx, "--db", "memory", "--host", "127.0.0.1", "-p", str(self.port)]
            command += ["--log-file", str(directory / "nx.log"), "--pid-file", str(directory / "nx.pid")]
        with (directory / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        wait_until(self._accepts, "the MongoDB server to accept", 30.0)

    def _accepts(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the MongoDB server ended with {self.process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True

    def finish(self) -> None:
        """Nothing waits for it."""

    def close(self) -> None:
        """End it, and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def own(**fields: Any) -> Part:
    """The filter with meshd's own config, under the prefix m."""
    return {
        "name": OWN,
        "typed_config": {
            "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
            "type_url": f"type.googleapis.com/{OWN}",
            "value": {"stat_prefix": "m", **fields},
        },
    }


def envoys(**fields: Any) -> Part:
    """The filter with Envoy's config, under the prefix m."""
    kind = f"{NETWORK}.mongo_proxy.v3.MongoProxy"
    return {
        "name": "envoy.filters.network.mongo_proxy",
        "typed_config": {"@type": kind, "stat_prefix": "m", **fields},
    }


def behind(mongo: Part, *hosts: Any, **fields: Any) -> Part:
    """A listener with the filter and a tcp_proxy to the hosts."""
    return bootstrap(listener(chain(mongo, tcp_proxy())), clusters=[cluster(*hosts)], **fields)


def client(proxy: Proxy, name: str = "front", **options: Any) -> Any:
    """A pymongo client of a listener of a proxy, which talks to it directly and has no patience."""
    options = {"directConnection": True, "serverSelectionTimeoutMS": 5000, "retryWrites": False, **options}
    return pymongo.MongoClient("127.0.0.1", port_of(proxy, name), **options)


def port_of(proxy: Proxy, name: str = "front") -> int:
    """The port of a listener."""
    address = proxy.address(name)
    assert isinstance(address, tuple)
    return address[1]


@contextlib.contextmanager
def served(case: Case, filter_: Part, **options: Any) -> Iterator[tuple[Proxy, Any]]:
    """A MongoDB server, a proxy before it with the filter, and a client."""
    case.compare_log = False
    server = case.have(Server(case.directory / "mongo"))
    proxy = case.start(behind(filter_, server))
    mongo = client(proxy, **options)
    try:
        yield proxy, mongo
    finally:
        mongo.close()
