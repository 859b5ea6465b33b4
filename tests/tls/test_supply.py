"""Tests for meshd.tls.supply."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase

from meshd.plugin import ConfigError
from meshd.testing.context import FakeNumber
from meshd.tls.certificates import CredentialError
from meshd.tls.options import TlsOptions
from meshd.tls.supply import Fixed, Supply
from meshd.tls.validation import Settings
from tests.tls.pair import LEAF, ROOT, credential, parameters, plugin_context

CA = {"trusted_ca": {"inline_string": ROOT.alone.decode()}}


class Secret:
    """A secret that the test exchanges."""

    name = "secret"
    dynamic = True

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self._callbacks: list[Callable[[], object]] = []

    def on_change(self, callback: Callable[[], object]) -> None:
        """Keep the callback."""
        self._callbacks.append(callback)

    def change(self, value: Any) -> None:
        """Have another value."""
        self.value = value
        for callback in self._callbacks:
            callback()


class Secrets:
    """Gives out secrets by name."""

    def __init__(self, **secrets: Secret) -> None:
        self._secrets = secrets

    def certificate(self, config: Any, scope: Any) -> Secret:
        """Return the secret of that name."""
        return self._secrets[config.name]

    validation = certificate

    def watched_certificate(self, message: Any, scope: Any) -> Secret:
        """Return that of a watched directory."""
        return self._secrets["watched"]

    watched_validation = watched_certificate

    def combined_validation(self, message: Any, scope: Any) -> Secret:
        """Return the secret of that name."""
        return self._secrets[message.validation_context_sds_secret_config.name]


class Terms:
    """Notes what it is told to use."""

    def __init__(self, options: TlsOptions) -> None:
        self.settings = SimpleNamespace(parameters=parameters())
        self.settings = SimpleNamespace(parameters=SimpleNamespace(options=options))
        self.stats = SimpleNamespace(context_updated=FakeNumber())
        self.used: list[Any] = []
        self.error: Exception | None = None

    def use(self, credentials: Any, validation: Any) -> None:
        """Take note."""
        if self.error is not None:
            raise self.error
        names = [each.facts.subject for each in credentials]
        self.used.append((names, None if validation is None else validation.settings))

    def withdraw(self) -> None:
        """Take note."""
        self.used.append(None)


class SupplyCase(SynchronousTestCase):
    """A context and its terms."""

    def supply(
        self,
        secrets: Secrets | None = None,
        options: TlsOptions | None = None,
        needs_certificate: bool = True,
        **fields: Any,
    ) -> Supply:
        """Return the supply of a CommonTlsContext, not started."""
        self.context = plugin_context()
        self.context.tls.secrets = secrets
        self.terms = Terms(options or TlsOptions())
        message = ParseDict(fields, CommonTlsContext())
        return Supply(message, self.context, self.terms, needs_certificate)


class FixedTests(SupplyCase):
    """What is in the message."""

    def test_given(self) -> None:
        """Certificates and validation are handed over once."""
        self.supply(tls_certificates=[LEAF.inline()], validation_context=CA).start()
        ((names, settings),) = self.terms.used
        self.assertEqual((names, settings.trusted_ca), (["CN=server"], ROOT.alone))
        self.assertEqual(self.terms.stats.context_updated.value, 0)

    def test_none(self) -> None:
        """A server needs a certificate, a client none."""
        error = self.assertRaises(ConfigError, self.supply)
        self.assertEqual(error.message, "No TLS certificates found for server context")
        self.supply(needs_certificate=False).start()
        self.assertEqual(self.terms.used, [([], None)])

    def test_places(self) -> None:
        """What is wrong has its place."""
        two = [LEAF.inline(), {"certificate_chain": {"inline_string": "x"}}]
        error = self.assertRaises(ConfigError, self.supply, tls_certificates=two)
        self.assertEqual(error.path[:2], ("tls_certificates", 1))
        bad = {"trusted_ca": {"inline_string": "no certificate"}}
        with self.assertRaises(ConfigError) as caught:
            self.supply(tls_certificates=[LEAF.inline()], validation_context=bad).start()
        self.assertEqual(caught.exception.path[:1], ("validation_context",))

    def test_refused_by_openssl(self) -> None:
        """What OpenSSL will not show is an error of the certificates."""
        supply = self.supply(tls_certificates=[LEAF.inline()])
        self.terms.error = CredentialError("too short")
        error = self.assertRaises(ConfigError, supply.start)
        self.assertEqual((error.message, error.path), ("too short", ("tls_certificates", 0)))

    def test_options(self) -> None:
        """stunnel's demands join those of the message, and need one."""
        options = TlsOptions(verify_peer=True, check_hosts=["a.example"], check_ips=["192.0.2.1"])
        self.supply(options=options, tls_certificates=[LEAF.inline()], validation_context=CA).start()
        settings = self.terms.used[0][1]
        self.assertTrue(settings.pinned_leaves)
        self.assertEqual((settings.check_hosts, settings.check_ips), (("a.example",), ("192.0.2.1",)))
        error = self.assertRaises(ConfigError, self.supply, options=options, tls_certificates=[LEAF.inline()])
        self.assertEqual(error.path, ("custom_handshaker",))

    def test_fixed(self) -> None:
        """What is fixed never calls back."""
        fixed = Fixed(7)
        fixed.on_change(lambda: self.fail("it did"))
        self.assertEqual((fixed.value, fixed.dynamic), (7, False))


