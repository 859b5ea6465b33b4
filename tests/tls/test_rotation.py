"""Tests of certificates that are exchanged while connections go on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase

from meshd.tls.registry import Registry
from meshd.tls.secrets import Secrets, Unreadable
from meshd.tls.server import ServerSettings, ServerTerms
from meshd.tls.supply import Supply
from meshd.tls.watch import STEP
from tests.tls.authority import Authority, Leaf
from tests.tls.pair import Pair, World

ROOT = Authority()
FIRST, SECOND = ROOT.issue("first"), ROOT.issue("second")
UPDATED = "server_ssl_socket_factory.ssl_context_update_by_sds"


def unreadable(path: str) -> Any:
    """Read no file of secrets: there is none here."""
    raise Unreadable(path)


class RotationTests(SynchronousTestCase):
    """A server whose certificate is in files that are watched."""

    def setUp(self) -> None:
        self.world = World()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        scope = self.world.server_scope
        secrets, self.registry = Secrets(unreadable, scope), Registry()
        self.put(FIRST)
        context: Any = SimpleNamespace(
            around=SimpleNamespace(name="listener front", scope=scope),
            tls=SimpleNamespace(secrets=secrets, registry=self.registry),
        )
        self.terms = ServerTerms(
            ServerSettings(), scope, self.world.timers, self.world.handshakes, timeout=15.0
        )
        Supply(self.config(), context, self.terms, needs_certificate=True).start()
        secrets.watcher.start(self.world.timers)

    def put(self, leaf: Leaf) -> None:
        """Write a leaf's files."""
        leaf.write(self.directory, "tls")

    def config(self) -> Any:
        """Return the context's message."""
        certificate = {
            "certificate_chain": {"filename": str(self.directory / "tls.pem")},
            "private_key": {"filename": str(self.directory / "tls.key")},
            "watched_directory": {"path": str(self.directory)},
        }
        return ParseDict({"tls_certificates": [certificate]}, CommonTlsContext())

    def connect(self) -> tuple[Pair, str]:
        """Connect a client; return the connection, and whose certificate was shown."""
        pair = self.world.connect(self.terms)
        return pair, pair.client.tls.peer.subject

    def test_exchanged(self) -> None:
        """Who connects later sees the new one; who is connected goes on."""
        before, shown = self.connect()
        self.assertEqual(shown, "CN=first")
        self.put(SECOND)
        self.world.clock.advance(STEP)
        self.assertEqual(self.connect()[1], "CN=second")
        before.client.say(b"still here")
        before.pump()
        self.assertEqual(before.server.plaintext, b"still here")
        self.assertEqual(self.world.server_scope[UPDATED], 1)

    def test_broken(self) -> None:
        """What is broken is counted, and what was before is shown."""
        (self.directory / "tls.pem").write_bytes(b"rubbish")
        self.world.clock.advance(STEP)
        self.assertEqual(self.connect()[1], "CN=first")
        scope = self.world.server_scope
        self.assertEqual((scope[UPDATED], scope["ssl.key_rotation_failed"]), (0, 1))

    def test_registered(self) -> None:
        """What is in use is known to the registry."""
        (entry,) = self.registry
        self.assertEqual([each.facts.subject for each in entry.certificates], ["CN=first"])
        self.put(SECOND)
        self.world.clock.advance(STEP)
        self.assertEqual([each.facts.subject for each in entry.certificates], ["CN=second"])
        self.assertEqual(entry.certificates[0].path, str(self.directory / "tls.pem"))
