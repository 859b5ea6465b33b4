"""Real programs through meshd: redis under redis-benchmark, and a large download from nginx."""

import contextlib
import hashlib
import http.client
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.case import Case
from tests.interop.oracle import Proxy, die_with_parent
from tests.interop.peers import Client, wait_until
from tests.interop.yaml_parts import relay
from tests.ports import free_port

GIGABYTE = 1 << 30


def program(name: str) -> str:
    """Return the path of a program; fail with what to do if it is not installed."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    assert found, f"{name} is not installed: `make test` installs it"
    return found


def where(proxy: Proxy) -> tuple[str, int]:
    """Return the host and port of the relay."""
    address = proxy.address()
    assert isinstance(address, tuple)
    return address


class Daemon:
    """A program that listens on a port, and is ended whatever happens."""

    def __init__(self, port: int, *arguments: str) -> None:
        self.port = port
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        wait_until(self._listens, f"{arguments[0]} to listen")

    def _listens(self) -> bool:
        assert self.process.poll() is None, f"{self.process.args!r} ended"
        with contextlib.suppress(OSError):
            Client(("127.0.0.1", self.port)).close()
            return True
        return False

    def finish(self) -> None:
        """It goes on until close."""

    def close(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def redis(case: Case) -> Daemon:
    """A redis-server without persistence."""
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return case.have(Daemon(port, program("redis-server"), *arguments, "--dir", str(case.directory)))


def ask(client: Client, *words: bytes) -> bytes:
    """Send a redis command; return the first bytes of the answer."""
    client.send(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    return client.some()


def test_redis_benchmark(case: Case, redis: Daemon) -> None:
    """redis-benchmark runs through meshd without an error; what it wrote and the counts agree."""
    proxy = case.start(relay(redis, access_log=[]))
    host, port = where(proxy)
    runs = ["-n", "20000", "-c", "40", "-P", "4", "-d", "100", "-r", "1000", "-t", "set,get,incr,lpush,rpop"]
    done = subprocess.run(
        [program("redis-benchmark"), "-h", host, "-p", str(port), *runs, "--csv"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error" not in (done.stdout + done.stderr).lower()
    rows = {line.split(",")[0].strip('"') for line in done.stdout.splitlines()[1:]}
    assert {"SET", "GET", "INCR", "LPUSH", "RPOP"} <= rows
    direct = Client(("127.0.0.1", redis.port))
    calls = ask(direct, b"INFO", b"commandstats").decode()
    while not calls.endswith("\r\n"):
        calls += direct.some().decode()
    for name in ("set", "get", "incr", "lpush", "rpop"):
        assert f"cmdstat_{name}:calls=20000," in calls
    direct.close()
    proxy.await_stat("listener.front.downstream_cx_active", 0)
    stats = proxy.stats()
    assert stats["tcp.t.downstream_cx_total"] == stats["cluster.c.upstream_cx_total"] >= 40
    assert stats["tcp.t.downstream_cx_rx_bytes_total"] == stats["cluster.c.upstream_cx_tx_bytes_total"]
    assert stats["tcp.t.downstream_cx_tx_bytes_total"] == stats["cluster.c.upstream_cx_rx_bytes_total"]
    assert stats["tcp.t.downstream_cx_rx_bytes_total"] > 20000 * 100


def test_redis_values(case: Case, redis: Daemon) -> None:
    """Values of many sizes, binary too, come back as they were set."""
    case.start(relay(redis, access_log=[]))
    client = case.client()
    for size in (0, 1, 1000, 16383, 16384, 16385, 100_000, 3_000_000):
        value = (bytes(range(256)) * (size // 256 + 1))[:size]
        assert ask(client, b"SET", b"k", value) == b"+OK\r\n"
        answer = ask(client, b"GET", b"k")
        wanted = b"$%d\r\n%s\r\n" % (size, value)
        assert answer + client.read(len(wanted) - len(answer)) == wanted


NGINX = """
worker_processes 1;
daemon off;
error_log {directory}/error.log;
pid {directory}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {directory}/b;
  proxy_temp_path {directory}/p;
  fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u;
  scgi_temp_path {directory}/s;
  sendfile on;
  server {{ listen 127.0.0.1:{port}; root {directory}/www; }}
}}
"""


@pytest.fixture
def nginx(case: Case) -> Iterator[Daemon]:
    """An nginx that serves the directory www."""
    port = free_port()
    directory = case.directory
    (directory / "www").mkdir()
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, port=port))
    arguments = ["-p", str(directory), "-e", str(directory / "error.log"), "-c", str(config)]
    if os.geteuid() == 0:
        directory.chmod(0o755)
        arguments += ["-g", "user root;"]
    yield case.have(Daemon(port, program("nginx"), *arguments))


def make_file(path: Path, size: int) -> str:
    """Write a file of size bytes in which no two blocks are alike; return its sha256."""
    digest = hashlib.sha256()
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(size >> 20):
            piece = number.to_bytes(8, "big") + block[8:]
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()


def test_gigabyte(case: Case, nginx: Daemon) -> None:
    """A gigabyte downloaded through meshd arrives whole, and is counted to the byte."""
    path = case.directory / "www" / "large"
    wanted = make_file(path, GIGABYTE)
    try:
        proxy = case.start(relay(nginx))
        host, port = where(proxy)
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request("GET", "/large", headers={"Connection": "close"})
        response = connection.getresponse()
        assert response.status == 200
        assert int(response.headers["Content-Length"]) == GIGABYTE
        head = len("HTTP/1.1 200 OK\r\n") + len(str(response.headers).replace("\n", "\r\n"))
        digest, size = hashlib.sha256(), 0
        buffer = memoryview(bytearray(1 << 20))
        while got := response.readinto(buffer):
            digest.update(buffer[:got])
            size += got
        connection.close()
        assert size == GIGABYTE
        assert digest.hexdigest() == wanted
        proxy.await_stat("listener.front.downstream_cx_active", 0)
        sent = proxy.stat("tcp.t.downstream_cx_tx_bytes_total")
        assert sent == proxy.stat("cluster.c.upstream_cx_rx_bytes_total") == GIGABYTE + head
        (line,) = case.log()
        assert line["BYTES_SENT"] == sent
    finally:
        path.unlink()


def test_many_downloads(case: Case, nginx: Daemon) -> None:
    """Downloads side by side do not mix."""
    digests = {}
    for number in range(5):
        digests[number] = make_file(case.directory / "www" / str(number), 8 << 20)
    proxy = case.start(relay(nginx, access_log=[]))
    host, port = where(proxy)
    answers = []
    for number in digests:
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request("GET", f"/{number}")
        answers.append((number, connection, connection.getresponse()))
    for number, connection, response in answers:
        assert hashlib.sha256(response.read()).hexdigest() == digests[number]
        connection.close()
    proxy.await_stat("listener.front.downstream_cx_active", 0)
