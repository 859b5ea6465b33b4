"""Tests for meshd.tls.staple_fetcher."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.certificates import Credential, read_credential
from meshd.tls.ocsp import Response
from meshd.tls.ocsp_client import Verdict
from meshd.tls.staple_fetcher import LATEST, RETRY, SOONEST, StapleFetcher
from tests.tls.authority import DAY, Authority, Leaf, now

BETWEEN = Authority().intermediate()


class FakeClient:
    """Asks nobody: the test answers."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Verdict]] = []
        self.certificates: list[Any] = []
        self.cancelled = 0

    def check(self, certificate: Any, issuer: Any) -> Deferred[Verdict]:
        """Note what is asked."""
        self.certificates.append((certificate, issuer))
        asking: Deferred[Verdict] = Deferred(self._cancel)
        self.asked.append(asking)
        return asking

    def _cancel(self, asking: Deferred[Verdict]) -> None:
        self.cancelled += 1


class FetcherTests(SynchronousTestCase):
    """A certificate whose response is kept fresh."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.client = FakeClient()
        self.leaf = BETWEEN.issue()
        self.credential = self.read(self.leaf)
        client: Any = self.client
        self.fetcher = StapleFetcher(client, self.clock)
        self.fetcher.keep([self.credential])

    def read(self, leaf: Leaf) -> Credential:
        """Return a leaf as a credential."""
        return read_credential(leaf.pem, leaf.key_pem, None, "it")

    def answer(self, status: str = "good", **dates: Any) -> bytes:
        """Answer the last question; return the response."""
        data = BETWEEN.ocsp(self.leaf, status, **dates)
        self.client.asked[-1].callback(Verdict(status, "", "http://r/", Response(data)))
        return data

    def test_later(self) -> None:
        """Nobody is asked before the reactor runs."""
        self.assertEqual(self.client.asked, [])
        self.clock.advance(0)
        self.assertEqual(self.client.certificates, [(self.leaf.certificate, BETWEEN.certificate)])

    def test_good(self) -> None:
        """A good response is stapled, and asked for again after half of its time."""
        self.clock.advance(0)
        data = self.answer(this_update=now(), next_update=now() + DAY)
        self.assertEqual(self.credential.staple, data)
        self.clock.advance(43000)
        self.assertEqual(len(self.client.asked), 1)
        self.clock.advance(200)
        self.assertEqual(len(self.client.asked), 2)

    def test_soonest_and_latest(self) -> None:
        """It is not asked for all the time, nor too seldom."""
        self.clock.advance(0)
        self.answer(this_update=now() - DAY, next_update=now())
        self.clock.advance(SOONEST)
        self.answer(this_update=now(), next_update=now() + 30 * DAY)
        self.clock.advance(LATEST - 1)
        self.assertEqual(len(self.client.asked), 2)
        self.clock.advance(1)
        self.assertEqual(len(self.client.asked), 3)

    def test_not_good(self) -> None:
        """Any other answer is not stapled; what was there stays, and it is tried again."""
        self.clock.advance(0)
        first = self.answer(next_update=now() + DAY)
        self.clock.advance(LATEST)
        self.answer("revoked")
        self.clock.advance(RETRY)
        self.client.asked[-1].callback(Verdict("", "nobody there"))
        self.clock.advance(RETRY)
        self.assertEqual((self.credential.staple, len(self.client.asked)), (first, 4))

    def test_no_issuer(self) -> None:
        """Without the issuer's certificate nobody can be asked."""
        alone = read_credential(self.leaf.alone, self.leaf.key_pem, None, "it")
        self.fetcher.keep([alone])
        self.clock.advance(0)
        self.assertEqual(self.client.asked, [])

    def test_exchanged(self) -> None:
        """A certificate that is used no more is asked about no more."""
        self.clock.advance(0)
        other = self.read(BETWEEN.issue())
        self.fetcher.keep([other])
        self.assertEqual(self.client.cancelled, 1)
        self.clock.advance(LATEST)
        self.assertEqual([each for each, _ in self.client.certificates[1:]], [other.certificate])
        self.fetcher.keep([])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_kept(self) -> None:
        """One that is used still goes on as it was."""
        self.clock.advance(0)
        self.fetcher.keep([self.credential])
        self.clock.advance(0)
        self.assertEqual(len(self.client.asked), 1)
