"""Tests for meshd.tls.parameters."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls import openssl
from meshd.tls.certificates import CredentialError
from meshd.tls.flags import OPTIONS
from meshd.tls.options import TlsOptions
from meshd.tls.parameters import CIPHERS, VERSIONS, BadParameter, Parameters, apply
from tests.tls.authority import Authority
from tests.tls.pair import TLS_1_2, TLS_1_3, World, info_of, parameters, trusting


class ApplyTests(SynchronousTestCase):
    """What a context is set to."""

    def apply(self, options: dict[str, Any] | None = None, **settings: Any) -> Any:
        """Return a context that is set so."""
        context = SSL.Context(SSL.TLS_METHOD)
        apply(context, parameters(options, **settings), True)
        return context

    def refused(self, options: dict[str, Any] | None = None, **settings: Any) -> BadParameter:
        """Return the error of settings that are refused."""
        error: BadParameter = self.assertRaises(BadParameter, self.apply, options, **settings)
        return error

    def ciphers(self, context: SSL.Context) -> list[str]:
        """Return the ciphers of a context, those of TLS 1.3 first."""
        return SSL.Connection(context, None).get_cipher_list()

    def test_defaults(self) -> None:
        """Forward secrecy and authenticated encryption, as Envoy; no renegotiation, no compression."""
        context = self.apply()
        self.assertLessEqual(set(CIPHERS.split(":")), set(self.ciphers(context)))
        self.assertIn("TLS_AES_256_GCM_SHA384", self.ciphers(context))
        bits = openssl.get_options(context)
        self.assertTrue(bits & OPTIONS["NO_RENEGOTIATION"])
        self.assertTrue(bits & OPTIONS["NO_COMPRESSION"])

    def test_options(self) -> None:
        """Options of OpenSSL are set; renegotiation is as asked for."""
        context = self.apply({"openssl_options": ["NO_TICKET"], "renegotiation": True})
        bits = openssl.get_options(context)
        self.assertTrue(bits & OPTIONS["NO_TICKET"])
        self.assertFalse(bits & OPTIONS["NO_RENEGOTIATION"])

    def test_versions_the_wrong_way_round(self) -> None:
        """A minimum above the maximum is refused."""
        self.assertEqual(
            self.refused(min_version=TLS_1_3, max_version=TLS_1_2).field, "tls_minimum_protocol_version"
        )

    def test_unknown_ciphers(self) -> None:
        """A cipher that OpenSSL does not know is refused by name, though others are known."""
        for ciphers in ("NO-SUCH", "ECDHE-RSA-AES128-GCM-SHA256:NO-SUCH"):
            error = self.refused(ciphers=ciphers)
            self.assertEqual(error.field, "cipher_suites")
            self.assertTrue(str(error).endswith("rejected when tried individually: NO-SUCH"))

    def test_list_of_options(self) -> None:
        """OpenSSL's own list, of the options, may have its words."""
        words = "HIGH:!aNULL:@STRENGTH"
        found = self.ciphers(self.apply({"ciphers": words}, ciphers=words))
        self.assertIn("ECDHE-RSA-AES256-GCM-SHA384", found)

    def test_unknown_others(self) -> None:
        """So are groups, signature algorithms and suites."""
        self.assertEqual(self.refused(groups="P-256:P-255").field, "ecdh_curves")
        self.assertEqual(self.refused(signature_algorithms="rsa_no_such").field, "signature_algorithms")
        self.assertEqual(self.refused(ciphersuites="TLS_NO_SUCH").field, "cipher_suites")

    def test_errors_leave_nothing_behind(self) -> None:
        """After a refusal OpenSSL's queue of errors is empty, so that no connection is blamed."""
        for wrong in ("groups", "ciphers", "ciphersuites"):
            self.refused(None, **{wrong: "x"})
        self.assertEqual(SSL._lib.ERR_get_error(), 0)  # type: ignore[attr-defined]

    def test_names_of_versions(self) -> None:
        """TLSv1 and TLSv1.0 are the same."""
        self.assertEqual(VERSIONS["TLSv1"], VERSIONS["TLSv1.0"])
        self.assertEqual(sorted(set(VERSIONS.values())), [0x300, 0x301, 0x302, 0x303, 0x304])


