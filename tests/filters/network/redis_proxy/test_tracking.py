"""Tests for meshd.filters.network.redis_proxy.tracking; what is said beside a server: tests/integration."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.filters.network.redis_proxy.talk import Talk


class TrackingTests(SynchronousTestCase):
    """CLIENT TRACKING and the commands about it, of a client of RESP3."""

    def setUp(self) -> None:
        self.talk = Talk(options={"protocol_version": "ANY"})
        self.client = self.talk.client()
        self.say("HELLO 3")

    def say(self, *commands: str) -> bytes:
        """Say something as the client."""
        return self.talk.say(self.client, *commands)

    def test_states(self) -> None:
        """What holds is told; nothing goes to a server before it is needed."""
        info = b"%%3\r\n$5\r\nflags\r\n~%b$8\r\nredirect\r\n:%d\r\n$8\r\nprefixes\r\n*0\r\n"
        self.assertEqual(self.say("CLIENT GETREDIR"), b":-1\r\n")
        self.assertEqual(self.say("CLIENT TRACKINGINFO"), info % (b"1\r\n$3\r\noff\r\n", -1))
        self.assertEqual(self.say("CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES"), b"+OK\r\n+OK\r\n")
        flags = b"3\r\n$2\r\non\r\n$5\r\noptin\r\n$11\r\ncaching-yes\r\n"
        self.assertEqual(self.say("CLIENT TRACKINGINFO"), info % (flags, 0))
        self.assertEqual(self.say("CLIENT TRACKING OFF", "CLIENT GETREDIR"), b"+OK\r\n:-1\r\n")
        self.assertEqual(self.talk.links(), [])

    def test_nobody_told(self) -> None:
        """In RESP2 somebody else has to be told."""
        self.assertIn(b"-ERR Tracking can be", self.talk.say(self.talk.client(), "CLIENT TRACKING ON"))

    def test_redirect_unknown(self) -> None:
        """Only to a client that is there, and knows its number, can be redirected."""
        gone = b"-ERR The client ID you want redirect to does not exist\r\n"
        other = self.talk.client()
        shared: Any = other.info.id
        self.assertEqual(self.say(f"CLIENT TRACKING ON REDIRECT {shared}"), gone)
        number = int(self.talk.say(other, "CLIENT ID")[1:])
        self.assertEqual(self.say(f"CLIENT TRACKING ON REDIRECT {number}"), b"+OK\r\n")
        other.close()
        self.assertEqual(self.say(f"CLIENT TRACKING ON REDIRECT {number}"), gone)

    def test_cannot(self) -> None:
        """What the proxy cannot do as Redis does it refuses."""
        self.say("CLIENT TRACKING ON")
        number = int(self.say("CLIENT ID")[1:])
        for command in ("HELLO 2", "SELECT 1", f"CLIENT TRACKING ON REDIRECT {number}"):
            self.assertTrue(self.say(command).startswith(b"-ERR "), command)
        self.say("CLIENT TRACKING OFF", "WATCH k")
        self.talk.answer(self.talk.links()[-1], b"%0\r\n", b"+OK\r\n")
        self.talk.got(self.client)
        self.assertIn(b"while keys are watched", self.say("CLIENT TRACKING ON"))

    def test_in_transaction(self) -> None:
        """Within a transaction it is refused, since it would be about what comes after EXEC."""
        said = self.say("MULTI", "CLIENT TRACKING ON", "EXEC")
        self.assertIn(b"not supported within transaction", said)
        self.assertIn(b"-EXECABORT", said)

    def test_bcast_fails(self) -> None:
        """If with BCAST a host cannot be reached, tracking is not on."""
        self.say("CLIENT TRACKING ON BCAST")
        self.talk.links()[0].reset()
        self.assertEqual(self.talk.got(self.client), b"-upstream failure\r\n")
        self.assertIn(b"$3\r\noff\r\n", self.say("CLIENT TRACKINGINFO"))
        self.assertFalse(self.client.dropped)

    def test_lossy(self) -> None:
        """Where servers cannot tell which key of the client has changed it is refused."""
        routes = {
            "case_insensitive": True,
            "routes": [{"prefix": "a:", "cluster": "c", "remove_prefix": True}],
        }
        talk = Talk(prefix_routes=routes, options={"protocol_version": "RESP3"})
        client = talk.client()
        said = talk.say(client, "HELLO 3", "CLIENT TRACKING ON")
        self.assertIn(b"-ERR CLIENT TRACKING is not supported by the proxy: it removes the prefix 'a:'", said)
