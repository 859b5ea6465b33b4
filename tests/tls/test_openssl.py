"""Tests for meshd.tls.openssl; its reading and writing is in test_session."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls import openssl
from meshd.tls.flags import OPTIONS
from meshd.tls.openssl import CHUNK, Ssl, TLSError
from tests.tls.pair import (
    TLS_1_2,
    TLS_1_3,
    done,
    plain_contexts,
    session_pair,
    shake,
    ssl_pair,
    wire_of,
)

UNTRUSTED = 20  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY


class TLSErrorTests(SynchronousTestCase):
    """What an error says."""

    def test_text(self) -> None:
        """Operation, reason and detail, and Envoy's form of it."""
        error = TLSError("SSL_accept", 7, "certificate verify failed", "it is green")
        self.assertEqual(str(error), "SSL_accept: certificate verify failed: it is green")
        self.assertEqual(
            error.envoy_text,
            "TLS_error:|7:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:it is green:TLS_error_end",
        )

    def test_without_detail(self) -> None:
        """Without detail there is none."""
        error = TLSError("SSL_read", 7, "bad record")
        self.assertEqual(str(error), "SSL_read: bad record")
        self.assertTrue(error.envoy_text.endswith(":BAD_RECORD:TLS_error_end"))

    def test_verify_error_text(self) -> None:
        """OpenSSL's sentences for certificates."""
        self.assertEqual(openssl.verify_error_text(10), "certificate has expired")


class ContextTests(SynchronousTestCase):
    """Settings that OpenSSL does not take leave no error behind."""

    def test_unknown_names(self) -> None:
        """Names that it does not know are told by False."""
        context = SSL.Context(SSL.TLS_METHOD)
        for call, good in (
            (openssl.set_groups, "X25519:P-256"),
            (openssl.set_signature_algorithms, "ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256"),
        ):
            self.assertTrue(call(context, good), good)
            self.assertFalse(call(context, f"{good}:no-such"), good)
            self.assertEqual(SSL._lib.ERR_get_error(), 0)  # type: ignore[attr-defined]

    def test_unknown_suites(self) -> None:
        """Suites of TLS 1.3 that it does not know it passes over, but for the last."""
        context = SSL.Context(SSL.TLS_METHOD)
        self.assertTrue(openssl.set_ciphersuites(context, "no-such:TLS_AES_128_GCM_SHA256"))
        self.assertIn("TLS_AES_128_GCM_SHA256", SSL.Connection(context, None).get_cipher_list())
        self.assertFalse(openssl.set_ciphersuites(context, "no-such"))
        self.assertEqual(SSL._lib.ERR_get_error(), 0)  # type: ignore[attr-defined]


class HandshakeTests(SynchronousTestCase):
    """What a handshake came to."""

    def test_facts(self) -> None:
        """Group, and that nothing was resumed or is wrong."""
        for version in (TLS_1_2, TLS_1_3):
            server, client = session_pair(version)
            self.assertEqual(server.ssl.group, "")
            shake(server, client)
            for session in (server, client):
                self.assertTrue(session.ssl.group)
                self.assertFalse(session.ssl.resumed)
            self.assertEqual(server.ssl.verify_result, 0)
            self.assertEqual(client.ssl.verify_result, UNTRUSTED)

    def test_session_id(self) -> None:
        """A session has an id, the same when it is resumed."""
        contexts = plain_contexts(version=TLS_1_2)
        openssl.set_options(contexts[0], OPTIONS["NO_TICKET"])
        contexts[0].set_session_id(b"it")
        first = self.shaken(*contexts)
        number = openssl.session_id(first[0].connection)
        self.assertEqual(len(number), 32)
        self.assertEqual(openssl.session_id(first[1].connection), number)
        session = first[1].connection.get_session()
        assert session is not None
        second = ssl_pair(*contexts)
        second[1].connection.set_session(session)
        done(self, *second)
        self.assertTrue(second[0].resumed and second[1].resumed)
        self.assertEqual(openssl.session_id(second[0].connection), number)
        self.assertEqual(openssl.session_id(ssl_pair(*contexts)[0].connection), b"")

    def shaken(self, server: SSL.Context, client: SSL.Context) -> tuple[Ssl, Ssl]:
        """Return two ends with their handshake done."""
        pair = ssl_pair(server, client)
        done(self, *pair)
        return pair

    def test_free(self) -> None:
        """What is freed holds nobody's application."""
        pair = ssl_pair(*plain_contexts())
        pair[0].app = self
        pair[0].free()
        self.assertIsNone(pair[0].app)
        self.assertIsNone(pair[0].connection.get_app_data())

    def test_drain_much(self) -> None:
        """More ciphertext than fits into the buffer comes in one piece."""
        server, client = session_pair()
        shake(server, client)
        data = b"x" * (3 * CHUNK)
        client.send(data)
        wire = wire_of(client)
        self.assertGreater(len(wire), len(data))
        self.assertEqual(wire_of(client), b"")
        self.assertEqual(server.receive(wire), data)

    def test_views(self) -> None:
        """What is sealed is what the other side reads by a view."""
        server, client = session_pair()
        shake(server, client)
        for size in (1, 1000, 65536):
            sealed = client.ssl.seal(b"y" * size)
            assert sealed is not None
            server.ssl.feed(bytes(sealed))
            self.assertEqual(bytes(server.ssl.read_view()), b"y" * size)
            self.assertEqual(server.ssl.read_view(), b"")

    def test_view_before_an_error(self) -> None:
        """A view, too, comes before the error that follows it."""
        server, client = session_pair()
        shake(server, client)
        client.send(b"good")
        server.ssl.feed(wire_of(client) + b"\x17\x03\x03\x00\x20" + b"?" * 32)
        self.assertEqual(bytes(server.ssl.read_view()), b"good")
        self.assertRaises(TLSError, server.ssl.read_view)
        self.assertRaises(TLSError, server.ssl.read)

    def test_kept_buffers(self) -> None:
        """A connection that keeps its buffers goes on as before."""
        server, client = session_pair()
        shake(server, client)
        server.ssl.keep_buffers()
        client.ssl.keep_buffers()
        for _ in range(3):
            client.send(b"z" * 40000)
            self.assertEqual(server.receive(wire_of(client)), b"z" * 40000)

    def test_nothing_wrong_with_others(self) -> None:
        """An error of one connection is not taken for one of the next."""
        good, bad = session_pair(), session_pair()
        shake(*good)
        self.assertRaises(TLSError, bad[0].shake, b"GET / HTTP/1.1\r\n\r\n")
        good[1].send(b"fine")
        self.assertEqual(good[0].receive(wire_of(good[1])), b"fine")
        self.assertEqual(good[0].receive(b""), b"")
