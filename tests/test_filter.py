"""Tests for meshd.filter."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.filter import NOTHING, Flow, NetworkFilter, TerminalFilter, WatchingFilter, link
from meshd.interfaces import INetworkFilter
from meshd.testing import FakeClient, FakeNumber

DONE = Failure(ConnectionDone())


class Notes(TerminalFilter):
    """A terminal filter that notes each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def connectionMade(self) -> None:
        self.calls.append(("made", None))

    def dataReceived(self, data: bytes) -> None:
        self.calls.append(("data", data))

    def readConnectionLost(self) -> None:
        self.calls.append(("fin", None))

    def connectionLost(self, reason: Failure) -> None:
        self.calls.append(("lost", reason))


class Asks(NetworkFilter):
    """Holds until it is told what to do, as a filter that asks somebody does."""

    def connectionMade(self) -> None:
        self.hold()
        self.inner.connectionMade()


class Transport(Notes):
    """Notes whatever is called, with its arguments."""

    def __getattribute__(self, name: str) -> Any:
        if name in METHODS:
            return lambda *args: self.calls.append((name, args))
        return super().__getattribute__(name)


#: What a link passes outward: the method and its arguments.
METHODS: dict[str, tuple[Any, ...]] = {
    "write": (b"x",),
    "writeSequence": ([b"x", b"y"],),
    "loseConnection": (),
    "loseWriteConnection": (),
    "abortConnection": (),
    "pauseProducing": (),
    "resumeProducing": (),
    "stopProducing": (),
    "registerProducer": (None, True),
    "unregisterProducer": (),
    "getPeer": (),
    "getHost": (),
}


class PassOnTests(SynchronousTestCase):
    """The link that passes everything on."""

    def test_interface(self) -> None:
        """It provides what it says, and so do a terminal filter and NOTHING."""
        each, last = NetworkFilter(), TerminalFilter()
        FakeClient(each, last, terminal=True)
        for link_ in (each, last):
            verifyObject(INetworkFilter, link_)
            verifyObject(ITransport, link_)
        self.assertFalse(each.disconnecting)

    def test_inward(self) -> None:
        """What comes from the client goes inward, in order."""
        last = Notes()
        client = FakeClient(NetworkFilter(), NetworkFilter(), last, terminal=True)
        client.send(b"ab")
        client.half_close()
        client.connectionLost(DONE)
        expected = [("made", None), ("data", b"a"), ("data", b"b"), ("fin", None), ("lost", DONE)]
        self.assertEqual(last.calls, expected)

    def test_outward(self) -> None:
        """Whatever is for the client goes outward, with its arguments."""
        each, outer = NetworkFilter(), Transport()
        each.makeConnection(outer)
        self.assertIs(each.transport, outer)
        for name, args in METHODS.items():
            getattr(each, name)(*args)
        self.assertEqual(outer.calls, list(METHODS.items()))

    def test_addresses(self) -> None:
        """The addresses are those of the link outside."""
        each = NetworkFilter()
        client = FakeClient(each)
        self.assertEqual(each.getPeer(), client.wire.getPeer())
        self.assertEqual(each.getHost(), client.wire.getHost())

    def test_link(self) -> None:
        """link() joins filters to a chain, outermost first, that know their connection."""
        client = FakeClient()
        a, b = NetworkFilter(), Notes()
        link(client, a, b)
        self.assertIs(client.inner, a)
        self.assertIs(a.inner, b)
        self.assertIs(b.transport, a)
        self.assertIs(a.transport, client)
        self.assertEqual((a.connection, b.connection), (client, client))


class TerminalTests(SynchronousTestCase):
    """The end of the chain."""

    def test_takes_no_notice(self) -> None:
        """By itself it answers nothing, and has no inner."""
        last = TerminalFilter()
        client = FakeClient(last, terminal=True)
        client.send(b"hello")
        self.assertIsNone(last.inner)
        self.assertEqual((client.received, client.finished), (b"", False))

    def test_closes_at_the_end(self) -> None:
        """It closes when the client has sent its last byte."""
        client = FakeClient(TerminalFilter(), terminal=True)
        client.half_close()
        self.assertTrue(client.wire.closed)
        client.close()

    def test_nothing(self) -> None:
        """NOTHING does not even that."""
        NOTHING.connectionMade()
        NOTHING.dataReceived(b"x")
        NOTHING.readConnectionLost()
        NOTHING.connectionLost(DONE)


