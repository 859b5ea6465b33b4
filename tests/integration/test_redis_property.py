"""
Whatever commands clients send: meshd in front of several servers answers as one server does.

Streams of commands by chance go to a plain server and, in one pipeline, through
meshd to several.  What meshd refuses because the keys lie in several places
must have had no effect, so the plain server is not asked for it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interop.oracle import Proxy
from tests.interop.yaml_parts import Part, address, bootstrap, chain, listener, network
from tests.redis_servers import ErrorReply, RedisCluster, RedisServer, Talk

Command = list[str]

#: Those with braces lie together, in two places; the others anywhere.
KEYS = ("a", "b", "c", "d{x}", "e{x}", "f{x}", "{y}g", "{y}h", "")
TOGETHER = KEYS[3:6]
TYPES = ("s", "l", "t", "h", "z", "x", "p", "g")


def keys_of(kind: str, keys: Sequence[str]) -> list[str]:
    """Return the keys that hold values of a kind, and, more rarely, those of others."""
    return [f"{kind}{each}" for each in keys] * 8 + [f"{other}{each}" for other in TYPES for each in keys]


WORDS = {
    "v": ["", "1", "-7", "3.5", "x", "hello", "a\r\nb", "y" * 300],
    "m": ["m1", "m2", "m3", "7", ""],
    "n": ["-3", "-1", "0", "1", "2", "5"],
    "f": ["0", "1", "2.5", "-inf", "7"],
}

#: The words of commands: a capital kind in < > is a key, others are values by name.
SHAPES = """
GET <s>|SET <s> v|SET <s> v NX GET|SET <s> v XX|SETNX <s> v|GETSET <s> v|GETDEL <s>|APPEND <s> v|STRLEN <s>
INCR <s>|INCRBY <s> n|DECR <s>|INCRBYFLOAT <s> n|SETRANGE <s> 3 v|GETRANGE <s> 0 n|GETEX <s> PERSIST
SETBIT <s> 7 1|GETBIT <s> n|BITCOUNT <s>|BITPOS <s> 1|BITOP AND <s> <s> <s>|BITOP NOT <s> <s>|LCS <s> <s>
MGET <s> <s> <s>|MGET <s>|MSET <s> v <s> v <s> v|MSET <s> v|MSETNX <s> v <s> v
DEL <?> <?>|DEL <?>|UNLINK <?> <?> <?>|EXISTS <?> <?> <?>|TOUCH <?> <?>|TYPE <?>
RENAME <?> <?>|RENAMENX <?> <?>|COPY <?> <?>|COPY <?> <?> REPLACE|PERSIST <?>|TTL <?>|OBJECT ENCODING <?>
EXPIRE <?> 0|SORT <?> ALPHA|SORT <l> ALPHA STORE <l>
SORT <l> ALPHA GET # GET s*|SORT_RO <l> BY h*->m1 ALPHA
LPUSH <l> v v|RPUSH <l> v|LPUSHX <l> v|LPOP <l>|RPOP <l> 2|LLEN <l>|LRANGE <l> 0 -1|LINDEX <l> n|LSET <l> n v
LINSERT <l> BEFORE v v|LREM <l> 0 v|LTRIM <l> n -1|RPOPLPUSH <l> <l>|LMOVE <l> <l> LEFT RIGHT|LPOS <l> v
LMPOP 2 <l> <l> LEFT
SADD <t> m m|SREM <t> m|SCARD <t>|SISMEMBER <t> m|SMISMEMBER <t> m m|SMEMBERS <t>|SINTER <t> <t>
SUNION <t> <t>|SDIFF <t> <t>|SUNIONSTORE <t> <t> <t>|SINTERSTORE <t> <t> <t>|SDIFFSTORE <t> <t> <t>
SMOVE <t> <t> m|SINTERCARD 2 <t> <t>
HSET <h> m v m v|HGET <h> m|HMGET <h> m m|HGETALL <h>|HDEL <h> m|HLEN <h>|HEXISTS <h> m|HINCRBY <h> m n
HKEYS <h>|HVALS <h>|HSETNX <h> m v|HSTRLEN <h> m
ZADD <z> f m f m|ZREM <z> m|ZSCORE <z> m|ZRANK <z> m|ZCARD <z>|ZCOUNT <z> 0 5|ZRANGE <z> 0 -1 WITHSCORES
ZINCRBY <z> n m|ZPOPMIN <z>|ZPOPMAX <z> 2|ZUNION 2 <z> <z> WITHSCORES|ZINTER 2 <z> <z>|ZDIFF 2 <z> <z>
ZUNIONSTORE <z> 2 <z> <z>|ZINTERSTORE <z> 2 <z> <z> WEIGHTS 1 2|ZDIFFSTORE <z> 2 <z> <z>|ZMPOP 2 <z> <z> MIN
ZRANGESTORE <z> <z> 0 -1|ZMSCORE <z> m m|ZLEXCOUNT <z> - +
XADD <x> 9-9 m v|XADD <x> 1-1 m v|XLEN <x>|XRANGE <x> - +|XDEL <x> 1-1|XTRIM <x> MAXLEN 1|XREAD STREAMS <x> 0
XREAD COUNT 1 STREAMS <x> <x> 0 1|XGROUP CREATE <x> g 0 MKSTREAM|XACK <x> g 9-9
XREADGROUP GROUP g me STREAMS <x> >
PFADD <p> m m|PFCOUNT <p> <p>|PFMERGE <p> <p> <p>|PFMERGE <p>
GEOADD <g> 13 38 m|GEOPOS <g> m|GEODIST <g> m m|GEOSEARCH <g> FROMLONLAT 13 38 BYRADIUS 1 km ASC
GEORADIUS <g> 13 38 1 km STORE <z>|GEOSEARCHSTORE <g> <g> FROMLONLAT 13 38 BYRADIUS 1 km
EVAL r 1 <s>|EVAL r2 2 <s> <s>|EVAL_RO r 1 <s>|EVAL one 0
DBSIZE|KEYS *|KEYS ?a*|PING v|ECHO v|LOLWUT VERSION 0|FLUSHALL
"""

SCRIPTS = {
    "r": "return redis.call('exists', KEYS[1])",
    "r2": "redis.call('set', KEYS[2], 'v') return redis.call('type', KEYS[1])",
    "one": "return 1",
}

#: What is there at the beginning, under each key.
FILLING = (
    "SET s hello", "RPUSH l hello 7", "SADD t m1 m2", "HSET h m1 v", "ZADD z 1 m1 2 m2", "XADD x 1-0 m1 v",
    "PFADD p m1", "GEOADD g 13 38 m1",
)  # fmt: skip

#: What refusals because of several places say.
REFUSED = ("CROSSSLOT", "option of SORT denied in cluster mode")

#: Answers in no order that means anything.
UNORDERED = {"SMEMBERS", "SINTER", "SUNION", "SDIFF", "KEYS", "HGETALL", "HKEYS", "HVALS", "SORT_RO"}


def choices(text: str, keys: Sequence[str]) -> list[str]:
    """Return what a word of a shape may stand for."""
    if text == "<?>":
        return [each for kind in TYPES for each in keys_of(kind, keys)]
    if text.startswith("<"):
        return keys_of(text[1], keys)
    return WORDS.get(text) or [SCRIPTS.get(text, text)]


def command(shape: str, keys: Sequence[str] = KEYS) -> st.SearchStrategy[Command]:
    """Return commands of a shape."""
    return st.tuples(*(st.sampled_from(choices(each, keys)) for each in shape.split())).map(list)


ALL_SHAPES = [shape for line in SHAPES.split("\n") for shape in line.split("|") if shape]
COMMANDS = st.sampled_from(ALL_SHAPES).flatmap(command)

#: A transaction, in one place, so that it is served; what cannot be part of one is left out.
QUEUED = st.sampled_from([shape for shape in ALL_SHAPES if "<" in shape and "*" not in shape]).flatmap(
    lambda shape: command(shape, TOGETHER)
)
TRANSACTIONS = st.lists(QUEUED, max_size=4).map(lambda inside: [["MULTI"], *inside, ["EXEC"]])

STREAMS = st.lists(
    st.one_of([COMMANDS.map(lambda one: [one])] * 5 + [TRANSACTIONS]), min_size=10, max_size=60
)

#: Commands that go the short ways of the proxy: alone, or several of one shape in one piece.
SHORT = [
    *(
        "GET <s>",
        "GET <?>",
        "SET <s> v",
        "SETNX <s> v",
        "INCR <s>",
        "STRLEN <s>",
        "HGET <h> m",
        "LPUSH <l> v",
    ),
    *(
        "MGET <s> <s>",
        "MGET <?> <s> <s> <s>",
        "MGET <s> <s> <s> <s> <s>",
        "MGET <s>",
        "EXISTS <s>",
        "TTL <s>",
    ),
]
BATCHES = st.lists(
    st.sampled_from(SHORT).flatmap(lambda shape: st.lists(command(shape), min_size=1, max_size=12)),
    min_size=5,
    max_size=40,
)


def seen(args: Command, answer: Any, queued: Sequence[Command] = ()) -> Any:
    """Return an answer as far as it has to agree; queued are the commands that EXEC answers."""
    if args[0] == "EXEC" and isinstance(answer, list):
        return [seen(one, each) for one, each in zip(queued, answer, strict=True)]
    if isinstance(answer, list) and args[0] in UNORDERED:
        return type(answer), sorted(answer)
    return type(answer), answer


def content(talk: Talk) -> dict[bytes, Any]:
    """Return all keys with what they hold."""
    found = {}
    for name in talk.ask("KEYS", "*"):
        # The order in which sets and hashes are stored is each server's own.
        read = {b"set": "SMEMBERS", b"hash": "HGETALL"}.get(talk.ask("TYPE", name), "DUMP")
        held = talk.ask(read, name)
        found[name] = sorted(held) if isinstance(held, list) else held
    return found


class Pair:
    """meshd in front of several servers, and a plain server."""

    def __init__(self, proxy: Proxy, plain: RedisServer, protocol: str) -> None:
        where = proxy.address()
        assert isinstance(where, tuple)
        self.through, self.plain = Talk(where[1]), Talk(plain.port)
        for talk in (self.through, self.plain):
            talk.ask("HELLO", protocol)

    def hold(self, stream: list[list[Command]]) -> None:
        """Hold meshd's answers to commands, and what is stored in the end, against the plain server's."""
        for talk in (self.through, self.plain):
            assert talk.ask("FLUSHALL") == b"OK"
        filling = [
            [[name, f"{kind}{each}", *more] for each in KEYS] for name, kind, *more in map(str.split, FILLING)
        ]
        commands = [one for together in [*filling, *stream] for one in together]
        answers = self.through.ask_all(commands)
        queued: list[Command] = []
        for args, answer in zip(commands, answers, strict=True):
            if isinstance(answer, ErrorReply) and any(words in answer.text for words in REFUSED):
                continue
            expected = self.plain.ask(*args)
            assert seen(args, answer, queued) == seen(args, expected, queued), args
            queued = [*queued, args] if answer == b"QUEUED" else []
        assert content(self.through) == content(self.plain)
        assert self.through.ask("DBSIZE") == self.plain.ask("DBSIZE")

    def hold_batches(self, batches: list[list[Command]]) -> None:
        """Send commands in such pieces, each when the one before is answered; answers have to be the same."""
        for talk in (self.through, self.plain):
            assert talk.ask("FLUSHALL") == b"OK"
        for commands in [[["SET", f"s{each}", each + "v"] for each in KEYS[::2]], *batches]:
            answers, expected = self.through.ask_all(commands), self.plain.ask_all(commands)
            assert answers == expected, commands
            assert list(map(type, answers)) == list(map(type, expected))
        assert content(self.through) == content(self.plain)

    def close(self) -> None:
        """Let go."""
        self.through.close()
        self.plain.close()


def proxied(cluster: Part, redirects: bool = True) -> Part:
    """A bootstrap with a redis_proxy, of either version of RESP, in front of a cluster named c."""
    value = {"protocol_version": "ANY"}
    typed = {"@type": "type.googleapis.com/xds.type.v3.TypedStruct", "value": value}
    options = {"name": "meshd.filters.network.redis_options", "typed_config": typed}
    settings_ = {"op_timeout": "5s", "enable_hashtagging": True, "enable_redirection": redirects}
    redis = network(
        "redis_proxy",
        "RedisProxy",
        stat_prefix="r",
        settings=settings_,
        prefix_routes={"catch_all_route": {"cluster": "c"}},
    )
    return bootstrap(
        listener(chain(options, redis)), clusters=[{"name": "c", "connect_timeout": "1s", **cluster}]
    )


def endpoints(ports: Sequence[int]) -> Part:
    """A load_assignment."""
    found = [{"endpoint": {"address": address(port)}} for port in ports]
    return {"cluster_name": "c", "endpoints": [{"lb_endpoints": found}]}


@pytest.fixture(scope="module")
def plain() -> Iterator[RedisServer]:
    """The plain server."""
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["RING_HASH", "RING_HASH 3", "MAGLEV", "ROUND_ROBIN one"])
def hashed(request: pytest.FixtureRequest, plain: RedisServer, tmp_path_factory: Any) -> Iterator[Pair]:
    """Four plain servers, by hash, with RESP2 or RESP3; or one."""
    count = 1 if "one" in request.param else 4
    servers = [RedisServer() for _ in range(count)]
    policy = {"type": "STATIC", "lb_policy": request.param.split()[0]}
    assignment = endpoints([server.port for server in servers])
    part = proxied({**policy, "load_assignment": assignment}, redirects="3" in request.param)
    protocol = "3" if "3" in request.param else "2"
    yield from pair(part, plain, tmp_path_factory.mktemp("hashed"), protocol)
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def slotted(plain: RedisServer, tmp_path_factory: Any) -> Iterator[Pair]:
    """A Redis Cluster of three primaries."""
    servers = RedisCluster(replicas=0)
    kind = "type.googleapis.com/envoy.extensions.clusters.redis.v3.RedisClusterConfig"
    part = proxied(
        {
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {"name": "envoy.clusters.redis", "typed_config": {"@type": kind}},
            "load_assignment": endpoints([servers.servers[0].port]),
        }
    )
    yield from pair(part, plain, tmp_path_factory.mktemp("slotted"))
    servers.stop()


def pair(part: Part, plain: RedisServer, directory: Path, protocol: str = "2") -> Iterator[Pair]:
    """Start meshd; have it and the plain server."""
    proxy = Proxy("meshd", part, directory)
    try:
        made = Pair(proxy, plain, protocol)
        yield made
        made.close()
    finally:
        proxy.stop()


def every_command(chance: random.Random) -> list[list[Command]]:
    """Return a stream that has each command once."""
    shapes = [shape for shape in ALL_SHAPES if shape != "FLUSHALL"]
    chance.shuffle(shapes)
    return [[[chance.choice(choices(each, KEYS)) for each in shape.split()]] for shape in shapes]


def test_every_command_hashed(hashed: Pair) -> None:
    """Each command, several times, has the answer that one server gives."""
    for seed in range(15):
        hashed.hold(every_command(random.Random(seed)))


def test_every_command_slotted(slotted: Pair) -> None:
    """So it has from a Redis Cluster."""
    for seed in range(15):
        slotted.hold(every_command(random.Random(seed)))


@given(stream=STREAMS)
def test_hashed(hashed: Pair, stream: list[list[Command]]) -> None:
    """Several servers by hash answer as one does."""
    hashed.hold(stream)


@given(batches=BATCHES)
def test_batches_hashed(hashed: Pair, batches: list[list[Command]]) -> None:
    """Commands that come alone or in pieces of one shape are answered by several servers as by one."""
    hashed.hold_batches(batches)


@given(batches=BATCHES)
def test_batches_slotted(slotted: Pair, batches: list[list[Command]]) -> None:
    """So they are by a Redis Cluster."""
    slotted.hold_batches(batches)


@given(stream=STREAMS)
def test_slotted(slotted: Pair, stream: list[list[Command]]) -> None:
    """A Redis Cluster answers as one server does."""
    slotted.hold(stream)
