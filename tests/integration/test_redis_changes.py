"""A Redis Cluster that changes while clients of redis_proxy are at work: failover, slots that move."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshd.codec.redis_slot import slot
from tests.integration.test_redis_property import endpoints, proxied
from tests.integration.test_redis_state import Bytes
from tests.interop.oracle import Proxy
from tests.redis_servers import ErrorReply, RedisCluster, Talk

CONFIG = "type.googleapis.com/envoy.extensions.clusters.redis.v3.RedisClusterConfig"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisCluster]:
    """Three primaries and three replicas, each of which goes on when others are down."""
    servers = RedisCluster("--cluster-require-full-coverage", "no")
    yield servers
    servers.stop()


@pytest.fixture
def port(redis: RedisCluster, tmp_path: Path) -> Iterator[int]:
    """The port of meshd's redis_proxy in front of it."""
    typed = {"@type": CONFIG, "cluster_refresh_rate": "0.5s"}
    part = proxied(
        {
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {"name": "envoy.clusters.redis", "typed_config": typed},
            "load_assignment": endpoints([server.port for server in redis.servers]),
        }
    )
    proxy = Proxy("meshd", part, tmp_path)
    where = proxy.address()
    assert isinstance(where, tuple)
    yield where[1]
    proxy.stop()


class Worker:
    """A client that counts a key up, again and again; answers has each answer, in order."""

    def __init__(self, port: int, key: str) -> None:
        self.key = key
        self.answers: list[Any] = []
        self.stopped = False
        self._talk = Talk(port)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self.stopped:
            self.answers.append(self._talk.ask("INCR", self.key))
            time.sleep(0.002)

    @property
    def errors(self) -> list[ErrorReply]:
        """The errors so far."""
        return [each for each in self.answers if isinstance(each, ErrorReply)]

    def works(self, times: int = 20) -> bool:
        """Whether the last answers were no errors."""
        return len(self.answers) >= times and not any(
            isinstance(each, ErrorReply) for each in self.answers[-times:]
        )

    def stop(self) -> None:
        """Stop."""
        self.stopped = True
        self._thread.join(10)
        self._talk.close()


class Workers:
    """A client for each of some keys."""

    def __init__(self, port: int, keys: list[str]) -> None:
        self.all = [Worker(port, key) for key in keys]

    def __enter__(self) -> list[Worker]:
        RedisCluster.wait(lambda: all(each.works() for each in self.all), "the clients to work")
        return self.all

    def __exit__(self, *reason: object) -> None:
        for each in self.all:
            each.stop()


def primary_of(redis: RedisCluster, key: str) -> int:
    """Return the port of the primary that has a key."""
    where = slot(key.encode())
    alive = next(server.port for server in redis.servers if server.running)
    return next(ports[0] for first, last, ports in redis.slots(alive) if first <= where <= last)


def keys_by_primary(redis: RedisCluster) -> list[str]:
    """Return a key on each of the primaries."""
    found = {primary_of(redis, key): key for key in (f"count{number}" for number in range(50))}
    assert len(found) == 3
    return list(found.values())


def test_failover(redis: RedisCluster, port: int) -> None:
    """When a primary dies its clients alone see errors, and none once a replica has taken over."""
    keys = keys_by_primary(redis)
    victim = redis.server_at(primary_of(redis, keys[0]))
    with Workers(port, keys) as (hurt, *others):
        victim.kill()
        try:
            redis.wait(lambda: hurt.errors, "the errors")
            redis.wait(lambda: hurt.works(50), "the replica to take over")
            redis.wait(lambda: primary_of(redis, keys[0]) != victim.port, "all to know")
        finally:
            victim.start()
        redis.await_ok(6)
        count = len(hurt.errors)
        redis.wait(lambda: hurt.works(100), "the clients to go on")
        assert len(hurt.errors) == count
        for other in others:
            assert other.works(100)
            assert other.errors == []
            assert other.answers == list(range(1, len(other.answers) + 1))


def test_moving(redis: RedisCluster, port: int) -> None:
    """While a slot moves, with its keys, its clients see no error, and each count is done once."""
    keys = [f"{{moving}}{number}" for number in range(5)]
    before = primary_of(redis, keys[0])
    places = [primary_of(redis, key) for key in keys_by_primary(redis)]
    after = next(each for each in places if each != before)
    with Workers(port, keys) as workers:
        for place in (after, before, after):
            redis.move_slot(slot(b"moving"), place)
            redis.await_ok(6)
            assert primary_of(redis, keys[0]) == place
    for each in workers:
        assert each.errors == []
        assert each.answers == list(range(1, len(each.answers) + 1))


