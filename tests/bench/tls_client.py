"""
The client of the rows of TLS, in a process of its own: ``python -m tests.bench.tls_client WHAT PORT AMOUNT``.

WHAT is bulk (download a file of AMOUNT bytes), full or resumed (new connections
for AMOUNT seconds, each with a handshake, a small request and its answer),
idle (hold AMOUNT connections that had one round trip each, until stdin ends).  It
prints one JSON object.  Python's ssl has no call that chooses the cipher of
TLS 1.3: OPENSSL_CONF does, see environment().
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.programs import Failed, raise_file_limit
from tests.bench.proxies import CHECKOUT

CIPHER = "TLS_AES_256_GCM_SHA384"
OPENSSL_CONF = f"""\
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
MinProtocol = TLSv1.3
Ciphersuites = {CIPHER}
"""
REQUEST = b"GET /%s HTTP/1.1\r\nHost: bench.example\r\nConnection: %s\r\n\r\n"
#: Connections that are under way at the same time.
AT_ONCE = 8


@dataclass
class Seen:
    """What came of a run: bytes or connections, and what the connections agreed on."""

    count: int = 0
    resumed: int = 0
    version: str = ""
    cipher: str = ""

    def check(self, resumed: bool) -> int:
        """Return count.  Raise Failed unless all were of TLS 1.3, this cipher, and resumed or not."""
        if (self.version, self.cipher) != ("TLSv1.3", CIPHER):
            raise Failed(f"the client and the proxy agreed on {self.version} with {self.cipher}")
        # The first of each client is not.
        if self.count - self.resumed > AT_ONCE if resumed else self.resumed:
            raise Failed(f"{self.resumed} of {self.count} handshakes were resumed")
        return self.count


def client_context() -> ssl.SSLContext:
    """Return what connects to anybody: it is the proxy's work that is measured."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """Connects to one port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._context = client_context()
        self.seen = Seen()

    def connect(self, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        """Return a connection with its handshake done."""
        raw = socket.create_connection(("127.0.0.1", self._port), 30.0)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made = self._context.wrap_socket(raw, server_hostname="bench.example", session=session)
        cipher = made.cipher()
        self.seen.version, self.seen.cipher = made.version() or "", cipher[0] if cipher else ""
        return made

    def bulk(self, size: int) -> None:
        """Download a file of this size, and count its bytes."""
        buffer = bytearray(1 << 18)
        with self.connect() as made:
            made.sendall(REQUEST % (b"big", b"close"))
            while count := _recv(made, buffer):
                self.seen.count += count
        if self.seen.count < size:
            raise Failed(f"a download ended after {self.seen.count} of {size} bytes")

    def handshakes(self, seconds: float, resume: bool) -> None:
        """Connect time and again; resume each but the first."""
        until = time.monotonic() + seconds
        session = None
        buffer = bytearray(4096)
        while time.monotonic() < until:
            with self.connect(session) as made:
                made.sendall(REQUEST % (b"", b"close"))
                if not _recv(made, buffer):
                    raise Failed("no answer")
                if resume:  # with TLS 1.3 the ticket has come by now
                    self.seen.resumed += bool(made.session_reused)
                    session = made.session
                while _recv(made, buffer):
                    pass
            self.seen.count += 1


def _recv(made: ssl.SSLSocket, buffer: bytearray) -> int:
    """Return how many bytes came; 0 at the end, whether a close_notify said so or not."""
    try:
        return made.recv_into(buffer)
    except ssl.SSLEOFError:
        return 0


def many(port: int, seconds: float, resume: bool) -> Seen:
    """Have AT_ONCE clients connect for so long."""
    clients = [Client(port) for _ in range(AT_ONCE)]
    errors: list[Exception] = []

    def connect(client: Client) -> None:
        try:
            client.handshakes(seconds, resume)
        except (Failed, OSError) as error:
            errors.append(error)

    threads = [threading.Thread(target=connect, args=(each,)) for each in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    all_seen = [each.seen for each in clients]
    total = sum(seen.count for seen in all_seen)
    if errors or not total:
        raise Failed(f"{total} connections went well, then: {errors[:1]}")
    return Seen(total, sum(seen.resumed for seen in all_seen), all_seen[0].version, all_seen[0].cipher)


def idle(port: int, count: int) -> None:
    """Hold connections until stdin ends."""
    client = Client(port)
    raise_file_limit()
    with ExitStack() as stack:
        for _ in range(count):
            made = stack.enter_context(client.connect())
            made.sendall(REQUEST % (b"", b"keep-alive"))
            if not made.recv(4096):
                raise Failed("a connection was closed without an answer")
        client.seen.count = count
        print(json.dumps(asdict(client.seen)), flush=True)
        sys.stdin.read()


def main(what: str, port: int, amount: float) -> None:
    """Do WHAT; see above."""
    if what == "idle":
        idle(port, int(amount))
        return
    if what == "bulk":
        client = Client(port)
        client.bulk(int(amount))
        seen = client.seen
    else:
        seen = many(port, amount, what == "resumed")
    print(json.dumps(asdict(seen)))


# What the rows call.


def environment(directory: Path) -> Mapping[str, str]:
    """Return the environment in which OpenSSL's clients (wrk too) offer CIPHER alone."""
    file = directory / "openssl.cnf"
    file.write_text(OPENSSL_CONF)
    return {**os.environ, "OPENSSL_CONF": str(file)}


def _command(what: str, port: int, amount: float) -> list[str]:
    return [sys.executable, "-m", "tests.bench.tls_client", what, str(port), str(amount)]


def run(what: str, port: int, amount: float, env: Mapping[str, str]) -> Seen:
    """Run the client; return what it saw.  Raise Failed."""
    timeout = 60 if what == "bulk" else amount + 60
    done = subprocess.run(
        _command(what, port, amount), capture_output=True, text=True, cwd=CHECKOUT, env=env, timeout=timeout
    )
    if done.returncode:
        raise Failed(f"{what}: {done.stderr.strip().splitlines()[-1:]}")
    return Seen(**json.loads(done.stdout))


@contextmanager
def holding(port: int, count: int, env: Mapping[str, str]) -> Iterator[Seen]:
    """Have a client hold so many connections.  Raise Failed."""
    with subprocess.Popen(
        _command("idle", port, count),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        env=env,
    ) as client:
        assert client.stdin is not None and client.stdout is not None and client.stderr is not None
        try:
            line = client.stdout.readline()
            if not line:
                raise Failed(f"idle: {client.stderr.read().strip().splitlines()[-1:]}")
            yield Seen(**json.loads(line))
        finally:
            client.stdin.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
