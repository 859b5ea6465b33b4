"""Tests for meshd.tls.provider."""

from typing import Any

from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions
from twisted.trial.unittest import SynchronousTestCase
from xds.type.v3.typed_struct_pb2 import TypedStruct
from zope.interface import implementer

from meshd.plugin import ConfigError
from meshd.tls.provider import NAME, read_provider
from tests.tls.authority import Authority

number = 7


def options() -> CertificateOptions:
    """Return Twisted's own provider."""
    leaf = Authority().issue("a.example")
    key: Any = leaf.key  # pyOpenSSL takes those of cryptography, which Twisted does not say
    certificate: Any = leaf.certificate
    return CertificateOptions(privateKey=key, certificate=certificate)


@implementer(IOpenSSLServerConnectionCreator)
class Creator:
    """Makes connections, and notes for whom."""

    def __init__(self) -> None:
        self.links: list[Any] = []

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        self.links.append(tlsProtocol.link)
        return SSL.Connection(SSL.Context(SSL.TLS_SERVER_METHOD), None)


creator = Creator()


def context(name: str, type_url: str = NAME) -> CommonTlsContext:
    """Return a context that names an object of this module."""
    message = CommonTlsContext()
    struct = TypedStruct(type_url=f"type.googleapis.com/{type_url}")
    struct.value["factory"] = f"{__name__}:{name}"
    message.custom_tls_certificate_selector.name = NAME
    message.custom_tls_certificate_selector.typed_config.Pack(struct)
    return message


class ProviderTests(SynchronousTestCase):
    """A context whose certificates come from an object."""

    def assert_bad(self, message: CommonTlsContext, text: str) -> ConfigError:
        """Reading it is an error that says so."""
        error: ConfigError = self.assertRaises(ConfigError, read_provider, message)
        self.assertIn(text, str(error))
        return error

    def test_none(self) -> None:
        """A context that names none has none."""
        self.assertIsNone(read_provider(CommonTlsContext()))

    def test_creator(self) -> None:
        """A connection creator is asked for each link."""
        make = read_provider(context("creator"))
        assert make is not None
        link = object()
        self.assertIsInstance(make(link), SSL.Connection)
        self.assertEqual(creator.links, [link])

    def test_factory(self) -> None:
        """A callable is called for the provider, which may be one of Twisted's contexts."""
        make = read_provider(context("options"))
        assert make is not None
        self.assertIsInstance(make(object()), SSL.Connection)

    def test_wrong(self) -> None:
        """What provides nothing, or is not there, is an error at its place."""
        error = self.assert_bad(context("number"), "nothing that provides certificates")
        self.assertEqual(error.path, ("custom_tls_certificate_selector", "typed_config", "factory"))
        self.assert_bad(context("nothing"), "has no nothing")
        self.assert_bad(context("creator", "acme.selector"), "meshd serves meshd.tls.provider here")

    def test_twice(self) -> None:
        """A context that has certificates of its own besides is an error."""
        message = context("creator")
        message.tls_certificates.add()
        self.assertEqual(self.assert_bad(message, "give one of them").path, ("tls_certificates",))
