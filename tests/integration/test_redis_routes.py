"""Prefix routes to several real servers: what they have together is what one plain server has."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.test_redis import options, redis_filter
from tests.interop.oracle import Proxy
from tests.interop.peers import wait_until
from tests.interop.yaml_parts import bootstrap, cluster, listener
from tests.redis_servers import RedisServer, Talk

ROUTES = {
    "routes": [
        {"prefix": "a:", "cluster": "one", "remove_prefix": True},
        {"prefix": "b:", "cluster": "two", "remove_prefix": True, "key_formatter": "{%KEY%}b"},
        {"prefix": "c:", "cluster": "two"},
    ],
    "catch_all_route": {"cluster": "three"},
}


class Sides:
    """meshd in front of four servers, in three clusters, and a plain server."""

    def __init__(self, directory: Any) -> None:
        self.servers = [RedisServer() for _ in range(5)]
        one, two, third, fourth, plain = self.servers
        extra = options(protocol_version="ANY", fan_out="all_routes", rewrite_channels=True)
        config = bootstrap(
            listener({"filters": [extra, redis_filter(prefix_routes=ROUTES)]}),
            clusters=[
                cluster(one, name="one"),
                cluster(two, name="two"),
                cluster(third, fourth, name="three", lb_policy="MAGLEV"),
            ],
        )
        self.proxy = Proxy("meshd", config, directory)
        where = self.proxy.address()
        assert isinstance(where, tuple)
        self.port = where[1]
        self.through, self.plain = Talk(self.port), plain.talk()

    def ask(self, *words: str) -> Any:
        """Ask both sides, whose answers have to be the same; return it."""
        said, expected = self.through.ask(*words), self.plain.ask(*words)
        if isinstance(expected, list):
            said, expected = sorted(said), sorted(expected)
        assert said == expected, words
        return said

    def scan(self, *words: str) -> list[bytes]:
        """Return what SCAN finds through meshd."""
        found, cursor = [], b"0"
        while True:
            cursor, keys = self.through.ask("SCAN", cursor, *words)
            found += keys
            if cursor == b"0":
                return sorted(found)

    def stop(self) -> None:
        """Leave nothing behind."""
        self.through.close()
        self.plain.close()
        self.proxy.stop()
        for server in self.servers:
            server.stop()


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """With some keys."""
    made = Sides(tmp_path_factory.mktemp("routes"))
    for prefix in ("a:", "b:", "c:", "", "x"):
        for tail in ("", "a", "ab", "a*", "[b]", "b^-a", "\\a", "aab:b"):
            if prefix + tail:
                made.ask("SET", prefix + tail, "1")
    yield made
    made.stop()


def test_all(sides: Sides) -> None:
    """All keys are found by the names under which they were set, and each once."""
    names = sides.ask("KEYS", "*")
    assert sides.ask("DBSIZE") == len(names) == 39
    assert sides.scan() == sides.scan("COUNT", "3") == names
    assert all(sides.through.ask("RANDOMKEY") in names for _ in range(20))


@pytest.mark.parametrize("seed", range(20))
def test_patterns(sides: Sides, seed: int) -> None:
    """Patterns find the same keys as at one server."""
    rng = random.Random(seed)
    for _ in range(40):
        start = rng.choice(["", "a:", "b:", "c:", "?:", "[ab]:", "*:", "x"])
        pattern = start + "".join(rng.choice("aab:*?[]^-\\") for _ in range(rng.randrange(6)))
        names = sides.ask("KEYS", pattern)
        assert sides.scan("MATCH", pattern) == names


def test_scripts(sides: Sides) -> None:
    """A script that was loaded is at the servers of all routes."""
    sha = sides.ask("SCRIPT", "LOAD", "return redis.call('get', KEYS[1])")
    for key in ("a:a", "b:a", "c:a", "a"):
        assert sides.ask("EVALSHA", sha.decode(), "1", key) == b"1"


def test_channels(sides: Sides) -> None:
    """Each prefix has channels of its own, by the names that clients have for them."""
    subscriber = Talk(sides.port)
    for number, words in enumerate((["SUBSCRIBE", "a:x"], ["SUBSCRIBE", "b:x"], ["PSUBSCRIBE", "a:*"]), 1):
        assert subscriber.ask(*words) == [words[0].lower().encode(), words[1].encode(), number]
    assert sides.through.ask("PUBLISH", "a:x", "one") == 2
    assert sides.through.ask("PUBLISH", "x", "nobody") == 0
    assert sides.through.ask_all([["MULTI"], ["PUBLISH", "b:x", "two"], ["EXEC"]])[-1] == [1]
    heard: list[Any] = [subscriber.read() for _ in range(3)]
    assert sorted(heard, key=len) == [
        [b"message", b"a:x", b"one"],
        [b"message", b"b:x", b"two"],
        [b"pmessage", b"a:*", b"a:x", b"one"],
    ]
    subscriber.close()


def test_tracking(sides: Sides) -> None:
    """A client that tracks is told of the names that it has for keys."""
    reader = Talk(sides.port)
    reader.ask("HELLO", "3")
    assert reader.ask("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a:", "PREFIX", "b:") == b"OK"
    for name in ("a:told", "b:told", "c:told", "told"):
        sides.through.ask("SET", name, "1")
    found = b""

    def told() -> bool:
        nonlocal found
        found += reader._socket.recv(4096)
        return found.count(b"invalidate") == 2

    wait_until(told, "two invalidations")
    assert b"$6\r\na:told\r\n" in found
    assert b"$6\r\nb:told\r\n" in found
    sides.through.ask_all([["DEL", name] for name in ("a:told", "b:told", "c:told", "told")])
    reader.close()


def test_flush(sides: Sides) -> None:
    """All is gone after FLUSHALL."""
    sides.ask("FLUSHALL")
    assert sides.ask("DBSIZE") == 0
    assert sides.ask("RANDOMKEY") is None
