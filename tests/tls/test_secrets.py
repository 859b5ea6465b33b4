"""
Tests for meshd.tls.secrets.

What is counted, and the texts, were seen with Envoy for the same files.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xxhash
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret as SecretMessage
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext
from google.protobuf.json_format import ParseDict
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from meshd.plugin import ConfigError
from meshd.testing import FakeScope, FakeTimers
from meshd.tls.secrets import Secret, Secrets, Unreadable
from meshd.tls.watch import STEP
from tests.tls.authority import Authority, Leaf

ROOT = Authority()
FIRST, SECOND = ROOT.issue("first", dns=["first.example"]), ROOT.issue("second")
CA = {"trusted_ca": {"inline_string": ROOT.alone.decode()}}


def message(name: str, **fields: Any) -> Any:
    """Return a Secret message."""
    return ParseDict({"name": name, **fields}, SecretMessage())


def certificate(leaf: Leaf, name: str = "srv") -> Any:
    """Return the Secret message of a leaf."""
    return message(name, tls_certificate=leaf.inline())


class SecretsCase(SynchronousTestCase):
    """Secrets in files, of which the test says what is in them."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.clock = Clock()
        self.scope = FakeScope()
        self.files: dict[str, tuple[str, Sequence[Any]]] = {}
        self.secrets = Secrets(self.read, self.scope)
        self.secrets.watcher.start(FakeTimers(self.clock))
        self.told = 0
        self._writes = 0

    def tearDown(self) -> None:
        self.secrets.watcher.stop()

    def read(self, path: str) -> tuple[str, Sequence[Any]]:
        """Return what the test has put in a file."""
        if path not in self.files:
            raise Unreadable(f"{path}: not YAML")
        return self.files[path]

    def put(self, name: str, *messages: Any, version: str = "") -> str:
        """Put messages into a file, in place of any; return its path."""
        path = str(self.directory / name)
        self.files[path] = version, messages
        self._writes += 1
        new = self.directory / "new"
        new.write_text(str(self._writes))
        os.rename(new, path)
        return path

    def spoil(self, path: str) -> None:
        """Make a file unreadable."""
        self.put(Path(path).name)
        del self.files[path]

    def config(self, name: str, path: str = "", **source: Any) -> Any:
        """Return an SdsSecretConfig."""
        fields: dict[str, Any] = {"name": name}
        if path:
            fields["sds_config"] = {"path_config_source": {"path": path, **source}}
        return ParseDict(fields, SdsSecretConfig())

    def watch(self, secret: Secret) -> Secret:
        """Count in told how often a secret changes."""

        def tell() -> None:
            self.told += 1

        secret.on_change(tell)
        return secret

    def look(self) -> None:
        """Let the watcher look."""
        self.clock.advance(STEP)

    def counts(self, name: str = "srv") -> tuple[int, ...]:
        """Return how many updates were tried, were good, unreadable, and rejected."""
        names = ("attempt", "success", "failure", "rejected")
        return tuple(self.scope[f"sds.{name}.update_{each}"] for each in names)


class StaticTests(SecretsCase):
    """Secrets of static_resources."""

    def test_found(self) -> None:
        """A secret is found by its kind and name."""
        self.secrets.add_static([certificate(FIRST, "a"), message("a", validation_context=CA)])
        found = self.secrets.certificate(self.config("a"))
        self.assertEqual((found.value.facts.subject, found.value.secret), ("CN=first", "a"))
        self.assertEqual(self.secrets.validation(self.config("a")).value.trusted_ca, ROOT.alone)
        self.assertFalse(found.dynamic)

    def test_unknown(self) -> None:
        """One that is not there, or of another kind, is refused."""
        self.secrets.add_static([certificate(FIRST, "a")])
        for ask, name in ((self.secrets.certificate, "b"), (self.secrets.validation, "a")):
            error = self.assertRaises(ConfigError, ask, self.config(name))
            self.assertEqual((error.message, error.path), (f"Unknown static secret: {name}", ("name",)))

    def test_twice(self) -> None:
        """Two of one kind and name are refused."""
        twice = [certificate(FIRST, "a"), certificate(SECOND, "a")]
        error = self.assertRaises(ConfigError, self.secrets.add_static, twice)
        text = "Duplicate static TlsCertificate secret name a"
        self.assertEqual((error.message, error.path), (text, (1, "name")))

    def test_empty(self) -> None:
        """One without content is refused."""
        error = self.assertRaises(ConfigError, self.secrets.add_static, [message("a")])
        self.assertEqual(error.path, (0,))

    def test_bad(self) -> None:
        """One that cannot be used is refused where it is used."""
        bad = {"certificate_chain": {"inline_string": "x"}, "private_key": {"inline_string": "y"}}
        self.secrets.add_static([message("a", tls_certificate=bad)])
        error = self.assertRaises(ConfigError, self.secrets.certificate, self.config("a"))
        self.assertIn("the static secret a: Failed to load certificate chain from <inline>", error.message)