class AgreementTests(SynchronousTestCase):
    """What a server and a client agree on."""

    def setUp(self) -> None:
        self.world = World()

    def agree(self, server: Parameters, client: Parameters, *owners: Any) -> Any:
        """Return what the server knows of the handshake, None if there was none."""
        pair = self.world.connect(
            self.world.server(*owners, parameters=server), self.world.client(parameters=client)
        )
        info = info_of(pair.server)
        return info.tls if info.tls_error is None else None

    def test_version(self) -> None:
        """The highest that both have, or none."""
        both = parameters()
        old = parameters(max_version=TLS_1_2)
        self.assertEqual(self.agree(both, both).version, "TLSv1.3")
        self.assertEqual(self.agree(old, both).version, "TLSv1.2")
        self.assertEqual(self.agree(both, old).version, "TLSv1.2")
        self.assertIsNone(self.agree(old, parameters(min_version=TLS_1_3)))
        self.assertEqual(self.world.server_scope["ssl.versions.TLSv1.2"], 2)

    def test_old_versions(self) -> None:
        """TLS 1.0 and 1.1 are served if asked for: the security level goes down with the minimum."""
        for version, name in ((SSL.TLS1_VERSION, "TLSv1"), (SSL.TLS1_1_VERSION, "TLSv1.1")):
            ciphers = "ECDHE-ECDSA-AES128-SHA"
            settings = Parameters(min_version=version, max_version=version, ciphers=ciphers)
            facts = self.agree(settings, settings)
            self.assertIsNotNone(facts, name)
            self.assertEqual(facts.version, name)

    def test_cipher(self) -> None:
        """The server's order counts."""
        one, other = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"
        server = parameters(max_version=TLS_1_2, ciphers=f"{one}:{other}")
        client = parameters(max_version=TLS_1_2, ciphers=f"{other}:{one}")
        self.assertEqual(self.agree(server, client).cipher, one)
        self.assertEqual(self.agree(client, server).cipher, other)
        self.assertEqual(self.world.server_scope[f"ssl.ciphers.{one}"], 1)

    def test_suite(self) -> None:
        """So it does with TLS 1.3."""
        one, other = "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"
        server = parameters(ciphersuites=f"{one}:{other}")
        client = parameters(ciphersuites=f"{other}:{one}")
        self.assertEqual(self.agree(server, client).cipher, one)

    def test_chacha(self) -> None:
        """A client that would rather have ChaCha20 gets it, unless the server will not."""
        aes, chacha = "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"
        client = parameters(ciphersuites=f"{chacha}:{aes}")
        for prefer, chosen in ((True, chacha), (False, aes)):
            server = parameters(ciphersuites=f"{aes}:{chacha}", prefer_chacha=prefer)
            self.assertEqual(self.agree(server, client).cipher, chosen)

    def test_group(self) -> None:
        """A group that both have, or none."""
        self.assertEqual(self.agree(parameters(groups="P-256"), parameters()).curve.lower(), "secp256r1")
        self.assertIsNone(self.agree(parameters(groups="P-384"), parameters(groups="P-256")))
        self.assertEqual(self.world.server_scope["ssl.curves.P-256"], 1)

    def test_signature_algorithm(self) -> None:
        """A server whose key cannot sign as the client wants cannot serve it."""
        client = parameters(signature_algorithms="rsa_pss_rsae_sha256")
        self.assertIsNone(self.agree(parameters(), client))

    def test_security_level(self) -> None:
        """A short key is refused at a high security level, at load or as the peer's."""
        authority = Authority(kind="rsa4096")
        short = authority.issue("short", kind="rsa2048")
        three = Parameters(options=TlsOptions(security_level=3))
        error = self.assertRaises(CredentialError, self.world.server, short, parameters=three)
        self.assertEqual(str(error), "Failed to load certificate chain from it: ee key too small")
        server = self.world.server(short)
        for level, accepted in ((3, False), (2, True)):
            settings = Parameters(options=TlsOptions(security_level=level))
            client = self.world.client(validation=trusting(authority), parameters=settings)
            self.assertIs(self.world.connect(server, client).client.upstream.connected, accepted)
