"""Redis programs through meshd, in front of real servers."""

from __future__ import annotations

import contextlib
import random
import socket
import string
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import txredisapi
from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase

from tests.bench.programs import file_limit, raise_file_limit
from tests.interop.oracle import Proxy
from tests.interop.peers import wait_until
from tests.interop.yaml_parts import Part, bootstrap, cluster, listener, network
from tests.redis_servers import ErrorReply, RedisServer, Talk

OPTIONS = "meshd.filters.network.redis_options"


def redis_filter(**fields: Any) -> Part:
    """A redis_proxy filter under the stat prefix r, before the cluster c."""
    settings = {"op_timeout": "2s", "enable_hashtagging": True, **fields.pop("settings", {})}
    fields.setdefault("prefix_routes", {"catch_all_route": {"cluster": "c"}})
    return network("redis_proxy", "RedisProxy", stat_prefix="r", settings=settings, **fields)


def options(**fields: Any) -> Part:
    """A redis_options filter."""
    struct = {"@type": "type.googleapis.com/xds.type.v3.TypedStruct"}
    return {
        "name": OPTIONS,
        "typed_config": {**struct, "type_url": f"type.googleapis.com/{OPTIONS}", "value": fields},
    }


class Setup:
    """meshd before some servers, and one plain server to compare with."""

    def __init__(self, directory: Path) -> None:
        self.shards = [RedisServer() for _ in range(3)]
        self.plain = RedisServer()
        config = bootstrap(
            listener({"filters": [options(protocol_version="ANY", hot_keys=3), redis_filter()]}),
            clusters=[cluster(*self.shards, lb_policy="MAGLEV")],
        )
        self.proxy = Proxy("meshd", config, directory)
        self.port = int(self.proxy.address()[1])

    def client(self, **more: Any) -> Any:
        """Return a redis-py client of the proxy."""
        return redis.Redis(port=self.port, **{"protocol": 2, "socket_timeout": 10, **more})

    def stop(self) -> None:
        """Leave nothing behind."""
        self.proxy.stop()
        for server in (*self.shards, self.plain):
            server.stop()


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """Three shards."""
    made = Setup(tmp_path_factory.mktemp("redis"))
    try:
        yield made
    finally:
        made.stop()