class LeaveTests(SynchronousTestCase):
    """leave(): out of the chain."""

    def test_leave(self) -> None:
        """A filter that left is no longer on the path, either way."""
        a, b, c = NetworkFilter(), NetworkFilter(), NetworkFilter()
        client = FakeClient(a, b, c)
        b.leave()
        self.assertIs(a.inner, c)
        self.assertIs(c.transport, a)
        client.upstream.transport.write(b"x")
        self.assertEqual(client.received, b"x")

    def test_while_an_outer_one_holds(self) -> None:
        """A filter inside one that holds may leave."""
        gate, other = NetworkFilter(), NetworkFilter()
        client = FakeClient(gate, other)
        gate.hold()
        client.send(b"abc")
        other.leave()
        client.upstream.transport.write(b"out")
        gate.release()
        client.send(b"d")
        self.assertEqual(client.upstream.received, b"abcd")
        self.assertEqual(client.received, b"out")
        self.assertIs(gate.inner, client.upstream)

    def test_in_the_middle_of_data(self) -> None:
        """A filter may leave while it passes data on; the rest goes past it."""

        class Once(NetworkFilter):
            seen = 0

            def dataReceived(self, data: bytes) -> None:
                self.seen += 1
                self.leave()
                self.inner.dataReceived(data)

        once = Once()
        client = FakeClient(NetworkFilter(), once)
        client.send(b"abc")
        self.assertEqual((once.seen, client.upstream.received), (1, b"abc"))

    def test_all_leave(self) -> None:
        """When all have left, the end of the chain is next to the connection."""
        links = [NetworkFilter() for _ in range(3)]
        client = FakeClient(*links)
        for each in links:
            each.leave()
        self.assertIs(client.inner, client.upstream)
        self.assertIs(client.upstream.transport, client)


class HoldTests(SynchronousTestCase):
    """hold() and release()."""

    def test_hold(self) -> None:
        """What comes in during hold() is passed on by release(); meanwhile no more is to be read."""
        gate = NetworkFilter()
        client = FakeClient(gate)
        gate.hold()
        client.send(b"abc")
        self.assertEqual(client.upstream.received, b"")
        self.assertTrue(client.paused_by)
        gate.release()
        self.assertEqual(client.upstream.received, b"abc")
        self.assertFalse(client.paused_by)

    def test_everything_in_order(self) -> None:
        """The connection, data and the FIN are passed on in the order in which they came."""
        gate, last = Asks(), Notes()
        client = FakeClient(gate, last, terminal=True)
        client.send(b"ab")
        client.half_close()
        self.assertEqual(last.calls, [])
        gate.release()
        self.assertEqual(last.calls, [("made", None), ("data", b"a"), ("data", b"b"), ("fin", None)])
        self.assertIs(gate.inner, last)

    def test_answers_pass(self) -> None:
        """What is for the client is not held."""
        gate = NetworkFilter()
        client = FakeClient(gate)
        gate.hold()
        client.upstream.transport.write(b"out")
        self.assertEqual(client.received, b"out")
        gate.release()

    def test_lost_while_held(self) -> None:
        """Who was not told of the connection is not told of its end, nor of anything later."""
        gate, last = Asks(), Notes()
        client = FakeClient(gate, last, terminal=True)
        client.send(b"x")
        client.connectionLost(DONE)
        gate.release()
        self.assertEqual(last.calls, [])

    def test_lost_while_held_later(self) -> None:
        """Who was told of the connection is told of its end, though a filter holds; but not of held data."""
        gate, last = NetworkFilter(), Notes()
        client = FakeClient(gate, last, terminal=True)
        gate.hold()
        client.send(b"x")
        client.connectionLost(DONE)
        gate.release()
        self.assertEqual(last.calls, [("made", None), ("lost", DONE)])

    def test_again(self) -> None:
        """A filter may hold again, even another one while the first passes on what it held."""

        class Holds(NetworkFilter):
            def dataReceived(self, data: bytes) -> None:
                if data == b"b":
                    self.hold()
                self.inner.dataReceived(data)

        gate, other, last = NetworkFilter(), Holds(), Notes()
        client = FakeClient(gate, other, last, terminal=True)
        gate.hold()
        client.send(b"abc")
        gate.release()
        self.assertEqual(last.calls, [("made", None), ("data", b"a")])
        self.assertEqual(client.paused_by, {other})
        other.release()
        self.assertEqual(last.calls[2:], [("data", b"b"), ("data", b"c")])
        self.assertFalse(client.paused_by)

    def test_two(self) -> None:
        """Two may hold at a time, and release in any order."""
        for first, second in ((0, 1), (1, 0)):
            gates, last = [NetworkFilter(), NetworkFilter()], Notes()
            client = FakeClient(*gates, last, terminal=True)
            for gate in gates:
                gate.hold()
            client.send(b"a")
            gates[first].release()
            client.send(b"b")
            self.assertEqual(client.paused_by, {gates[second]})
            self.assertEqual(last.calls, [("made", None)])
            gates[second].release()
            self.assertEqual(last.calls[1:], [("data", b"a"), ("data", b"b")])
            self.assertFalse(client.paused_by)

    @given(
        st.lists(
            st.sampled_from(["data", "hold 0", "hold 1", "release 0", "release 1", "leave 2"]), max_size=20
        )
    )
    def test_any_order(self, steps: list[str]) -> None:
        """However two filters hold and release, and a third leaves, nothing is lost, doubled or reordered."""
        links, last = [NetworkFilter() for _ in range(3)], Notes()
        client = FakeClient(*links, last, terminal=True)
        holding: set[int] = set()
        left = False
        sent = b""
        for number, step in enumerate(steps):
            what, _, who = step.partition(" ")
            if what == "data":
                sent += bytes([number])
                client.send(bytes([number]))
            elif what == "hold" and int(who) not in holding:
                holding.add(int(who))
                links[int(who)].hold()
            elif what == "release" and int(who) in holding:
                holding.discard(int(who))
                links[int(who)].release()
            elif what == "leave" and not left:
                left = True
                links[2].leave()
        self.assertEqual(client.paused_by, {links[each] for each in holding})
        for each in holding:
            links[each].release()
        self.assertEqual(b"".join(data for name, data in last.calls if name == "data"), sent)


