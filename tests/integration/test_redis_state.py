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
        self.send(*lines, "ECHO the-end")
        return self.until(b"$7\r\nthe-end\r\n")[: -len(b"$7\r\nthe-end\r\n")]

    def send(self, *lines: str) -> None:
        """Send commands."""
        self._socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def read(self, size: int) -> bytes:
        """Return so many bytes."""
        found = b""
        while len(found) < size:
            data = self._socket.recv(size - len(found))
            assert data, found
            found += data
        return found

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


#: What Redis accepts of CLIENT TRACKING and the like, and what it refuses, one after the other.
TRACKING = """
CLIENT TRACKING|CLIENT TRACKING X|CLIENT TRACKING ON|CLIENT TRACKINGINFO|CLIENT GETREDIR
CLIENT TRACKING ON FOO|CLIENT TRACKING ON PREFIX a|CLIENT TRACKING ON BCAST|CLIENT TRACKING OFF
CLIENT TRACKING ON OPTIN OPTOUT|CLIENT TRACKING ON OPTIN BCAST|CLIENT TRACKING ON OPTOUT BCAST
CLIENT TRACKING ON BCAST PREFIX a PREFIX ab|CLIENT TRACKING ON BCAST PREFIX a PREFIX b|CLIENT TRACKINGINFO
CLIENT TRACKING ON BCAST PREFIX a|CLIENT TRACKING ON BCAST PREFIX abc|CLIENT TRACKING ON BCAST PREFIX c
CLIENT TRACKINGINFO|CLIENT CACHING YES|CLIENT TRACKING OFF PREFIX a|CLIENT TRACKING OFF BCAST
CLIENT CACHING YES|CLIENT TRACKING ON OPTIN|CLIENT CACHING NO|CLIENT CACHING X|CLIENT CACHING
CLIENT CACHING YES;CLIENT TRACKINGINFO|CLIENT TRACKING ON OPTOUT|CLIENT TRACKING ON|CLIENT TRACKINGINFO
CLIENT TRACKING OFF|CLIENT TRACKING ON OPTOUT NOLOOP|CLIENT CACHING YES
CLIENT CACHING NO;CLIENT TRACKINGINFO|CLIENT TRACKING OFF|CLIENT TRACKINGINFO|CLIENT GETREDIR
CLIENT TRACKING ON REDIRECT x|CLIENT TRACKING ON REDIRECT 0|CLIENT TRACKING ON REDIRECT
CLIENT TRACKING ON REDIRECT 99999|CLIENT TRACKING ON REDIRECT -1
CLIENT TRACKING ON BCAST|CLIENT TRACKINGINFO|CLIENT TRACKING ON BCAST PREFIX a
CLIENT TRACKING OFF|CLIENT TRACKING ON NOLOOP|GET k|CLIENT TRACKING ON|CLIENT TRACKINGINFO|RESET
CLIENT TRACKINGINFO
""".replace("\n", "|")


def test_tracking_options(ports: tuple[int, int]) -> None:
    """CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR."""
    clients = [Bytes(port) for port in ports]
    for client in clients:
        client.say("HELLO 3")
    for line in filter(None, TRACKING.split("|")):
        said, expected = (client.say(*line.split(";")) for client in clients)
        assert said == expected, line
    for client in clients:
        client.close()


class Trio:
    """A client that tracks, one that is told, and one that writes."""

    def __init__(self, port: int, protocol: str = "3", told: str = "3") -> None:
        self.all = [Bytes(port) for _ in range(3)]
        self.reader, self.told, self.writer = self.all
        self.reader.say(f"HELLO {protocol}")
        self.told.say(f"HELLO {told}")
        self.writer.say("FLUSHALL")
        self.number = self.told.say("CLIENT ID")[1:-2].decode()

    def close(self) -> None:
        """All go."""
        for each in self.all:
            each.close()


KEYS = [f"k{number}" for number in range(8)]


