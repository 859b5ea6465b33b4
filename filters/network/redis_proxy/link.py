"""
A connection to a host, over which the commands of many clients go, one after the other.

What is sent in one batch of events goes out together; replies come in the order of the
commands.  A command that has no reply within op_timeout ends the connection, as
in Envoy: nothing behind it would be answered sooner.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.codec.resp import ProtocolError
from meshd.codec.resp_reply import ReplySplitter
from meshd.codec.resp_uniform import count_replies, joined, split_replies, split_short
from meshd.filters.network.redis_proxy.lane import Quick
from meshd.filters.network.redis_proxy.spread import Sheaf
from meshd.filters.network.redis_proxy.train import Car
from meshd.interfaces import ConnectError, IConnecting, IHost, ITimer, IUpstream, Result

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.pool import Pool


log = Logger(namespace="meshd.redis")

#: Bytes from which on it is worth while to look whether replies look alike.
_WORTH = 24


class Greeting:
    """A command that prepares a connection: AUTH, HELLO, SELECT.  An error ends the connection."""

    __slots__ = ("link", "start")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.start = link.pool.seconds()

    def answered(self, reply: bytes) -> None:
        """Look whether it was accepted."""
        if reply[0] == 45:
            self.link.refused(reply)

    def failed(self, result: Result | None) -> None:
        """The link tells those who wait."""


@implementer(IUpstream)
class Link:
    """One connection to one host; pending are those who wait for a reply, in order."""

    pooled = True
    transport: Any = None
    connecting: IConnecting | None = None
    _timer: ITimer | None = None
    over = False
    #: Takes what the server sends by itself (RESP3), or everything once this is a subscription.
    on_push: Callable[[bytes], object] | None = None
    #: Called when it is over, for those who own it.
    on_end: Callable[[], object] | None = None
    #: Whether every reply is a push: after MONITOR, or SUBSCRIBE in RESP2.
    pushes_only = False

    def __init__(self, pool: Pool, host: IHost, greetings: list[bytes], timed: bool = True) -> None:
        self.pool = pool
        self.host = host
        self.stats = pool.cluster.stats
        #: Whether MOVED and ASK are followed.
        self.may_redirect = pool.may_redirect
        self.pending: deque[Any] = deque(Greeting(self) for _ in greetings)
        self._greetings = b"".join(greetings)
        #: Minus the greetings that are not answered: they are not counted as requests.
        self._greeted = -len(greetings)
        self._splitter = ReplySplitter()
        #: What goes out with the next flush(), which is scheduled if there is anything.
        self.out: list[bytes] = []
        self.scheduled = False
        #: How many commands in it are not counted yet: those of clients' short ways.
        self.fresh = 0
        #: MGETs in it that are not written yet, the last of which may take more keys if gathers allows that.
        self.sheaves: list[Sheaf] = []
        self.sheaf: Sheaf | None = None
        self.gathers = True
        self._size = 0
        self._flush_timer: Any = None
        #: Seconds in which a command has to be answered; None while one may block.
        self.timeout: float | None = pool.op_timeout if timed else None
        self.draining = False

    @property
    def busy(self) -> bool:
        """Whether anybody waits for a reply."""
        return bool(self.pending)

    # Sending.

    def send(self, request: Any, raw: bytes) -> None:
        """Send raw with the others of this batch; request gets the reply."""
        pending = self.pending
        pending.append(request)
        self.out.append(raw)
        stats, host = self.stats, self.host
        stats.upstream_rq_total.value += 1
        stats.upstream_rq_active.value += 1
        host.rq_total += 1  # type: ignore[attr-defined]
        host.rq_active += 1  # type: ignore[attr-defined]
        if not self.scheduled:
            self.schedule(len(raw))
        elif self.pool.flush_size:
            self._count(len(raw))

    def send_car(self, car: Car, raw: bytes) -> None:
        """Send many commands, whose replies car takes."""
        more = car.left - 1
        self.send(car, raw)
        self.stats.upstream_rq_total.value += more
        self.stats.upstream_rq_active.value += more
        self.host.rq_total += more  # type: ignore[attr-defined]
        self.host.rq_active += more  # type: ignore[attr-defined]

    def expect(self, request: Any) -> None:
        """Let request, that was sent just now, get one more reply."""
        self.pending.append(request)
        self.stats.upstream_rq_active.value += 1
        self.host.rq_active += 1  # type: ignore[attr-defined]

    def transmit(self, raw: bytes) -> None:
        """Send a command to which there is no reply, or pushes only."""
        self.out.append(raw)
        if not self.scheduled:
            self.scheduled = True
            self.pool.soon(self.flush)

    def schedule(self, size: int) -> None:
        """Have flush() called, where size bytes are the first to wait for it."""
        self.scheduled = True
        self._size = size
        pool = self.pool
        if not pool.flush_size:
            pool.soon(self.flush)
        elif size >= pool.flush_size:
            self.flush()
        else:
            self._flush_timer = pool.clock.callLater(pool.flush_timeout, self.flush)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size >= self.pool.flush_size:
            if self._flush_timer is not None and self._flush_timer.active():
                self._flush_timer.cancel()
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        self.scheduled = False
        if self.fresh:
            self._count_fresh()
        if self.transport is None or self.over:
            return  # connectionMade sends it
        if self.out:
            self.transport.write(self._take_out())
            if self._timer is None and self.timeout is not None and self.pending:
                self._watch(self.timeout)

    def _take_out(self) -> bytes:
        out, self.out = self.out, []
        if self.sheaves:
            for sheaf in self.sheaves:
                out[sheaf.at] = sheaf.raw
            self.sheaves.clear()
            self.sheaf = None
        return out[0] if len(out) == 1 else b"".join(out)

    def _count_fresh(self) -> None:
        count, self.fresh = self.fresh, 0
        upstream, downstream, host = self.stats, self.pool.settings.stats, self.host
        downstream.rq_total.value += count
        downstream.rq_active.value += count
        upstream.upstream_rq_total.value += count
        upstream.upstream_rq_active.value += count
        host.rq_total += count  # type: ignore[attr-defined]
        host.rq_active += count  # type: ignore[attr-defined]

    def _watch(self, seconds: float) -> None:
        self._timer = self.pool.timers.call_later(seconds, self._check)

    def _check(self) -> None:
        """Look whether the oldest command has waited for too long."""
        self._timer = None
        if not self.pending or self.timeout is None:
            return
        left = self.pending[0].start + self.timeout - self.pool.seconds()
        if left > 0:
            self._watch(left)
            return
        self.pool.count("upstream_rq_timeout")
        self.fail("timeout")

    # IUpstream.

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """Send the greetings, and what has come to wait."""
        data = self._greetings + self._take_out()
        if data:
            self.transport.write(data)
        if self.pending and self.timeout is not None and self._timer is None:
            self._watch(self.timeout)

    def connect_failed(self, error: ConnectError) -> None:
        """Tell those who wait."""
        self.transport = None
        self._end("connect_failed")

    def dataReceived(self, data: bytes) -> None:
        replies: list[bytes] | None = None
        if self.pending and not self._splitter.buffered:
            if self.pending[0].__class__ is not Car:
                short = split_short(data)
                if short:
                    short = self._deal_short(short)
                    if not short:
                        return
                    replies = list(map(joined, short))
            elif len(data) > _WORTH:
                replies = self._take_alike(data)
                if replies is None:
                    return
        try:
            self._deal(replies or self._splitter.receive(data))
        except ProtocolError:
            self.pool.count("upstream_cx_protocol_error")
            self.fail("error")

    def _deal(self, replies: list[bytes]) -> None:
        """Give the replies to those who wait for them; raise ProtocolError if nobody does."""
        touched = None
        unasked = False
        pending = self.pending
        answered = index = 0
        count = len(replies)
        while index < count and not self.over:
            reply = replies[index]
            if self.pushes_only or reply[0] == 62:
                index += 1
                if self.on_push is not None:
                    self.on_push(reply)
                continue
            if not pending:
                unasked = True
                break
            head = pending[0]
            if head.__class__ is Car:
                taken = head.take(replies, index)
                client = head.waiting()
                if not head.left:
                    pending.popleft()
            else:
                taken = 1
                pending.popleft()
                client = head.answered(reply)
            index += taken
            answered += taken
            if client is not touched:
                if touched is not None:
                    touched.flush()
                touched = client
        if answered:
            self._account(answered)
        if touched is not None:
            touched.flush()
        if unasked:
            raise ProtocolError("a reply that nobody waits for")
        if self.draining and not pending:
            self.close()

    def _deal_short(self, replies: list[bytes | list[bytes]]) -> list[bytes | list[bytes]]:
        """Answer the commands on the short way that wait first; return the replies that are left."""
        pending, now = self.pending, self.pool.seconds()
        index = quick = size = 0
        for reply in replies:
            head: Any = pending[0] if pending else None
            if head.__class__ is Sheaf:
                pending.popleft()
                index += 1
                head.answered(reply)
                continue
            if head.__class__ is not Quick or reply[0] == 45 or head.attempts:
                break
            client = head.client
            queue = client.queue
            if not queue or queue[0] is not head:
                break
            pending.popleft()
            queue.popleft()
            index += 1
            quick += 1
            stats = head.entry.stats
            stats.success.value += 1
            stats.latency.record((now - head.start) * client.factor)
            own = reply if isinstance(reply, bytes) else joined(reply)
            client.send(own)
            size += len(own)
            if queue or client.closing or client.ended:
                client.flush()
        self._account(index)
        downstream = self.pool.settings.stats
        downstream.rq_active.value -= quick
        downstream.tx_bytes.value += size
        if self.draining and not pending:
            self.close()
        return replies[index:]

    def _take_alike(self, data: bytes) -> list[bytes] | None:
        """Return the replies, if they look alike; an empty list if not; None if they are dealt with."""
        car = self.pending[0]
        if not car.is_whole:
            return split_replies(data) or []
        count = count_replies(data)
        if count is None:
            return []
        if count > car.left:
            return split_replies(data) or []
        if count == car.left:
            self.pending.popleft()
        car.take_whole(data, count)
        self._account(count)
        car.client.flush()
        if self.draining and not self.pending:
            self.close()
        return None

    def _account(self, answered: int) -> None:
        host: Any = self.host
        if self._greeted < 0:
            greetings = min(-self._greeted, answered)
            self._greeted += greetings
            answered -= greetings
        self.stats.upstream_rq_active.value -= answered
        host.rq_active -= answered
        host.rq_success += answered

    def readConnectionLost(self) -> None:
        self.fail("reset")

    def connectionLost(self, reason: Failure) -> None:
        self._end("reset")

    def protocol_failed(self, failure: Failure) -> None:
        """Something raised while a reply was dealt with: log it; the connection ends."""
        log.failure("while a reply of {host} was dealt with", failure, host=self.host.address)

    # The end.

    def refused(self, reply: bytes) -> None:
        """A greeting was answered with an error."""
        self.pool.greeting_refused(self, reply)
        self.fail("error")

    def drain(self) -> None:
        """Close once nobody waits any more."""
        self.draining = True
        if not self.pending:
            self.close()

    def close(self) -> None:
        """End it; nobody may wait."""
        if not self.over:
            self._end(None)
            self._drop()

    def fail(self, result: Result) -> None:
        """End it, and tell those who wait."""
        if not self.over:
            self._end(result)
            self._drop()

    def _drop(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()
        elif self.connecting is not None:
            self.connecting.cancel()

    def _end(self, result: Result | None) -> None:
        if self.over:
            return
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flush_timer is not None and self._flush_timer.active():
            self._flush_timer.cancel()
        self.pool.ended(self)
        self._count_fresh()
        self.sheaf = None
        pending, self.pending = self.pending, deque()
        waiting = [each for each in pending if not isinstance(each, Greeting)]
        count = sum(each.left if each.__class__ is Car else 1 for each in waiting)
        self.stats.upstream_rq_active.value -= count
        self.host.rq_active -= count  # type: ignore[attr-defined]
        if result is not None and (waiting or result == "connect_failed"):
            self.host.report(result)
            if self.pool.cluster.redis_slots:
                self.pool.cluster.note_failure(self.host)  # type: ignore[attr-defined]
        on_end, self.on_end, self.on_push = self.on_end, None, None
        if on_end is not None:
            on_end()
        for each in waiting:
            each.failed(result)
