"""redis_proxy that asks a service who is let in: one service, and the same bytes, to Envoy and to meshd."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.grpc_servers import AuthService
from tests.integration.test_redis import options, redis_filter
from tests.interop.oracle import KINDS, Proxy
from tests.interop.peers import Nobody
from tests.interop.test_redis import address_of
from tests.interop.yaml_parts import Part, bootstrap, cluster, listener
from tests.redis_servers import RedisServer

HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HTTP2: Part = {
    "typed_extension_protocol_options": {
        HTTP: {
            "@type": f"type.googleapis.com/{HTTP}",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
}


class Both:
    """Envoy and meshd before a server, and a service that they ask."""

    def __init__(
        self, directory: Path, hosts: Any = None, provider: Part | None = None, **fields: Any
    ) -> None:
        self.redis = RedisServer()
        self.service = AuthService()
        service = {"envoy_grpc": {"cluster_name": "auth"}, **(provider or {}).pop("grpc_service", {})}
        wanted = {"grpc_service": service, **(provider or {})}
        auth = cluster(*([self.service] if hosts is None else hosts), name="auth", **HTTP2)
        config = bootstrap(
            listener(redis_filter(external_auth_provider=wanted, **fields)),
            clusters=[cluster(self.redis), auth],
        )
        self.proxies = []
        for kind in KINDS:
            place = directory / kind
            place.mkdir()
            self.proxies.append(Proxy(kind, config, place))

    def say(self, *parts: str, pause: float = 0.0) -> list[bytes]:
        """Send the parts, lines between |, to each, then QUIT; return what each answers before its +OK."""
        answers = []
        for proxy in self.proxies:
            with socket.create_connection(address_of(proxy), timeout=20) as sock:
                for part in parts:
                    sock.sendall(part.replace("|", "\r\n").encode() + b"\r\n")
                    time.sleep(pause)
                sock.sendall(b"QUIT\r\n")
                with sock.makefile("rb") as file:
                    answer = file.read()
                assert answer.endswith(b"+OK\r\n"), answer
                answers.append(answer[: -len(b"+OK\r\n")])
        return answers

    def stats(self) -> list[dict[str, int]]:
        """Return what each counts of requests to the service, and of connections."""
        pattern = "^cluster[.]auth[.](internal[.])?upstream_(rq|cx)_"
        return [
            {name: value for name, value in proxy.stats(pattern).items() if value and "bytes" not in name}
            for proxy in self.proxies
        ]

    def stop(self) -> None:
        """End all."""
        for proxy in self.proxies:
            proxy.stop()
        self.service.stop()
        self.redis.stop()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both, with time enough for the service."""
    made = Both(tmp_path_factory.mktemp("auth"), provider={"grpc_service": {"timeout": "10s"}})
    try:
        yield made
    finally:
        made.stop()


SAME = {
    "before": "PING|GET a|FOO|GET",
    "a password": "AUTH x|PING|GET a",
    "a user and a password": "AUTH u x|PING",
    "no": "AUTH code:7|PING",
    "no, with a text": "AUTH code:16:go|PING",
    "another code": "AUTH code:5:not-found|PING",
    "a status of gRPC": "AUTH abort|PING",
    "no after yes": "AUTH x|PING|AUTH code:7|PING",
    "another code after yes": "AUTH x|AUTH code:5|PING",
    "failure after yes": "AUTH x|AUTH abort|PING",
    "what comes meanwhile": "AUTH wait:0.1|PING|AUTH code:7|PING|AUTH wait:0.1|PING",
    "in a transaction": "AUTH x|MULTI|SET a 1|AUTH x|EXEC",
    "HELLO, no": "HELLO 2 AUTH u code:7|PING",
    "HELLO, no, with a text": "HELLO 2 AUTH u code:16:go|PING",
    "HELLO, failure": "HELLO 2 AUTH u abort|PING",
    "too few": "AUTH",
}


@pytest.mark.parametrize("name", SAME)
def test_same(both: Both, name: str) -> None:
    """meshd answers as Envoy does, letter by letter, and asks the service the same."""
    both.service.asked.clear()
    envoy, meshd = both.say(SAME[name])
    assert meshd == envoy
    half = len(both.service.asked) // 2
    assert both.service.asked[:half] == both.service.asked[half:]


def test_too_late(tmp_path: Path) -> None:
    """The service has 0.2 s if nothing else is said; an answer that is later is none."""
    made = Both(tmp_path)
    try:
        envoy, meshd = made.say("AUTH wait:2|PING")
        assert meshd == envoy
        assert meshd.startswith(b"-ERR external authentication failed\r\n")
        assert all(left is not None and left <= 0.2 for left in made.service.remaining)
    finally:
        made.stop()


