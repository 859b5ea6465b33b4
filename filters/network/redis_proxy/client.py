"""
One client: what it sends is done in order, and what it is owed is sent in order.

A gate, if there is one, sees each command first: it lets no one in without a
password, collects a transaction, or knows what a subscriber may do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.python.failure import Failure

from meshd.codec.resp import ProtocolError, RequestParser
from meshd.filter import TerminalFilter
from meshd.filters.network.redis_proxy.access import first_gate
from meshd.filters.network.redis_proxy.lane import SHORT, Lane, Quick
from meshd.filters.network.redis_proxy.options import KEY, Options
from meshd.filters.network.redis_proxy.pipeline import LEAST, send_first, send_uniform
from meshd.filters.network.redis_proxy.reader import Reader
from meshd.filters.network.redis_proxy.request import NO_HOST, Barrier, Request, Slot
from meshd.filters.network.redis_proxy.train import PATIENCE, Train
from meshd.filters.network.redis_proxy.watch import Watch
from meshd.interfaces import ITimer

if TYPE_CHECKING:
    from meshd.codec.resp import Request as Parsed
    from meshd.filters.network.redis_proxy.pool import Flavour, Pool
    from meshd.filters.network.redis_proxy.routes import Route
    from meshd.filters.network.redis_proxy.settings import Settings
    from meshd.filters.network.redis_proxy.table import Entry
    from meshd.filters.network.redis_proxy.tracked import Tracking

#: Bytes from which on it is worth while to look whether commands look alike.
_WORTH = 80

INVALID = b"-invalid request\r\n"

#: What sees a command first; it returns whether it has dealt with it.
Gate = Callable[["Client", "Entry", list[bytes], bytes], bool]


class Client(TerminalFilter):
    """The connection of one client."""

    now = 0.0
    gone = False
    gate: Gate | None = None
    #: How many commands are in trains, beyond one for each.
    in_trains = 0
    database = 0
    protocol = 2
    #: What it calls itself: CLIENT SETNAME.
    name = b""
    user = b"default"
    #: What an external service has said of it, and is being asked.
    standing: Any = None
    #: A transaction, subscriptions, ...: each has end().
    transaction: Any = None
    subscriber: Any = None
    #: After CLIENT TRACKING.
    private: Tracking | None = None
    #: After CLIENT REPLY OFF or SKIP.
    silence: Any = None
    monitor: Any = None
    #: The short way, if there is one.
    lane: Lane | None = None
    _coupled: Pool | None = None
    _full = False
    #: Whether it takes no more commands, and is closed when nothing is owed any more.
    closing = False
    #: Whether it has sent its last byte.
    ended = False
    #: Whether a server may take its time with a command of it.
    blocked = False
    _running = False
    #: Whether flush_later() has been called.
    _flushes = False

    def __init__(self, shared: Settings) -> None:
        self.shared = shared
        self.seconds = shared.seconds
        self.factor = shared.latency_factor
        self.queue: deque[Slot] = deque()
        self.flavour: Flavour = shared.flavour(0, 2)
        #: Commands that came while one before them has to be over first.
        self.waiting: deque[Parsed] = deque()
        self.held = False
        self._timers: set[ITimer] = set()
        #: When it connected.
        self.made = self.seconds()

    # The connection.

    def connectionMade(self) -> None:
        shared, stats = self.shared, self.shared.stats
        options = (
            self.connection.info.filter_state.get(KEY) if self.connection.info.has_filter_state else None
        )
        self.options: Options = options or shared.options
        self.table = shared.table(self.options)
        self.parser = RequestParser(self.options.limits)
        self.watch = Watch(self) if Watch.wanted(self.options) else None
        #: Whether anybody wants to know of each command that is over.
        self.watches = self.watch is not None or shared.command_stats
        stats.cx_total.inc()
        stats.cx_active.inc()
        self.connection.count_buffered(stats.tx_buffered)
        self.reader = Reader(self)
        self.transport.registerProducer(self.reader, True)
        self.gate = first_gate(shared, self)
        #: Writes what stood in the queue alone; where no filter lies outside it cannot raise.
        alone: bool = self.transport is self.connection
        self.send: Callable[[bytes], object] = self.transport.write if alone else self._pass_out
        self.quick = Quick(self, None, b"", shared.trains, None)  # type: ignore[arg-type]
        self.keep_apart(False)

    def keep_apart(self, apart: bool) -> None:
        """Look at each command by itself, or only if something else wants it."""
        #: The pool whose commands may go together.
        self._coupled = None if apart or self.watches or self.options.retries else self.shared.trains
        self.choose_flavour()

    def dataReceived(self, data: bytes) -> None:
        if self.closing:
            return
        stats = self.shared.stats
        size = len(data)
        stats.rx_bytes.value += size
        lane = self.lane
        alone = size < SHORT and not (self.queue or self.held or self.parser.buffered)
        if alone and lane is not None and self.gate is None and lane.take(self, data):
            return
        if size > _WORTH and lane is not None and send_uniform(self, lane, data):
            return
        try:
            requests = self.parser.receive(data)
        except ProtocolError as error:
            self._misspoke(error)
            return
        count = len(requests)
        stats.rq_total.value += count
        stats.rq_active.value += count
        if self.held:
            self.waiting.extend(requests)
            # The client is read on, for its end to be noticed; but not for ever.
            if len(self.waiting) >= self.options.max_pipeline:
                self.connection.pause("held")
        else:
            self._run(requests)
        if self.parser.error is not None and not self.closing:
            if self.held:
                return  # release() comes back to it
            self._misspoke(self.parser.error)

    def pause_if_full(self) -> None:
        """Read no more from a client that waits for too many replies."""
        if len(self.queue) + self.in_trains >= self.options.max_pipeline and not self._full:
            self._full = True
            self.connection.pause(self)

    def _run(self, requests: Any) -> None:
        self.now = self.seconds()
        self._running = True
        find = self.table.spelt.get
        index = 0
        if len(requests) >= LEAST and self.lane is not None and self.gate is None:
            index = send_first(self, self.lane, requests)
            if index:
                requests = list(requests)[index:]
                index = 0
        for arguments, raw in requests:
            index += 1
            if not arguments:
                self.invalid()
                continue
            entry = find(arguments[0]) or self.table.find(arguments[0])
            gate = self.gate
            if gate is not None and gate(self, entry, arguments, raw):  # type: ignore[arg-type]
                pass
            elif entry is None:
                self.unknown(arguments)
            else:
                entry.stats.total.value += 1
                entry.act(self, entry, arguments, raw)
            if self.held or self.closing:
                break
        if index < len(requests):
            if self.closing:
                self.shared.stats.rq_active.value -= len(requests) - index
            else:
                self.waiting.extend(list(requests)[index:])
        self._running = False
        self.flush()
        self.pause_if_full()

    def _misspoke(self, error: ProtocolError) -> None:
        """Say what is wrong, as Redis does, and close once what was asked before is answered."""
        self.shared.stats.cx_protocol_error.inc()
        self.queue.append(Slot(b"-ERR Protocol error: %b\r\n" % str(error).encode("latin-1", "replace")))
        self.shared.stats.rq_active.value += 1
        self.finish()
        self.flush()

    def readConnectionLost(self) -> None:
        if self.blocked or self.subscriber is not None or self.monitor is not None:
            self.cut()
            return
        self.ended = True
        self.flush()

    def connectionLost(self, reason: Failure) -> None:
        self.gone = self.closing = True
        stats = self.shared.stats
        stats.cx_active.dec()
        owed = sum(slot.owed for slot in self.queue)
        stats.rq_active.value -= owed + len(self.waiting)
        queue, self.queue = self.queue, deque()
        self.waiting.clear()
        for slot in queue:
            slot.abandon()
        self.reset_state()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.reader.end()

    def reset_state(self) -> None:
        """Give up what the client has at servers: a transaction, subscriptions, tracking."""
        self.reset_private()
        for name in ("transaction", "subscriber", "monitor"):
            state = getattr(self, name)
            if state is not None:
                setattr(self, name, None)
                state.end()
        self.choose_flavour()

    def reset_private(self) -> None:
        """Close the connections of the client's own."""
        if self.private is not None:
            private, self.private = self.private, None
            private.end()

    def choose_flavour(self) -> None:
        """Use the connections that suit the database and the RESP version."""
        self.flavour = self.private or self.shared.flavour(self.database, self.protocol)
        pool = self._coupled
        self.lane = None if self.private or pool is None else pool.lane(self.flavour)

    # Replies.

    def reply(self, data: bytes) -> None:
        """Answer the command that is being done, by ourselves."""
        self.queue.append(Slot(data))
        if not self._running:
            self.flush()

    def invalid(self, entry: Entry | None = None) -> None:
        """Say that this is no command, in Envoy's words, nor counts as one."""
        if entry is not None:
            entry.stats.total.value -= 1
        self.shared.stats.invalid.inc()
        self.reply(INVALID)

    def unknown(self, arguments: list[bytes]) -> None:
        """Say that there is no such command, in Envoy's words."""
        self.shared.stats.unsupported.inc()
        first = arguments[1][:128] if len(arguments) > 1 else b""
        text = b"ERR unknown command '%b', with args beginning with: %b" % (arguments[0][:128], first)
        self.reply(b"-%b\r\n" % text.replace(b"\r", b" ").replace(b"\n", b" "))

    def flush(self) -> None:
        """Send what is answered, as far as nothing before it is not."""
        if self._running:
            return
        queue = self.queue
        out: list[bytes] = []
        done = 0
        ready = None
        while queue:
            head: Any = queue[0]
            reply = head.reply
            if reply is None:
                if head.__class__ is Train:
                    replies, count = head.take()
                    out += replies
                    done += count
                    if not head.owed:
                        self.in_trains -= head.load.count - 1
                        queue.popleft()
                        continue
                    if head.left < head.owed:
                        self.flush_later()
                elif isinstance(head, Barrier):
                    ready = head.call
                    queue.popleft()
                break
            out.append(reply)
            done += 1
            queue.popleft()
        if out:
            self.shared.stats.rq_active.value -= done
            self.write(out[0] if len(out) == 1 else b"".join(out))
            if self._full and len(queue) + self.in_trains <= self.options.max_pipeline // 2:
                self._full = False
                self.connection.resume(self)
        if ready is not None:
            self.now = self.seconds()
            ready()
        elif not queue and not self.gone and (self.closing or (self.ended and not self.held)):
            self._close()

    def flush_later(self) -> None:
        """Flush in a moment what there is of a pipeline: the rest may come before that."""
        if not self._flushes:
            self._flushes = True
            self.shared.timers.call_later(PATIENCE, self._flush_late)

    def _flush_late(self) -> None:
        self._flushes = False
        head = self.queue[0] if self.queue else None
        if isinstance(head, Train):
            head.hurry()
            self.flush()

    def write(self, data: bytes) -> None:
        if self.gone:
            return
        size = len(data)
        self.shared.stats.tx_bytes.value += size
        self._pass_out(data)
        if self.reader.stalled:
            self.reader.unsent(size)

    def _pass_out(self, data: bytes) -> None:
        """Write; if a filter raises, that is the end of this client, and not of the server's connection."""
        try:
            self.transport.write(data)
        except Exception:
            self.connection.protocol_failed(Failure())
            self.cut()

    # Holding: a command has to be over before the next one begins.

    def hold(self) -> None:
        """Begin no other command until release()."""
        self.held = True

    def release(self) -> None:
        """Go on with the commands that waited."""
        if not self.held or self.gone:
            return
        self.held = False
        self.connection.resume("held")
        waiting, self.waiting = self.waiting, deque()
        if waiting and not self._running:
            self._run(waiting)
        else:
            self.waiting.extendleft(reversed(waiting))
        if self.parser.error is not None and not self.held and not self.closing:
            self._misspoke(self.parser.error)
        self.flush()

    def when_idle(self, call: Callable[[], object]) -> None:
        """Hold, and call once all that was asked before is answered."""
        self.hold()
        if not self.queue or all(slot.reply is not None for slot in self.queue):
            call()
            return
        self.queue.append(Barrier(call))

    def later(self, delay: float, call: Callable[[], object]) -> None:
        """Hold, and call after delay seconds; then go on."""
        self.hold()

        def fire() -> None:
            self._timers.discard(timer)
            self.now = self.seconds()
            call()
            self.release()

        timer = self.shared.timers.call_later(delay, fire)
        self._timers.add(timer)

    # The end.

    def finish(self) -> None:
        """Take no more commands; close once what was asked is answered."""
        self.closing = True

    def _close(self) -> None:
        self.gone = True
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def cut(self) -> None:
        """Close at once."""
        self.closing = self.gone = True
        self.connection.close_now()

    # Routes.

    def pool_of(self, route: Route, reads: bool) -> Pool:
        """Return the pool of a route."""
        return self.shared.pools[(reads and route.read_cluster) or route.cluster]

    def anywhere(self) -> Pool | None:
        """Return the pool for commands without a key: that of the catch-all route, or of the only one."""
        routes = self.shared.routes
        if routes.catch_all is not None:
            return self.shared.pools[routes.catch_all.cluster]
        if len(routes.all) == 1:
            return self.shared.pools[routes.all[0].cluster]
        return None

    def no_host(self) -> None:
        """Say that there is no route, in Envoy's words."""
        self.reply(NO_HOST)

    def finished(self, slot: Any, elapsed: float, answered: bool = True) -> None:
        """Note a command that is over, for the log and the like."""
        if self.shared.command_stats and isinstance(slot, Request):
            slot.pool.observe(slot.entry.name, elapsed, answered)
        if self.watch is not None:
            self.watch.finished(slot, elapsed)
