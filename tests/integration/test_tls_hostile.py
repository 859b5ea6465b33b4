"""Clients that mean no good to a process with TLS: alerts and closes answer them, others are served."""

import os
import random
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.codec.hellos import openssl_hello
from tests.interop.oracle import Proxy
from tests.interop.peers import Client
from tests.interop.tls_parts import (
    TLSClient,
    client_context,
    secure_chain,
    secure_front,
    server_tls,
    trusting,
)
from tests.interop.yaml_parts import Part, bootstrap, listener, listener_filter
from tests.tls.authority import Authority

ROOT = Authority()
LEAVES = [ROOT.issue("front", dns=["a.example"]), ROOT.issue("other", dns=["b.example"], kind="rsa")]
MINE = ROOT.issue("client")

#: First bytes of records: change_cipher_spec, alert, handshake, application data, heartbeat.
TYPES = (20, 21, 22, 23, 24)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """Yield a proxy with two certificates that asks for one, and looks at ClientHellos before."""
    inspector = listener_filter("tls_inspector", "TlsInspector")
    socket_ = server_tls(*LEAVES, common=trusting(ROOT))
    yield from started(tmp_path, secure_front(socket_, listener_filters=[inspector]))


def started(directory: Path, config: Part) -> Iterator[Proxy]:
    """Yield a proxy; afterwards it lives, serves, and has had no exception."""
    running = Proxy("meshd", config, directory)
    try:
        yield running
        served(running)
        assert running.process.poll() is None
        assert "Traceback" not in running.said(), running.said()
        assert running.stat("listener.front.downstream_filter_exception") == 0
    finally:
        running.stop()


def served(proxy: Proxy) -> None:
    """A client that plays is served."""
    client = TLSClient(proxy.address())
    try:
        assert not client.secure(client_context(shows=MINE), name="a.example")
        client.send(b"hello")
        assert client.read(5) == b"hello"
    finally:
        client.close()


def records_only(data: bytes) -> bool:
    """Whether what a server sent is whole records of TLS."""
    while data:
        if len(data) < 5 or data[0] not in TYPES or data[1] != 3:
            return False
        data = data[5 + int.from_bytes(data[3:5], "big") :]
    return True


def talk(proxy: Proxy, sent: bytes) -> bytes:
    """Send bytes and a FIN; return all that is answered."""
    client = Client(proxy.address())
    try:
        client.try_send(sent)
        try:
            client.half_close()
        except OSError:
            pass
        return client.read_to_end()[0]
    finally:
        client.close()


def mutated(hello: bytes, chance: random.Random) -> bytes:
    """Change a ClientHello: bytes, lengths, the end, the records that it comes in."""
    data = bytearray(hello)
    for _ in range(chance.choice((1, 1, 2, 8, 50))):
        data[chance.randrange(len(data))] = chance.choice((0, 255, chance.randrange(256)))
    if chance.random() < 0.3:
        del data[chance.randrange(1, len(data)) :]
    if chance.random() < 0.2:
        place = chance.randrange(len(data))
        data[place:place] = os.urandom(chance.randrange(1, 300))
    return bytes(data)


def test_mutated_hellos(proxy: Proxy) -> None:
    """Mutated ClientHellos are answered with alerts, or go on as handshakes."""
    chance = random.Random(20)
    end = time.monotonic() + 6
    for number in range(400):
        sent = mutated(openssl_hello(chance.choice(("a.example", "b.example", "c"))), chance)
        assert records_only(talk(proxy, sent)), (number, sent)
        if time.monotonic() > end:
            break
    served(proxy)


def test_mutated_records(proxy: Proxy) -> None:
    """Records of any type, length and content, before and after a good ClientHello, too."""
    chance = random.Random(21)
    end = time.monotonic() + 6
    for number in range(300):
        body = os.urandom(chance.choice((0, 1, 2, 4, 100, 17000)))
        size = chance.choice((len(body), len(body), 0, 65535, 16385))
        record = (
            bytes((chance.choice((*TYPES, 0, 255)), 3, chance.randrange(5))) + size.to_bytes(2, "big") + body
        )
        sent = chance.choice((b"", openssl_hello("a.example"))) + record * chance.choice((1, 3, 100))
        assert records_only(talk(proxy, sent)), (number, sent[:600])
        if time.monotonic() > end:
            break
    served(proxy)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_mutated_data(proxy: Proxy, version: str) -> None:
    """After the handshake: ciphertext that is not what was sealed ends the connection with an alert."""
    chance = random.Random(22)
    only = ssl.TLSVersion[version]
    for _ in range(40):
        client = TLSClient(proxy.address())
        assert not client.secure(client_context(minimum_version=only, maximum_version=only))
        client.tls.write(os.urandom(200))
        wire = bytearray(client._outgoing.read())
        wire[chance.randrange(5, len(wire))] ^= 1 << chance.randrange(8)
        client.sock.sendall(wire)
        assert client.read_to_end()[1] in ("SSLV3_ALERT_BAD_RECORD_MAC", "TLSV1_ALERT_DECODE_ERROR")
        client.close()


def test_renegotiation(proxy: Proxy) -> None:
    """Who asks for a renegotiation, which only TLS 1.2 has, is refused."""
    host, port, *_ = (str(each) for each in proxy.address())
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_2"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as asking:
        assert asking.stdin is not None
        assert asking.stdout is not None
        for line in asking.stdout:
            if b"Extended master secret" in line:
                break
        asking.stdin.write(b"R\n")
        asking.stdin.flush()
        said, _ = asking.communicate(timeout=20)
    assert b"no renegotiation" in said.lower(), said
    assert proxy.stat("listener.front.ssl.handshake") == 1


def test_slow_handshakes(tmp_path: Path) -> None:
    """Clients that send a byte now and then are out when time is up, however many there are."""
    chain = secure_chain(server_tls(*LEAVES), transport_socket_connect_timeout="1s")
    for proxy in started(tmp_path, bootstrap(listener(chain))):
        clients = [Client(proxy.address()) for _ in range(100)]
        hello = openssl_hello("a.example")
        begin = time.monotonic()
        place = 0
        while time.monotonic() < begin + 1.5:
            for client in clients:
                client.try_send(hello[place : place + 1])
            place += 1
            time.sleep(0.1)
        for client in clients:
            client.read_to_end()
            client.close()
        assert place < len(hello)
        proxy.await_stat("listener.front.downstream_cx_transport_socket_connect_timeout", len(clients))
        proxy.await_stat("listener.front.downstream_cx_active", 0)


def test_slow_by_default(tmp_path: Path) -> None:
    """Without a time-out in the config there is one all the same."""
    for proxy in started(tmp_path, secure_front(server_tls(*LEAVES))):
        client = Client(proxy.address()).sock
        client.settimeout(25)
        client.sendall(b"\x16\x03\x01")
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            pass
        client.close()
