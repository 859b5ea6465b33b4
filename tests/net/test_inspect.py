"""Tests for meshd.net.inspect."""

from __future__ import annotations

import socket
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from meshd.interfaces import IListenerFilter, IStreamInfo, Refused
from meshd.net.inspect import Inspection, Inspections, InspectionStats
from meshd.net.stream import Stream
from meshd.observe.info import ConnectionInfo
from meshd.testing import FakeScope
from tests.net.loop import Loop, Recorder, ending, reset

TIMEOUT = 5.0


class Line:
    """Wants a line, and takes it off if it is to."""

    def __init__(self, take: bool = False, limit: int = 100) -> None:
        self.take = take
        self.limit = limit
        self.seen: list[bytes] = []

    def inspect(self, data: bytes, info: IStreamInfo) -> int | None:
        """Note the line in info."""
        self.seen.append(data)
        line, end, _ = data.partition(b"\n")
        if not end:
            return None
        info.metadata.setdefault("lines", {})[str(len(info.metadata.get("lines", {})))] = line
        return len(line) + 1 if self.take else 0


class Address:
    """Needs no data, like original_dst."""

    limit = 0

    def inspect(self, data: bytes, info: IStreamInfo) -> int | None:
        """Change the address."""
        info.local = ("203.0.113.9", 99)
        return 0


class Raises:
    """Raises once there is data, or at once."""

    limit = 10

    def __init__(self, error: Exception, at: bytes = b"") -> None:
        self.error = error
        self.at = at

    def inspect(self, data: bytes, info: IStreamInfo) -> int | None:
        """Raise."""
        if data.startswith(self.at):
            raise self.error
        return None


class InspectionCase(SynchronousTestCase):
    """A connection that is inspected."""

    def setUp(self) -> None:
        self.loop = Loop()
        self.stats = FakeScope()
        self.protocol = Recorder()
        self.outcome: list[str] = []

    def inspect(
        self,
        *filters: IListenerFilter | Line | Raises | Address | Slow,
        timeout: float = TIMEOUT,
        go_on: bool = False,
        first: bytes = b"",
    ) -> Inspection:
        """Inspect a connection; first is there before it begins."""
        makers: list[Callable[[], IListenerFilter]] = [lambda each=each: each for each in filters]  # type: ignore[misc]
        shared = Inspections(makers, self.loop.timers, timeout, go_on, InspectionStats(self.stats))
        self.stream, self.peer = self.loop.stream(None, tcp=True)
        self.addCleanup(self.peer.close)
        if first:
            self.peer.sendall(first)
        self.info = ConnectionInfo(("127.0.0.1", 1), ("127.0.0.1", 2))
        inspection = Inspection(shared, self.stream, self.info, self.passed, self.refused)
        self.stream.protocol = inspection
        inspection.start()
        return inspection

    def passed(self, stream: Stream, info: ConnectionInfo) -> None:
        """Give the connection to the protocol."""
        self.outcome.append("passed")
        stream.protocol = self.protocol

    def refused(self, info: ConnectionInfo) -> None:
        """Note it."""
        self.outcome.append("refused")

    def over(self, outcome: str, **counters: int) -> None:
        """Check how it ended, and what was counted."""
        self.assertEqual(self.outcome, [outcome])
        self.assertEqual(self.stats["downstream_pre_cx_active"], 0)
        names = {
            "timeout": "downstream_pre_cx_timeout",
            "error": "downstream_listener_filter_error",
            "remote_close": "downstream_listener_filter_remote_close",
        }
        self.assertEqual({key: self.stats[name] for key, name in names.items() if self.stats[name]}, counters)


class Slow:
    """Takes its time; done is its answer."""

    limit = 0

    def __init__(self) -> None:
        self.cancelled = 0
        self.done: Deferred[int] = Deferred(self._cancel)

    def _cancel(self, _: object) -> None:
        self.cancelled += 1

    def inspect(self, data: bytes, info: IStreamInfo) -> Deferred[int]:
        """Return what will be answered."""
        return self.done


