"""Tests for meshd.net.relay."""

import socket
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.net.reasons import ABORTED
from tests.net.loop import fill, reset, some_bytes
from tests.net.relayed import LIMIT, MEGABYTE, RelayCase, Relayed, drain, transfer


class SmallTests(RelayCase):
    """Messages that come whole."""

    def test_both_ways(self) -> None:
        """Messages arrive either way, and the protocols never see them."""
        it = self.relayed.join()
        for number in range(50):
            question, answer = f"question {number}".encode(), f"answer {number}".encode()
            it.client.sendall(question)
            it.loop.turn()
            self.assertEqual(it.server.recv(100), question)
            it.server.sendall(answer)
            it.loop.turn()
            self.assertEqual(it.client.recv(100), answer)
        self.assertEqual(it.client_side.data + it.server_side.data, b"")
        self.assertIs(it.to_server._pipe, None)

    def test_counters(self) -> None:
        """The counters are right after collect(), and after leave()."""
        it = self.relayed.join()
        it.client.sendall(b"x" * 100)
        it.loop.turn()
        it.server.sendall(b"y" * 30)
        it.loop.turn()
        it.relays.collect()
        it.relays.collect()
        self.assertEqual((it.there.bytes, it.there.received.value, it.there.sent.value), (100, 100, 100))
        self.assertEqual((it.back.bytes, it.back.received.value, it.back.sent.value), (30, 30, 30))
        self.assertEqual((it.down.bytes_read, it.down.bytes_written), (100, 30))
        self.assertEqual((it.up.bytes_read, it.up.bytes_written), (30, 100))
        it.client.sendall(b"z")
        it.loop.turn()
        it.leave()
        self.assertEqual((it.there.bytes, it.up.bytes_written), (101, 101))
        it.relays.collect()
        self.assertEqual(it.there.bytes, 101)

    def test_half_close(self) -> None:
        """A FIN is passed on after the data, and the other direction goes on."""
        it = self.relayed.join()
        it.client.sendall(b"question")
        it.client.shutdown(socket.SHUT_WR)
        self.assertEqual(drain(it, it.server), (b"question", "FIN"))
        it.server.sendall(b"answer")
        it.server.close()
        self.assertEqual(drain(it, it.client), (b"answer", "FIN"))
        it.loop.until(lambda: "lost" in it.client_side.events and "lost" in it.server_side.events)

    def test_reset(self) -> None:
        """A reset of either side resets the other."""
        for one, other in (("client", "server"), ("server", "client")):
            it = self.make().join()
            getattr(it, one).sendall(b"x")
            it.loop.turn()
            reset(getattr(it, one))
            self.assertEqual(drain(it, getattr(it, other))[1], "RST")
            it.loop.until(lambda it=it: it.down.closed and it.up.closed)  # type: ignore[misc]

    def test_reset_after_half_close(self) -> None:
        """A client that has sent its FIN, and resets then, is not waited for."""
        it = self.relayed.join()
        it.client.shutdown(socket.SHUT_WR)
        it.loop.until(lambda: "fin" in it.client_side.events)
        reset(it.client)
        it.loop.until(lambda: it.down.closed and it.up.closed)

    def test_paused_source(self) -> None:
        """What comes while somebody pauses the source is passed on when he resumes."""
        it = self.relayed.join()
        it.down.pause("somebody")
        it.client.sendall(b"later")
        it.loop.turn()
        it.server.setblocking(False)
        self.assertRaises(BlockingIOError, it.server.recv, 100)
        it.down.resume("somebody")
        it.loop.turn()
        self.assertEqual(it.server.recv(100), b"later")

    def test_paused_from_the_start(self) -> None:
        """What came before the relay, while the source was paused, is passed on by it."""
        it = self.relayed
        it.down.pause("connecting")
        it.client.sendall(b"early")
        it.loop.turn()
        it.join()
        it.down.resume("connecting")
        it.loop.turn()
        self.assertEqual(it.server.recv(100), b"early")
        self.assertEqual(it.client_side.data, b"")

    def test_put_back(self) -> None:
        """What was put back for the protocol comes before what is relayed."""
        it = self.relayed
        it.down.pause("connecting")
        it.down.unread(b"first ")
        it.client.sendall(b"second")
        it.join()
        it.loop.turn()
        it.down.resume("connecting")
        it.to_server.pump()  # as an edge that comes at this moment does
        it.loop.turn()
        self.assertEqual(it.server.recv(100), b"first second")
        self.assertEqual(it.client_side.data, b"first ")

    def test_old_data_waits(self) -> None:
        """What the sink had before there was a relay arrives first."""
        it = self.relayed
        old, new = some_bytes(8 * MEGABYTE, 1), some_bytes(100_000, 2)
        it.up.write(old)
        self.assertGreater(it.up.waiting, 0)
        it.join()
        it.client.sendall(new)
        it.client.shutdown(socket.SHUT_WR)
        self.assertEqual(drain(it, it.server), (old + new, "FIN"))

    def test_no_room(self) -> None:
        """A message that the sink's kernel does not take is kept, and sent when there is room."""
        it = self.relayed.join()
        full = some_bytes(16 * MEGABYTE)
        taken = fill(it.up.sock, full)
        it.up.sock.setblocking(False)
        it.client.sendall(b"message")
        it.loop.turn()
        self.assertEqual((it.up.waiting, it.stats.gauge("up").value), (7, 7))
        self.assertEqual((it.there.paused.value, it.there.resumed.value), (1, 0))
        it.client.shutdown(socket.SHUT_WR)
        self.assertEqual(drain(it, it.server), (full[:taken] + b"message", "FIN"))
        self.assertEqual((it.up.waiting, it.stats.gauge("up").value), (0, 0))
        self.assertEqual((it.there.paused.value, it.there.resumed.value), (1, 1))
        it.relays.collect()
        self.assertEqual((it.there.sent.value, it.up.bytes_written), (7, 7))

    def test_edge_without_data(self) -> None:
        """An edge that tells of nothing to read moves nothing."""
        it = self.relayed.join()
        it.to_server.handle(4)  # EPOLLOUT
        it.to_server.pump()
        it.relays.collect()
        self.assertEqual(it.there.bytes, 0)

    def test_sink_is_gone(self) -> None:
        """Data for a server that has reset the connection ends both, and is not kept."""
        it = self.relayed.join()
        it.up.pause("x")
        reset(it.server)
        it.client.sendall(b"x")
        self.assertEqual(drain(it, it.client)[1], "RST")
        self.assertEqual(it.stats.gauge("up").value, 0)

    def test_over_is_over(self) -> None:
        """Nothing is moved after leave(), though the other side still stands."""
        it = self.relayed.join()
        it.leave()
        it.server.sendall(b"x" * MEGABYTE)
        it.loop.turn()
        it.client.setblocking(False)
        self.assertRaises(BlockingIOError, it.client.recv, 1)
        self.assertIs(it.pair[1]._pipe, None)