def keys_in(pushes: bytes) -> set[str]:
    """Return the keys that invalidations name."""
    return {word.decode() for word in pushes.split(b"\r\n") if word[:1] == b"k"}


@pytest.mark.parametrize("which", (0, 1))
@pytest.mark.parametrize("protocol", "23")
@pytest.mark.parametrize("told", "23")
def test_redirect(ports: tuple[int, int], which: int, protocol: str, told: str) -> None:
    """Of keys that one client has read another is told: by message in RESP2, by push in RESP3."""
    trio = Trio(ports[which], protocol, told)
    assert trio.reader.say(f"CLIENT TRACKING ON REDIRECT {trio.number}", "CLIENT GETREDIR") == (
        f"+OK\r\n:{trio.number}\r\n".encode()
    )
    trio.told.send("SUBSCRIBE __redis__:invalidate")
    trio.told.until(b":1\r\n")
    nothing = b"$-1\r\n" if protocol == "2" else b"_\r\n"
    assert trio.reader.say(*(f"GET {key}" for key in KEYS)) == nothing * 8
    found: set[str] = set()
    for key in KEYS:
        trio.writer.say(f"SET {key} 1")
        said = trio.told.until(f"*1\r\n$2\r\n{key}\r\n".encode())
        expected = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n" if told == "2" else b">2\r\n"
        assert said.startswith(expected)
        found |= keys_in(said)
    assert found == set(KEYS)
    trio.writer.say("SET k1 2")
    assert trio.reader.say("PING") == b"+PONG\r\n"
    trio.close()


@pytest.mark.parametrize("which", (0, 1))
def test_caching(ports: tuple[int, int], which: int) -> None:
    """With OPTIN only what comes after CLIENT CACHING YES is kept book of; transactions as a whole."""
    trio = Trio(ports[which])
    trio.reader.say("CLIENT TRACKING ON OPTIN", "GET k0", "CLIENT CACHING YES", "MGET k1 k2 k3", "GET k4")
    trio.reader.say("CLIENT CACHING YES", "MULTI", "GET k5", "STRLEN k5", "EXEC", "GET k6")
    trio.writer.say(*(f"SET {key} 1" for key in KEYS))
    found: set[str] = set()
    while not {"k1", "k2", "k3", "k5"} <= found:
        found |= keys_in(trio.reader.until(b"\r\n"))
    assert keys_in(trio.reader.say("PING")) | found == {"k1", "k2", "k3", "k5"}
    trio.close()


@pytest.mark.parametrize("which", (0, 1))
def test_bcast(ports: tuple[int, int], which: int) -> None:
    """With BCAST a client that has read nothing is told of all keys that begin so, wherever they are."""
    trio = Trio(ports[which])
    assert trio.reader.say("CLIENT TRACKING ON BCAST PREFIX k") == b"+OK\r\n"
    trio.writer.say("SET other 1", *(f"SET {key} 1" for key in KEYS))
    found: set[str] = set()
    said = b""
    while found != set(KEYS):
        said += trio.reader.until(b"\r\n")
        found = keys_in(said)
    assert b"other" not in said + trio.reader.say("PING")
    trio.close()


@pytest.mark.parametrize("which", (0, 1))
def test_order(ports: tuple[int, int], which: int) -> None:
    """A client that writes what it reads sees each value before it is told that it has changed."""
    trio = Trio(ports[which])
    lines = [line for key in KEYS for line in (f"GET {key}", f"SET {key} 1", f"GET {key}")]
    pushes = [f">2\r\n$10\r\ninvalidate\r\n*1\r\n$2\r\n{key}\r\n".encode() for key in KEYS]
    replies = b"+OK\r\n" + b"_\r\n+OK\r\n$1\r\n1\r\n" * 8
    trio.reader.send("CLIENT TRACKING ON", *lines)
    said = trio.reader.read(len(replies) + sum(map(len, pushes)))
    for number, push in enumerate(pushes):
        before, _, after = said.partition(push)
        assert before.count(b"_\r\n") > number
        said = before + after
    assert said == replies
    trio.close()
