"""Programs as ends of connections, targets that clients name, and the connection that inetd hands over."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.interop.case import Case
from tests.interop.oracle import CHECKOUT, command, die_with_parent
from tests.interop.peers import FIN, PATIENCE, Peer, wait_until
from tests.interop.stunnel_side import Credentials, extension, trusting
from tests.interop.yaml_parts import Part, bootstrap, cluster, listener, network, tcp_proxy

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


def program(script: str, **more: Any) -> Part:
    """Return what says that a shell script is run."""
    return {"program": "/bin/sh", "arguments": ["sh", "-c", script], **more}


def to_program(script: str, **more: Any) -> Part:
    """Return a cluster that is a shell script."""
    return {"name": "c", "cluster_type": extension("meshd.clusters.exec", **program(script, **more))}


def without_sockets(metadata: dict[str, Any], *filters: Part) -> Part:
    """Return a listener whose connections come from elsewhere."""
    return listener(*filters, name="inside", bind_to_port=False, metadata={"filter_metadata": metadata})


def over_tls(credentials: Credentials) -> Part:
    """Return the transport socket of a listener."""
    context = {"@type": f"{_TLS}.DownstreamTlsContext", **credentials.downstream()}
    return {"name": "tls", "typed_config": context}


def test_program(case: Case, tmp_path: Path) -> None:
    """A program behind TLS: its input ends when the client's does, and what it says then still arrives."""
    chain = {
        "filters": [tcp_proxy(access_log=[])],
        "transport_socket": over_tls(Credentials(tmp_path)),
    }
    script = 'read line; echo "$REMOTE_HOST $REMOTE_PORT $ONE $line"; wc -c'
    case.start(bootstrap(listener(chain), clusters=[to_program(script, environment={"ONE": "1"})]))
    client = case.client()
    port = client.port
    client.sock = trusting().wrap_socket(client.sock)
    client.send(b"word\n" + b"x" * 1_000_000)
    said = b""
    while b"\n" not in said:
        said += client.some()
    assert said == f"127.0.0.1 {port} 1 word\n".encode()
    client.close()


def test_half_close(case: Case) -> None:
    """The client's FIN is the end of the program's input; its answer comes all the same, then the end."""
    case.start(bootstrap(listener(tcp_proxy(access_log=[])), clusters=[to_program("wc -c")]))
    client = case.client()
    client.send(b"x" * 3_000_000)
    client.half_close()
    assert client.read_to_end() == (b"3000000\n", FIN)


