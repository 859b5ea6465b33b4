"""Tests for meshd.tls.plugin."""

from __future__ import annotations

from typing import Any

from envoy.extensions.transport_sockets.starttls.v3.starttls_pb2 import (
    StartTlsConfig,
    UpstreamStartTlsConfig,
)
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext, UpstreamTlsContext
from google.protobuf.json_format import ParseDict
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.interfaces import ITransportSocketFactory
from meshd.plugin import ConfigError
from meshd.tls.link import TLSLink
from meshd.tls.plugin import (
    HANDSHAKE_TIMEOUT,
    downstream_starttls,
    downstream_tls,
    upstream_starttls,
    upstream_tls,
)
from meshd.tls.starttls import StartTLSLink
from tests.tls.pair import LEAF, ROOT, Head, Pair, info_of, plugin_context
from tests.tls.test_config import handshaker

CA = {"trusted_ca": {"inline_string": ROOT.alone.decode()}}
CERTIFICATE = {"tls_certificates": [LEAF.inline()]}


def downstream(context: Any = None, tls_context: dict[str, Any] | None = None, **fields: Any) -> Any:
    """Return the link that a DownstreamTlsContext makes."""
    message = ParseDict(
        {"common_tls_context": {**CERTIFICATE, **(tls_context or {})}, **fields}, DownstreamTlsContext()
    )
    (build,) = downstream_tls.configure(message, context or plugin_context())
    return build()


def upstream(context: Any = None, tls_context: dict[str, Any] | None = None, **fields: Any) -> Any:
    """Return the link that an UpstreamTlsContext makes."""
    message = ParseDict({"common_tls_context": tls_context or {}, **fields}, UpstreamTlsContext())
    (build,) = upstream_tls.configure(message, context or plugin_context("upstream"))
    return build()


class DownstreamTests(SynchronousTestCase):
    """The server's side."""

    def test_interfaces(self) -> None:
        """The plugins provide what they stand for, each for its side."""
        sides = {downstream_tls: "downstream", upstream_tls: "upstream"}
        sides |= {downstream_starttls: "downstream", upstream_starttls: "upstream"}
        for plugin, side in sides.items():
            verifyObject(ITransportSocketFactory, plugin)
            self.assertEqual(plugin.side, side)

    def test_settings(self) -> None:
        """Each field has its setting."""
        settings = downstream(
            require_client_certificate=True,
            disable_stateless_session_resumption=True,
            disable_stateful_session_resumption=True,
            session_timeout="60s",
            full_scan_certs_on_sni_mismatch=True,
            prefer_client_ciphers=True,
        ).terms.settings
        self.assertTrue(settings.require_certificate and settings.full_scan and settings.client_preference)
        self.assertFalse(settings.stateless or settings.stateful)
        self.assertEqual((settings.session_timeout, settings.name), (60, "here"))

    def test_defaults(self) -> None:
        """Without fields both kinds of sessions, both versions."""
        terms = downstream().terms
        settings = terms.settings
        self.assertFalse(settings.require_certificate or settings.full_scan or settings.client_preference)
        self.assertTrue(settings.stateless and settings.stateful)
        self.assertIsNone(settings.session_timeout)
        self.assertEqual(settings.parameters.max_version, SSL.TLS1_3_VERSION)
        self.assertFalse(terms.is_client)

    def test_time_out(self) -> None:
        """The time for a handshake: of meshd's options, of the filter chain, else a default."""
        mine = {"custom_handshaker": handshaker(handshake_timeout=3)}
        for tls_context, of_chain, seconds in (
            ({}, None, HANDSHAKE_TIMEOUT),
            ({}, 7.0, 7.0),
            ({}, 0.0, 0.0),
            (mine, 7.0, 3.0),
        ):
            self.assertEqual(downstream(plugin_context(timeout=of_chain), tls_context).terms.timeout, seconds)

    def test_links(self) -> None:
        """Each connection has a link of its own, with the same terms."""
        message = ParseDict({"common_tls_context": CERTIFICATE}, DownstreamTlsContext())
        (build,) = downstream_tls.configure(message, plugin_context())
        one: Any = build()
        other: Any = build()
        self.assertIsInstance(one, TLSLink)
        self.assertIsNot(one, other)
        self.assertIs(one.terms, other.terms)

    def test_psk_alone(self) -> None:
        """With pre-shared keys no certificate is needed."""
        context = {"custom_handshaker": handshaker(psk={"me": "0123456789abcdef"}, ciphers="PSK")}
        message = ParseDict({"common_tls_context": context}, DownstreamTlsContext())
        downstream_tls.configure(message, plugin_context())

    def test_places_of_errors(self) -> None:
        """What is wrong has its place, to the field."""
        params = {
            "cipher_suites": ["NO-SUCH"],
            "ecdh_curves": ["P-1"],
            "signature_algorithms": ["no_such"],
        }
        for field, value in params.items():
            error = self.assertRaises(ConfigError, downstream, None, {"tls_params": {field: value}})
            self.assertEqual(error.path, ("common_tls_context", "tls_params", field))
        versions = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_2"}
        error = self.assertRaises(ConfigError, downstream, None, {"tls_params": versions})
        self.assertEqual(error.path[-1], "tls_minimum_protocol_version")
        error = self.assertRaises(ConfigError, downstream, None, {"tls_certificates": []})
        self.assertEqual(error.path, ("common_tls_context",))
        bad = {"validation_context": {"trusted_ca": {"filename": "/no/such/file"}}}
        error = self.assertRaises(ConfigError, downstream, None, bad)
        self.assertEqual(error.path[:2], ("common_tls_context", "validation_context"))


