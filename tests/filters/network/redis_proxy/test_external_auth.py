"""Tests for meshd.filters.network.redis_proxy.external_auth."""

from __future__ import annotations

import time
from typing import Any

from envoy.service.redis_auth.v3.redis_external_auth_pb2 import RedisProxyExternalAuthResponse
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.redis_proxy.external_auth import METHOD
from meshd.plugin import ConfigError
from meshd.testing import FakeCall, FakeClient, FakeContext
from tests.filters.network.redis_proxy.talk import Talk

NOAUTH = b"-NOAUTH Authentication required.\r\n"
FAILED = b"-ERR external authentication failed\r\n"
SERVICE = {"envoy_grpc": {"cluster_name": "auth"}}


def response(code: int = 0, message: str = "", until: float | None = None) -> Any:
    """Return an answer of the service."""
    made = RedisProxyExternalAuthResponse(message=message)
    made.status.code = code
    if until is not None:
        made.expiration.seconds = int(until)
        made.expiration.nanos = int(until % 1 * 1e9)
    return made


class ExternalCase(SynchronousTestCase):
    """A redis_proxy that asks a service."""

    config: dict[str, Any] = {}
    options: dict[str, Any] | None = None

    def setUp(self) -> None:
        provider = {"grpc_service": SERVICE, **self.config.get("external_auth_provider", {})}
        self.talk = Talk(options=self.options, **{**self.config, "external_auth_provider": provider})
        (self.channel,) = self.talk.context.grpc_channels
        self.client = self.talk.client()

    def say(self, *commands: str | bytes, client: FakeClient | None = None) -> bytes:
        """Send commands, return what came."""
        return self.talk.say(client or self.client, *commands)

    def got(self) -> bytes:
        """Return what came since."""
        self.talk.settle()
        return self.talk.got(self.client)

    @property
    def call(self) -> FakeCall:
        """The latest question."""
        return self.channel.calls[-1]

    def let_in(self, until: float | None = None) -> None:
        """Let the client log on."""
        self.assertEqual(self.say("AUTH x"), b"")
        self.call.answer(response(until=until))
        self.assertEqual(self.got(), b"+OK\r\n")


