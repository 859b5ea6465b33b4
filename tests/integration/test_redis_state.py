"""What a client has set up for itself, through meshd and at a plain redis-server: the same bytes come."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.integration.test_redis import options, redis_filter
from tests.interop.oracle import Proxy
from tests.interop.yaml_parts import bootstrap, cluster, listener
from tests.redis_servers import RedisServer


class Bytes:
    """A client that looks at bytes."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(10)

    def say(self, *lines: str) -> bytes:
        """Send commands, and then ECHO; return all that comes before the answer to that."""
        data = "".join(f"{line}\r\n" for line in (*lines, "ECHO the-end"))
        self._socket.sendall(data.encode())
        return self.until(b"$7\r\nthe-end\r\n")[: -len(b"$7\r\nthe-end\r\n")]

    def until(self, end: bytes) -> bytes:
        """Return what comes, up to end."""
        found = b""
        while not found.endswith(end):
            data = self._socket.recv(65536)
            assert data, found
            found += data
        return found

    def close(self) -> None:
        """Go."""
        self._socket.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[list[RedisServer]]:
    """Three shards, and a plain server."""
    made = [RedisServer() for _ in range(4)]
    yield made
    for server in made:
        server.stop()


@pytest.fixture(scope="module")
def ports(servers: list[RedisServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The port of meshd in front of the shards, and that of the plain server."""
    config = bootstrap(
        listener({"filters": [options(protocol_version="ANY"), redis_filter()]}),
        clusters=[cluster(*servers[:3], lb_policy="MAGLEV")],
    )
    proxy = Proxy("meshd", config, tmp_path_factory.mktemp("state"))
    where = proxy.address()
    assert isinstance(where, tuple)
    yield where[1], servers[3].port
    proxy.stop()


@pytest.mark.parametrize("protocol", "23")
@pytest.mark.parametrize(
    "lines",
    [
        ["CLIENT REPLY SKIP", "PING", "PING"],
        ["CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "PING", "PING"],
        ["CLIENT REPLY SKIP", "CLIENT REPLY ON", "PING"],
        ["CLIENT REPLY SKIP", "SUBSCRIBE a b", "PING", "UNSUBSCRIBE a b"],
        ["CLIENT REPLY SKIP", "MGET a b c d e", "MGET a b c d e"],
        ["CLIENT REPLY OFF", "PING", "SET a 1", "SUBSCRIBE c", "UNSUBSCRIBE", "CLIENT REPLY ON", "GET a"],
        ["CLIENT REPLY OFF", "CLIENT REPLY SKIP", "PING", "CLIENT REPLY ON"],
        ["CLIENT REPLY OFF", "MULTI", "SET a 1", "EXEC", "CLIENT REPLY ON", "GET a"],
        ["CLIENT REPLY SKIP", "MULTI", "INCR n", "EXEC", "DEL n"],
        ["CLIENT REPLY OFF", "RESET", "PING"],
        ["CLIENT REPLY FOO", "CLIENT REPLY", "CLIENT REPLY ON x"],
        ["CLIENT REPLY SKIP", "CLIENT REPLY FOO", "PING"],
        ["CLIENT REPLY OFF", *["INCR n", "LPUSH l x"] * 50, "CLIENT REPLY ON", "GET n", "LLEN l", "DEL n l"],
    ],
)
def test_client_reply(ports: tuple[int, int], protocol: str, lines: list[str]) -> None:
    """CLIENT REPLY ON, OFF and SKIP."""
    said = []
    for port in ports:
        client = Bytes(port)
        client.say(f"HELLO {protocol}")
        said.append(client.say(*lines))
        client.close()
    assert said[0] == said[1]
