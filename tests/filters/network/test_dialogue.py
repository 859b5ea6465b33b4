"""Tests for meshd.filters.network.dialogue."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.config.records import read_record
from meshd.filters.network.dialogue import TARGET_KEY, Dialogue, dialogue
from meshd.plugin import ConfigError
from meshd.testing import FakeClient, FakeContext


class Producer:
    """What a tcp_proxy registers when it is connected."""

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


class DialogueCase(SynchronousTestCase):
    """A client that connected to a chain with the filter."""

    protocol = "smtp"

    def setUp(self) -> None:
        self.context = FakeContext()

    def connect(self, **config: Any) -> FakeClient:
        """Return a client whose connection is made."""
        record = read_record(Dialogue, {"stat_prefix": "mail", "protocol": self.protocol, **config})
        self.client = FakeClient(dialogue.configure(record, self.context)())
        self.client.starttls = True
        return self.client

    def backend(self, data: bytes) -> None:
        """Let the backend say something."""
        self.client.upstream.write(data)

    def backend_connects(self) -> None:
        """Let there be a backend."""
        self.client.upstream.registerProducer(Producer(), True)

    def stat(self, name: str) -> int:
        """Return a counter of the filter."""
        return self.context.stats[f"dialogue.mail.{name}"]

    def check_left(self) -> None:
        """Check that the filter is out of the chain."""
        self.assertIs(self.client.inner, self.client.upstream)
        self.assertEqual(self.context.clock.getDelayedCalls(), [])


class MailTests(DialogueCase):
    """smtp: the backend is connected to first."""

    def test_tls(self) -> None:
        """The client is greeted, asks for TLS, and then speaks to the backend."""
        client = self.connect()
        self.assertTrue(client.upstream.connected)
        self.backend_connects()
        self.backend(b"220 mx ESMTP\r\n")
        self.assertEqual(client.received, b"")
        self.context.clock.advance(0.2)
        client.send(b"EHLO me\r\nSTARTTLS\r\n")
        self.assertEqual(
            client.received, b"220 mx stunnel for ESMTP\r\n250-mx\r\n250 STARTTLS\r\n220 Go ahead\r\n"
        )
        self.assertIsNotNone(client.secure_with)
        client.secured()
        self.check_left()
        client.send(b"EHLO again\r\n")
        self.assertEqual(client.upstream.received, b"EHLO again\r\n")
        self.assertEqual((self.stat("done"), self.stat("failed")), (1, 0))

    def test_patience_begins_with_the_backend(self) -> None:
        """The time in which a client may speak first begins when there is a backend."""
        client = self.connect(client_first="0.5s")
        self.context.clock.advance(10)
        client.send(b"\x16\x03\x01")
        self.assertIsNone(client.secure_with)
        self.backend_connects()
        self.assertIsNotNone(client.secure_with)

    def test_client_first(self) -> None:
        """A client that speaks before it was greeted speaks TLS; the greeting comes inside of it."""
        client = self.connect()
        self.backend_connects()
        client.send(b"\x16")
        self.assertIsNotNone(client.secure_with)
        self.assertEqual(client.secure_with, b"\x16")
        self.backend(b"220 mx ESMTP\r\n")
        self.assertEqual(client.received, b"")
        client.secured()
        self.assertEqual(client.received, b"220 mx ESMTP\r\n")

    def test_pipelined(self) -> None:
        """What comes with STARTTLS is TLS, and never clear text for the backend."""
        client = self.connect()
        self.backend(b"220 mx ESMTP\r\n")
        self.context.clock.advance(0.2)
        client.send(b"EHLO me\r\n")
        client.dataReceived(b"STARTTLS\r\nMAIL FROM:<evil>\r\n")
        self.assertEqual(client.secure_with, b"MAIL FROM:<evil>\r\n")
        client.secured()
        self.assertEqual(client.upstream.received, b"")

    def test_refused(self) -> None:
        """A client that wants no TLS is reset, and counted."""
        client = self.connect()
        self.backend(b"220 mx\r\n")
        self.context.clock.advance(0.2)
        client.send(b"EHLO me\r\nMAIL FROM:<a>\r\n")
        self.assertTrue(client.was_reset)
        self.assertEqual(client.info.local_close_reason, "the SMTP client does not want TLS")
        self.assertEqual(client.info.flags, {"DPE"})
        self.assertEqual((self.stat("done"), self.stat("failed")), (0, 1))
        client.close()
        self.assertIsNotNone(client.upstream.lost)

    def test_no_reset(self) -> None:
        """The config may ask for no resets."""
        client = self.connect(reset=False)
        self.backend(b"554 no\r\n")
        self.context.clock.advance(0.2)
        self.assertTrue(client.dropped)
        self.assertFalse(client.was_reset)

    def test_no_backend(self) -> None:
        """Without a backend the connection ends as it would without the filter, and keeps the reason."""
        client = self.connect()
        client.info.local_close_reason = "tcp_initializion_failure:1"
        client.upstream.loseConnection()
        self.assertTrue(client.dropped)
        self.assertFalse(client.was_reset)
        self.assertEqual(client.info.local_close_reason, "tcp_initializion_failure:1")
        self.assertEqual(self.context.clock.getDelayedCalls(), [])

    def test_backend_ends(self) -> None:
        """A backend that ends in the middle fails the dialogue."""
        client = self.connect()
        self.backend(b"220-mx\r\n")
        client.upstream.loseWriteConnection()
        self.context.clock.advance(0.2)
        self.assertTrue(client.was_reset)

    def test_backend_ends_after_its_words(self) -> None:
        """A backend that has nothing more to say ends the client's connection once TLS stands."""
        client = self.connect()
        self.backend(b"220 mx x\r\n")
        client.upstream.loseWriteConnection()
        self.context.clock.advance(0.2)
        client.send(b"EHLO me\r\nSTARTTLS\r\n")
        self.assertFalse(client.finished)
        client.secured()
        self.assertTrue(client.finished)

    def test_client_ends(self) -> None:
        """A client that ends in the middle fails the dialogue."""
        client = self.connect()
        self.backend(b"220 mx x\r\n")
        self.context.clock.advance(0.2)
        client.half_close()
        self.assertTrue(client.was_reset)

    def test_too_long(self) -> None:
        """A client that says nothing is not waited for for ever."""
        client = self.connect(timeout="5s")
        self.backend(b"220 mx x\r\n")
        self.context.clock.pump([0.2, 4.8])
        self.assertTrue(client.was_reset)
        self.assertEqual(self.stat("timeout"), 1)

    def test_time_out_of_tls(self) -> None:
        """Nor is one that does not finish the TLS handshake."""
        client = self.connect(timeout="5s")
        self.backend_connects()
        client.send(b"\x16")
        self.context.clock.advance(5)
        self.assertTrue(client.was_reset)

    def test_closed(self) -> None:
        """When the connection is over no timer is left."""
        client = self.connect()
        client.close()
        self.assertIsNotNone(client.upstream.lost)
        self.assertEqual(self.context.clock.getDelayedCalls(), [])

    def test_other_transport_socket(self) -> None:
        """A transport socket that cannot begin TLS fails the dialogue, rather than going on in clear text."""
        client = self.connect()
        client.starttls = False
        self.backend_connects()
        client.send(b"\x16")
        self.assertTrue(client.was_reset)
        self.assertIn("starttls", client.info.local_close_reason)

    def test_both_sides(self) -> None:
        """imap: what the client asks the backend has to answer."""
        self.protocol = "imap"
        client = self.connect()
        self.backend(b"* OK hi\r\n")
        self.context.clock.advance(0.2)
        client.send(b"a CAPABILITY\r\n")
        self.assertEqual(client.upstream.received, b"a CAPABILITY\r\n")
        self.backend(b"* CAPABILITY X\r\na OK\r\n")
        client.send(b"b LOGOUT\r\n")
        self.backend(b"stunnel OK\r\n")
        self.assertTrue(client.dropped)
        self.assertFalse(client.was_reset)
        self.assertTrue(client.received.endswith(b"b OK LOGOUT completed\r\n"))

    def test_synchronous_answers(self) -> None:
        """A backend that answers before dataReceived has returned is understood."""
        self.protocol = "imap"
        client = self.connect()
        upstream = client.upstream
        upstream.dataReceived = lambda data: upstream.write(b"a OK\r\n")  # type: ignore[method-assign]
        self.backend(b"* OK hi\r\n")
        self.context.clock.advance(0.2)
        client.dataReceived(b"a CAPABILITY\r\n")
        self.assertEqual(client.received, b"* OK hi (stunnel)\r\na OK\r\n")


