"""Tests for meshd.filters.network.redis_proxy.renewal."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.sigv4 import Credentials, Scope
from meshd.filters.network.redis_proxy.renewal import LOOK, RENEWAL
from meshd.testing import FakeConnecting
from meshd.upstream.aws_chain import Chain
from meshd.upstream.aws_iam import Tokens
from meshd.upstream.aws_sources import Fixed
from meshd.upstream.protocol_options import RedisLogins
from tests.filters.network.redis_proxy.talk import Talk

FAILURE = b"-upstream failure\r\n"


class RenewalTests(SynchronousTestCase):
    """Connections to a cluster with IAM."""

    def setUp(self) -> None:
        self.talk = talk = Talk()
        self.chain = Chain([Fixed(Credentials("a", "b"))], talk.context.clock)
        self.chain.start(lambda: None)
        scope = Scope("r", "elasticache")
        clock = talk.context.clock
        talk.cluster.redis_logins = RedisLogins(iam=Tokens(self.chain, scope, "c", "me", 60, clock.seconds))
        self.client = talk.client()

    def begin(self, command: str = "GET a", answer: bytes = b":1\r\n") -> FakeConnecting:
        """Let a command be answered; return its connection."""
        self.talk.say(self.client, command)
        link = self.talk.links()[-1]
        self.assertTrue(self.talk.heard(link)[0].startswith("AUTH me c/?Action=connect"))
        self.talk.answer(link, b"+OK\r\n" + answer)
        self.talk.got(self.client)
        return link

    def pass_time(self, seconds: float) -> None:
        """Let time pass, a look at the connections at a time."""
        while seconds > 0:
            self.talk.settle(min(seconds, LOOK))
            seconds -= LOOK

    def test_renewed(self) -> None:
        """They log on again with another password before 12 hours are over, again and again."""
        link = self.begin()
        for _ in range(2):
            self.pass_time(RENEWAL - LOOK)
            self.assertEqual(self.talk.heard(link), [])
            self.pass_time(LOOK)
            (said,) = self.talk.heard(link)
            self.assertTrue(said.startswith("AUTH me c/?Action=connect"))
            self.talk.say(self.client, "GET b")
            self.talk.answer(link, b"+OK\r\n:2\r\n")
            self.assertEqual(self.talk.got(self.client), b":2\r\n")
            self.talk.heard(link)
        self.assertEqual(self.talk.cluster.stats.upstream_rq_active.value, 0)

    def test_refused(self) -> None:
        """If that is refused the connection stays."""
        link = self.begin()
        self.pass_time(RENEWAL)
        self.talk.say(self.client, "GET b")
        self.talk.answer(link, b"-WRONGPASS x\r\n:2\r\n")
        self.assertEqual(self.talk.got(self.client), b":2\r\n")
        self.assertFalse(link.wire.closed)

    def test_broken(self) -> None:
        """If the connection breaks meanwhile, those behind it are told, and nothing is left."""
        link = self.begin()
        self.pass_time(RENEWAL)
        self.talk.say(self.client, "GET b")
        link.reset()
        self.assertEqual(self.talk.got(self.client), FAILURE)
        self.assertEqual(self.talk.cluster.stats.upstream_rq_active.value, 0)

    def test_no_password(self) -> None:
        """If there is no password just then, it is tried again soon."""
        link = self.begin()
        current, self.chain.current = self.chain.current, None
        self.pass_time(RENEWAL)
        self.assertEqual(self.talk.heard(link), [])
        self.chain.current = current
        self.pass_time(LOOK)
        self.assertEqual(len(self.talk.heard(link)), 1)

    def test_over(self) -> None:
        """Those that are over are not looked at for ever."""
        link = self.begin()
        link.reset()
        self.pass_time(3 * LOOK)
        self.assertEqual(self.talk.context.clock.getDelayedCalls(), [])

    def test_subscribed(self) -> None:
        """A subscription of RESP2 cannot log on again."""
        self.talk.say(self.client, "SUBSCRIBE x")
        link = self.talk.links()[-1]
        self.talk.heard(link)
        self.talk.answer(link, b"+OK\r\n")
        self.pass_time(RENEWAL)
        self.assertEqual(self.talk.heard(link), [])

    def test_others(self) -> None:
        """With a password of the config nothing of this is done."""
        self.talk.cluster.redis_logins = RedisLogins((b"", b"pw"))
        self.talk.say(self.client, "GET a")
        (link,) = self.talk.links()
        self.talk.answer(link, b"+OK\r\n:1\r\n")
        self.talk.heard(link)
        self.pass_time(RENEWAL)
        self.assertEqual(self.talk.heard(link), [])