class AuthTests(ExternalCase):
    """AUTH."""

    def test_before(self) -> None:
        """Nothing is answered before, and nobody asked."""
        self.assertEqual(self.say("PING", "GET k"), NOAUTH * 2)
        self.assertIn(b"-ERR unknown command 'FOO'", self.say("FOO"))
        self.assertEqual(self.say("AUTH"), b"-invalid request\r\n")
        self.assertEqual(self.say("AUTH a b c"), b"-ERR syntax error\r\n")
        self.assertEqual(self.channel.calls, [])
        self.assertEqual((self.channel.timeout, self.channel.config.envoy_grpc.cluster_name), (0.2, "auth"))

    def test_right(self) -> None:
        """The service is told the password, and the user if there is one; then the client is in."""
        self.assertEqual(self.say("AUTH pw"), b"")
        self.assertEqual(self.call.method, METHOD)
        self.assertEqual((self.call.request.username, self.call.request.password), ("", "pw"))
        self.call.answer(response())
        self.assertEqual(self.got(), b"+OK\r\n")
        self.assertEqual(self.say("ACL WHOAMI"), b"$7\r\ndefault\r\n")
        self.say("AUTH joe pw")
        self.assertEqual((self.call.request.username, self.call.request.password), ("joe", "pw"))
        self.call.answer(response())
        self.got()
        self.assertEqual(self.say("ACL WHOAMI"), b"$3\r\njoe\r\n")

    def test_no(self) -> None:
        """If it says no, the client is told so in the service's words, and locked out."""
        for code, message, words in (
            (7, "", b"unauthorized"),
            (16, "not \u00fcou\r\n+OK", "not \u00fcou  +OK".encode()),
        ):
            self.let_in()
            self.say("AUTH y")
            self.call.answer(response(code, message))
            self.assertEqual(self.got(), b"-ERR %b\r\n" % words)
            self.assertEqual(self.say("PING"), NOAUTH)

    def test_cannot_tell(self) -> None:
        """If it fails, or answers anything else, the client is as it was before."""
        for locked in (True, False):
            if not locked:
                self.let_in()
            self.say("AUTH y")
            self.call.fail(14, "gone")
            self.assertEqual(self.got(), FAILED)
            self.say("AUTH y")
            self.call.answer(response(13, "broken"))
            self.assertEqual(self.got(), FAILED)
            self.assertEqual(self.say("PING"), NOAUTH if locked else b"+PONG\r\n")

    def test_no_text(self) -> None:
        """What is no UTF-8 cannot be asked."""
        self.assertEqual(self.say(b"*2\r\n$4\r\nAUTH\r\n$1\r\n\xff\r\n"), FAILED)
        self.assertEqual(self.channel.calls, [])

    def test_meanwhile(self) -> None:
        """What comes while the service is asked waits, and is judged by the answer."""
        self.assertEqual(self.say("PING", "AUTH x", "PING", "GET k"), NOAUTH)
        self.assertEqual(self.say("PING"), b"")
        self.call.answer(response())
        self.talk.settle()
        self.assertEqual(self.talk.heard(self.talk.links()[0]), ["GET k"])
        self.talk.answer(self.talk.links()[0], b"$1\r\nv\r\n")
        self.assertEqual(self.got(), b"+OK\r\n+PONG\r\n$1\r\nv\r\n+PONG\r\n")
        self.say("AUTH y", "PING", "AUTH z", "PING")
        self.call.answer(response(7))
        self.assertEqual(self.got(), b"-ERR unauthorized\r\n" + NOAUTH)
        self.call.answer(response())
        self.assertEqual(self.got(), b"+OK\r\n+PONG\r\n")

    def test_earlier_first(self) -> None:
        """Its answer comes after those to commands before it."""
        self.let_in()
        self.say("GET k", "AUTH x", "PING")
        self.call.answer(response())
        self.assertEqual(self.got(), b"")
        self.talk.answer(self.talk.links()[0], b"$1\r\nv\r\n")
        self.assertEqual(self.got(), b"$1\r\nv\r\n+OK\r\n+PONG\r\n")

    def test_gone(self) -> None:
        """If the client goes, so does the question; nothing is logged."""
        self.say("AUTH x")
        self.client.close()
        self.assertTrue(self.call.cancelled)

    def test_last_words(self) -> None:
        """A client that has sent its last byte is still answered."""
        self.say("AUTH x", "PING")
        self.client.half_close()
        self.assertFalse(self.client.dropped)
        self.call.answer(response())
        self.assertEqual(self.got(), b"+OK\r\n+PONG\r\n")
        self.assertTrue(self.client.dropped)

    def test_reset(self) -> None:
        """RESET takes it away."""
        self.let_in()
        self.assertEqual(self.say("RESET", "PING"), b"+RESET\r\n" + NOAUTH)

    def test_raises(self) -> None:
        """What should not happen is logged, and the client is not let in, but cut."""
        self.say("AUTH x")
        self.call.deferred.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.client.dropped)

    def test_transaction(self) -> None:
        """A transaction outlives another AUTH, and one that was refused."""
        self.let_in()
        self.assertEqual(self.say("MULTI", "SET k 1"), b"+OK\r\n+QUEUED\r\n")
        for code, words in ((0, b"+OK\r\n"), (7, b"-ERR unauthorized\r\n")):
            self.say("AUTH y")
            self.call.answer(response(code))
            self.assertEqual(self.got(), words)
        self.assertEqual(self.say("SET k 2"), NOAUTH)
        self.let_in()
        self.assertEqual(self.say("SET k 3"), b"+QUEUED\r\n")


class PasswordsTests(ExternalCase):
    """Where there are passwords, too."""

    config = {
        "downstream_auth_passwords": [{"inline_string": "pw"}],
        "downstream_auth_username": {"inline_string": "joe"},
    }

    def test_service(self) -> None:
        """Only the service counts, as in Envoy."""
        self.say("AUTH joe pw")
        self.call.answer(response(7))
        self.assertEqual(self.got(), b"-ERR unauthorized\r\n")
        self.let_in()


class HelloTests(ExternalCase):
    """HELLO with AUTH."""

    options = {"protocol_version": "ANY"}

    def test_right(self) -> None:
        """The client is in, with the version and the name that it wants."""
        self.assertEqual(self.say("HELLO 3 AUTH joe pw SETNAME me", "CLIENT GETNAME"), b"")
        self.assertEqual((self.call.request.username, self.call.request.password), ("joe", "pw"))
        self.call.answer(response())
        answer = self.got()
        self.assertTrue(answer.startswith(b"%7\r\n"))
        self.assertTrue(answer.endswith(b"$2\r\nme\r\n"))

    def test_no(self) -> None:
        """If not, nothing has changed, and the error is WRONGPASS."""
        for message, words in (("", b"invalid username-password pair"), ("no", b"no")):
            self.say("HELLO 3 AUTH joe x SETNAME me")
            self.call.answer(response(7, message))
            self.assertEqual(self.got(), b"-WRONGPASS %b\r\n" % words)
        self.assertEqual(self.say("PING"), NOAUTH)
        self.let_in()
        self.assertEqual(self.say("CLIENT GETNAME"), b"$-1\r\n")

    def test_failed(self) -> None:
        """If the service fails it says so."""
        self.say("HELLO 2 AUTH joe x")
        self.call.fail(4)
        self.assertEqual(self.got(), FAILED)

    def test_without(self) -> None:
        """HELLO without AUTH asks nobody."""
        self.assertIn(b"-NOAUTH HELLO", self.say("HELLO 2"))
        self.let_in()
        self.assertTrue(self.say("HELLO 2").startswith(b"*14\r\n"))
        self.assertEqual(len(self.channel.calls), 1)