class UpstreamTests(SynchronousTestCase):
    """The client's side."""

    def test_settings(self) -> None:
        """Each field has its setting; by default TLS 1.2 at most, and one session for each host."""
        settings = upstream().terms.settings
        self.assertEqual(
            (settings.sni, settings.auto_sni, settings.auto_san, settings.sessions), ("", False, False, 1)
        )
        self.assertEqual(settings.parameters.max_version, SSL.TLS1_2_VERSION)
        settings = upstream(
            None,
            {"validation_context": CA},
            sni="a.example",
            auto_host_sni=True,
            auto_sni_san_validation=True,
            max_session_keys=5,
        ).terms.settings
        self.assertEqual(
            (settings.sni, settings.auto_sni, settings.auto_san, settings.sessions),
            ("a.example", True, True, 5),
        )

    def test_no_sessions(self) -> None:
        """Sessions are switched off by either of two fields."""
        self.assertEqual(upstream(max_session_keys=0).terms.settings.sessions, 0)
        off = {"custom_handshaker": handshaker(session_resume=False)}
        self.assertEqual(upstream(None, off).terms.settings.sessions, 0)

    def test_refused(self) -> None:
        """Two certificates, and a name that is too long, are refused."""
        error = self.assertRaises(ConfigError, upstream, None, {"tls_certificates": [LEAF.inline()] * 2})
        self.assertEqual(error.path, ("common_tls_context",))
        error = self.assertRaises(ConfigError, upstream, sni="x" * 256)
        self.assertEqual(error.path, ("sni",))

    def test_without_what_it_is_for(self) -> None:
        """auto_sni_san_validation without a validation_context is refused, as by Envoy."""
        error = self.assertRaises(ConfigError, upstream, sni="a.example", auto_sni_san_validation=True)
        self.assertIn("'auto_sni_san_validation' was configured without a validation context", error.message)


class TogetherTests(SynchronousTestCase):
    """Both sides, of configs."""

    def test_mutual(self) -> None:
        """A client and a server that demand a certificate of each other."""
        context = plugin_context()
        server = downstream(context, {"validation_context": CA}, require_client_certificate=True)
        both = {**CERTIFICATE, "validation_context": CA}
        client = upstream(context, both, sni="good.example", auto_sni_san_validation=True)
        pair = Pair(context.clock, Head(server), Head(client)).pump()
        pair.client.say(b"hello")
        pair.pump()
        self.assertEqual(pair.server.plaintext, b"hello")
        self.assertTrue(info_of(pair.server).tls.verified and pair.client.tls.verified)
        self.assertEqual(context.around.scope["ssl.versions.TLSv1.2"], 2)

    def test_starttls(self) -> None:
        """starttls begins in clear text, on both sides."""
        context = plugin_context()
        server = {"tls_socket_config": {"common_tls_context": CERTIFICATE}}
        client = {"tls_socket_config": {"common_tls_context": {"validation_context": CA}}}
        (accept,) = downstream_starttls.configure(ParseDict(server, StartTlsConfig()), context)
        (connect,) = upstream_starttls.configure(ParseDict(client, UpstreamStartTlsConfig()), context)
        pair = Pair(context.clock, Head(accept()), Head(connect())).pump()
        self.assertIsInstance(pair.server.link, StartTLSLink)
        pair.server.say(b"220\r\n")
        pair.pump()
        self.assertEqual(pair.client.plaintext, b"220\r\n")
        self.assertTrue(pair.server.start_secure_transport() and pair.client.start_secure_transport())
        pair.client.say(b"secret")
        pair.pump()
        self.assertEqual(pair.server.plaintext, b"secret")

    def test_places_within_starttls(self) -> None:
        """Errors have their place there, too."""
        for wrong, path in (
            ({"tls_params": {"ecdh_curves": ["P-1"]}}, ("tls_params", "ecdh_curves")),
            ({"tls_certificates": []}, ()),
        ):
            config = {"tls_socket_config": {"common_tls_context": {**CERTIFICATE, **wrong}}}
            message = ParseDict(config, StartTlsConfig())
            error = self.assertRaises(ConfigError, downstream_starttls.configure, message, plugin_context())
            self.assertEqual(error.path, ("tls_socket_config", "common_tls_context", *path))
