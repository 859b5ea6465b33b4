"""Tests for meshd.tls.callbacks; stapling and pre-shared keys are in test_stapling and test_psk."""

from __future__ import annotations

from typing import Any

from OpenSSL import crypto
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls import callbacks
from meshd.tls.callbacks import ASK, DEMAND, FINE, OVERLOOKED, OWN_VERDICT
from meshd.tls.openssl import Ssl, TLSError
from tests.tls.authority import Authority
from tests.tls.pair import (
    LEAF,
    ROOT,
    TLS_1_2,
    done,
    plain_contexts,
    ssl_pair,
)

UNTRUSTED = 20  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY


class VerifyTests(SynchronousTestCase):
    """Verdicts on a peer's certificate."""

    def shake(self, ask: int, judge: Any, owner: Any = None, trusted: bool = True) -> tuple[Ssl, Ssl]:
        """Return a server that asks its client for a certificate, after the handshake."""
        server, client = plain_contexts(version=TLS_1_2)
        if trusted:
            store = server.get_cert_store()
            assert store is not None
            store.add_cert(crypto.X509.from_cryptography(ROOT.certificate))
        if owner is not None:
            client.use_certificate(owner.certificate)
            client.use_privatekey(owner.key)
        callbacks.on_verify(server, ask, judge)
        self.pair = ssl_pair(server, client)
        done(self, *self.pair)
        return self.pair

    def test_good(self) -> None:
        """Each certificate of the chain is judged, the peer's own last."""
        seen: list[tuple[Any, ...]] = []

        def judge(ssl: Ssl, *what: Any) -> bool:
            seen.append(what)
            return bool(what[0])

        server, _ = self.shake(DEMAND, judge, LEAF)
        self.assertEqual([each[:3] for each in seen], [(True, 0, 1), (True, 0, 0)])
        self.assertEqual(seen[-1][3], LEAF.der)
        self.assertEqual((server.verify_error, server.verify_result), (0, 0))

    def test_overlooked(self) -> None:
        """What is overlooked passes; OpenSSL's error stays to be seen."""
        server, _ = self.shake(DEMAND, lambda *what: OVERLOOKED, LEAF, trusted=False)
        self.assertNotEqual(server.verify_result, 0)
        self.assertEqual(server.verify_error, 0)

    def test_own_overlooked(self) -> None:
        """So does one of our own."""
        server, _ = self.shake(DEMAND, lambda *what: OVERLOOKED, LEAF)
        self.assertEqual((server.verify_result, server.verify_error), (OWN_VERDICT, 0))

    def test_fine(self) -> None:
        """What is fine passes, and OpenSSL's error is taken back."""
        server, _ = self.shake(DEMAND, lambda *what: FINE, LEAF, trusted=False)
        self.assertEqual((server.verify_result, server.verify_error), (0, 0))

    def test_refused(self) -> None:
        """A verdict of our own ends a handshake that OpenSSL would let pass."""
        error = self.assertRaises(TLSError, self.shake, DEMAND, lambda *what: False, LEAF)
        self.assertEqual(error.reason, "certificate verify failed")
        self.assertEqual(self.pair[0].verify_error, OWN_VERDICT)

    def test_untrusted(self) -> None:
        """Nor is one of another authority let pass."""
        stranger = Authority("other").issue("stranger")
        self.assertRaises(TLSError, self.shake, DEMAND, lambda ssl, ok, *what: ok, stranger)
        self.assertEqual(self.pair[0].verify_error, UNTRUSTED)

    def test_none(self) -> None:
        """Without a certificate a handshake is done if one was only asked for."""
        asked: list[Any] = []
        self.shake(ASK, lambda *what: asked.append(what))
        self.assertEqual(asked, [])
        error = self.assertRaises(TLSError, self.shake, DEMAND, lambda *what: True)
        self.assertEqual(error.reason, "peer did not return a certificate")