class SecretTests(SupplyCase):
    """What comes later, and changes."""

    def test_certificate(self) -> None:
        """Until it is there nobody is served; then with it, and with each that follows."""
        secret = Secret()
        self.supply(Secrets(c=secret), tls_certificate_sds_secret_configs=[{"name": "c"}]).start()
        self.assertEqual(self.terms.used, [None])
        secret.change(credential(LEAF))
        secret.change(credential(ROOT.issue("next")))
        self.assertEqual(self.terms.used[1:], [(["CN=server"], None), (["CN=next"], None)])
        self.assertEqual(self.terms.stats.context_updated.value, 2)

    def test_there_already(self) -> None:
        """One that is there from the start counts as an update."""
        supply = self.supply(
            Secrets(c=Secret(credential(LEAF))), tls_certificate_sds_secret_configs=[{"name": "c"}]
        )
        supply.start()
        self.assertEqual((len(self.terms.used), self.terms.stats.context_updated.value), (1, 1))

    def test_some(self) -> None:
        """With one of several certificates there, it is served with."""
        secrets = Secrets(a=Secret(), b=Secret(credential(LEAF)))
        self.supply(secrets, tls_certificate_sds_secret_configs=[{"name": "a"}, {"name": "b"}]).start()
        self.assertEqual(self.terms.used, [(["CN=server"], None)])

    def test_validation(self) -> None:
        """Without the validation that is asked for nobody is served, certificate or not."""
        for field in ("validation_context_sds_secret_config", "combined_validation_context"):
            secret = Secret()
            config: dict[str, Any] = {"name": "v"}
            if field == "combined_validation_context":
                config = {"default_validation_context": {}, "validation_context_sds_secret_config": config}
            fields: dict[str, Any] = {field: config}
            self.supply(Secrets(v=secret), tls_certificates=[LEAF.inline()], **fields).start()
            self.assertEqual(self.terms.used, [None])
            secret.change(Settings(trusted_ca=ROOT.alone))
            self.assertEqual(self.terms.used[1][1].trusted_ca, ROOT.alone)

    def test_bad_change(self) -> None:
        """A change that cannot be used is logged; what was before stays, and it is not counted."""
        secret = Secret(credential(LEAF))
        self.supply(Secrets(c=secret), tls_certificate_sds_secret_configs=[{"name": "c"}]).start()
        self.terms.error = CredentialError("no good")
        secret.change(credential(LEAF))
        self.assertEqual(len(self.terms.used), 1)
        self.assertEqual(self.terms.stats.context_updated.value, 1)

    def test_watched(self) -> None:
        """Files in a watched directory are secrets as well."""
        secret = Secret(credential(LEAF))
        watched = {**LEAF.inline(), "watched_directory": {"path": "/some/where"}}
        self.supply(Secrets(watched=secret), tls_certificates=[watched]).start()
        secret.change(credential(ROOT.issue("next")))
        self.assertEqual([used[0] for used in self.terms.used], [["CN=server"], ["CN=next"]])