class Resp3Tests(ExternalCase):
    """Where RESP3 has to be spoken."""

    options = {"protocol_version": "RESP3"}

    def test_order(self) -> None:
        """Who is let in has still to say HELLO 3."""
        self.let_in()
        self.assertEqual(self.say("PING"), b"-NOPROTO unsupported protocol version\r\n")
        self.assertTrue(self.say("HELLO 3").startswith(b"%7"))
        self.assertEqual(self.say("PING"), b"+PONG\r\n")
        self.say("AUTH x")
        self.call.answer(response(7))
        self.got()
        self.let_in()
        self.assertEqual(self.say("PING"), b"+PONG\r\n")


class ExpirationTests(ExternalCase):
    """Where what the service says holds for a time."""

    config = {"external_auth_provider": {"enable_auth_expiration": True}}
    options = {"protocol_version": "ANY"}

    def test_over(self) -> None:
        """When the time is over, the client is locked out until it logs on again."""
        self.let_in(time.time() + 100)
        self.talk.settle(90)
        self.assertEqual(self.say("PING"), b"+PONG\r\n")
        self.expire()
        self.assertEqual(self.say("PING"), NOAUTH)
        self.let_in(time.time() + 100)
        self.assertEqual(self.say("PING"), b"+PONG\r\n")

    def expire(self, seconds: float = 5000.0) -> None:
        """Let the time be over, on the wall clock too."""
        now = time.time() + seconds
        self.patch(time, "time", lambda: now)
        self.talk.settle(seconds)

    def test_longer(self) -> None:
        """Another AUTH is a new time."""
        self.let_in(time.time() + 100)
        self.let_in(time.time() + 9000)
        self.talk.settle(200)
        self.assertEqual(self.say("PING"), b"+PONG\r\n")

    def test_none(self) -> None:
        """Without a time it is over at once, as in Envoy."""
        self.let_in()
        self.assertEqual(self.say("PING"), NOAUTH)
        self.let_in(time.time() - 1)
        self.assertEqual(self.say("PING"), NOAUTH)

    def test_refused(self) -> None:
        """A refusal, and a failure, change nothing of what is left of it."""
        self.let_in(time.time() + 100)
        self.say("AUTH y")
        self.call.fail(14)
        self.assertEqual(self.got(), FAILED)
        self.assertEqual(self.say("PING"), b"+PONG\r\n")
        self.expire()
        self.assertEqual(self.say("PING"), NOAUTH)

    def test_in_flight(self) -> None:
        """A command that was sent in time is answered."""
        self.let_in(time.time() + 0.5)
        self.say("GET k")
        self.expire(0.6)
        self.assertEqual(self.say("PING"), b"")
        self.talk.answer(self.talk.links()[0], b"$1\r\nv\r\n")
        self.assertEqual(self.got(), b"$1\r\nv\r\n" + NOAUTH)

    def test_transaction(self) -> None:
        """A transaction goes on once the client has logged on again."""
        self.let_in(time.time() + 100)
        self.say("MULTI")
        self.expire()
        self.assertEqual(self.say("SET k 1"), NOAUTH)
        self.let_in(time.time() + 100)
        self.assertEqual(self.say("SET k 1"), b"+QUEUED\r\n")

    def test_subscriber(self) -> None:
        """Who is told things by itself is cut: a subscriber, and who tracks keys."""
        for words in ("SUBSCRIBE c", "MONITOR"):
            self.client = self.talk.client()
            self.let_in(time.time() + 100)
            self.say(words)
            self.expire()
            self.assertTrue(self.client.dropped, words)

    def test_gone(self) -> None:
        """A client that is gone leaves no timer behind."""
        self.let_in(time.time() + 100)
        self.client.close()
        self.assertEqual(self.talk.context.clock.getDelayedCalls(), [])


class ConfigTests(SynchronousTestCase):
    """The message."""

    def test_bad_service(self) -> None:
        """What is wrong with the service is told with its place."""

        class Strict(FakeContext):
            def grpc_channel(self, config: Any, timeout: float = 0.0) -> Any:
                raise ConfigError("bad", "timeout")

        from envoy.extensions.filters.network.redis_proxy.v3.redis_proxy_pb2 import RedisProxy

        from meshd.filters.network.redis_proxy import redis_proxy

        config = {
            "stat_prefix": "r",
            "settings": {"op_timeout": "1s"},
            "prefix_routes": {"catch_all_route": {"cluster": "c"}},
            "external_auth_provider": {"grpc_service": SERVICE},
        }
        error = self.assertRaises(
            ConfigError, redis_proxy.configure, ParseDict(config, RedisProxy()), Strict()
        )
        self.assertEqual(error.path, ("external_auth_provider", "grpc_service", "timeout"))