class TestRedisPy:
    """redis-py, which believes to speak to one server."""

    @pytest.fixture(params=(2, 3))
    def client(self, setup: Setup, request: pytest.FixtureRequest) -> Any:
        """A client of RESP2, and one of RESP3."""
        client = setup.client(protocol=request.param, decode_responses=True)
        client.flushall()
        return client

    def test_keys(self, client: Any) -> None:
        """Keys are spread, and found again one by one and together."""
        values = {f"k{number}": str(number) for number in range(200)}
        assert client.mset(values)
        assert client.mget([*values, "none"]) == [*values.values(), None]
        assert client.dbsize() == 200
        assert sorted(client.keys("*")) == sorted(client.scan_iter(count=7)) == sorted(values)
        assert client.delete(*values) == 200
        assert client.exists("k1") == 0

    def test_types(self, client: Any) -> None:
        """Replies of all types are what a server sends to this version of RESP."""
        client.hset("h", mapping={"a": 1})
        client.zadd("z", {"a": 1.5})
        client.sadd("s", "x")
        assert client.hgetall("h") == {"a": "1"}
        assert client.zrange("z", 0, -1, withscores=True) in ([("a", 1.5)], [["a", 1.5]])
        assert client.smembers("s") == {"x"}
        assert client.config_get("maxmemory") == {"maxmemory": "0"}
        assert client.info()["redis_hosts"] == 3

    def test_pipeline_and_transaction(self, client: Any) -> None:
        """Pipelines come back in order; a transaction is done as one, or not at all."""
        pipe = client.pipeline(transaction=False)
        for number in range(300):
            pipe.set(f"p{number}", number)
            pipe.get(f"p{number}")
        assert pipe.execute() == [each for number in range(300) for each in (True, str(number))]
        with client.pipeline() as pipe:
            pipe.watch("{t}a")
            pipe.multi()
            pipe.incr("{t}a").incr("{t}b")
            assert pipe.execute() == [1, 1]
            pipe.watch("{t}a")
            client.incr("{t}a")
            pipe.multi()
            pipe.incr("{t}b")
            with pytest.raises(redis.WatchError):
                pipe.execute()
        assert client.get("{t}b") == "1"

    def test_blocking(self, client: Any, setup: Setup) -> None:
        """Who waits for a list gets what is pushed, and holds nobody up."""
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(setup.client().blpop("q", 10)))
        thread.start()
        wait_until(lambda: client.info("clients")["blocked_clients"] == 1, "the client to be blocked")
        client.rpush("q", "x")
        thread.join(10)
        assert found == [(b"q", b"x")] or found == [[b"q", b"x"]]

    def test_blocked_client_gone(self, client: Any, setup: Setup) -> None:
        """What is pushed after a client that waited has gone is still there."""
        with socket.create_connection(("127.0.0.1", setup.port)) as sock:
            sock.sendall(b"BLPOP gone 0\r\n")
            wait_until(lambda: client.info("clients")["blocked_clients"] == 1, "the client to be blocked")
        wait_until(lambda: client.info("clients")["blocked_clients"] == 0, "the client to be gone")
        assert client.rpush("gone", "x") == 1
        assert client.llen("gone") == 1

    def test_pubsub(self, client: Any) -> None:
        """Messages come, by channel and by pattern."""
        pubsub = client.pubsub()
        pubsub.subscribe("c1", "c2")
        pubsub.psubscribe("c*")
        heard: list[Any] = []

        def listen() -> bool:
            message = pubsub.get_message(timeout=0.05)
            if message is not None:
                heard.append((message["type"], message["channel"], message["data"]))
            return len(heard) >= 3

        wait_until(listen, "three acknowledgements")
        assert client.publish("c2", "hi") == 2
        wait_until(lambda: listen() and len(heard) == 5, "two messages")
        assert sorted(heard[3:]) == [("message", "c2", "hi"), ("pmessage", "c2", "hi")]
        pubsub.close()

    def test_select(self, client: Any, setup: Setup) -> None:
        """A database is the client's own."""
        other = setup.client(db=1, decode_responses=True)
        client.set("s", "zero")
        other.set("s", "one")
        assert (client.get("s"), other.get("s"), other.dbsize()) == ("zero", "one", 1)

    def test_scripts(self, client: Any) -> None:
        """A script that was loaded is found at every shard, and refused where its keys are apart."""
        script = client.register_script("return redis.call('incr', KEYS[1])")
        assert [script(keys=[f"n{number}"]) for number in range(10)] == [1] * 10
        with pytest.raises(redis.ResponseError, match="don't hash to the same slot"):
            client.eval("return 1", 26, *string.ascii_lowercase)  # not all of them by chance in one place

    def test_wait(self, client: Any) -> None:
        """There are no replicas to wait for."""
        client.set("w", 1)
        assert client.wait(1, 10) == 0


class TestTracking:
    """CLIENT TRACKING with RESP3."""

    def test_invalidation(self, setup: Setup) -> None:
        """A client that read a key is told when another changes it."""
        other = setup.client()
        talk = Talk(setup.port)
        talk.send([("HELLO", "3"), ("CLIENT", "TRACKING", "ON"), ("GET", "tracked")])
        read = b""
        while not read.endswith(b"_\r\n"):
            read += talk._socket.recv(4096)
        other.set("tracked", 1)
        push = b""
        while not push.endswith(b"tracked\r\n"):
            push += talk._socket.recv(4096)
        assert push == b">2\r\n$10\r\ninvalidate\r\n*1\r\n$7\r\ntracked\r\n"
        talk.close()


class TestTxRedisApi(TestCase):
    """txredisapi, whose commands are Deferreds; one server will do."""

    def setUp(self) -> None:
        self.server = RedisServer()
        self.addCleanup(self.server.stop)
        config = bootstrap(listener(redis_filter()), clusters=[cluster(self.server)])
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        self.proxy = Proxy("meshd", config, directory)
        self.addCleanup(self.proxy.stop)

    @inlineCallbacks
    def test_commands(self) -> Any:
        """Commands, pipelines and transactions do what they do with a server."""
        port = int(self.proxy.address()[1])
        connection = yield txredisapi.Connection("127.0.0.1", port, reconnect=False)
        yield connection.set("tx", 1)
        found = yield connection.get("tx")
        self.assertEqual(found, 1)
        transaction = yield connection.multi("tx")
        yield transaction.incr("tx")
        done = yield transaction.commit()
        self.assertEqual(done, [2])
        pipeline = yield connection.pipeline()
        for number in range(50):
            pipeline.set(f"tx{number}", number)
        replies = yield pipeline.execute_pipeline()
        self.assertEqual(replies, ["OK"] * 50)
        yield connection.disconnect()