class FileTests(SecretsCase):
    """A certificate in a file."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.put("sds.yaml", certificate(FIRST), version="v1")
        self.secret = self.watch(self.secrets.certificate(self.config("srv", self.path)))

    def subject(self) -> str:
        """Return whose certificate it is now."""
        return str(self.secret.value.facts.subject)

    def test_first(self) -> None:
        """It is there at once, and counted."""
        self.assertEqual((self.subject(), self.secret.value.secret), ("CN=first", "srv"))
        self.assertEqual(self.counts(), (1, 1, 0, 0))
        self.assertEqual(self.scope["sds.srv.version"], xxhash.xxh64_intdigest(b"v1"))
        self.assertEqual(self.scope.texts["sds.srv.version_text"].value, "v1")
        self.assertGreater(self.scope["sds.srv.update_time"], 1_700_000_000_000)
        self.assertEqual(len(self.scope.histograms["sds.srv.update_duration"].values), 1)
        self.assertEqual((self.secret.dynamic, self.told), (True, 0))

    def test_changed(self) -> None:
        """A new one takes its place, and that is told."""
        self.put("sds.yaml", certificate(SECOND), version="v2")
        self.look()
        self.assertEqual((self.subject(), self.told), ("CN=second", 1))
        self.assertEqual(self.counts(), (2, 2, 0, 0))

    def test_same(self) -> None:
        """The same again is counted, and not told."""
        self.put("sds.yaml", certificate(FIRST), version="v2")
        self.look()
        self.assertEqual((self.counts(), self.told), ((2, 2, 0, 0), 0))

    def assert_kept(self, counts: tuple[int, ...]) -> None:
        """Counts are such, and the first certificate stays."""
        self.look()
        self.assertEqual((self.counts(), self.subject(), self.told), (counts, "CN=first", 0))
        self.assertEqual(self.scope.texts["sds.srv.version_text"].value, "v1")

    def test_unreadable(self) -> None:
        """A file that cannot be read changes nothing."""
        self.spoil(self.path)
        self.assert_kept((2, 1, 1, 0))

    def test_rejected(self) -> None:
        """What is not the one secret that is wanted, or is no good, is rejected; a good one may follow."""
        wrong = message(
            "srv", tls_certificate={**FIRST.inline(), "private_key": SECOND.inline()["private_key"]}
        )
        others = [
            [certificate(SECOND, "other")],
            [certificate(SECOND), certificate(FIRST, "more")],
            [],
            [message("srv", validation_context=CA)],
            [wrong],
        ]
        for number, messages in enumerate(others, 1):
            self.put("sds.yaml", *messages)
            self.assert_kept((number + 1, 1, 0, number))
        self.put("sds.yaml", certificate(SECOND))
        self.look()
        self.assertEqual(self.subject(), "CN=second")

    def test_texts(self) -> None:
        """A rejection is told as Envoy tells it."""
        subscription = next(iter(self.secrets.subscriptions))
        for messages, text in (
            ([certificate(SECOND, "other")], "Unexpected SDS secret (expecting srv): other"),
            ([], "Missing SDS resources for srv in onConfigUpdate()"),
            (
                [certificate(FIRST), certificate(FIRST)],
                "Unexpected SDS secrets length for srv, number of added resources 2, number of removed "
                "resources 0. Expected sum is 1",
            ),
        ):
            error = self.assertRaises(ConfigError, subscription._only, messages)
            self.assertEqual(error.message, text)

    def test_shared(self) -> None:
        """Whoever asks for the same gets it from one reading, and is told of changes."""
        other = self.watch(self.secrets.certificate(self.config("srv", self.path)))
        self.assertEqual((other.value.facts, self.counts()), (self.secret.value.facts, (1, 1, 0, 0)))
        self.put("sds.yaml", certificate(SECOND))
        self.look()
        self.assertEqual((other.value.facts.subject, self.told), ("CN=second", 2))

    def test_broken_listener(self) -> None:
        """Whoever fails with the news does not keep it from others."""
        first = self.secrets.certificate(self.config("srv", self.path))
        first.on_change(lambda: 1 / 0)
        last = self.watch(self.secrets.certificate(self.config("srv", self.path)))
        self.put("sds.yaml", certificate(SECOND))
        self.look()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((last.value.facts.subject, self.told), ("CN=second", 2))


class StartTests(SecretsCase):
    """A file at the start."""

    def test_not_there(self) -> None:
        """It must be there."""
        path = str(self.directory / "none")
        error = self.assertRaises(ConfigError, self.secrets.certificate, self.config("srv", path))
        text = f"paths must refer to an existing path in the system: '{path}' does not exist"
        self.assertEqual(error.message, text)
        self.assertEqual(error.path, ("sds_config", "path_config_source", "path"))

    def test_bad(self) -> None:
        """If it is no good there is no value, until there is one."""
        path = self.put("sds.yaml", certificate(FIRST, "other"))
        secret = self.watch(self.secrets.certificate(self.config("srv", path)))
        self.assertEqual((secret.value, self.counts()), (None, (1, 0, 0, 1)))
        self.put("sds.yaml", certificate(FIRST))
        self.look()
        self.assertEqual((secret.value.facts.subject, self.told), ("CN=first", 1))

    def test_other_source(self) -> None:
        """Only files are served."""
        config = ParseDict({"name": "srv", "sds_config": {"ads": {}}}, SdsSecretConfig())
        error = self.assertRaises(ConfigError, self.secrets.certificate, config)
        self.assertEqual(error.path, ("sds_config",))

    def test_directory(self) -> None:
        """The file is read anew when the directory changes that is said to be watched."""
        watched = self.directory / "watched"
        watched.mkdir()
        path = self.put("sds.yaml", certificate(FIRST))
        source = {"watched_directory": {"path": str(watched)}}
        secret = self.secrets.certificate(self.config("srv", path, **source))
        self.files[path] = "", [certificate(SECOND)]
        self.look()
        self.assertEqual(secret.value.facts.subject, "CN=first")
        (watched / "..data").touch()
        self.look()
        self.assertEqual(secret.value.facts.subject, "CN=second")


class NamedFilesTests(SecretsCase):
    """A certificate whose files are named in a file."""

    def setUp(self) -> None:
        super().setUp()
        self.chain, self.key = FIRST.write(self.directory, "leaf")
        named = {"certificate_chain": {"filename": self.chain}, "private_key": {"filename": self.key}}
        self.path = self.put("sds.yaml", message("srv", tls_certificate=named))
        self.secret = self.watch(self.secrets.certificate(self.config("srv", self.path)))

    def test_rotated(self) -> None:
        """New files are read, without the file that names them having changed."""
        self.assertEqual(self.secret.value.facts.subject, "CN=first")
        SECOND.write(self.directory, "leaf")
        self.look()
        self.assertEqual((self.secret.value.facts.subject, self.told), ("CN=second", 1))
        self.assertEqual(self.counts(), (1, 1, 0, 0))

    def test_half(self) -> None:
        """A certificate whose key is not there yet is counted; once it is there both are used."""
        Path(self.chain).write_bytes(SECOND.pem)
        self.look()
        self.assertEqual((self.secret.value.facts.subject, self.told), ("CN=first", 0))
        self.assertEqual(self.scope["sds.srv.key_rotation_failed"], 1)
        Path(self.key).write_bytes(SECOND.key_pem)
        self.look()
        self.assertEqual((self.secret.value.facts.subject, self.told), ("CN=second", 1))

    def test_other_files(self) -> None:
        """Files that are named no more are not watched."""
        self.put("sds.yaml", certificate(SECOND))
        self.look()
        FIRST.write(self.directory, "leaf")
        Path(self.chain).write_bytes(b"rubbish")
        self.look()
        self.assertEqual(self.secret.value.facts.subject, "CN=second")
        self.assertEqual(self.scope["sds.srv.key_rotation_failed"], 0)


class ValidationTests(SecretsCase):
    """What peers' certificates are held against, in a file."""

    def test_file(self) -> None:
        """It is read as one in the config is."""
        path = self.put("sds.yaml", message("val", validation_context=CA))
        secret = self.secrets.validation(self.config("val", path))
        self.assertEqual((secret.value.trusted_ca, secret.name), (ROOT.alone, "val"))

    def test_combined(self) -> None:
        """With a default, the two are merged, now and when the file changes."""
        path = self.put("sds.yaml", message("val", validation_context=CA))
        matcher = {"san_type": "DNS", "matcher": {"exact": "first.example"}}
        config = ParseDict(
            {
                "combined_validation_context": {
                    "default_validation_context": {"match_typed_subject_alt_names": [matcher]},
                    "validation_context_sds_secret_config": {
                        "name": "val",
                        "sds_config": {"path_config_source": {"path": path}},
                    },
                }
            },
            CommonTlsContext(),
        ).combined_validation_context
        secret = self.watch(self.secrets.combined_validation(config))
        self.assertEqual((secret.value.trusted_ca, len(secret.value.san_matchers)), (ROOT.alone, 1))
        other = Authority("other")
        new = {"trusted_ca": {"inline_string": other.alone.decode()}}
        self.put("sds.yaml", message("val", validation_context=new))
        self.look()
        self.assertEqual((secret.value.trusted_ca, len(secret.value.san_matchers)), (other.alone, 1))
        self.assertEqual(self.told, 1)

    def test_combined_static(self) -> None:
        """What is wrong with the secret's name has its place."""
        config = ParseDict(
            {"combined_validation_context": {"validation_context_sds_secret_config": {"name": "no"}}},
            CommonTlsContext(),
        ).combined_validation_context
        error = self.assertRaises(ConfigError, self.secrets.combined_validation, config)
        self.assertEqual(error.path, ("validation_context_sds_secret_config", "name"))

    def test_rejected_for_one(self) -> None:
        """An update that one of its users cannot use is rejected for all."""
        path = self.put("sds.yaml", message("val", validation_context=CA))
        plain = self.secrets.validation(self.config("val", path))
        self.put("sds.yaml", message("val", validation_context={"trusted_ca": {"inline_string": "x"}}))
        self.look()
        self.assertEqual(plain.value.trusted_ca, ROOT.alone)
        self.assertEqual(self.counts("val"), (2, 1, 0, 1))