class BulkTests(RelayCase):
    """Directions that change over to splice."""

    def test_content(self) -> None:
        """50 MB go through a pipe unchanged, and are counted."""
        it = self.make(MEGABYTE).join()
        size = 50_000_000
        transfer(it.loop, it.client, it.server, size, 262144, 262144)
        self.assertIsNot(it.to_server._pipe, None)
        self.assertIs(it.pair[1]._pipe, None)
        it.relays.collect()
        self.assertEqual((it.there.bytes, it.there.sent.value, it.up.bytes_written), (size, size, size))

    def test_slow_reader(self) -> None:
        """A reader that takes a little at a time gets all of it."""
        it = self.relayed.join()
        transfer(it.loop, it.client, it.server, 8_000_000, 262144, 8192)
        self.assertIsNot(it.to_server._pipe, None)
        self.assertGreater(it.there.paused.value, 0)
        self.assertEqual(it.there.paused.value, it.there.resumed.value)

    def test_slow_writer(self) -> None:
        """A writer that sends less than a buffer at a time needs no pipe."""
        it = self.make(MEGABYTE).join()
        transfer(it.loop, it.client, it.server, 2_000_000, 5000, 65536)
        self.assertIs(it.to_server._pipe, None)

    def test_back(self) -> None:
        """From the server to the client it goes as well."""
        it = self.make(MEGABYTE).join()
        transfer(it.loop, it.server, it.client, 10_000_000, 262144, 100_000)
        self.assertIsNot(it.pair[1]._pipe, None)

    def test_unix_sockets(self) -> None:
        """Bulk goes through unix sockets too."""
        it = self.make(tcp=False).join()
        transfer(it.loop, it.client, it.server, 5_000_000, 262144, 65536)
        self.assertIsNot(it.to_server._pipe, None)

    def test_no_more_than_the_limit(self) -> None:
        """For a server that does not read, no more than twice the limit is kept."""
        it = self.relayed.join()
        self.stall(it)
        self.assertIsNot(it.to_server._pipe, None)
        self.assertGreater(self.kept(it), 0)
        self.assertLessEqual(self.kept(it), 2 * LIMIT)
        self.assertEqual(it.stats.gauge("up").value, self.kept(it))

    def test_fin_after_the_data(self) -> None:
        """A FIN behind data that still waits arrives after it; nothing is kept in the end."""
        it = self.relayed.join()
        sent = self.stall(it)
        it.client.shutdown(socket.SHUT_WR)
        it.loop.turn()
        self.assertNotIn("fin", it.client_side.events)
        data, end = drain(it, it.server)
        self.assertEqual((data == sent, end), (True, "FIN"))
        self.assertEqual(it.stats.gauge("up").value, 0)

    def test_full_close_after_bulk(self) -> None:
        """A server that sends much and closes is heard to the end by a slow client."""
        it = self.relayed.join()
        sent = b""
        while not it.pair[1]._waiting:
            data = some_bytes(MEGABYTE, len(sent))
            sent += data[: fill(it.server, data)]
            it.loop.turn(1)
        it.server.close()
        data, end = drain(it, it.client)
        self.assertEqual((data == sent, end), (True, "FIN"))

    def test_lose_connection_on_the_sink(self) -> None:
        """What is in the pipe still arrives when the sink is to be closed; then comes the FIN."""
        it = self.relayed.join()
        sent = self.stall(it)
        self.assertGreater(it.to_server._waiting, 0)
        it.relays.collect()
        it.up.loseConnection()
        data, end = drain(it, it.server)
        self.assertEqual(end, "FIN")
        self.assertEqual(data, sent[: it.there.bytes])
        it.loop.until(lambda: it.down.closed and it.up.closed)
        self.assertEqual(it.stats.gauge("up").value, 0)

    def test_reset_while_stalled(self) -> None:
        """A client that resets is noticed though its server does not read."""
        it = self.relayed.join()
        self.stall(it)
        reset(it.client)
        it.loop.until(lambda: it.down.closed and it.up.closed)
        self.assertEqual(it.stats.gauge("up").value, 0)

    def test_sink_resets_while_stalled(self) -> None:
        """A server that resets with data in the pipe resets the client, and no byte counts as kept."""
        it = self.relayed.join()
        self.stall(it)
        reset(it.server)
        it.loop.until(lambda: it.down.closed and it.up.closed)
        self.assertEqual(it.stats.gauge("up").value, 0)
        self.assertIs(it.client_side.reason, ABORTED)

    def test_client_resets_with_data_for_it(self) -> None:
        """A client that resets with data for it in the pipe leaves no byte counted as kept."""
        it = self.relayed.join()
        while not it.pair[1]._waiting:
            fill(it.server, some_bytes(MEGABYTE))
            it.loop.turn(1)
        reset(it.client)
        it.loop.until(lambda: it.down.closed and it.up.closed)
        self.assertEqual(it.stats.gauge("down").value, 0)
        self.assertGreater(it.back.bytes, it.back.sent.value)
        self.assertEqual(it.back.sent.value, it.down.bytes_written)

    def test_paused_while_bulk(self) -> None:
        """A source that is paused is not spliced from, until it is resumed."""
        it = self.make(MEGABYTE).join()
        transfer(it.loop, it.client, it.server, 2_000_000, 262144, 262144)
        it.down.pause("somebody")
        it.client.send(b"later")
        it.loop.turn()
        self.assertRaises(BlockingIOError, it.server.recv, 100)
        it.down.resume("somebody")
        it.loop.turn()
        self.assertEqual(it.server.recv(100), b"later")


