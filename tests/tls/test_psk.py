"""Tests for meshd.tls.psk."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.psk import BadSecrets, Secrets, read_lines, read_secret
from tests.tls.pair import TLS_1_2, TLS_1_3, World, info_of, parameters

ONE, TWO = b"0123456789abcdef", b"fedcba9876543210!"


class SecretsTests(SynchronousTestCase):
    """Secrets by identity."""

    def test_find(self) -> None:
        """An identity has its secret, or there is none."""
        secrets = Secrets({b"one": ONE, b"two": TWO})
        ssl: Any = None
        self.assertEqual(secrets.find(ssl, b"two"), TWO)
        self.assertIsNone(secrets.find(ssl, b"three"))

    def test_offered(self) -> None:
        """A client offers the first, or the one that it is told to."""
        self.assertEqual(Secrets({b"one": ONE, b"two": TWO}).offered, (b"one", ONE))
        self.assertEqual(Secrets({b"one": ONE, b"two": TWO}, b"two").offered, (b"two", TWO))

    def test_refused(self) -> None:
        """None at all, too short or long ones, and an identity without a secret are refused."""
        for secrets, identity, text in (
            ({}, b"", "there are no"),
            ({b"it": ONE[1:]}, b"", "'it' is shorter than 16 bytes"),
            ({b"it": b"x" * 257}, b"", "'it' is longer than 256 bytes"),
            ({b"it": ONE}, b"other", "no key of 'other'"),
        ):
            error = self.assertRaises(BadSecrets, Secrets, secrets, identity)
            self.assertIn(text, str(error))

    def test_read_secret(self) -> None:
        """Hexadecimal digits of 16 bytes or more are what they say; all else is itself."""
        self.assertEqual(read_secret("00112233445566778899aabbccddeeff"), bytes(range(0, 256, 17)))
        self.assertEqual(read_secret("00112233"), b"00112233")
        self.assertEqual(read_secret("0123456789abcdef0123456789abcdeg"), b"0123456789abcdef0123456789abcdeg")
        self.assertEqual(read_secret("pässword pässword"), "pässword pässword".encode())

    def test_read_lines(self) -> None:
        """A file has identity:secret in each line, empty ones do not count, colons in the secret do."""
        lines = f"one:{ONE.decode()}\n\n  \ntwo:a:b\n"
        self.assertEqual(list(read_lines(lines)), [(b"one", ONE), (b"two", b"a:b")])
        for wrong in ("nothing", ":secret"):
            error = self.assertRaises(BadSecrets, list, read_lines(f"one:x\n{wrong}\n"))
            self.assertIn("line 2", str(error))


class HandshakeTests(SynchronousTestCase):
    """Handshakes with a key that both have, and no certificate at all."""

    def connect(self, version: int, client: dict[bytes, bytes], server: dict[bytes, bytes]) -> Any:
        """Return a connection of that version."""
        self.world = World()
        options = {"ciphers": "PSK", "ciphersuites": "TLS_AES_128_GCM_SHA256"}
        settings = parameters(options, min_version=version, max_version=version, ciphers="PSK")
        return self.world.connect(
            self.world.server(psk=Secrets(server), parameters=settings),
            self.world.client(psk=Secrets(client), parameters=settings),
        )

    def test_both_versions(self) -> None:
        """TLS 1.2 and 1.3 agree by the key; both know the identity."""
        for version in (TLS_1_2, TLS_1_3):
            pair = self.connect(version, {b"me": ONE}, {b"you": TWO, b"me": ONE})
            pair.client.say(b"secret")
            pair.pump()
            self.assertEqual(pair.server.plaintext, b"secret")
            facts = info_of(pair.server).tls
            self.assertEqual((facts.psk_identity, facts.peer, facts.local), ("me", None, None))
            self.assertEqual(pair.client.tls.psk_identity, "me")

    def test_unknown(self) -> None:
        """An identity that the server does not know is refused."""
        for version in (TLS_1_2, TLS_1_3):
            pair = self.connect(version, {b"me": ONE}, {b"you": TWO})
            self.assertTrue(pair.server.dropped and pair.client.dropped)
            self.assertFalse(pair.server.upstream.connected)
            self.assertEqual(self.world.server_scope["ssl.connection_error"], 1)

    def test_other_secret(self) -> None:
        """So is another secret of it."""
        for version in (TLS_1_2, TLS_1_3):
            pair = self.connect(version, {b"me": ONE}, {b"me": TWO})
            self.assertFalse(pair.server.upstream.connected)
            self.assertFalse(pair.client.upstream.connected)

    def test_beside_a_certificate(self) -> None:
        """A server with both serves clients with a key and clients without."""
        world = World()
        settings = parameters({"ciphers": "PSK:ECDHE+AESGCM"}, ciphers="PSK:ECDHE+AESGCM")
        server = world.server(parameters=settings)
        server.settings = type(server.settings)(parameters=settings, psk=Secrets({b"me": ONE}))
        credentials = [server._single[0]] if server._single and server._single[0] else []
        server.use(credentials, None)
        without = world.connect(server)
        self.assertTrue(without.server.upstream.connected)
        self.assertEqual(info_of(without.server).tls.psk_identity, "")
        with_key = world.connect(
            server,
            world.client(psk=Secrets({b"me": ONE}), parameters=parameters(max_version=SSL.TLS1_3_VERSION)),
        )
        self.assertEqual(info_of(with_key.server).tls.psk_identity, "me")