class RefuseTests(SynchronousTestCase):
    """refuse(): the inside hears nothing."""

    def test_refuse(self) -> None:
        """Nothing reaches the inside of a refused connection, not even its end; why is noted."""

        class Refuses(NetworkFilter):
            def connectionMade(self) -> None:
                self.refuse("because")

        gate, last = Refuses(), Notes()
        client = FakeClient(gate, last, terminal=True)
        client.dataReceived(b"x")
        client.readConnectionLost()
        client.connectionLost(DONE)
        self.assertEqual(last.calls, [])
        self.assertTrue(client.wire.closed)
        self.assertEqual(client.info.local_close_reason, "because")

    def test_no_reason(self) -> None:
        """Without a reason, one noted before stays."""
        gate = NetworkFilter()
        client = FakeClient(gate)
        client.info.local_close_reason = "known"
        gate.refuse()
        self.assertEqual(client.info.local_close_reason, "known")

    def test_while_holding(self) -> None:
        """A filter that holds may refuse; a release() that comes late passes nothing on."""
        gate, last = Asks(), Notes()
        client = FakeClient(gate, last, terminal=True)
        client.send(b"x")
        gate.refuse()
        gate.release()
        client.dataReceived(b"y")
        client.connectionLost(DONE)
        self.assertEqual(last.calls, [])
        self.assertIs(gate.inner, NOTHING)

    def test_outer_is_told(self) -> None:
        """The filters outside the one that refused are told of the end."""
        outer, gate, last = Notes(), NetworkFilter(), Notes()

        class Tells(NetworkFilter):
            def connectionLost(self, reason: Failure) -> None:
                outer.connectionLost(reason)
                super().connectionLost(reason)

        client = FakeClient(Tells(), gate, last, terminal=True)
        gate.refuse()
        client.connectionLost(DONE)
        self.assertEqual(outer.calls, [("lost", DONE)])
        self.assertEqual(last.calls, [("made", None)])


class Watches(WatchingFilter):
    """Notes what it is shown, and how far that had come by then."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, bytes]] = []

    def received(self, data: bytes) -> None:
        self.seen.append(("received", data, self.inner.received))

    def sent(self, data: bytes) -> None:
        self.seen.append(("sent", data, self.transport.received))


class WatchingTests(SynchronousTestCase):
    """A filter that only watches."""

    def test_shown(self) -> None:
        """It sees what comes before it goes on, and what goes to the client after; all passes."""
        watches = Watches()
        client = FakeClient(watches)
        client.dataReceived(b"question")
        client.upstream.transport.write(b"answer")
        client.upstream.transport.writeSequence([b"an", b"other"])
        self.assertEqual(
            watches.seen,
            [
                ("received", b"question", b""),
                ("sent", b"answer", b"answer"),
                ("sent", b"another", b"answeranother"),
            ],
        )
        self.assertEqual((client.upstream.received, client.received), (b"question", b"answeranother"))

    def test_nothing_to_do(self) -> None:
        """By itself it does nothing."""
        client = FakeClient(WatchingFilter())
        client.send(b"question")
        self.assertEqual(client.upstream.received, b"question")


class FlowTests(SynchronousTestCase):
    """What is counted of a relayed connection."""

    def test_flow(self) -> None:
        """It begins at 0, and has its counters."""
        counters = [FakeNumber() for _ in range(4)]
        flow = Flow(*counters)
        self.assertEqual(flow.bytes, 0)
        self.assertEqual([flow.received, flow.sent, flow.paused, flow.resumed], counters)
        self.assertRaises(AttributeError, setattr, flow, "typo", 1)