SIZES = st.one_of(
    st.integers(1, 100), st.integers(1, 300_000), st.sampled_from([LIMIT, LIMIT - 1, LIMIT + 1, 65536])
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("cs"), SIZES),
        st.tuples(st.sampled_from("cs"), st.sampled_from(["fin", "read"])),
        st.tuples(st.just("-"), st.integers(1, 5)),
    ),
    max_size=25,
)


class OrderTests(SynchronousTestCase):
    """Any conversation."""

    @settings(max_examples=40)
    @given(STEPS, st.booleans())
    def test_in_order_and_complete(self, steps: list[tuple[str, Any]], tcp: bool) -> None:
        """Whatever is sent and half-closed at either end arrives in order and complete."""
        relayed = Relayed(tcp=tcp).join()
        ends = {"c": relayed.client, "s": relayed.server}
        sent = {"c": bytearray(), "s": bytearray()}
        read = {"c": bytearray(), "s": bytearray()}
        finished: set[str] = set()
        for seed, (who, what) in enumerate(steps):
            if who == "-":
                relayed.loop.turn(what)
            elif what == "read":
                self.read(ends[who], read[who], 100_000)
            elif what == "fin" and who not in finished:
                ends[who].shutdown(socket.SHUT_WR)
                finished.add(who)
            elif what != "fin" and who not in finished:
                data = some_bytes(what, seed)
                sent[who] += data[: fill(ends[who], data)]
        for who in ends.keys() - finished:
            ends[who].shutdown(socket.SHUT_WR)
        over: set[str] = set()
        for _ in range(20_000):
            relayed.loop.turn(1)
            over |= {who for who in ends if self.read(ends[who], read[who], 1 << 20)}
            if over == {"c", "s"}:
                break
        self.assertEqual(over, {"c", "s"})
        self.assertTrue(read["c"] == sent["s"])
        self.assertTrue(read["s"] == sent["c"])
        relayed.loop.turn()
        self.assertTrue(relayed.down.closed and relayed.up.closed)
        self.assertEqual((relayed.there.bytes, relayed.back.bytes), (len(sent["c"]), len(sent["s"])))
        self.assertEqual((relayed.stats.gauge("up").value, relayed.stats.gauge("down").value), (0, 0))
        relayed.close()

    def read(self, sock: socket.socket, into: bytearray, size: int) -> bool:
        """Read what there is, up to size; return whether the end is reached."""
        sock.setblocking(False)
        try:
            piece = sock.recv(size)
        except BlockingIOError:
            return False
        finally:
            sock.settimeout(10)
        into += piece
        return not piece
