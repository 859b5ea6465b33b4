"""Tests for meshd.xds.discovery_file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from twisted.trial.unittest import SynchronousTestCase

from meshd.plugin import ConfigError
from meshd.tls.secrets import Unreadable
from meshd.xds.discovery_file import DiscoveryFiles
from tests.config.doubles import PLUGINS

TYPE = f"type.googleapis.com/{Secret.DESCRIPTOR.full_name}"
TICKETS = {"session_ticket_keys": {"keys": [{"inline_string": "x"}]}}


class FileTests(SynchronousTestCase):
    """Files with secrets."""

    def read(self, content: Any, allow_unserved: bool = False) -> tuple[str, Sequence[Any]]:
        """Read a file of text, or of a message as JSON."""
        self.path = self.mktemp()
        Path(self.path).write_text(content if isinstance(content, str) else json.dumps(content))
        return DiscoveryFiles(PLUGINS, {}, allow_unserved).read(self.path, Secret)

    def test_yaml(self) -> None:
        """A file is YAML."""
        version, secrets = self.read(f"version_info: '7'\nresources:\n- '@type': {TYPE}\n  name: a\n")
        self.assertEqual((version, secrets), ("7", [Secret(name="a")]))

    def test_json(self) -> None:
        """A file is JSON; it needs no version, and may be empty."""
        self.assertEqual(self.read({"resources": [{"@type": TYPE, "name": "a"}]}), ("", [Secret(name="a")]))
        self.assertEqual(self.read({}), ("", []))

    def test_wrapped(self) -> None:
        """A resource may be wrapped in one that names it."""
        wrapper = "type.googleapis.com/envoy.service.discovery.v3.Resource"
        inner = {"@type": TYPE, "name": "a"}
        _, secrets = self.read({"resources": [{"@type": wrapper, "name": "a", "resource": inner}]})
        self.assertEqual(secrets, [Secret(name="a")])

    def test_unreadable(self) -> None:
        """What is no such file is unreadable, with the place of what is wrong."""
        for content in ("rubbish: [", "hello: 1", "- a", "resources: 5"):
            error = self.assertRaises(Unreadable, self.read, content)
            self.assertIn(f"{self.path}:", error.message)

    def test_not_there(self) -> None:
        """A file that is not there is unreadable."""
        error = self.assertRaises(Unreadable, DiscoveryFiles(PLUGINS, {}).read, "/no/such", Secret)
        self.assertEqual(error.message, "/no/such: cannot be read: No such file or directory")

    def test_other_kind(self) -> None:
        """A resource of another kind is refused."""
        cluster = {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "a"}
        error = self.assertRaises(ConfigError, self.read, {"resources": [cluster]})
        self.assertNotIsInstance(error, Unreadable)
        self.assertIn("envoy.config.cluster.v3.Cluster", error.message)

    def test_unserved(self) -> None:
        """What meshd does not serve is refused, unless it is allowed."""
        resources = {"resources": [{"@type": TYPE, "name": "a", **TICKETS}]}
        error = self.assertRaises(ConfigError, self.read, resources)
        self.assertNotIsInstance(error, Unreadable)
        self.assertIn("meshd does not serve the field session_ticket_keys", error.message)
        self.assertEqual(len(self.read(resources, allow_unserved=True)[1]), 1)