class WatchedTests(SecretsCase):
    """Files that the config itself names, and says that they are to be watched."""

    def certificate(self) -> Secret:
        """Return a certificate in files of a directory that is watched."""
        chain, key = FIRST.write(self.directory, "leaf")
        config = {
            "certificate_chain": {"filename": chain},
            "private_key": {"filename": key},
            "watched_directory": {"path": str(self.directory)},
        }
        scope = self.scope.scope("listener.l")
        return self.watch(self.secrets.watched_certificate(ParseDict(config, TlsCertificate()), scope))

    def test_certificate(self) -> None:
        """A certificate is exchanged with its files."""
        secret = self.certificate()
        self.assertEqual((secret.value.facts.subject, secret.dynamic, secret.name), ("CN=first", False, ""))
        SECOND.write(self.directory, "leaf")
        self.look()
        self.assertEqual((secret.value.facts.subject, self.told), ("CN=second", 1))

    def test_broken(self) -> None:
        """What is wrong is counted, and what was before stays."""
        secret = self.certificate()
        (self.directory / "leaf.pem").write_bytes(b"rubbish")
        self.look()
        self.assertEqual((secret.value.facts.subject, self.told), ("CN=first", 0))
        self.assertEqual(self.scope["listener.l.ssl.key_rotation_failed"], 1)

    def test_broken_at_the_start(self) -> None:
        """What is wrong at the start is refused."""
        config = ParseDict({"certificate_chain": {"filename": "/no/such"}}, TlsCertificate())
        error = self.assertRaises(ConfigError, self.secrets.watched_certificate, config, self.scope)
        self.assertEqual(error.path, ("certificate_chain", "filename"))

    def test_validation(self) -> None:
        """Those that are trusted are exchanged with their file."""
        path = self.directory / "ca.pem"
        path.write_bytes(ROOT.alone)
        fields = {"trusted_ca": {"filename": str(path), "watched_directory": {"path": str(self.directory)}}}
        config = ParseDict(fields, CertificateValidationContext())
        secret = self.watch(self.secrets.watched_validation(config, self.scope))
        other = Authority("other")
        path.write_bytes(other.alone)
        self.look()
        self.assertEqual((secret.value.trusted_ca, self.told), (other.alone, 1))
