"""The Redis proxy: the same bytes to Envoy and to meshd, in front of real servers."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshd.codec.resp import encode
from tests.integration.test_redis import redis_filter
from tests.interop.oracle import Proxy
from tests.interop.peers import Backend, Nobody, Peer
from tests.interop.yaml_parts import bootstrap, cluster, listener
from tests.redis_servers import RedisServer

HASHING: tuple[dict[str, Any], ...] = (
    {"lb_policy": "MAGLEV"},
    {"lb_policy": "RING_HASH"},
    {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"hash_function": "MURMUR_HASH_2"}},
)


class Both:
    """Envoy and meshd under one config, and servers; what is sent to them is sent to each."""

    def __init__(
        self,
        directory: Path,
        *servers: Any,
        policy: dict[str, Any] = HASHING[0],
        mirrored: Any = None,
        **fields: Any,
    ) -> None:
        self.servers = [server for server in servers if isinstance(server, RedisServer)]
        self.proxies: list[Proxy] = []
        other = cluster(mirrored or servers[0], name="other", **policy)
        config = bootstrap(listener(redis_filter(**fields)), clusters=[cluster(*servers, **policy), other])
        for kind in ("envoy", "meshd"):
            place = directory / kind
            place.mkdir(exist_ok=True)
            self.proxies.append(Proxy(kind, config, place))

    #: Whether each proxy finds the servers empty.
    flushing = True

    def say(self, *parts: bytes, pause: float = 0.0) -> list[bytes]:
        """
        Send the parts to each over a new connection, with nothing in the servers.

        Return what each answers until it is silent or closes.
        """
        answers = []
        for proxy in self.proxies:
            for server in self.servers if self.flushing else ():
                talk = server.talk()
                talk.ask("FLUSHALL")
                talk.close()
            host, port = address_of(proxy)
            with socket.create_connection((host, port)) as sock:
                for part in parts:
                    sock.sendall(part)
                    time.sleep(pause)
                answers.append(hear(sock))
        return answers

    def stop(self) -> None:
        """End both."""
        for proxy in self.proxies:
            proxy.stop()


def address_of(proxy: Proxy) -> tuple[str, int]:
    """Return where a proxy listens."""
    host, port = proxy.address()  # type: ignore[str-unpack]
    return str(host), int(port)


def hear(sock: socket.socket) -> bytes:
    """Read until there is silence, or the end, which is told; the first answer may take longer."""
    heard = b""
    sock.settimeout(2.0)
    try:
        while data := sock.recv(65536):
            heard += data
            sock.settimeout(0.2)
    except TimeoutError:
        return heard
    return heard + b"<FIN>"


@pytest.fixture(scope="module")
def servers() -> Iterator[list[RedisServer]]:
    """Three servers."""
    made = [RedisServer() for _ in range(3)]
    try:
        yield made
    finally:
        for each in made:
            each.stop()


@pytest.fixture(scope="module")
def both(servers: list[RedisServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both proxies in front of the servers."""
    made = Both(tmp_path_factory.mktemp("both"), *servers)
    try:
        yield made
    finally:
        made.stop()


SAME: dict[str, str] = {
    "ping": "PING",
    "echo": "ECHO x|ECHO|ECHO a b",
    "auth without a password": "AUTH p|AUTH u p|AUTH",
    "hello of unknown versions": "HELLO 3|HELLO 4|HELLO x",
    "client": "CLIENT SETNAME x|CLIENT SETINFO LIB-NAME y|CLIENT SETNAME|CLIENT|CLIENT KILL x",
    "quit": "QUIT|PING",
    "unknown commands": "FOO|FOO a b|MIGRATEX a",
    "too few arguments": "GET|MGET|DEL|MSET a|SELECT",
    "too many arguments": "GET a b",
    "no commands": "+OK|:1|*1|:1|*1|*1|$1|a|*1|$-1|%1|$1|a|$1|b|PING",
    "inline": 'SET inl "a b"|GET inl|  PING',
    "strings": "SET s v|get s|APPEND s w|STRLEN s|INCR s|GETRANGE s 0 0|DEL s|GET s",
    "types": "HSET t a 1|HGETALL t|GET t|TYPE t|ZADD z 1 a|ZRANGE z 0 -1 WITHSCORES",
    "split": "MSET a 1 b 2 c 3 d 4|MGET a b c d none|EXISTS a b c d e|TOUCH a b|UNLINK a b|DEL c d e",
    "multi": "MULTI|SET m v|GET m|EXEC",
    "an empty multi": "MULTI|EXEC",
    "multi and discard": "MULTI|DISCARD",
    "what was discarded": "MULTI|SET d w|DISCARD|GET d",
    "multi at the wrong time": "EXEC|DISCARD|MULTI|MULTI|WATCH k|PING|DISCARD",
    "a command that fails in a transaction": "MULTI|SET a|SET k v|EXEC",
    "watch": "WATCH k|MULTI|SET k w|EXEC",
    "unwatch": "UNWATCH|WATCH",
    "scripts": 'EVAL "return KEYS[1]" 1 k|SCRIPT LOAD "return 1"|SCRIPT EXISTS abc',
    "publish": "PUBLISH a b",
}