def test_hello(both: Both) -> None:
    """HELLO with the right password lets in; what it tells is another matter."""
    envoy, meshd = both.say("HELLO 2 AUTH u x|PING")
    assert [len(answer.split(b"\r\n")) for answer in (envoy, meshd)] == [28, 28]
    assert envoy.endswith(b"+PONG\r\n") and meshd.endswith(b"+PONG\r\n")


def test_earlier_commands(both: Both) -> None:
    """Answers come in order, also of commands that the server has not yet answered when AUTH comes."""
    said = "AUTH x|SET k v|GET k|AUTH y|GET k|AUTH code:7|GET k"
    assert both.say(said)[1] == (
        b"+OK\r\n+OK\r\n$1\r\nv\r\n+OK\r\n$1\r\nv\r\n"
        b"-ERR unauthorized\r\n-NOAUTH Authentication required.\r\n"
    )


def test_stats(tmp_path: Path) -> None:
    """Requests and connections are counted alike."""
    made = Both(tmp_path, provider={"grpc_service": {"timeout": "10s"}})
    try:
        for said in ("AUTH x", "AUTH code:7", "AUTH abort", "AUTH x|AUTH y"):
            made.say(said)
        envoy, meshd = made.stats()
        assert meshd == envoy
    finally:
        made.stop()


def test_service(tmp_path: Path) -> None:
    """The time, and what else goes with the question, is what the config says; passwords do not count."""
    metadata = [{"key": "x-a", "value": "50%%"}, {"key": "x-b-bin", "value": "c"}]
    service = {"timeout": "9s", "initial_metadata": metadata}
    made = Both(
        tmp_path,
        provider={"grpc_service": service},
        downstream_auth_passwords=[{"inline_string": "pw"}],
    )
    try:
        assert made.say("AUTH wait:0.5|PING") == [b"+OK\r\n+PONG\r\n"] * 2
        assert made.say("AUTH pw|AUTH code:7") == [b"+OK\r\n-ERR unauthorized\r\n"] * 2
        own = [
            {name: value for name, value in each.items() if name in ("x-a", "x-b-bin")}
            for each in made.service.metadata
        ]
        assert own == [{"x-a": "50%", "x-b-bin": b"c"}] * 6
        assert all(left is not None and 5 < left <= 9 for left in made.service.remaining)
        theirs, ours = made.service.metadata[0], made.service.metadata[1]
        assert {name for name in set(theirs) - set(ours) if not name.startswith("x-envoy")} == {
            "x-forwarded-for"
        }
    finally:
        made.stop()


def test_expiration(tmp_path: Path) -> None:
    """When the time is over that the service gave, commands are refused; without a time they are at once."""
    provider = {"grpc_service": {"timeout": "10s"}, "enable_auth_expiration": True}
    made = Both(tmp_path, provider=provider)
    try:
        for said in ("AUTH x|PING", "AUTH until:100|PING", "AUTH until:-1|PING"):
            envoy, meshd = made.say(said)
            assert meshd == envoy
        envoy, meshd = made.say("AUTH until:3|PING", "PING|AUTH until:100|PING", pause=4.5)
        assert meshd == envoy
        assert b"-NOAUTH" in meshd
    finally:
        made.stop()


@pytest.mark.parametrize("there", [True, False])
def test_nobody(tmp_path: Path, there: bool) -> None:
    """A service that is not there, and a cluster without hosts, are told and counted alike."""
    nobody = Nobody()
    made = Both(tmp_path, [nobody] if there else [])
    try:
        for said in ("AUTH x|PING|AUTH y|PING", "AUTH u x|PING"):
            envoy, meshd = made.say(said)
            assert meshd == envoy
        envoys, ours = made.stats()
        assert ours == envoys
    finally:
        made.stop()
        nobody.close()


def test_resp3(tmp_path: Path) -> None:
    """A client of RESP3 logs on with HELLO 3, through meshd alone."""
    redis, service = RedisServer(), AuthService()
    wanted = {"grpc_service": {"envoy_grpc": {"cluster_name": "auth"}, "timeout": "10s"}}
    chain = {"filters": [options(protocol_version="ANY"), redis_filter(external_auth_provider=wanted)]}
    config = bootstrap(listener(chain), clusters=[cluster(redis), cluster(service, name="auth")])
    proxy = Proxy("meshd", config, tmp_path)
    try:
        import redis as redis_py

        client: Any = redis_py.Redis(port=address_of(proxy)[1], username="u", password="x", protocol=3)
        assert client.set("k", "v")
        assert client.hset("h", "a", "1") == 1
        assert client.hgetall("h") == {b"a": b"1"}
        assert service.asked == [("u", "x")]
        refused: Any = redis_py.Redis(port=address_of(proxy)[1], username="u", password="code:7", protocol=3)
        with pytest.raises(redis_py.exceptions.AuthenticationError):
            refused.ping()
    finally:
        proxy.stop()
        redis.stop()
        service.stop()