def test_transaction_moved(redis: RedisCluster, tmp_path: Path) -> None:
    """A transaction that a node has not the slots for is done by the node that has, once."""
    key, elsewhere = keys_by_primary(redis)[:2]
    part = proxied({"type": "STATIC", "load_assignment": endpoints([primary_of(redis, elsewhere)])})
    proxy = Proxy("meshd", part, tmp_path)
    talk = Talk(int(proxy.address()[1]))
    try:
        talk.ask("DEL", key)
        for count in (1, 3):
            said = talk.ask_all([["MULTI"], ["INCR", key], ["INCR", key], ["EXEC"]])
            assert said == [b"OK", b"QUEUED", b"QUEUED", [count, count + 1]]
    finally:
        talk.close()
        proxy.stop()


@pytest.fixture
def half_moved(redis: RedisCluster) -> Iterator[tuple[int, int]]:
    """The ports of the primaries from and to which the slot of {half} is on its way: {half}here is left."""
    where = slot(b"half")
    source = primary_of(redis, "{half}")
    to = next(each for each in (primary_of(redis, key) for key in keys_by_primary(redis)) if each != source)
    assert redis.ask(source, "MSET", "{half}here", "1", "{half}there", "1") == b"OK"
    redis.open_slot(where, to)
    redis.move_key(b"{half}there", source, to)
    yield source, to
    for key in redis.ask(source, "CLUSTER", "GETKEYSINSLOT", str(where), "1000"):
        redis.move_key(key, source, to)
    redis.close_slot(where, source, to)
    redis.await_ok(6)


def transact(talk: Talk, *keys: str) -> Any:
    """Count some keys up in one transaction; return what EXEC answers."""
    return talk.ask_all([["MULTI"], *(["INCR", key] for key in keys), ["EXEC"]])[-1]


def test_transaction_asks(half_moved: tuple[int, int], port: int) -> None:
    """While a slot moves, transactions are done where their keys are, unless those are in both places."""
    talk = Talk(port)
    assert transact(talk, "{half}here", "{half}here") == [2, 3]
    assert transact(talk, "{half}there", "{half}there") == [2, 3]
    refused = transact(talk, "{half}here", "{half}there")
    assert isinstance(refused, ErrorReply)
    assert refused.text.startswith("TRYAGAIN")
    assert talk.ask("GET", "{half}here") == talk.ask("GET", "{half}there") == b"3"
    talk.close()


def test_watch_asks(half_moved: tuple[int, int], port: int) -> None:
    """A key that has moved already is watched at its new place, until the slot is there, and after."""
    talk, other = Talk(port), Talk(port)
    for expected in ([2], None, [4]):
        assert talk.ask("WATCH", "{half}there") == b"OK"
        if expected is None:
            other.ask("INCR", "{half}there")
        assert transact(talk, "{half}there") == expected
    talk.close()
    other.close()


def test_watched_key_moves(redis: RedisCluster, half_moved: tuple[int, int], port: int) -> None:
    """If a watched key moves away, EXEC answers null; the next try is done at the new place."""
    source, to = half_moved
    talk = Talk(port)
    assert talk.ask("WATCH", "{half}here") == b"OK"
    redis.move_key(b"{half}here", source, to)
    assert transact(talk, "{half}here") is None
    assert talk.ask("WATCH", "{half}here") == b"OK"
    redis.close_slot(slot(b"half"), source, to)
    assert transact(talk, "{half}here") == [2]
    assert talk.ask("WATCH", "{half}here", "{half}there") == b"OK"
    assert transact(talk, "{half}here", "{half}there") == [3, 2]
    talk.close()


def test_tracked_key_moves(redis: RedisCluster, half_moved: tuple[int, int], port: int) -> None:
    """A client that tracks is told when a key that it has read moves away, and of changes after."""
    source, to = half_moved
    reader, writer = Bytes(port), Talk(port)
    reader.say("HELLO 3", "CLIENT TRACKING ON OPTIN")
    push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$10\r\n{half}here\r\n"
    reader.say("CLIENT CACHING YES", "GET {half}here")
    redis.move_key(b"{half}here", source, to)
    reader.until(push)
    reader.send("CLIENT CACHING YES", "GET {half}here")
    reader.until(b"$1\r\n1\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n")  # ASKING leaves no place for CLIENT CACHING
    redis.close_slot(slot(b"half"), source, to)
    reader.say("CLIENT CACHING YES", "GET {half}here")
    writer.ask("INCR", "{half}here")
    reader.until(push)
    reader.close()
    writer.close()


def test_replica_promoted(redis: RedisCluster, port: int) -> None:
    """A failover that an operator asks for costs its clients no more than errors while it is done."""
    keys = keys_by_primary(redis)
    old = primary_of(redis, keys[1])
    [replica] = [ports[1] for _, _, ports in redis.slots() if ports[0] == old][:1]
    with Workers(port, keys) as workers:
        assert redis.ask(replica, "CLUSTER", "FAILOVER") == b"OK"
        redis.wait(lambda: primary_of(redis, keys[1]) == replica, "the failover")
        redis.await_ok(6)
        redis.wait(lambda: workers[1].works(100), "the clients to go on")
    for each in workers:
        assert each.errors == []
        assert each.answers == list(range(each.answers[0], each.answers[0] + len(each.answers)))