class TlsFirstTests(DialogueCase):
    """pgsql: the inside hears of the connection when TLS stands."""

    protocol = "pgsql"

    def test_tls(self) -> None:
        """There is no backend before."""
        client = self.connect()
        client.send(b"\0\0\0\x08\x04\xd2\x16\x2f")
        self.assertEqual(client.received, b"S")
        self.assertFalse(client.upstream.connected)
        client.secured()
        self.assertTrue(client.upstream.connected)
        self.check_left()

    def test_refused(self) -> None:
        """Who was refused is never heard of inside."""
        client = self.connect()
        client.send(b"\0\0\0\x10\0\x03\0\0")
        self.assertTrue(client.was_reset)
        client.close()
        self.assertFalse(client.upstream.connected)
        self.assertIsNone(client.upstream.lost)


class ConnectTests(DialogueCase):
    """connect: the client says where to, before TLS."""

    protocol = "connect"

    def test_target(self) -> None:
        """The target is looked up, and noted for those inside."""
        client = self.connect(product="stunnel/5.75")
        client.send(b"CONNECT here.example:443 HTTP/1.1\r\n\r\n")
        self.assertEqual(
            [each[:2] for each in self.context.resolver.lookups], [("here.example", "V4_PREFERRED")]
        )
        self.assertEqual(client.received, b"")
        self.context.resolver.answer("192.0.2.7", "192.0.2.8")
        self.assertEqual(client.received, b"HTTP/1.0 200 OK\r\nServer: stunnel/5.75\r\n\r\n")
        client.secured()
        self.assertEqual(client.info.filter_state[TARGET_KEY], (("192.0.2.7", "192.0.2.8"), 443))
        self.assertTrue(client.upstream.connected)

    def test_no_such_name(self) -> None:
        """A look-up that fails is answered as a name that is not there."""
        client = self.connect()
        client.send(b"CONNECT here.example:443 HTTP/1.1\r\n\r\n")
        self.context.resolver.fail(OSError("no server"))
        self.assertTrue(client.received.startswith(b"HTTP/1.0 404 "))
        self.assertTrue(client.was_reset)

    def test_gone_meanwhile(self) -> None:
        """A client that goes away takes its look-up with it."""
        client = self.connect()
        client.send(b"CONNECT here.example:443 HTTP/1.1\r\n\r\n")
        client.close()
        self.assertEqual(self.context.resolver.cancelled, ["here.example"])
        self.assertEqual(client.received, b"")


