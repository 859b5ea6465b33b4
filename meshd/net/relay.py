"""
Sends what one stream reads straight to another, once nothing looks at the bytes.

A relay serves one direction; two make a connection.  It begins with a copy
through one buffer that all relays share, which is the cheapest for small
messages.  A direction that turns out to move bulk goes through a pipe instead,
by splice(2): the bytes then never enter this process.  All that is not data
(FIN, reset, time-outs) goes the ordinary way, through the protocols.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable

from twisted.python.failure import Failure

from meshd.filter import Flow
from meshd.net.poller import IN, OUT
from meshd.net.stream import READ_SIZE, Stream

#: The event of a socket that has something to read, room to write, and no end in sight.
READY = IN | OUT
#: Bytes of a read that may be part of a bulk transfer: a fast relay seldom finds its buffer's worth waiting.
BIG = 16384
#: Such reads in a row that make a direction a bulk one.
BULK = 8
#: Turns before the others get theirs.
BUDGET = 8
#: Pipes kept for reuse.
SPARE_PIPES = 64
#: Bytes; more than an unprivileged pipe may have (pipe-max-size) is not asked for.
PIPE_SIZE = 1 << 20

#: What all relays read into: nothing stays in it.
buffer = bytearray(READ_SIZE)
view = memoryview(buffer)
_spare: list[Pipe] = []

#: What is shown the bytes of a connection: those that go there, and those that come back.
Watch = tuple[Callable[[bytes], object], Callable[[bytes], object]]


class Pipe:
    """A non-blocking pipe to splice through."""

    __slots__ = ("read", "size", "write")

    def __init__(self) -> None:
        self.read, self.write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self.size = fcntl.fcntl(self.write, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:  # the user's share of pipe pages is used up
            self.size = fcntl.fcntl(self.write, fcntl.F_GETPIPE_SZ)

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self.read)
        os.close(self.write)


def free_spare_pipes() -> None:
    """Give up the pipes that are kept: connections have more use for the descriptors."""
    while _spare:
        _spare.pop().close()


class Relays:
    """
    The relays that there are.

    A relay keeps one sum of its bytes: adding to all the counters that they
    belong to for each message would cost more than Python's part of relaying
    it.  The sums are added when somebody reads the counters, and at the end.
    """

    def __init__(self) -> None:
        self._relays: set[Relay] = set()

    def join(
        self, one: Stream, other: Stream, there: Flow, back: Flow, watch: Watch | None = None
    ) -> tuple[Relay, Relay]:
        """Relay between two streams, both ways; watch is shown what goes there, and what comes back."""
        if watch is None:
            return self.add((Relay(one, other, there), Relay(other, one, back)))
        return self.add((Watched(one, other, there, watch[0]), Watched(other, one, back, watch[1])))

    def add(self, pair: tuple[Relay, Relay]) -> tuple[Relay, Relay]:
        """Take charge of two relays of one connection; return them."""
        self._relays.update(pair)
        return pair

    def leave(self, pair: tuple[Relay, ...]) -> None:
        """The connection is over."""
        for relay in pair:
            relay.stop()
        self._relays.difference_update(pair)

    def collect(self) -> None:
        """Bring the counters up to date."""
        for relay in self._relays:
            relay.settle()


class Relay:
    """One direction: from source to sink."""

    __slots__ = (
        "_big",
        "_bulk",
        "_capacity",
        "_flow",
        "_moved",
        "_noted",
        "_pipe",
        "_poller",
        "_read_size",
        "_recv_into",
        "_sink",
        "_source",
        "_waiting",
    )

    def __init__(self, source: Stream, sink: Stream, flow: Flow) -> None:
        self._source = source
        self._sink = sink
        self._flow = flow
        self._poller = source.poller
        self._recv_into = source.sock.recv_into
        self._moved = 0  # bytes that are not in the counters yet
        self._pipe: Pipe | None = None
        self._waiting = 0  # bytes in the pipe
        self._noted = 0  # of them, what the sink's gauge knows of
        self._bulk = 0
        self._read_size = min(READ_SIZE, sink.limit) or READ_SIZE
        self._big = min(BIG, self._read_size)
        self._capacity = min(PIPE_SIZE, sink.limit) or PIPE_SIZE
        source.on_readable = self.pump
        source.poller.switch(source.fd, self.handle)

    def handle(self, event: int) -> None:
        """
        Take an edge of the source's socket from the poller.

        A message that came whole, and that the sink takes whole, is all that
        this knows; for everything else it goes the long way.  What is here is
        the proxy's hottest path: every call counts.
        """
        source, sink = self._source, self._sink
        if (
            event != READY
            or source.on_writable is not None
            or sink.on_writable is not None
            or source.pausers
            or source.held
            or source.disconnecting
            or self._bulk
        ):
            source.handle(event)
            return
        try:
            size = self._recv_into(buffer, self._read_size)
        except BlockingIOError:
            return
        except OSError as error:
            source.failed(error)
            return
        if size >= self._big or not size:
            source.readable = True
            self._long_way(size)
            return
        source.last_active = self._poller.now
        self._moved += size
        try:
            sent = sink.send(view[:size])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            sink.failed(error)
            return
        if sent != size:
            self._keep(sent, size)

    def _long_way(self, size: int) -> None:
        """Go on with a read that filled the buffer, or found the end."""
        if not size:
            self._source.end_of_data()
        elif self._pass_on(size) and not self._is_bulk():
            if size == self._read_size:
                self.pump()
            else:
                self._source.readable = False

    def pump(self) -> None:
        """Send on all that there is to read, through the shared buffer."""
        source, sink = self._source, self._sink
        if source.pausers or source.read_ended or source.disconnecting or source.closed:
            return
        if sink.on_writable is not None or source.held:
            self._wait()
            return
        size = self._read_size
        for _ in range(BUDGET):
            try:
                got = self._recv_into(buffer, size)
            except BlockingIOError:
                source.readable = False
                return
            except OSError as error:
                source.failed(error)
                return
            if not got:
                source.end_of_data()
                return
            if not self._pass_on(got):
                return
            if got < self._big:
                self._bulk = 0
            elif self._is_bulk():
                return
            if got < size and not source.hung_up:
                source.readable = False
                return
        source.soon(self.pump)

    def _pass_on(self, size: int) -> bool:
        """Send what is in the buffer; False if the sink did not take all."""
        self._source.last_active = self._poller.now
        self._moved += size
        try:
            sent = self._sink.send(view[:size])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._sink.failed(error)
            return False
        if sent == size:
            return True
        self._keep(sent, size)
        return False

    def _keep(self, sent: int, size: int) -> None:
        """Keep what the sink did not take, and read no more until it has."""
        # keep() counts these as written when they are.
        self._sink.bytes_written -= size - sent
        self._sink.keep(bytes(view[sent:size]))
        self._wait()

    def settle(self) -> None:
        """Add what was moved to the counters that it belongs to."""
        size, self._moved = self._moved, 0
        flow = self._flow
        flow.bytes += size
        flow.received.value += size
        flow.sent.value += size
        self._source.bytes_read += size
        self._sink.bytes_written += size

    def _wait(self) -> None:
        """Read no more until all that the sink has is gone."""
        source = self._source
        if source.held:
            source.soon(source.read)
        elif self._sink.on_drained is None:
            self._flow.paused.value += 1
            self._sink.on_drained = self._go_on
        if source.hung_up and not source.closed:
            source.fail_if_broken()  # the sink may never be ready, and a read not tell

    def _go_on(self) -> None:
        self._flow.resumed.value += 1
        source = self._source
        if source.on_readable is not None:
            source.soon(source.on_readable)

    def _is_bulk(self) -> bool:
        """Change over to splice if there is much to move; whether it did."""
        self._bulk += 1
        if self._bulk < BULK:
            return False
        if self._pipe is not None:
            # It has changed over, since this call was put off.
            self._splice()
            return True
        try:
            self._pipe = _spare.pop() if _spare else Pipe()
        except OSError:  # no descriptors left: copying goes on
            self._bulk = -100
            return False
        self._capacity = min(self._capacity, self._pipe.size)
        self._source.on_readable = self._splice
        self._splice()
        return True

    def _splice(self) -> None:
        """Send on what there is to read, through the pipe."""
        source, sink, pipe = self._source, self._sink, self._pipe
        if source.pausers or source.read_ended or source.disconnecting or source.closed or pipe is None:
            return
        if sink.on_writable is not None:
            self._wait()
            return
        for _ in range(BUDGET):
            try:
                got = os.splice(source.fd, pipe.write, self._capacity)
            except BlockingIOError:
                source.readable = False
                return
            except OSError as error:
                source.failed(error)
                return
            if not got:
                source.end_of_data()
                return
            source.last_active = self._poller.now
            self._moved += got
            self._waiting += got
            if not self._empty(pipe):
                return
        source.soon(self._splice)

    def _empty(self, pipe: Pipe) -> bool:
        """Move the pipe's content to the sink; whether all of it went."""
        sink = self._sink
        while self._waiting:
            try:
                sent = os.splice(pipe.read, sink.fd, self._waiting)
            except BlockingIOError:
                self._wait_for_room()
                return False
            except OSError as error:
                sink.failed(error)
                return False
            self._waiting -= sent
            sink.last_active = self._poller.now
        return True

    def _wait_for_room(self) -> None:
        sink = self._sink
        if sink.on_writable is None:
            sink.on_writable = self._room
            self._note(self._waiting)
            self._wait()

    def _room(self) -> None:
        """The sink takes more: finish what is in the pipe."""
        sink, pipe = self._sink, self._pipe
        if pipe is None:
            return
        empty = self._empty(pipe)
        self._note(self._waiting)
        if empty:
            sink.on_writable = None
            sink.flushed()

    def _note(self, size: int) -> None:
        """Let the sink's gauge of buffered bytes know that size of them are in the pipe."""
        gauge = self._sink.buffered
        if gauge is not None:
            gauge.inc(size - self._noted)
            self._noted = size

    def stop(self) -> None:
        """The connection is over: move no more, and give the pipe back."""
        source = self._source
        if not source.closed:
            source.pause("relay over")
        self._note(0)
        self.settle()
        pipe, self._pipe = self._pipe, None
        lost, self._waiting = self._waiting, 0
        self._flow.sent.value -= lost
        self._sink.bytes_written -= lost
        if pipe is not None:
            if lost or len(_spare) >= SPARE_PIPES:
                pipe.close()
            else:
                _spare.append(pipe)


