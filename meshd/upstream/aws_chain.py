"""
Keeps AWS credentials at hand: those of the first source that has some, asked for again before they expire.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from meshd.codec.sigv4 import Credentials
from meshd.interfaces import UpstreamError
from meshd.upstream.aws_sources import Source

#: Seconds before they expire that credentials are asked for again.
EARLY = 300.0
#: The shortest time between two questions.
LEAST = 10.0
#: The first and the longest wait after nobody had any (Envoy's).
FIRST_WAIT, LONGEST_WAIT = 2.0, 32.0


class Chain:
    """
    The sources in their order.

    From start() on current has credentials, or None while there are none.
    """

    _log = Logger(namespace="meshd.upstream.aws")
    _asking: Deferred[Any] | None = None
    _timer: IDelayedCall | None = None
    _wanted = False

    def __init__(
        self, sources: Sequence[Source], clock: IReactorTime, wall_time: Callable[[], float] = time.time
    ) -> None:
        self.sources = sources
        self.current: Credentials | None = None
        self._clock = clock
        self._wall_time = wall_time
        self._wait = FIRST_WAIT

    def start(self, ready: Callable[[], object]) -> None:
        """Look for credentials; call ready once that is over, whatever came of it: maybe at once."""
        self._wanted = True
        asking = self._asking = Deferred.fromCoroutine(self._refresh())
        asking.addErrback(self._broken)
        asking.addCallback(lambda _: self._wanted and ready())

    def stop(self) -> None:
        """Look no more; ready is not called."""
        self._wanted = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()

    def credentials(self) -> Credentials:
        """Return credentials that are good now; raise UpstreamError if there are none."""
        current = self.current
        if current is None:
            raise UpstreamError("there are no AWS credentials")
        if current.expires is not None and current.expires <= self._wall_time():
            raise UpstreamError("the AWS credentials have expired")
        return current

    async def find(self) -> tuple[Credentials, float | None] | None:
        """Ask the sources for credentials, and for how many seconds they hold; None: nobody has any."""
        for source in self.sources:
            name = type(source).__name__
            try:
                found = await source.fetch()
            except CancelledError:
                raise
            except Exception as error:
                self._log.warn(
                    "AWS credentials, {name}: {why}", name=name, why=str(error) or type(error).__name__
                )
                continue
            if found is not None:
                self._log.debug("AWS credentials are those of {name}", name=name)
                if found.expires is None:
                    return found, source.holds
                return found, found.expires - self._wall_time() - EARLY
        return None

    async def _refresh(self) -> None:
        self._timer = None
        found = await self.find()
        if found is None:
            # Those that there are may be good for a while.
            wait: float | None = self._wait
            self._wait = min(self._wait * 2, LONGEST_WAIT)
        else:
            self.current, wait = found
            self._wait = FIRST_WAIT
        if wait is not None:
            self._timer = self._clock.callLater(max(wait, LEAST if found else 0), self._again)

    def _again(self) -> None:
        self._asking = Deferred.fromCoroutine(self._refresh()).addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("while AWS credentials were looked for", failure)