class SlowTests(InspectionCase):
    """Filters that ask somebody else."""

    def test_waits(self) -> None:
        """Nobody reads before there is an answer, however long it takes; then it goes on."""
        slow = Slow()
        self.inspect(slow, Line(), first=b"hello\nworld")
        self.loop.turn()
        self.loop.clock.advance(10 * TIMEOUT)
        self.loop.turn()
        self.assertEqual((self.outcome, self.stream.bytes_read), ([], 0))
        slow.done.callback(0)
        self.loop.until(lambda: self.protocol.data == b"hello\nworld")
        self.over("passed")

    def test_in_the_middle(self) -> None:
        """One that is asked after bytes were read does not lose them, and can take some off."""
        slow = Slow()
        self.inspect(Line(take=True), slow, Line())
        self.peer.sendall(b"one\n2two\n")
        self.loop.turn()
        slow.done.callback(1)
        self.loop.until(lambda: self.protocol.data == b"two\n")
        self.over("passed")

    def test_known_already(self) -> None:
        """An answer that is there at once is as good."""
        slow = Slow()
        slow.done.callback(0)
        self.inspect(slow)
        self.over("passed")
        self.peer.sendall(b"x")
        self.loop.until(lambda: self.protocol.data == b"x")

    def test_time_runs_again(self) -> None:
        """After the answer the time-out of the others counts."""
        slow = Slow()
        self.inspect(slow, Line())
        slow.done.callback(0)
        self.loop.clock.advance(TIMEOUT + 0.2)
        self.loop.turn()
        self.over("refused", timeout=1)

    def test_refused(self) -> None:
        """An answer may be that the connection is not wanted."""
        slow = Slow()
        self.inspect(slow, first=b"x")
        slow.done.errback(Refused("no", reset=True))
        self.loop.turn()
        self.over("refused")
        self.assertEqual(ending(self.peer), (b"", "RST"))

    def test_broken(self) -> None:
        """One that fails closes the connection, and is counted."""
        slow = Slow()
        self.inspect(slow)
        slow.done.errback(ValueError("x"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.loop.turn()
        self.over("refused", error=1)

    def test_gone(self) -> None:
        """A client that is gone needs no answer any more."""
        slow = Slow()
        self.inspect(slow)
        reset(self.peer)
        self.loop.until(lambda: self.outcome != [])
        self.assertEqual(slow.cancelled, 1)
        self.over("refused", remote_close=1)


class PassTests(InspectionCase):
    """Connections that pass."""

    def test_no_data_needed(self) -> None:
        """If no filter wants data, the connection is passed on at once."""
        self.inspect(Address(), Address())
        self.over("passed")
        self.assertEqual(self.info.local, ("203.0.113.9", 99))

    def test_peeks(self) -> None:
        """What filters look at reaches the protocol nevertheless."""
        line = Line()
        self.inspect(line)
        self.assertEqual(self.stats["downstream_pre_cx_active"], 1)
        self.peer.sendall(b"hel")
        self.loop.turn()
        self.peer.sendall(b"lo\nworld")
        self.loop.until(lambda: self.protocol.data == b"hello\nworld")
        self.over("passed")
        self.assertEqual(line.seen, [b"", b"hel", b"hello\nworld"])

    def test_takes(self) -> None:
        """What one takes off is not for those that follow."""
        second = Line(take=True)
        self.inspect(Line(take=True), Address(), second, Line())
        self.peer.sendall(b"one\ntwo\nthree\nrest")
        self.loop.until(lambda: self.protocol.data == b"three\nrest")
        self.assertEqual(self.info.metadata["lines"], {"0": b"one", "1": b"two", "2": b"three"})
        self.assertEqual(second.seen[-1], b"two\nthree\nrest")

    def test_data_and_fin(self) -> None:
        """Data that comes with the FIN arrives before it."""
        self.inspect(Line(), first=b"question\n")
        self.peer.shutdown(socket.SHUT_WR)
        self.loop.until(lambda: "fin" in self.protocol.events)
        self.assertEqual(self.protocol.data, b"question\n")
        self.over("passed")

    def test_more_than_a_read(self) -> None:
        """What comes after the bytes that were looked at follows them."""
        data = b"line\n" + bytes(range(256)) * 1000
        self.inspect(Line(), first=data)
        self.loop.until(lambda: len(self.protocol.data) == len(data))
        self.assertEqual(self.protocol.data, data)

    def test_paused_by_the_protocol(self) -> None:
        """A protocol that pauses at once gets what was looked at when it resumes."""
        self.inspect(Line())
        self.stream.pause("connecting")
        self.peer.sendall(b"early\n")
        self.loop.turn()
        self.assertEqual(self.protocol.data, b"")
        self.stream.resume("connecting")
        self.loop.until(lambda: self.protocol.data == b"early\n")

    def test_timer_is_gone(self) -> None:
        """A connection that passed is not timed out."""
        self.inspect(Line())
        self.peer.sendall(b"x\n")
        self.loop.turn()
        self.loop.clock.advance(2 * TIMEOUT)
        self.loop.turn()
        self.over("passed")
        self.assertEqual(self.protocol.events, [])

    @given(st.lists(st.integers(1, 12), max_size=12))
    def test_any_chunks(self, sizes: list[int]) -> None:
        """However the bytes come, filters and protocol see the same."""
        self.outcome, self.protocol, self.stats = [], Recorder(), FakeScope()
        self.inspect(Line(take=True), Line())
        data = b"header\nfirst line\nand the rest"
        rest = data
        for size in sizes:
            self.peer.sendall(rest[:size])
            rest = rest[size:]
            self.loop.turn(1)
        self.peer.sendall(rest)
        self.loop.turn()
        self.assertEqual(self.protocol.data, b"first line\nand the rest")
        self.assertEqual(self.info.metadata["lines"], {"0": b"header", "1": b"first line"})
        self.stream.abortConnection()
        self.loop.turn()
        self.peer.close()


class RefuseTests(InspectionCase):
    """Connections that do not."""

    def test_refused(self) -> None:
        """A filter's refusal resets the connection."""
        self.inspect(Raises(Refused("no"), b"x"))
        self.peer.sendall(b"xyz")
        self.loop.turn()
        self.over("refused")
        self.assertEqual(ending(self.peer), (b"", "RST"))

    def test_refused_at_once(self) -> None:
        """Before any data a refusal can be a FIN."""
        self.inspect(Raises(Refused("no", reset=False)))
        self.loop.turn()
        self.over("refused")
        self.assertEqual(ending(self.peer), (b"", "FIN"))

    def test_too_much(self) -> None:
        """A filter that has seen its limit, and wants more, is an error."""
        self.inspect(Line(limit=10))
        self.peer.sendall(b"x" * 10)
        self.loop.turn()
        self.over("refused", error=1)

    def test_timeout(self) -> None:
        """A silent client is closed at the time-out."""
        self.inspect(Line())
        self.loop.clock.advance(TIMEOUT - 0.1)
        self.assertEqual(self.outcome, [])
        self.loop.clock.advance(0.3)
        self.loop.turn()
        self.over("refused", timeout=1)
        self.assertEqual(ending(self.peer), (b"", "FIN"))

    def test_timeout_with_data(self) -> None:
        """One that sent too little is reset, as data that nobody read makes the kernel do for Envoy."""
        self.inspect(Line())
        self.peer.sendall(b"too little")
        self.loop.turn()
        self.loop.clock.advance(TIMEOUT + 0.2)
        self.loop.turn()
        self.over("refused", timeout=1)
        self.assertEqual(ending(self.peer), (b"", "RST"))

    def test_continue_on_timeout(self) -> None:
        """Or else the connection goes on, with what is known."""
        self.inspect(Line(), go_on=True)
        self.peer.sendall(b"no line")
        self.loop.turn()
        self.loop.clock.advance(TIMEOUT + 0.2)
        self.loop.until(lambda: self.protocol.data == b"no line")
        self.over("passed", timeout=1)

    def test_no_timeout(self) -> None:
        """A time-out of 0 is none."""
        self.inspect(Line(), timeout=0)
        self.loop.clock.advance(1e6)
        self.assertEqual(self.outcome, [])

    def test_client_leaves(self) -> None:
        """A client that ends the connection meanwhile is counted, once, whether by FIN or RST."""
        self.inspect(Line())
        self.peer.close()
        self.loop.turn()
        self.over("refused", remote_close=1)
        self.stats = FakeScope()
        self.outcome.clear()
        self.inspect(Line())
        reset(self.peer)
        self.loop.turn()
        self.over("refused", remote_close=1)

    def test_raises(self) -> None:
        """A filter that raises closes its connection, and is logged and counted."""
        for at in (b"x", b""):
            self.stats = FakeScope()
            self.outcome.clear()
            self.inspect(Raises(ValueError("broken"), at))
            self.peer.sendall(b"x")
            self.loop.until(lambda: self.outcome)
            self.over("refused", error=1)
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