@pytest.mark.parametrize("name", SAME)
def test_same(both: Both, name: str) -> None:
    """meshd answers as Envoy does, letter by letter."""
    envoy, meshd = both.say(SAME[name].replace("|", "\r\n").encode() + b"\r\n")
    assert meshd == envoy


#: What Envoy does, and meshd, where Envoy is wrong: see docs/differences.rst.
APART: dict[str, tuple[str, bytes, bytes]] = {
    "the words of a protocol error are Redis's": (
        "@x",
        b"-downstream protocol error\r\n<FIN>",
        b"-ERR Protocol error: expected '$', got '@'\r\n<FIN>",
    ),
    "PING echoes": ("PING x", b"+PONG\r\n", b"$1\r\nx\r\n"),
    "empty lines are nothing": ("||PING", b"-invalid request\r\n" * 2 + b"+PONG\r\n", b"+PONG\r\n"),
    "a second transaction in a pipeline": (
        "MULTI|SET m v|EXEC|MULTI|SET m w|EXEC",
        b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n"
        b"-MULTI calls can not be nested\r\n+OK\r\n-ERR EXEC without MULTI\r\n",
        b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n" * 2,
    ),
    "a transaction with an unknown command": (
        "MULTI|FOO x|EXEC",
        b"+OK\r\n-ERR unknown command 'FOO', with args beginning with: x\r\n*0\r\n",
        b"+OK\r\n-ERR unknown command 'FOO', with args beginning with: x\r\n"
        b"-EXECABORT Transaction discarded because of previous errors.\r\n",
    ),
    "keys of several hosts": (
        "MSETNX a 1 b 2 c 3 d 4",
        b":1\r\n",
        b"-CROSSSLOT Keys in request don't hash to the same slot\r\n",
    ),
    "a setting of several hosts": (
        "CONFIG GET maxmemory",
        b"*6\r\n" + b"$9\r\nmaxmemory\r\n$1\r\n0\r\n" * 3,
        b"*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n",
    ),
    "commands that Envoy does not know": (
        "DBSIZE|EXPIRETIME a",
        b"-ERR unknown command 'DBSIZE', with args beginning with: \r\n"
        b"-ERR unknown command 'EXPIRETIME', with args beginning with: a\r\n",
        b":0\r\n:-2\r\n",
    ),
}


@pytest.mark.parametrize("name", APART)
def test_apart(both: Both, name: str) -> None:
    """Where Envoy is wrong, meshd is not."""
    said, envoy, meshd = APART[name]
    assert both.say(said.replace("|", "\r\n").encode() + b"\r\n") == [envoy, meshd]


def test_select(tmp_path: Path, servers: list[RedisServer]) -> None:
    """Envoy selects a database for everybody; meshd for the client that says so."""
    made = Both(tmp_path, servers[0])
    try:
        made.say(b"SELECT 3\r\n")
        made.flushing = False
        found = []
        for proxy in made.proxies:
            servers[0].talk().ask("FLUSHALL")
            host, port = address_of(proxy)
            with socket.create_connection((host, port)) as sock:
                sock.sendall(b"SET y 1\r\n")
                assert hear(sock) == b"+OK\r\n"
            found.append(servers[0].talk().ask("EXISTS", "y"))
        assert found == [0, 1]
    finally:
        made.stop()


def test_same_in_pieces(both: Both) -> None:
    """So it does byte by byte."""
    wire = encode([b"SET", b"pieces", b"a\r\nb"]) + encode([b"GET", b"pieces"])
    envoy, meshd = both.say(*(wire[place : place + 1] for place in range(len(wire))), pause=0.001)
    assert meshd == envoy == b"+OK\r\n$4\r\na\r\nb\r\n"


