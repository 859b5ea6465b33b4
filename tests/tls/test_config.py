"""Tests for meshd.tls.config."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

from envoy.extensions.transport_sockets.tls.v3.common_pb2 import TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext
from google.protobuf.json_format import ParseDict
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase
from xds.type.v3.typed_struct_pb2 import TypedStruct

from meshd.plugin import ConfigError
from meshd.tls.config import at, read_certificate, read_options, read_parameters, read_psk
from meshd.tls.key_log import KeyLogs
from meshd.tls.options import NAME, TlsOptions
from meshd.tls.parameters import CIPHERS, CIPHERSUITES, GROUPS, Parameters
from tests.tls.pair import LEAF, ROOT, World

TYPED_STRUCT = f"type.googleapis.com/{TypedStruct.DESCRIPTOR.full_name}"


def message(**fields: Any) -> CommonTlsContext:
    """Return a CommonTlsContext."""
    return ParseDict(fields, CommonTlsContext())


def handshaker(**values: Any) -> dict[str, Any]:
    """Return the field custom_handshaker with meshd's options."""
    typed = {"@type": TYPED_STRUCT, "type_url": f"type.googleapis.com/{NAME}", "value": values}
    return {"name": NAME, "typed_config": typed}


class OptionsTests(SynchronousTestCase):
    """meshd's own options."""

    def test_none(self) -> None:
        """Without them nothing is changed."""
        self.assertEqual(read_options(message()), TlsOptions())

    def test_given(self) -> None:
        """They are in custom_handshaker."""
        options = read_options(message(custom_handshaker=handshaker(security_level=1, late_verdict=True)))
        self.assertEqual(options, TlsOptions(security_level=1, late_verdict=True))

    def test_wrong(self) -> None:
        """What is wrong has its place."""
        wrong = message(custom_handshaker=handshaker(security_level=9))
        error = self.assertRaises(ConfigError, read_options, wrong)
        self.assertEqual(error.path[:2], ("custom_handshaker", "typed_config"))
        self.assertEqual(error.path[-1], "security_level")


class ParametersTests(SynchronousTestCase):
    """Versions, ciphers, groups, ALPN, key log."""

    def read(self, options: TlsOptions | None = None, **fields: Any) -> Parameters:
        """Return the parameters of a server with these fields."""
        self.logs = KeyLogs()
        return read_parameters(message(**fields), options or TlsOptions(), "TLSv1.3", self.logs.open)

    def test_defaults(self) -> None:
        """A server has TLS 1.2 and 1.3, a client 1.2 unless told otherwise."""
        settings = self.read()
        self.assertEqual(
            (settings.min_version, settings.max_version), (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)
        )
        self.assertEqual(
            (settings.ciphers, settings.ciphersuites, settings.groups), (CIPHERS, CIPHERSUITES, GROUPS)
        )
        self.assertEqual((settings.alpn, settings.key_log), ((), None))
        client = read_parameters(message(), TlsOptions(), "TLSv1.2", self.logs.open)
        self.assertEqual(client.max_version, SSL.TLS1_2_VERSION)

    def test_given(self) -> None:
        """What the message says."""
        settings = self.read(
            tls_params={
                "tls_minimum_protocol_version": "TLSv1_0",
                "tls_maximum_protocol_version": "TLSv1_2",
                "cipher_suites": ["[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]", "AES128-SHA"],
                "ecdh_curves": ["P-384", "X25519"],
                "signature_algorithms": ["rsa_pkcs1_sha1", "ecdsa_secp256r1_sha256"],
            },
            alpn_protocols=["h2,http/1.1", "x"],
        )
        self.assertEqual((settings.min_version, settings.max_version), (SSL.TLS1_VERSION, SSL.TLS1_2_VERSION))
        self.assertEqual(
            settings.ciphers, "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305:AES128-SHA"
        )
        self.assertEqual(settings.groups, "P-384:X25519")
        self.assertEqual(settings.signature_algorithms, "RSA+SHA1:ecdsa_secp256r1_sha256")
        self.assertEqual(settings.alpn, (b"h2", b"http/1.1", b"x"))

    def test_options_first(self) -> None:
        """meshd's options go before the fields."""
        options = TlsOptions(
            min_version="all", max_version="SSLv3", ciphers="HIGH", ciphersuites="S", groups="G"
        )
        settings = self.read(options, tls_params={"cipher_suites": ["AES128-SHA"], "ecdh_curves": ["P-256"]})
        self.assertEqual((settings.min_version, settings.max_version), (0, SSL.SSL3_VERSION))
        self.assertEqual((settings.ciphers, settings.ciphersuites, settings.groups), ("HIGH", "S", "G"))

    def test_alpn(self) -> None:
        """A protocol has 1 to 255 bytes."""
        for wrong in ("", "x" * 256, "ü" * 128):
            error = self.assertRaises(ConfigError, self.read, alpn_protocols=["h2", wrong])
            self.assertEqual(error.path, ("alpn_protocols", 1))

    def test_key_log(self) -> None:
        """Key material of connections between addresses in the ranges goes to the file."""
        path = Path(self.mktemp())
        near = [{"address_prefix": "192.0.2.0", "prefix_len": 24}]
        far = [{"address_prefix": "10.0.0.0", "prefix_len": 8}]
        for local, remote, written in (
            (near, near, True),
            ([], [], True),
            (near, far, False),
            (far, [], False),
        ):
            ranges = {"local_address_range": local, "remote_address_range": remote}
            settings = self.read(key_log={"path": str(path), **ranges})
            before = path.stat().st_size
            world = World()
            world.connect(world.server(parameters=settings))
            self.assertIs(path.stat().st_size > before, written)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        labels = {line.split()[0] for line in path.read_text().splitlines()}
        self.assertLessEqual({"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"}, labels)

    def test_key_log_that_cannot_be(self) -> None:
        """A file that cannot be opened, and a range that is none, are errors with their place."""
        error = self.assertRaises(ConfigError, self.read, key_log={"path": "/no/such/dir/keys"})
        self.assertEqual(error.path, ("key_log", "path"))
        wrong = {"path": self.mktemp(), "local_address_range": [{"address_prefix": "x"}]}
        error = self.assertRaises(ConfigError, self.read, key_log=wrong)
        self.assertEqual(error.path[:2], ("key_log", "local_address_range"))


