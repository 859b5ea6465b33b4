"""Tests for meshd.upstream.aws_chain."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.sigv4 import Credentials
from meshd.interfaces import UpstreamError
from meshd.upstream.aws_chain import EARLY, Chain
from meshd.upstream.aws_sources import NoCredentials

ONE, TWO = Credentials("one", "s"), Credentials("two", "s")


class Told:
    """A source that says what the test says; None is nothing, an error is raised."""

    def __init__(self, *answers: object, holds: float | None = None) -> None:
        self.answers = list(answers)
        self.holds = holds

    async def fetch(self) -> Credentials | None:
        """Say the next thing."""
        answer = self.answers.pop(0)
        if isinstance(answer, Deferred):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        assert answer is None or isinstance(answer, Credentials)
        return answer


class ChainTests(SynchronousTestCase):
    """Sources, one after the other."""

    def start(self, *sources: Told) -> Chain:
        """Start a chain of them; ready counts how often it was so."""
        self.clock = Clock()
        self.ready = 0

        def ready() -> None:
            self.ready += 1

        chain = Chain(sources, self.clock, self.clock.seconds)
        chain.start(ready)
        return chain

    def test_first(self) -> None:
        """The first that has some is it, at once if it knows at once; what is for good is not asked again."""
        chain = self.start(Told(None), Told(NoCredentials("no")), Told(ONE), Told())
        self.assertEqual(self.ready, 1)
        self.assertEqual(chain.credentials(), ONE)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waits(self) -> None:
        """It is ready when somebody has said something."""
        waiting: Deferred[Credentials] = Deferred()
        chain = self.start(Told(waiting))
        self.assertEqual(self.ready, 0)
        self.assertRaises(UpstreamError, chain.credentials)
        waiting.callback(ONE)
        self.assertEqual((self.ready, chain.credentials()), (1, ONE))

    def test_holds(self) -> None:
        """What holds for a while is asked for again then, and the chain from its beginning."""
        chain = self.start(Told(None, TWO), Told(ONE, holds=60.0))
        self.clock.advance(59)
        self.assertEqual(chain.credentials(), ONE)
        self.clock.advance(1)
        self.assertEqual(chain.credentials(), TWO)
        self.assertEqual(self.ready, 1)

    def test_expires(self) -> None:
        """What expires is asked for before it does; if that fails it is used to its end, and no longer."""
        first = ONE._replace(expires=EARLY + 100)
        chain = self.start(Told(first, *[OSError("no")] * 30, TWO))
        self.clock.advance(99)
        self.assertEqual(chain.credentials(), first)
        self.clock.pump([1, 2, 4, 8, 16])
        self.assertEqual(chain.credentials(), first)
        self.clock.pump([32] * 9)
        with self.assertRaisesRegex(UpstreamError, "expired"):
            chain.credentials()
        self.clock.pump([32] * 20)
        self.assertEqual(chain.credentials(), TWO)

    def test_short(self) -> None:
        """What expires soon is not asked for without a pause."""
        source = Told(*[ONE._replace(expires=200.0)] * 3)
        self.start(source)
        self.clock.advance(9.9)
        self.assertEqual(len(source.answers), 2)
        self.clock.advance(0.2)
        self.assertEqual(len(source.answers), 1)

    def test_nobody(self) -> None:
        """Without any it is ready all the same, and asks again and again, less and less often."""
        source = Told(*[None] * 8, ONE)
        chain = self.start(source)
        self.assertEqual(self.ready, 1)
        with self.assertRaisesRegex(UpstreamError, "no AWS credentials"):
            chain.credentials()
        for wait in (2, 4, 8, 16, 32, 32, 32):
            self.clock.advance(wait - 0.1)
            left = len(source.answers)
            self.clock.advance(0.1)
            self.assertEqual(len(source.answers), left - 1)
        self.clock.advance(32)
        self.assertEqual(chain.credentials(), ONE)
        self.assertEqual(self.ready, 1)

    def test_stop(self) -> None:
        """Once it is stopped nothing happens any more, and nobody is told."""
        cancelled: list[object] = []
        chain = self.start(Told(Deferred(cancelled.append)))
        chain.stop()
        self.assertEqual((len(cancelled), self.ready), (1, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        chain = self.start(Told(None))
        chain.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
