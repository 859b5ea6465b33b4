"""Tests for meshd.tls.session, and with it for the raw calls of meshd.tls.openssl.Ssl."""

from __future__ import annotations

import resource

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.openssl import CHUNK
from meshd.tls.session import Session, TLSError
from tests.tls.pair import TLS_1_2, TLS_1_3, pieces, session_pair, shake, wire_of

SIZES = st.lists(st.integers(1, 5000), min_size=1, max_size=5)
VERSIONS = st.sampled_from([TLS_1_2, TLS_1_3])


def pair(version: int = TLS_1_3) -> tuple[Session, Session]:
    """Return server and client with the handshake done."""
    made = session_pair(version)
    shake(*made)
    return made


class SessionTests(SynchronousTestCase):
    """Two sessions, pumped by hand."""

    def test_both_ways(self) -> None:
        """What one sends the other receives, at the same time both ways."""
        server, client = pair()
        server.send(b"from the server")
        client.send(b"from the client")
        there, back = wire_of(client), wire_of(server)
        self.assertEqual(server.receive(there), b"from the client")
        self.assertEqual(client.receive(back), b"from the server")

    def test_nothing(self) -> None:
        """Nothing at all is no record, before the handshake and after it."""
        server, client = session_pair()
        client.send(b"")
        shake(server, client)
        client.flush()
        server.receive(wire_of(client))
        client.send(b"")
        self.assertEqual(wire_of(client), b"")

    def test_large(self) -> None:
        """More than fits into any buffer comes whole."""
        server, client = pair()
        data = bytes(range(256)) * (CHUNK // 100)
        client.send(data)
        self.assertEqual(server.receive(wire_of(client)), data)

    def test_exactly_a_chunk(self) -> None:
        """So does what is just as long as the buffer."""
        server, client = pair()
        for size in (CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK):
            client.send(b"x" * size)
            self.assertEqual(len(server.receive(wire_of(client))), size)

    def test_sent_early(self) -> None:
        """What is sent before the handshake is done waits for it, in order."""
        server, client = session_pair()
        client.send(b"one ")
        client.send(b"two")
        shake(server, client)
        client.flush()
        client.send(b" three")
        self.assertEqual(server.receive(wire_of(client)), b"one two three")

    def test_caller_keeps_its_buffer(self) -> None:
        """What waits is not changed by who sent it."""
        server, client = session_pair()
        buffer = bytearray(b"before")
        client.send(buffer)  # type: ignore[arg-type]
        shake(server, client)
        buffer[:] = b"after!"
        client.flush()
        self.assertEqual(server.receive(wire_of(client)), b"before")

    def test_close_notify(self) -> None:
        """A close ends our direction after what was sent; the other goes on."""
        for version in (TLS_1_2, TLS_1_3):
            server, client = pair(version)
            client.send(b"last")
            client.close()
            client.close()
            self.assertFalse(server.ended)
            self.assertEqual(server.receive(wire_of(client)), b"last")
            self.assertTrue(server.ended)
            server.send(b"answer")
            self.assertEqual(client.receive(wire_of(server)), b"answer")
            self.assertFalse(client.ended)
            server.close()
            self.assertEqual(client.receive(wire_of(server)), b"")
            self.assertTrue(client.ended)

    def test_closed_early(self) -> None:
        """A close before the handshake is done comes after it, and after what was sent before."""
        server, client = session_pair()
        client.send(b"all there is")
        client.close()
        shake(server, client)
        client.flush()
        self.assertEqual(server.receive(wire_of(client)), b"all there is")
        self.assertTrue(server.ended)

    def test_data_with_the_end_of_the_handshake(self) -> None:
        """Plaintext that comes in one piece with the handshake's last bytes is received afterwards."""
        server, client = session_pair()
        client.start()
        server.shake(wire_of(client))
        client.shake(wire_of(server))
        client.send(b"at once")
        self.assertTrue(server.shake(wire_of(client)))
        self.assertEqual(server.receive(b""), b"at once")

    def test_alert_after_failure(self) -> None:
        """After an error there is an alert for the wire, which the other side understands."""
        server, client = pair()
        with self.assertRaises(TLSError) as caught:
            server.receive(b"\x17\x03\x03\x00\x20" + b"?" * 32)
        self.assertEqual(caught.exception.operation, "SSL_read")
        self.assertIn("bad record mac", caught.exception.reason)
        with self.assertRaises(TLSError) as caught:
            client.receive(wire_of(server))
        self.assertIn("alert bad record mac", caught.exception.reason)

    def test_plaintext_before_an_error(self) -> None:
        """What came before a bad record is not lost: the error comes next."""
        server, client = pair()
        client.send(b"good")
        self.assertEqual(server.receive(wire_of(client) + b"\x17\x03\x03\x00\x20" + b"?" * 32), b"good")
        with self.assertRaises(TLSError):
            server.receive(b"")

    def test_truncated(self) -> None:
        """Part of a record is nothing yet."""
        server, client = pair()
        client.send(b"whole")
        wire = wire_of(client)
        self.assertEqual(server.receive(wire[:-1]), b"")
        self.assertEqual(server.receive(wire[-1:]), b"whole")

    def test_clear_text(self) -> None:
        """A client that does not speak TLS is told so."""
        for text in (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n", b"\0" * 50):
            server, _ = session_pair()
            with self.assertRaises(TLSError) as caught:
                server.shake(text)
            self.assertEqual(caught.exception.operation, "SSL_accept")
            self.assertNotEqual(caught.exception.code, 0)

    def test_memory_of_a_handshake(self) -> None:
        """Who sends a handshake without end is told to stop before it costs much."""
        server, _ = session_pair()
        # A ClientHello of 16 MB, as its header says, in records of 16 KiB.
        record = b"\x16\x03\x01\x40\x00"
        first = record + b"\x01\xff\xff\xff\x03\x03" + b"\0" * (16384 - 6)
        with self.assertRaises(TLSError):
            server.shake(first)
            for _ in range(64):
                server.shake(record + b"\0" * 16384)

    def test_too_long_a_record(self) -> None:
        """A record above TLS's limit is refused."""
        server, _ = pair()
        with self.assertRaises(TLSError):
            server.receive(b"\x17\x03\x03\xff\xff" + b"x" * 65535)

    def test_empty_records(self) -> None:
        """A flood of records with nothing in them ends the connection."""
        server, client = session_pair(TLS_1_2)
        shake(server, client)
        with self.assertRaises(TLSError):
            for _ in range(1000):
                server.receive(b"\x15\x03\x03\x00\x02\x01\x00")

    def test_key_updates(self) -> None:
        """Ciphertext that is kept until it is read does not grow the process without end."""
        server, client = pair()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(300):
            client.send(b"x" * 100_000)
            server.receive(wire_of(client))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.assertLess(after - before, 20_000)  # KiB, of 30 MB that passed


@given(VERSIONS, SIZES, st.lists(st.binary(max_size=40000), max_size=4))
def test_any_chunks(version: int, sizes: list[int], messages: list[bytes]) -> None:
    """However ciphertext is cut, from the first byte on, the plaintext is the same."""
    server, client = session_pair(version)
    shake(server, client, sizes)
    for message in messages:
        client.send(message)
    client.close()
    got = b"".join(server.receive(piece) for piece in pieces(wire_of(client), sizes))
    assert got == b"".join(messages)
    assert server.ended


@given(VERSIONS, st.data())
def test_changed_records(version: int, data: st.DataObject) -> None:
    """Records with a byte changed, lost or added give the plaintext before it, and a TLSError or nothing."""
    server, client = session_pair(version)
    shake(server, client)
    client.send(b"a" * 100)
    client.send(b"b" * 100)
    wire = bytearray(wire_of(client))
    place = data.draw(st.integers(0, len(wire) - 1))
    change = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    if change == "flip":
        wire[place] ^= data.draw(st.integers(1, 255))
    elif change == "cut":
        del wire[place]
    else:
        wire[place:place] = data.draw(st.binary(min_size=1, max_size=20))
    got = b""
    try:
        for piece in pieces(bytes(wire), data.draw(SIZES)):
            got += server.receive(piece)
        got += server.receive(b"")
    except TLSError:
        pass
    assert (b"a" * 100 + b"b" * 100).startswith(got)
    wire_of(server)


@given(VERSIONS, st.booleans(), st.data())
def test_changed_handshake(version: int, of_client: bool, data: st.DataObject) -> None:
    """A handshake with bytes changed ends, is done or waits: there is nothing but TLSError."""
    server, client = session_pair(version)
    client.start()
    flight = wire_of(client)
    victim = server
    if not of_client:
        server.shake(flight)
        flight, victim = wire_of(server), client
    changed = bytearray(flight)
    for _ in range(data.draw(st.integers(1, 4))):
        # The length of a flight differs by a byte or two, as that of ECDSA signatures does.
        changed[data.draw(st.integers(0, 5000)) % len(changed)] = data.draw(st.integers(0, 255))
    del changed[1 + data.draw(st.integers(0, 5000)) % len(changed) :]
    try:
        for piece in pieces(bytes(changed), data.draw(SIZES)):
            victim.shake(piece)
    except TLSError as error:
        assert error.reason
    assert len(wire_of(victim)) < 20_000


@given(st.binary(max_size=3000), SIZES, st.booleans())
def test_rubbish(rubbish: bytes, sizes: list[int], record: bool) -> None:
    """Rubbish instead of a ClientHello, in a record or not, is a TLSError, or more is waited for."""
    server, _ = session_pair()
    if record:
        rubbish = b"\x16\x03\x01" + len(rubbish).to_bytes(2, "big") + rubbish
    try:
        for piece in pieces(rubbish, sizes):
            assert not server.shake(piece)
    except TLSError as error:
        assert error.reason
    assert len(wire_of(server)) < 100
