"""Tests for meshd.filters.network.redis_proxy.local."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.resp_reply import decode
from tests.filters.network.redis_proxy.talk import Talk


class LocalTests(SynchronousTestCase):
    """What the proxy answers itself."""

    def setUp(self) -> None:
        self.talk = Talk()
        self.client = self.talk.client()

    def say(self, *commands: str) -> bytes:
        """Send commands, return what came."""
        return self.talk.say(self.client, *commands)

    def test_ping(self) -> None:
        """PING gives back its argument, as Redis does, and ECHO too."""
        self.assertEqual(self.say("PING", "PING x", "ECHO y"), b"+PONG\r\n$1\r\nx\r\n$1\r\ny\r\n")
        self.assertEqual(self.say("ECHO"), b"-invalid request\r\n")

    def test_time(self) -> None:
        """TIME has seconds, and the microseconds of this second."""
        seconds, microseconds = decode(self.say("TIME"))
        self.assertGreater(int(seconds), 1_700_000_000)
        self.assertLess(int(microseconds), 1_000_000)

    def test_quit(self) -> None:
        """QUIT closes; what came with it is dropped."""
        self.assertEqual(self.say("QUIT", "PING"), b"+OK\r\n")
        self.assertTrue(self.client.dropped)

    def test_client(self) -> None:
        """A client has a name, an id, and a description."""
        self.assertEqual(
            self.say("CLIENT GETNAME", "CLIENT SETNAME x", "CLIENT GETNAME"), b"$-1\r\n+OK\r\n$1\r\nx\r\n"
        )
        number = int(self.say("CLIENT ID")[1:])
        self.assertEqual(number & ((1 << 30) - 1), self.client.info.id)
        self.assertIn(b" name=x ", decode(self.say("CLIENT INFO")))
        self.assertEqual(
            self.say("CLIENT SETINFO LIB-NAME y", "CLIENT NO-EVICT ON", "READONLY"), b"+OK\r\n" * 3
        )
        self.assertIn(b"cannot contain", self.say("CLIENT SETNAME \xe9"))
        self.assertEqual(self.say("CLIENT"), b"-invalid request\r\n")
        self.assertEqual(
            self.say("CLIENT KILL x"), b"-ERR CLIENT subcommand 'KILL' is not supported by the proxy\r\n"
        )

    def test_role(self) -> None:
        """The proxy is a master without replicas."""
        self.assertEqual(decode(self.say("ROLE")), [b"master", 0, []])
        self.assertEqual(decode(self.say("ACL WHOAMI")), b"default")

    def test_hello(self) -> None:
        """HELLO tells of the proxy; without an option RESP3 is not spoken, as in Envoy."""
        facts = decode(self.say("HELLO 2 SETNAME me"))
        self.assertEqual(dict(zip(facts[::2], facts[1::2], strict=True))[b"proto"], 2)
        self.assertEqual(self.say("CLIENT GETNAME"), b"$2\r\nme\r\n")
        for version in ("3", "4", "x"):
            self.assertEqual(self.say(f"HELLO {version}"), b"-NOPROTO unsupported protocol version\r\n")
        self.assertEqual(self.say("HELLO 2 FOO"), b"-ERR Syntax error in HELLO\r\n")

    def test_reset(self) -> None:
        """RESET forgets all that the client was."""
        self.assertEqual(self.say("CLIENT SETNAME x", "MULTI", "RESET"), b"+OK\r\n+OK\r\n+RESET\r\n")
        self.assertEqual(self.say("CLIENT GETNAME", "EXEC"), b"$-1\r\n-EXEC without MULTI\r\n")


class Resp3Tests(SynchronousTestCase):
    """Where clients may choose their version, and where they have to speak RESP3."""

    def test_any(self) -> None:
        """A client that said HELLO 3 has connections of RESP3, and gets maps and nulls of RESP3."""
        talk = Talk(options={"protocol_version": "ANY"})
        client = talk.client()
        self.assertTrue(talk.say(client, "HELLO 3").startswith(b"%7\r\n"))
        self.assertEqual(talk.say(client, "CLIENT GETNAME"), b"_\r\n")
        talk.say(client, "GET k")
        self.assertEqual(talk.heard(talk.links()[0]), ["HELLO 3", "GET k"])
        talk.say(talk.client(), "GET k")
        self.assertEqual(talk.heard(talk.links()[1]), ["GET k"])

    def test_only(self) -> None:
        """Where RESP3 has to be spoken nothing is done before HELLO 3, as in Envoy."""
        talk = Talk(options={"protocol_version": "RESP3"})
        client = talk.client()
        self.assertEqual(
            talk.say(client, "GET k", "HELLO 2"), b"-NOPROTO unsupported protocol version\r\n" * 2
        )
        self.assertEqual(talk.stats["redis.r.downstream_rq_noproto"], 2)
        self.assertTrue(talk.say(client, "HELLO 3").startswith(b"%7\r\n"))
        self.assertEqual(talk.say(client, "PING"), b"+PONG\r\n")
