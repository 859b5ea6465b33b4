"""
The life of a watched connection: its begin and end, the requests that wait for answers, its logs, its drain.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.python.failure import Failure

from meshd.codec.mongo import legacy
from meshd.codec.mongo.framing import Framer
from meshd.filter import WatchingFilter
from meshd.filters.network.mongo_proxy import logs, text
from meshd.filters.network.mongo_proxy.operation import Operation
from meshd.filters.network.mongo_proxy.quick import Plan
from meshd.filters.network.mongo_proxy.settings import Settings
from meshd.observe.info import address_text

#: Requests without an answer that are remembered of a connection.
ACTIVE = 1024

#: A request that waits: by the short way its plan and when it came, else all that is known of it.
Waiting = Operation | tuple[Plan, float]


class Watch(WatchingFilter):
    """A connection, without its messages."""

    _timer: Any = None
    _ended_here = False
    _ended_by_server = False  # its FIN came first
    _ended_by_client = False  # its FIN came last
    _logs_messages = False
    _streams_hello = False  # the server streams answers to a hello: that is no work in progress

    def __init__(self, shared: Settings) -> None:
        self.shared = shared
        self.numbers = shared.numbers
        self.watching = shared.only_watches
        self.application = ""
        self.requests = Framer(shared.keep)
        self.replies = Framer(shared.keep)
        self.sniffing = True
        #: By the bytes of their request ids.
        self.active: dict[bytes, Waiting] = {}

    def connectionMade(self) -> None:
        shared = self.shared
        self._logs_messages = shared.access_log is not None and shared.enabled(
            "mongo.connection_logging_enabled"
        )
        self.connection.on_close(self.closed)
        shared.connected(self)
        self.inner.connectionMade()

    def loseConnection(self) -> None:
        self._ended_here = True
        self.transport.loseConnection()

    def loseWriteConnection(self) -> None:
        self._ended_by_server = True
        self.transport.loseWriteConnection()

    def readConnectionLost(self) -> None:
        self._ended_by_client = self._ended_by_server
        self.inner.readConnectionLost()

    def abortConnection(self) -> None:
        self._ended_here = True
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        if self.active:
            # As in Envoy: a client's FIN is passed on, and we close, unless the server's came before.
            if self._ended_by_client or self.connection.info.detected_close_type == "RemoteReset":
                self.numbers.cx_destroy_remote_with_active_rq.inc()
            else:
                self.numbers.cx_destroy_local_with_active_rq.inc()
        self.inner.connectionLost(reason)

    def closed(self) -> None:
        """The connection is over."""
        if self._timer is not None:
            self._timer.cancel()
        self.shared.closed(self)
        self.active.clear()
        if self.application:
            self.numbers.application(self.application).gauge("cx_active").dec()

    def lost(self) -> None:
        """The framing is lost: look no more."""
        self.numbers.decoding_error.inc()
        self.numbers.framing_lost.inc()
        self.sniffing = False
        self.active.clear()

    # Requests that wait for their answers.

    def begin(self, operation: Operation) -> None:
        """Wait for the answer to a request."""
        active = self.active
        if len(active) >= ACTIVE:
            self.numbers.request_forgotten.inc()
            del active[next(iter(active))]
        active[key_of(operation.id)] = operation

    def take(self, request: int) -> Operation | None:
        """Return the request that is answered, which waits no more; None if there is none."""
        found = self.active.pop(key_of(request), None)
        if type(found) is tuple:
            found = found[0].operation(found[1])
        return found  # type: ignore[return-value]

    def is_hello(self, request: bytes) -> bool:
        """Whether a request that waits, by the bytes of its id, is a hello."""
        found = self.active.get(request)
        return isinstance(found, Operation) and found.is_hello

    # Draining, and the delay of requests.

    def close_if_idle(self) -> None:
        """Close, while the proxy drains, a connection that stands between messages and owes no answer."""
        idle = not self.requests.inside and not self.replies.inside and self._held is None
        if not self.sniffing or not idle or (self.active and not self._only_streams()):
            return
        if self._ended_here or not self.shared.enabled("mongo.drain_close_enabled"):
            return
        self.numbers.cx_drain_close.inc()
        self.loseConnection()

    def _only_streams(self) -> bool:
        return self._streams_hello and all(
            isinstance(each, Operation) and each.is_hello for each in self.active.values()
        )

    def delay(self) -> None:
        """Hold the connection up for a while, as configured; one delay at a time."""
        if self._timer is not None:
            return
        delay = self.shared.delay()
        if delay > 0:
            self.numbers.delays_injected.inc()
            self.hold()
            self._timer = self.shared.timers.call_later(delay, self._delayed)

    def _delayed(self) -> None:
        self._timer = None
        self.release()

    # Logs.

    def _upstream(self) -> str:
        upstream = self.connection.info.upstream
        host = getattr(upstream, "host", None)
        return "-" if host is None else address_text(host.address)

    def log_message(self, message: legacy.Legacy) -> None:
        """Log a legacy message, as Envoy does."""
        access_log = self.shared.access_log
        if self._logs_messages and access_log is not None and self.shared.enabled("mongo.logging_enabled"):
            access_log(logs.line(time.time(), text.message(message), self._upstream()))

    def log_operation(self, operation: Operation, seconds: float, error: str) -> None:
        """Log what was answered, or needs no answer."""
        shared = self.shared
        everything = None if operation.legacy or not self._logs_messages else shared.all_operations
        if everything is not None and shared.enabled("mongo.logging_enabled"):
            everything.log(operation, seconds, error, time.time(), self._upstream())
        for each in shared.logs:
            if each.wants(seconds):
                each.log(operation, seconds, error, time.time(), self._upstream())


def key_of(request: int) -> bytes:
    """Return the bytes of a request's id."""
    return request.to_bytes(4, "little", signed=True)
