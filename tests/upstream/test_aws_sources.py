"""Tests for meshd.upstream.aws_sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.sigv4 import Credentials
from meshd.upstream.aws_sources import (
    Environment,
    Fixed,
    NoCredentials,
    SharedFile,
    Source,
    credentials_path,
    find_region,
    profile_name,
    profile_values,
    read_secret,
)

KEY = Credentials("AKID", "secret")

CREDENTIALS = """
# comment
[default]
aws_access_key_id = AKID
aws_secret_access_key=secret

[other]
aws_access_key_id=OTHER
aws_secret_access_key = s=e;c
aws_session_token = token
region = eu-north-1
[half]
aws_access_key_id=HALF
"""

CONFIG = """
[default]
region = us-east-2
[profile work]
region=eu-west-3
"""


class SourcesTests(SynchronousTestCase):
    """Credentials that are there."""

    def fetch(self, source: Source) -> Any:
        """Return what a source has."""
        return self.successResultOf(Deferred.fromCoroutine(source.fetch()))

    def test_fixed(self) -> None:
        """Those of the config are what they are."""
        self.assertEqual(self.fetch(Fixed(KEY)), KEY)

    def test_environment(self) -> None:
        """Those of the environment are there if key and secret are; there may be a token."""
        environ = {"AWS_ACCESS_KEY_ID": "AKID"}
        self.assertIsNone(self.fetch(Environment(environ)))
        environ["AWS_SECRET_ACCESS_KEY"] = "secret"
        self.assertEqual(self.fetch(Environment(environ)), KEY)
        environ["AWS_SESSION_TOKEN"] = "token"
        self.assertEqual(self.fetch(Environment(environ)), KEY._replace(session_token="token"))

    def test_file(self) -> None:
        """A profile of a file has them; half of them are none."""
        for profile, found in (
            ("default", KEY),
            ("other", Credentials("OTHER", "s=e;c", "token")),
            ("half", None),
            ("nobody", None),
        ):
            self.assertEqual(self.fetch(SharedFile(lambda: CREDENTIALS, profile)), found)

    def test_changed(self) -> None:
        """The file is read each time."""
        path = Path(self.mktemp())
        source = SharedFile(path.read_text, "default")
        self.assertIsNone(self.fetch(source))
        path.write_text(CREDENTIALS)
        self.assertEqual(self.fetch(source), KEY)

    def test_rubbish(self) -> None:
        """A file that is none of profiles says so."""
        failed = Deferred.fromCoroutine(SharedFile(lambda: "what is this?", "default").fetch())
        self.failureResultOf(failed, NoCredentials)

    def test_shown(self) -> None:
        """Nobody sees a secret by accident."""
        self.assertNotIn("secret", repr(KEY))


class TestFiles:
    """The shared files."""

    def test_names(self) -> None:
        """The environment may name profile and file."""
        assert profile_name({}) == "default"
        assert profile_name({"AWS_PROFILE": "p"}) == "p"
        assert credentials_path({"HOME": "/me"}) == Path("/me/.aws/credentials")
        assert credentials_path({}) == Path("/.aws/credentials")
        assert credentials_path({"AWS_SHARED_CREDENTIALS_FILE": "/c"}) == Path("/c")

    def test_prefix(self) -> None:
        """In the config file all profiles but the default one have a word before their names."""
        assert profile_values(CONFIG, "default", "profile ") == {"region": "us-east-2"}
        assert profile_values(CONFIG, "work", "profile ") == {"region": "eu-west-3"}
        assert profile_values("[profile default]\nregion=x", "default", "profile ") == {"region": "x"}

    def test_region(self, tmp_path: Path) -> None:
        """The region is that of the environment, else that of the profile in a shared file."""
        (tmp_path / "credentials").write_text(CREDENTIALS)
        (tmp_path / "config").write_text(CONFIG)
        environ = {
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
        }
        assert find_region(environ) == "us-east-2"
        assert find_region(environ, "other") == "eu-north-1"
        assert find_region({**environ, "AWS_PROFILE": "work"}) == "eu-west-3"
        assert find_region({**environ, "AWS_DEFAULT_REGION": "d"}) == "d"
        assert find_region({**environ, "AWS_DEFAULT_REGION": "d", "AWS_REGION": "r"}) == "r"
        assert find_region({"HOME": str(tmp_path)}) == ""
        (tmp_path / "config").write_bytes(b"\xff")
        assert find_region(environ) == ""

    def test_secret(self, tmp_path: Path) -> None:
        """A secret in a file has no blanks around it; without the file there is none."""
        (tmp_path / "s").write_text(" secret\n")
        assert read_secret(str(tmp_path / "s")) == "secret"
        with pytest.raises(NoCredentials, match="cannot read"):
            read_secret(str(tmp_path / "t"))