class CertificateTests(SynchronousTestCase):
    """A certificate and its key."""

    def read(self, **fields: Any) -> Any:
        """Read a TlsCertificate."""
        return read_certificate(ParseDict(fields, TlsCertificate()))

    def test_inline(self) -> None:
        """In the message itself."""
        self.assertEqual(self.read(**LEAF.inline()).facts.der, LEAF.der)

    def test_files(self) -> None:
        """In files, after which it is named; the key locked."""
        directory = Path(self.mktemp())
        directory.mkdir()
        chain, key = LEAF.write(directory, "it")
        Path(key).write_bytes(LEAF.locked_key("secret"))
        fields: dict[str, Any] = {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}
        credential = self.read(**fields, password={"inline_string": "secret"})
        self.assertEqual((credential.facts.der, credential.name), (LEAF.der, chain))
        error = self.assertRaises(ConfigError, self.read, **fields, password={"inline_string": "wrong"})
        self.assertEqual(error.path, ("private_key",))

    def test_pkcs12(self) -> None:
        """In PKCS#12, alone."""
        packed = {"inline_bytes": b64encode(LEAF.pkcs12("secret")).decode()}
        password = {"inline_string": "secret"}
        self.assertEqual(self.read(pkcs12=packed, password=password).facts.der, LEAF.der)
        error = self.assertRaises(
            ConfigError, self.read, pkcs12=packed, password=password, private_key={"inline_string": "x"}
        )
        self.assertIn("both pkcs12 and private_key", error.message)

    def test_missing(self) -> None:
        """Half of it is not enough."""
        whole = LEAF.inline()
        error = self.assertRaises(ConfigError, self.read, certificate_chain=whole["certificate_chain"])
        self.assertEqual(error.path, ("private_key",))
        error = self.assertRaises(ConfigError, self.read, private_key=whole["private_key"])
        self.assertEqual(error.path, ("certificate_chain",))

    def test_other_key(self) -> None:
        """The key of another certificate is refused."""
        other = {**LEAF.inline(), "private_key": ROOT.inline()["private_key"]}
        error = self.assertRaises(ConfigError, self.read, **other)
        self.assertIn(error.path, (("private_key",), ("certificate_chain",)))

    def test_no_such_file(self) -> None:
        """A file that is not there is named."""
        missing = {"certificate_chain": {"filename": "/no/such/file"}, "private_key": {"inline_string": "x"}}
        error = self.assertRaises(ConfigError, self.read, **missing)
        self.assertIn("/no/such/file", error.message)
        self.assertEqual(error.path[0], "certificate_chain")

    def test_staple(self) -> None:
        """An OCSP response goes with it."""
        path = Path(self.mktemp())
        path.write_bytes(ROOT.ocsp(LEAF))
        staple = {"filename": str(path)}
        self.assertEqual(self.read(**LEAF.inline(), ocsp_staple=staple).staple, path.read_bytes())


class PskTests(SynchronousTestCase):
    """Pre-shared keys."""

    def test_none(self) -> None:
        """There are none; an identity without is an error."""
        self.assertIsNone(read_psk(TlsOptions()))
        error = self.assertRaises(ConfigError, read_psk, TlsOptions(psk_identity="me"))
        self.assertEqual(error.path[-1], "psk_identity")

    def test_given(self) -> None:
        """They are in the message and in a file; the file's go first."""
        path = Path(self.mktemp())
        path.write_text("file:0123456789abcdef\nboth:fedcba9876543210\n")
        psk = {"here": "0123456789abcdef", "both": "not this one, surely"}
        secrets = read_psk(TlsOptions(psk=psk, psk_file=str(path), psk_identity="both"))
        assert secrets is not None
        self.assertEqual(secrets.offered, (b"both", b"fedcba9876543210"))

    def test_wrong(self) -> None:
        """Short keys, an identity without one, and a file that is not there or none have their place."""
        path = Path(self.mktemp())
        path.write_text("no colon\n")
        for options, field in (
            (TlsOptions(psk={"me": "short"}), "psk"),
            (TlsOptions(psk={"me": "0123456789abcdef"}, psk_identity="you"), "psk"),
            (TlsOptions(psk_file="/no/such/file"), "psk_file"),
            (TlsOptions(psk_file=str(path)), "psk_file"),
        ):
            error = self.assertRaises(ConfigError, read_psk, options)
            self.assertEqual(error.path, ("custom_handshaker", "typed_config", field))


class AtTests(SynchronousTestCase):
    """Places of errors."""

    def test_files(self) -> None:
        """An OSError names the file, and has the place."""
        with self.assertRaises(ConfigError) as caught, at("a", 1), at("b"):
            os.stat("/no/such/file")
        self.assertEqual(caught.exception.path, ("a", 1, "b"))
        self.assertEqual(caught.exception.message, "/no/such/file: No such file or directory")
