"""
Asks the listener filters what a new connection is, before a filter chain is chosen.

An Inspection is the protocol of the stream meanwhile.  It keeps what comes in,
shows it to one filter after the other, takes off what a filter says is not for
those that follow, and puts the rest back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from meshd.interfaces import IListenerFilter, ITimers, Refused
from meshd.net.stream import Stream
from meshd.observe.info import ConnectionInfo

log = Logger(namespace="meshd.listener")


class InspectionStats:
    """What is counted of it: listener.<address>.*."""

    def __init__(self, scope: Any) -> None:
        self.active = scope.gauge("downstream_pre_cx_active")
        self.timeout = scope.counter("downstream_pre_cx_timeout")
        self.error = scope.counter("downstream_listener_filter_error")
        self.remote_close = scope.counter("downstream_listener_filter_remote_close")


class Inspections:
    """How one listener inspects: its filters, its time-out, its counters."""

    def __init__(
        self,
        filters: Sequence[Callable[[], IListenerFilter]],
        timers: ITimers,
        timeout: float,
        continue_on_timeout: bool,
        stats: InspectionStats,
    ) -> None:
        """timeout is in seconds; 0 means none."""
        self.filters = filters
        self.timers = timers
        self.timeout = timeout
        self.continue_on_timeout = continue_on_timeout
        self.stats = stats


class Inspection:
    """One connection's."""

    def __init__(
        self,
        shared: Inspections,
        stream: Stream,
        info: ConnectionInfo,
        passed: Callable[[Stream, ConnectionInfo], None],
        refused: Callable[[ConnectionInfo], None],
    ) -> None:
        """Call passed when the filters have seen what they want, refused when it is over before."""
        self.shared = shared
        self.stream = stream
        self.info = info
        self.passed = passed
        self.refused = refused
        self.data = b""
        self.filters = [make() for make in shared.filters]
        self.timer: Any = None
        self.over = False
        self.received = False
        self._waiting: Deferred[int] | None = None

    def start(self) -> None:
        """Ask the filters; wait if one wants data."""
        self.shared.stats.active.inc()
        self._go_on()

    def _go_on(self) -> None:
        try:
            passed = self._ask()
        except Exception:
            self.stream.protocol_failed(Failure())
            return
        idle = self._waiting is None and self.timer is None
        if not passed and not self.over and idle and self.shared.timeout:
            self.timer = self.shared.timers.call_later(self.shared.timeout, self._timed_out)

    def _ask(self) -> bool:
        """Ask as many filters as the data suffices for; whether it did for all."""
        while self.filters:
            if self._waiting is not None:
                return False
            first = self.filters[0]
            try:
                taken = first.inspect(self.data, self.info)
            except Refused as error:
                self._refuse(error)
                return False
            if isinstance(taken, Deferred):
                self._wait(taken)
                return self.over
            if taken is None:
                if len(self.data) >= first.limit:
                    self.shared.stats.error.inc()
                    self._close(reset=False)
                return False
            self._take(taken)
        self._pass()
        return True

    def _take(self, count: int) -> None:
        """Take off the bytes that were for the first of the filters, which is done."""
        self.data = self.data[count:]
        self.info.preamble += count
        self.filters.pop(0)

    def _refuse(self, error: Refused) -> None:
        log.debug("{peer} is refused: {error}", peer=self.info.direct_remote, error=error)
        self._close(error.reset)

    # A filter that takes its time.

    def _wait(self, answer: Deferred[int]) -> None:
        """Read nothing, and let no time run out, until there is an answer."""
        self._waiting = answer
        self._stop_timer()
        self.stream.pause(self)
        answer.addCallbacks(self._answered, self._not_answered)

    def _answered(self, taken: int) -> None:
        self._waiting = None
        if self.over:
            return
        self._take(taken)
        self._go_on()
        if self._waiting is None:
            self.stream.resume(self)

    def _not_answered(self, failure: Failure) -> None:
        self._waiting = None
        if self.over:
            return
        error = failure.value
        if isinstance(error, Refused):
            self._refuse(error)
        else:
            self.stream.protocol_failed(failure)

    def _stop_timer(self) -> None:
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()

    def _end(self) -> None:
        self.over = True
        self.shared.stats.active.dec()
        self._stop_timer()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()

    def _pass(self) -> None:
        self._end()
        stream = self.stream
        self.passed(stream, self.info)
        if self.data:
            stream.unread(self.data)

    def _close(self, reset: bool) -> None:
        self._end()
        # Envoy only peeks: bytes that the kernel still has make it reset the connection.
        if reset or self.received:
            self.stream.abortConnection()
        else:
            self.stream.close_now()

    def _timed_out(self) -> None:
        self.timer = None
        self.shared.stats.timeout.inc()
        if self.shared.continue_on_timeout:
            self._pass()
        else:
            self._close(reset=False)

    # The stream's protocol.

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.received = True
        if not self.over:
            self._ask()

    def readConnectionLost(self) -> None:
        if not self.over:
            self.shared.stats.remote_close.inc()
            self._close(reset=False)

    def connectionLost(self, reason: Failure) -> None:
        if not self.over:
            self.shared.stats.remote_close.inc()
            self._end()
        self.refused(self.info)

    def protocol_failed(self, failure: Failure) -> None:
        """A listener filter raised."""
        log.failure("a listener filter raised; closing the connection", failure=failure)
        self.shared.stats.error.inc()
        if not self.over:
            self._end()
