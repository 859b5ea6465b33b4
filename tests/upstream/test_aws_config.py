"""Tests for meshd.upstream.aws_config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from envoy.extensions.common.aws.v3.credential_provider_pb2 import AwsCredentialProvider
from google.protobuf.json_format import ParseDict
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.sigv4 import Credentials
from meshd.plugin import ConfigError
from meshd.upstream.aws_config import AwsReader
from meshd.upstream.aws_metadata import Web
from meshd.upstream.aws_sources import NoCredentials

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
IDENTITY = {"AWS_ROLE_ARN": "arn:env", "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token"}


class Asked:
    """An HTTP client that answers nothing; asked has what was."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []

    def request(self, method: str, url: str, **more: Any) -> Deferred[Any]:
        """Note it."""
        self.asked.append((method, url, more["data"] or b""))
        return Deferred()


class ConfigCase(SynchronousTestCase):
    """A config, and an environment."""

    def setUp(self) -> None:
        self.http = Asked()

    def sources(self, environ: dict[str, str] | None = None, **fields: Any) -> list[Any]:
        """Return the sources of an AwsCredentialProvider message, of the default chain without fields."""
        clock = Clock()
        reader = AwsReader("eu-west-1", clock, Web(clock, self.http), environ or {})
        message = ParseDict(fields, AwsCredentialProvider()) if fields else None
        return list(reader.chain(message).sources)

    def names(self, environ: dict[str, str] | None = None, **fields: Any) -> str:
        """Return the names of the sources."""
        return " ".join(type(source).__name__ for source in self.sources(environ, **fields))

    def fetch(self, source: Any) -> Any:
        """Return what a source has."""
        return self.successResultOf(Deferred.fromCoroutine(source.fetch()))


class ChainTests(ConfigCase):
    """Which sources there are."""

    def test_default(self) -> None:
        """Those of Envoy, in its order; a web identity only if there is one."""
        self.assertEqual(self.names(), "Environment SharedFile Container Instance")
        self.assertEqual(self.names(IDENTITY), "Environment SharedFile WebIdentity Container Instance")
        self.assertEqual(
            self.names(credentials_file_provider={"profile": "p"}),
            "Environment SharedFile Container Instance",
        )

    def test_custom(self) -> None:
        """A chain of its own has what the config names."""
        some: dict[str, Any] = {"container_credential_provider": {}, "environment_credential_provider": {}}
        self.assertEqual(self.names(custom_credential_provider_chain=True, **some), "Environment Container")
        with self.assertRaisesRegex(ConfigError, "at least one credential provider"):
            self.names(custom_credential_provider_chain=True)

    def test_inline(self) -> None:
        """With credentials in the config there is nothing else."""
        inline = {"access_key_id": "a", "secret_access_key": "b", "session_token": "c"}
        (source,) = self.sources(inline_credential=inline, environment_credential_provider={})
        self.assertEqual(self.fetch(source), Credentials("a", "b", "c"))

    def test_file(self) -> None:
        """The file and its profile are the config's, else the environment's."""
        text = "[p]\naws_access_key_id=AKID\naws_secret_access_key=secret\n"
        path = Path(self.mktemp())
        path.write_text(text)
        environ = {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_PROFILE": "p"}
        found = Credentials("AKID", "secret")
        self.assertEqual(self.fetch(self.sources(environ)[1]), found)
        data = {"inline_string": text}
        given = {"credentials_data_source": data, "profile": "p"}
        self.assertEqual(self.fetch(self.sources(credentials_file_provider=given)[1]), found)
        gone = {"credentials_data_source": {"filename": "/nowhere/c"}}
        source = self.sources(credentials_file_provider=gone)[1]
        self.failureResultOf(Deferred.fromCoroutine(source.fetch()), NoCredentials)


class RoleTests(ConfigCase):
    """Roles of STS."""

    def said(self, source: Any) -> str:
        """Return what STS was asked."""
        self.assertNoResult(Deferred.fromCoroutine(source.fetch()))
        method, url, body = self.http.asked.pop()
        self.assertEqual((method, url), ("POST", "https://sts.eu-west-1.amazonaws.com/"))
        return body.decode()

    def test_identity(self) -> None:
        """A web identity is the config's, and what it does not say the environment's."""
        given = {"web_identity_token_data_source": {"inline_string": "token\n"}, "role_arn": "arn:given"}
        source = self.sources(IDENTITY, assume_role_with_web_identity_provider=given)[2]
        body = self.said(source)
        self.assertIn("RoleArn=arn%3Agiven&RoleSessionName=", body)
        self.assertTrue(body.endswith("&WebIdentityToken=token"))
        environ = {**IDENTITY, "AWS_ROLE_SESSION_NAME": "me"}
        del environ["AWS_WEB_IDENTITY_TOKEN_FILE"]
        self.assertNotIn("WebIdentity", self.names(environ))
        source = self.sources(environ, assume_role_with_web_identity_provider={**given, "role_arn": "arn:x"})[
            2
        ]
        self.assertIn("RoleSessionName=me", self.said(source))

    def test_no_token(self) -> None:
        """Without its token there are no credentials."""
        source = self.sources(IDENTITY)[2]
        self.failureResultOf(Deferred.fromCoroutine(source.fetch()), NoCredentials)

    def test_assumed(self) -> None:
        """A role is assumed with the credentials of a chain of its own, or of the default one."""
        details = {
            "role_arn": "arn:x",
            "role_session_name": "me",
            "external_id": "e",
            "session_duration": "900s",
        }
        (source,) = self.sources(
            KEYS, custom_credential_provider_chain=True, assume_role_credential_provider=details
        )
        self.assertEqual(
            self.said(source),
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Ax&RoleSessionName=me&ExternalId=e&DurationSeconds=900",
        )
        inline = {"inline_credential": {"access_key_id": "a", "secret_access_key": "b"}}
        (source,) = self.sources(
            custom_credential_provider_chain=True,
            assume_role_credential_provider={"role_arn": "arn:x", "credential_provider": inline},
        )
        self.assertTrue(self.said(source))

    def test_wrong(self) -> None:
        """A role that is assumed belongs to a chain of its own, and cannot assume another."""
        role = {"role_arn": "arn:x"}
        with self.assertRaises(ConfigError) as caught:
            self.sources(assume_role_credential_provider=role)
        self.assertEqual(caught.exception.path, ("assume_role_credential_provider",))
        twice = {**role, "credential_provider": {"assume_role_credential_provider": role}}
        with self.assertRaises(ConfigError) as caught:
            self.sources(custom_credential_provider_chain=True, assume_role_credential_provider=twice)
        self.assertEqual(
            caught.exception.path,
            ("assume_role_credential_provider", "credential_provider", "assume_role_credential_provider"),
        )