class SocksTests(DialogueCase):
    """socks: no TLS is begun here."""

    protocol = "socks"
    request = b"\5\1\0\5\1\0\1\x7f\0\0\1\x10\x01"

    def test_target(self) -> None:
        """The client's bytes after the request are for the target."""
        client = self.connect(allow_loopback=True)
        client.dataReceived(self.request + b"hello")
        self.context.resolver.answer("127.0.0.1")
        self.assertIsNone(client.secure_with)
        self.assertEqual(client.info.filter_state[TARGET_KEY], (("127.0.0.1",), 0x1001))
        self.assertTrue(client.upstream.connected)
        self.assertEqual(client.upstream.received, b"hello")
        self.check_left()

    def test_loopback(self) -> None:
        """The loopback is refused, orderly."""
        client = self.connect()
        client.send(self.request)
        self.context.resolver.answer("127.0.0.1")
        self.assertEqual(client.received, b"\5\0\5\2\0\1\x7f\0\0\1\x10\x01")
        self.assertTrue(client.dropped)
        self.assertFalse(client.was_reset)
        self.assertFalse(client.upstream.connected)


class ConfigTests(SynchronousTestCase):
    """What the config may say."""

    def test_protocols(self) -> None:
        """A protocol that has no server side here is an error."""
        with self.assertRaises(ConfigError):
            read_record(Dialogue, {"stat_prefix": "x", "protocol": "ldap"})

    def test_timeout(self) -> None:
        """A timeout of nothing is an error."""
        with self.assertRaises(ConfigError):
            read_record(Dialogue, {"stat_prefix": "x", "protocol": "smtp", "timeout": "0s"})
