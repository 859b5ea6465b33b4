"""Logging on with AWS's IAM: a server that knows the passwords of the next minutes, Envoy and meshd."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from meshd.codec.sigv4 import Credentials, Request, Scope, encode_query, presign
from tests.integration.test_redis import redis_filter
from tests.interop.oracle import KINDS, Proxy
from tests.interop.yaml_parts import Part, bootstrap, cluster, listener
from tests.redis_servers import ErrorReply, RedisServer, Talk

OPTIONS = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions"
FILTER = "envoy.filters.network.redis_proxy"

KEY = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TEMPORARY = KEY._replace(session_token="a/session+token=")

#: Seconds of which the server knows the passwords; a password is of the second in which it is made.
LONG = 90


class Agent:
    """An HTTP server on the loopback that answers everything with a JSON document; asked has what it was."""

    def __init__(self, document: Any) -> None:
        asked: list[tuple[str, str]] = []
        self.asked = asked

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.path, self.headers["Authorization"]))
                data = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class Cache:
    """A server whose user app has the passwords that IAM would accept for a cache."""

    def __init__(self) -> None:
        self.server = RedisServer()
        self.port = self.server.port

    def accept(
        self, credentials: Credentials, service: str = "elasticache", lifetime: int = 60, user: str = "app"
    ) -> None:
        """Accept what is signed with these credentials, from now on for a while; and nothing else."""
        request = Request("GET", "/", [("Action", "connect"), ("User", user)], {"host": "my-cache"})
        now = int(time.time())
        passwords = []
        for second in range(now - 1, now + LONG):
            query = presign(request, credentials, Scope("eu-west-1", service), second, lifetime)
            passwords.append(f">my-cache/?{encode_query(sorted(query))}")
        talk = self.server.talk()
        talk.ask("ACL", "SETUSER", "default", "off")
        talk.ask("ACL", "SETUSER", user, "reset", "on", "~*", "&*", "+@all", *passwords)
        talk.close()

    def stop(self) -> None:
        """End it."""
        self.server.stop()


@pytest.fixture
def cache() -> Iterator[Cache]:
    """A server."""
    made = Cache()
    yield made
    made.stop()


def config(cache: Cache, provider: Part | None = None, protocol: Part | None = None, **iam: Any) -> Part:
    """A redis_proxy that logs on with IAM."""
    settings = {"cache_name": "my-cache", "region": "eu-west-1", **iam}
    if provider is not None:
        settings["credential_provider"] = provider
    typed = {"@type": OPTIONS, "auth_username": {"inline_string": "app"}, "aws_iam": settings}
    return bootstrap(
        listener(redis_filter()),
        clusters=[cluster(cache, lb_policy="MAGLEV", typed_extension_protocol_options={FILTER: typed})],
    )


def answer(kind: str, part: Part, directory: Path, environ: dict[str, str]) -> Any:
    """Return what a proxy answers when it is asked who it is."""
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(directory)}
    proxy = Proxy(kind, part, directory, environment={**nothing, **environ})
    try:
        talk = Talk(int(proxy.address()[1]))
        try:
            return talk.ask("SET", "a", "1")
        finally:
            talk.close()
    finally:
        proxy.stop()


KEYS = {"AWS_ACCESS_KEY_ID": KEY.access_key_id, "AWS_SECRET_ACCESS_KEY": KEY.secret_access_key}
PROFILES = f"""
[default]
aws_access_key_id = another
aws_secret_access_key = another
[mine]
aws_access_key_id = {KEY.access_key_id}
aws_secret_access_key = {KEY.secret_access_key}
aws_session_token = {TEMPORARY.session_token}
"""


@pytest.mark.parametrize("kind", KINDS)
def test_environment(cache: Cache, tmp_path: Path, kind: str) -> None:
    """Credentials of the environment sign the password, letter by letter as Envoy's do."""
    cache.accept(KEY)
    assert answer(kind, config(cache), tmp_path, KEYS) == b"OK"


@pytest.mark.parametrize("kind", KINDS)
def test_settings(cache: Cache, tmp_path: Path, kind: str) -> None:
    """Temporary ones have a token; the service, the lifetime and the region are the config's."""
    cache.accept(TEMPORARY, "memorydb", 900)
    environ = {**KEYS, "AWS_SESSION_TOKEN": TEMPORARY.session_token, "AWS_REGION": "us-west-1"}
    part = config(cache, service_name="memorydb", expiration_time="900s")
    assert answer(kind, part, tmp_path, environ) == b"OK"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [False, True])
def test_file(cache: Cache, tmp_path: Path, kind: str, shared: bool) -> None:
    """A profile of a file, be it the shared one, has credentials; the environment may name it."""
    cache.accept(TEMPORARY)
    path = tmp_path / "credentials"
    path.write_text(PROFILES)
    if shared:
        environ = {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_PROFILE": "mine", "AWS_REGION": "eu-west-1"}
        part = config(cache, region="")
    else:
        environ = {}
        source = {"credentials_data_source": {"filename": str(path)}, "profile": "mine"}
        part = config(cache, {"credentials_file_provider": source})
    assert answer(kind, part, tmp_path, environ) == b"OK"


@pytest.mark.parametrize("kind", KINDS)
def test_container(cache: Cache, tmp_path: Path, kind: str) -> None:
    """The container's agent has credentials; it is asked before anybody is served."""
    cache.accept(TEMPORARY)
    agent = Agent(
        {
            "AccessKeyId": TEMPORARY.access_key_id,
            "SecretAccessKey": TEMPORARY.secret_access_key,
            "Token": TEMPORARY.session_token,
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600)),
        }
    )
    environ = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{agent.port}/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "let-me-in",
    }
    try:
        assert answer(kind, config(cache), tmp_path, environ) == b"OK"
    finally:
        agent.stop()
    assert agent.asked[0] == ("/credentials", "let-me-in")


def test_inline(cache: Cache, tmp_path: Path) -> None:
    """Those that the config has are used, which Envoy does not do here."""
    cache.accept(KEY)
    inline = {"access_key_id": KEY.access_key_id, "secret_access_key": KEY.secret_access_key}
    part = config(cache, {"inline_credential": inline})
    told = []
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        told.append(answer(kind, part, tmp_path / kind, {}))
    assert told == [ErrorReply("NOAUTH Authentication required."), b"OK"]


def test_none(cache: Cache, tmp_path: Path) -> None:
    """Without credentials no connection is made: the command has failed; Envoy sends what cannot be right."""
    cache.accept(KEY)
    told = []
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        told.append(answer(kind, config(cache), tmp_path / kind, {}))
    assert told[0] != b"OK"
    assert told[1] == ErrorReply("upstream failure")