@pytest.mark.parametrize("policy", range(len(HASHING)))
@pytest.mark.parametrize("tags", [False, True])
def test_same_host(tmp_path: Path, servers: list[RedisServer], policy: int, tags: bool) -> None:
    """Of 200 keys each is at the server where Envoy looks for it, with tags and without."""
    made = Both(tmp_path, *servers, policy=HASHING[policy], settings={"enable_hashtagging": tags})
    try:
        keys = [b"{t%d}k%d" % (number % 7, number) for number in range(100)]
        keys += [b"k%d" % number for number in range(96)] + [b"", b"{}x", b"{", b"a{b}c{d}"]
        write = b"".join(encode([b"SET", key, b"%d" % number]) for number, key in enumerate(keys))
        read = b"".join(encode([b"GET", key]) for key in keys)
        by_envoy = [server.talk() for server in servers]
        for talk in by_envoy:
            talk.ask("FLUSHALL")
        host, port = address_of(made.proxies[0])
        with socket.create_connection((host, port)) as sock:
            sock.sendall(write)
            assert hear(sock) == b"+OK\r\n" * len(keys)
        assert sum(talk.ask("DBSIZE") for talk in by_envoy) == len(set(keys))
        made.flushing = False
        envoy, meshd = made.say(read)
        assert meshd == envoy
        assert b"$-1" not in meshd
    finally:
        made.stop()


def test_password(tmp_path: Path, servers: list[RedisServer]) -> None:
    """Passwords are wanted, and refused, in the same words."""
    login: dict[str, Any] = {"downstream_auth_passwords": [{"inline_string": "pw"}]}
    made = Both(tmp_path, *servers, **login)
    try:
        for said in (
            b"PING\r\nGET a\r\nAUTH x\r\nAUTH pw\r\nPING\r\nAUTH x\r\nPING\r\n",
            b"AUTH default pw\r\nPING\r\n",
            b"AUTH joe pw\r\nPING\r\n",
        ):
            envoy, meshd = made.say(said)
            assert meshd == envoy
    finally:
        made.stop()


def test_password_of_hosts(tmp_path: Path) -> None:
    """Both log on to a host that wants it, and say the same if it does not let them in."""
    kind = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions"
    server = RedisServer("--requirepass", "pw")
    try:
        for password, told in (("pw", b"+OK\r\n$1\r\n1\r\n"), (None, None)):
            policy: dict[str, Any] = {"lb_policy": "MAGLEV"}
            if password is not None:
                login = {"@type": kind, "auth_password": {"inline_string": password}}
                policy["typed_extension_protocol_options"] = {"envoy.filters.network.redis_proxy": login}
            made = Both(tmp_path, server, policy=policy)
            made.flushing = False
            try:
                envoy, meshd = made.say(b"SET a 1\r\nGET a\r\n")
                assert meshd == envoy
                assert told in (None, meshd)
            finally:
                made.stop()
    finally:
        server.stop()


def test_mirror(tmp_path: Path, servers: list[RedisServer]) -> None:
    """A mirror gets what is written, and nobody waits for it."""
    mirror = {"cluster": "other", "exclude_read_commands": True}
    routes = {"catch_all_route": {"cluster": "c", "request_mirror_policy": [mirror]}}
    for proxy in (0, 1):
        made = Both(tmp_path, servers[0], mirrored=servers[1], prefix_routes=routes)
        try:
            servers[1].talk().ask("FLUSHALL")
            with socket.create_connection(address_of(made.proxies[proxy])) as sock:
                sock.sendall(b"SET mirrored 1\r\nGET mirrored\r\n")
                assert hear(sock) == b"+OK\r\n$1\r\n1\r\n"
            assert servers[1].talk().ask("GET", "mirrored") == b"1"
        finally:
            made.stop()