class Watched(Relay):
    """A direction whose bytes are shown to somebody, once they are sent; they all pass through the buffer."""

    __slots__ = ("_watch",)

    def __init__(self, source: Stream, sink: Stream, flow: Flow, watch: Callable[[bytes], object]) -> None:
        super().__init__(source, sink, flow)
        self._watch = watch

    def handle(self, event: int) -> None:
        """Take an edge of the source's socket: as Relay's, with the bytes shown."""
        source, sink = self._source, self._sink
        if (
            event != READY
            or source.on_writable is not None
            or sink.on_writable is not None
            or source.pausers
            or source.held
            or source.disconnecting
        ):
            source.handle(event)
            return
        try:
            size = self._recv_into(buffer, self._read_size)
        except BlockingIOError:
            return
        except OSError as error:
            source.failed(error)
            return
        if size >= self._big or not size:
            source.readable = True
            self._long_way(size)
            return
        source.last_active = self._poller.now
        self._moved += size
        try:
            sent = sink.send(view[:size])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            sink.failed(error)
            return
        # The buffer is everybody's: what is shown, and may be kept, is a copy.
        data = bytes(view[:size])
        if sent != size:
            self._keep(sent, size)
        try:
            self._watch(data)
        except Exception:
            source.protocol_failed(Failure())

    def _pass_on(self, size: int) -> bool:
        data = bytes(view[:size])
        passed = super()._pass_on(size)
        try:
            self._watch(data)
        except Exception:
            self._source.protocol_failed(Failure())
            return False
        return passed and not self._source.disconnecting

    def _is_bulk(self) -> bool:
        return False