def test_many(case: Case) -> None:
    """Each connection has its own program, and none is left behind, dead or alive."""
    proxy = case.start(bootstrap(listener(tcp_proxy(access_log=[])), clusters=[to_program("cat")]))
    clients = [case.client() for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(b"%2d" % number)
    for number, client in enumerate(clients):
        assert client.read(2) == b"%2d" % number
        client.half_close()
        assert client.read_to_end() == (b"", FIN)
    children = Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children")
    wait_until(lambda: not children.read_text().split(), "the programs to be reaped")
    assert proxy.stat("cluster.c.upstream_cx_active") == 0


def test_slow_reader(case: Case) -> None:
    """A program that writes faster than the client reads is held up, and all arrives."""
    case.start(
        bootstrap(
            listener(tcp_proxy(access_log=[]), per_connection_buffer_limit_bytes=16384),
            clusters=[to_program("head -c 20000000 /dev/zero")],
        )
    )
    client = case.client(rcvbuf=4096)
    time.sleep(0.3)
    data, ending = client.read_to_end()
    assert (len(data), ending) == (20_000_000, FIN)


def test_program_as_client(case: Case, tmp_path: Path) -> None:
    """A program may be the client, here of a TLS server; after its end it is started again."""
    context = Credentials(tmp_path).server()
    heard: list[bytes] = []

    def serve(peer: Peer) -> None:
        peer.sock = context.wrap_socket(peer.sock, server_side=True)
        heard.append(peer.sock.recv(100))
        peer.send(b"answer\n")
        peer.read_to_end()

    backend = case.backend(serve)
    socket_ = {"name": "tls", "typed_config": {"@type": f"{_TLS}.UpstreamTlsContext"}}
    said = tmp_path / "said"
    running = program(f"echo hello; read line; echo $line >>{said}", retry="0.1s")
    case.start(
        bootstrap(
            without_sockets({"meshd.exec": running}, tcp_proxy(access_log=[])),
            clusters=[cluster(backend, transport_socket=socket_)],
        )
    )
    wait_until(
        lambda: len(heard) >= 2 and said.exists() and said.read_text().count("answer") >= 2, "two runs"
    )
    assert set(heard) == {b"hello\n"}


def test_socks(case: Case) -> None:
    """A SOCKS client is connected to where it wants to go, by name; where nobody listens it is closed."""
    backend = case.backend()
    dialogue = extension(
        "meshd.filters.network.dialogue", stat_prefix="s", protocol="socks", allow_loopback=True
    )
    named = {"name": "c", "cluster_type": extension("meshd.clusters.named_target")}
    proxy = case.start(
        bootstrap(listener({"filters": [dialogue, tcp_proxy(access_log=[])]}), clusters=[named])
    )
    client = case.client()
    client.send(b"\5\1\0\5\1\0\3\x09localhost" + backend.port.to_bytes(2, "big") + b"hello")
    assert client.read(2 + 10 + 5) == b"\5\0\5\0\0\1" + bytes(6) + b"hello"
    client.half_close()
    assert client.read_to_end() == (b"", FIN)
    lost = case.client()
    lost.send(b"\5\1\0\5\1\0\1\x7f\0\0\1\0\1")
    assert lost.read_to_end()[1] == FIN
    assert proxy.stat("dialogue.s.done") == 2
    assert proxy.stat("cluster.c.upstream_cx_connect_fail") == 1


def inetd(directory: Path, config: Part, given: Any, taken: Any) -> subprocess.Popen[bytes]:
    """Start meshd with these as its standard input and output."""
    path = directory / "config.yaml"
    path.write_text(json.dumps(config))
    return subprocess.Popen(
        [*command("meshd"), "-c", str(path), "--log-path", str(directory / "own.log")],
        cwd=directory,
        stdin=given,
        stdout=taken,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        preexec_fn=die_with_parent,
    )


def test_inetd(tmp_path: Path) -> None:
    """A socket as standard input and output is the one connection; with it the process ends."""
    config = bootstrap(without_sockets({"meshd.inetd": {}}, network("echo", "Echo")))
    ours, theirs = socket.socketpair()
    process = inetd(tmp_path, config, theirs, theirs)
    theirs.close()
    with ours:
        ours.settimeout(PATIENCE)
        ours.sendall(b"hello")
        assert ours.recv(100) == b"hello"
        ours.shutdown(socket.SHUT_WR)
        assert ours.recv(100) == b""
    assert process.wait(PATIENCE) == 0


def test_inetd_pipes(tmp_path: Path) -> None:
    """So are two pipes."""
    config = bootstrap(without_sockets({"meshd.inetd": {}}, network("echo", "Echo")))
    process = inetd(tmp_path, config, subprocess.PIPE, subprocess.PIPE)
    data, _ = process.communicate(b"hello" * 100_000, timeout=PATIENCE)
    assert data == b"hello" * 100_000
    assert process.returncode == 0


def test_inetd_tls(tmp_path: Path) -> None:
    """The one connection may be TLS."""
    chain = {
        "filters": [network("echo", "Echo")],
        "transport_socket": over_tls(Credentials(tmp_path)),
    }
    config = bootstrap(without_sockets({"meshd.inetd": {}}, chain))
    ours, theirs = socket.socketpair()
    process = inetd(tmp_path, config, theirs, theirs)
    theirs.close()
    ours.settimeout(PATIENCE)
    with trusting().wrap_socket(ours) as secured:
        assert isinstance(secured, ssl.SSLSocket)
        secured.sendall(b"hello")
        assert secured.recv(100) == b"hello"
    assert process.wait(PATIENCE) == 0