def read(sock: socket.socket, size: int) -> bytes:
    """Return exactly so many bytes, or fewer at the end."""
    found = b""
    while len(found) < size and (data := sock.recv(size - len(found))):
        found += data
    return found


class TestManySubscribers:
    """A channel that very many want."""

    def test_each_gets_it(self, setup: Setup) -> None:
        """Each of many subscribers gets each message, while the servers know of one."""
        raise_file_limit()
        count = min(10_000, (file_limit() - 500) // 2)
        with contextlib.ExitStack() as stack:
            socks = []
            for _ in range(count):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", setup.port)))
                sock.sendall(b"SUBSCRIBE many\r\n")
                socks.append(sock)
            ack = b"*3\r\n$9\r\nsubscribe\r\n$4\r\nmany\r\n:1\r\n"
            for sock in socks:
                sock.settimeout(30)
                assert read(sock, len(ack)) == ack
            client = setup.client(socket_timeout=30)
            for number in range(3):
                assert client.publish("many", f"hello{number}") == 1
            message = b"*3\r\n$7\r\nmessage\r\n$4\r\nmany\r\n$6\r\nhello%d\r\n"
            wanted = b"".join(message % number for number in range(3))
            assert all(read(sock, len(wanted)) == wanted for sock in socks)
            assert setup.proxy.stat("redis.r.subscribers") == count


class TestPrograms:
    """The programs that come with Redis."""

    def cli(self, setup: Setup, *words: str, said: str = "") -> str:
        """Run redis-cli; return what it prints."""
        done = subprocess.run(
            ["redis-cli", "-p", str(setup.port), *words],
            input=said,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout

    def test_cli(self, setup: Setup) -> None:
        """redis-cli speaks both versions, and scans all shards."""
        assert self.cli(setup, "SET", "cli", "1") == "OK\n"
        assert self.cli(setup, "-3", "GET", "cli") == "1\n"
        assert "cli" in self.cli(setup, "--scan").split()
        assert self.cli(setup, said="MULTI\nINCR cli\nEXEC\nPING hello\n") == "OK\nQUEUED\n2\nhello\n"

    def test_pipe(self, setup: Setup) -> None:
        """redis-cli --pipe loads in bulk, and loses nothing."""
        lines = "".join(f"SET pipe{number} {number}\r\n" for number in range(5000))
        assert "errors: 0, replies: 5000" in self.cli(setup, "--pipe", said=lines)
        assert setup.client().mget([f"pipe{number}" for number in range(5000)])[4999] == b"4999"

    def test_benchmark(self, setup: Setup) -> None:
        """redis-benchmark runs to its end with pipelines, and without."""
        for depth in ("1", "16"):
            done = subprocess.run(
                ["redis-benchmark", "-p", str(setup.port), "-n", "3000", "-c", "20", "-P", depth, "-r", "999",
                 "-q", "-t", "set,get,incr,lpush,hset,mset"],
                capture_output=True, text=True, timeout=60, check=True,
            )  # fmt: skip
            assert done.stdout.count("requests per second") == 6, done.stdout + done.stderr

    def test_hot_keys(self, setup: Setup) -> None:
        """The admin page tells which keys are used most."""
        pipe = setup.client().pipeline(transaction=False)
        for _ in range(20_000):
            pipe.get("hottest")
        pipe.execute()
        assert "'hottest'" in setup.proxy.get("/redis_hot_keys").text.splitlines()[0]


#: Commands of which many shards promise what one server does; K is a key, V a value.
STREAM = """
    SET K V|GET K|APPEND K V|STRLEN K|INCR K|DECRBY K 3|GETSET K V|SETNX K V|GETRANGE K 0 2|SETRANGE K 2 V
    DEL K K K|EXISTS K K|UNLINK K K|TOUCH K K K|MSET K V K V|MGET K K K K|TYPE K|EXPIRE K 1000|PERSIST K|TTL K
    LPUSH K V V|RPUSH K V|LPOP K|LRANGE K 0 -1|LLEN K|LINDEX K 0|LREM K 0 V
    SADD K V V|SREM K V|SCARD K|SISMEMBER K V
    HSET K f V|HGET K f|HDEL K f|HGETALL K|HINCRBY K f 2
    ZADD K 1 V|ZSCORE K V|ZRANGE K 0 -1 WITHSCORES|ZCARD K|ZINCRBY K 2 V
    SETBIT K 7 1|BITCOUNT K|PFADD K V|PFCOUNT K|OBJECT ENCODING K
    XADD K 1-1 f V|XLEN K|XRANGE K - +|XREAD STREAMS K 0|BLPOP K 0.01
    RENAME {T}K {T}K|SINTERSTORE {T}K {T}K {T}K|BITOP AND {T}K {T}K|SMOVE {T}K {T}K V|COPY {T}K {T}K
    ZUNION 2 {T}K {T}K|EVAL S 1 K|MSETNX {T}K V {T}K V|LMOVE {T}K {T}K LEFT RIGHT|SORT {T}K ALPHA STORE {T}K
    DBSIZE|PING|ECHO V|FOO V|GET|SUBSTR K 0 1|SETEX K x V|SELECT 0|SCRIPT EXISTS abc
""".replace("\n", "|")
SCRIPT = "return redis.call('type', KEYS[1])"


def commands(rng: random.Random, count: int) -> list[list[str]]:
    """Return random commands."""
    kinds = [each.split() for each in STREAM.split("|") if each.strip()]
    found = []
    for _ in range(count):
        tag = rng.choice("ab")
        words = []
        for word in rng.choice(kinds):
            key = f"k{rng.randrange(12)}"
            made = {"K": key, "{T}K": f"{{{tag}}}{key}", "S": SCRIPT, "V": rng.choice(("1", "v", "22"))}
            words.append(made.get(word, word))
        found.append(words)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_as_one_server(setup: Setup, seed: int) -> None:
    """Random commands through three shards are answered as one plain server answers them."""
    rng = random.Random(seed)
    through, plain = Talk(setup.port), setup.plain.talk()
    through.ask("FLUSHALL")
    plain.ask("FLUSHALL")
    sent = commands(rng, 600)
    for start in range(0, len(sent), 40):
        some = sent[start : start + 40]
        through.send(some)
        plain.send(some)
        for command in some:
            ours, theirs = through.read(), plain.read()
            if isinstance(ours, ErrorReply) and isinstance(theirs, ErrorReply):
                continue  # the words for a wrong command are Envoy's
            assert ours == theirs, command
    through.close()
    plain.close()


class TestFailures:
    """Servers that hang or go."""

    def test_hung_server(self, setup: Setup) -> None:
        """A server that hangs costs those commands that want it, and no others."""
        client = setup.client()
        hung = setup.shards[0]
        keys: dict[int, str] = {}
        for number in range(100):
            client.set(f"f{number}", 1)
        for index, server in enumerate(setup.shards):
            talk = server.talk()
            keys[index] = next(key.decode() for key in talk.ask("KEYS", "f*"))
            talk.close()
        sleeper = hung.talk()
        sleeper.send([("DEBUG", "SLEEP", "4")])
        time.sleep(0.1)
        victim, other = Talk(setup.port), Talk(setup.port)
        victim.send([("GET", keys[0])])
        begun = time.monotonic()
        assert other.ask("GET", keys[1]) == b"1"
        assert other.ask("GET", keys[2]) == b"1"
        waited = time.monotonic() - begun
        assert victim.read() == ErrorReply("upstream failure")
        assert waited < time.monotonic() - begun, "the others did not wait for the one that hangs"
        sleeper.read()
        sleeper.close()
        wait_until(lambda: Talk(setup.port).ask("GET", keys[0]) == b"1", "the server to be back")

    def test_killed_server(self, setup: Setup) -> None:
        """A server that is killed and comes back is used again; what was acknowledged by others is there."""
        client = setup.client()
        killed = setup.shards[2]
        killed.kill()
        errors = 0
        for number in range(60):
            try:
                client.set(f"g{number}", number)
            except redis.ResponseError as error:
                assert str(error) == "upstream failure"
                errors += 1
        assert 0 < errors < 60
        killed.start()
        wait_until(
            lambda: all(Talk(setup.port).ask("SET", f"g{n}", "x") == b"OK" for n in range(20)), "it to serve"
        )