def test_prefix_routes(tmp_path: Path, servers: list[RedisServer]) -> None:
    """Keys go to the clusters of their prefixes, under the names that the routes say."""
    routes = {
        "routes": [
            {"prefix": "a:", "cluster": "other", "remove_prefix": True},
            {"prefix": "b:", "cluster": "other", "key_formatter": "{%KEY%}-x"},
            {"prefix": "Cc", "cluster": "other"},
        ],
        "case_insensitive": True,
    }
    made = Both(tmp_path, *servers, prefix_routes=routes)
    try:
        servers[0].talk().ask("FLUSHALL")
        said = b"SET a:k 1\r\nSET b:k 2\r\nSET cCk 3\r\nGET nowhere\r\nMGET a:k b:k\r\n"
        envoy, meshd = made.say(said)
        assert meshd == envoy
        assert sorted(servers[0].talk().ask("KEYS", "*")) == [b"cCk", b"k", b"{b:k}-x"]
    finally:
        made.stop()


def test_everywhere(tmp_path: Path, servers: list[RedisServer]) -> None:
    """Commands about all servers ask those of the catch-all route; keys of other routes are not found."""
    routes = {"routes": [{"prefix": each, "cluster": "other"} for each in ("a:", "b:")]}
    said = b"SET a:k 1\r\nSET k 1\r\nKEYS *\r\nRANDOMKEY\r\nFLUSHALL\r\nEXISTS a:k\r\n"
    none = b"-no upstream host\r\n"
    for more, answer in (
        ({"catch_all_route": {"cluster": "c"}}, b"+OK\r\n*1\r\n$1\r\nk\r\n$1\r\nk\r\n+OK\r\n:1\r\n"),
        ({}, none * 4 + b":1\r\n"),
    ):
        made = Both(tmp_path, servers[0], mirrored=servers[1], prefix_routes={**routes, **more})
        try:
            assert made.say(said) == [b"+OK\r\n" + answer] * 2
        finally:
            made.stop()


def test_faults(tmp_path: Path, servers: list[RedisServer]) -> None:
    """An injected error has the same words."""
    enabled = {"default_value": {"numerator": 100}}
    faults = [{"fault_type": "ERROR", "fault_enabled": enabled, "commands": ["get"]}]
    made = Both(tmp_path, *servers, faults=faults)
    try:
        envoy, meshd = made.say(b"GET a\r\nSET a 1\r\n")
        assert meshd == envoy
    finally:
        made.stop()


def reply(data: bytes, closing: bool = False) -> Any:
    """Return a script that answers each read with data."""

    def script(peer: Peer) -> None:
        while peer.some():
            peer.send(data)
            if closing:
                return

    return script


@pytest.mark.parametrize(
    ("data", "closing"),
    [(b"-ERR no\r\n", False), (b"-MOVED 1 127.0.0.1:1\r\n", False), (b"", True), (b"", False)],
    ids=["an error", "a redirection", "the end", "nothing"],
)
def test_what_hosts_do(tmp_path: Path, data: bytes, closing: bool) -> None:
    """What a host answers, or does not, is told in the same words."""
    backend = Backend(reply(data, closing))
    made = Both(tmp_path, backend, settings={"op_timeout": "1s"})
    try:
        envoy, meshd = made.say(b"GET a\r\n", pause=0.5)
        assert meshd == envoy
    finally:
        made.stop()
        backend.close()


def test_no_host(tmp_path: Path) -> None:
    """A host that refuses is an upstream failure, for each of several keys too."""
    nobody = Nobody()
    made = Both(tmp_path, nobody)
    try:
        envoy, meshd = made.say(b"GET a\r\nMGET a b\r\n", pause=0.2)
        assert envoy == b"-upstream failure\r\n*2\r\n-upstream failure\r\n-upstream failure\r\n"
        # All keys have one host: meshd passes the failure of the only command on.
        assert meshd == b"-upstream failure\r\n-upstream failure\r\n"
    finally:
        made.stop()
        nobody.close()


def test_statistics(tmp_path: Path, servers: list[RedisServer]) -> None:
    """The counters are the same."""
    made = Both(tmp_path, *servers)
    try:
        made.say(b"GET a\r\nSET a 1\r\nMGET a b c\r\nFOO\r\nGET\r\nDEL a\r\nINCR t\r\nHGET t x\r\n")
        pattern = "^redis[.]r[.](downstream_(rq|cx)_(total|active)|splitter|command[.][a-z]+[.][a-z]+$)"
        envoy, meshd = (
            {name: value for name, value in proxy.stats(pattern).items() if value} for proxy in made.proxies
        )
        assert {name: value for name, value in meshd.items() if name in envoy} == envoy
    finally:
        made.stop()
