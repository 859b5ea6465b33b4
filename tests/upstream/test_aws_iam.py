"""Tests for meshd.upstream.aws_iam."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from envoy.extensions.filters.network.redis_proxy.v3.redis_proxy_pb2 import AwsIam
from google.protobuf.json_format import ParseDict
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.sigv4 import Credentials, Scope
from meshd.interfaces import UpstreamError
from meshd.plugin import ConfigError
from meshd.upstream.aws_chain import Chain
from meshd.upstream.aws_iam import Tokens, read_iam
from meshd.upstream.aws_sources import Fixed

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}


class TokensTests(SynchronousTestCase):
    """Passwords."""

    def setUp(self) -> None:
        self.now = 1440938160.5
        chain = Chain(
            [Fixed(Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "t/"))], Clock()
        )
        self.tokens = Tokens(
            chain, Scope("eu-west-1", "elasticache"), "my-cache", "me & you", 60, lambda: self.now
        )

    def test_token(self) -> None:
        """A password is a URL without its scheme, that says who, until when, and is signed; as Envoy's is."""
        self.tokens.chain.start(lambda: None)
        token = self.tokens.token().decode()
        self.assertTrue(token.startswith("my-cache/?Action=connect&User=me%20%26%20you&X-Amz-Algorithm="))
        signature = dict(parse_qsl(token.partition("?")[2])).pop("X-Amz-Signature")
        self.assertEqual(
            token.partition("&X-Amz-Algorithm")[2],
            "=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Feu-west-1%2Felasticache%2Faws4_request"
            "&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-Security-Token=t%2F"
            f"&X-Amz-Signature={signature}&X-Amz-SignedHeaders=host",
        )

    def test_anew(self) -> None:
        """It is made anew each time."""
        self.tokens.chain.start(lambda: None)
        first = self.tokens.token()
        self.assertEqual(self.tokens.token(), first)
        self.now += 1
        self.assertNotEqual(self.tokens.token(), first)

    def test_none(self) -> None:
        """Without credentials there is none."""
        self.assertRaises(UpstreamError, self.tokens.token)


class ReadTests(SynchronousTestCase):
    """What is read of the message."""

    def read(
        self, user: bytes = b"me", environ: dict[str, str] | None = None, **fields: Any
    ) -> dict[str, str]:
        """Return the parts of a password under an AwsIam message for the cache c."""
        clock = Clock()
        message = ParseDict({"cache_name": "c", **fields}, AwsIam())
        tokens = read_iam(message, user, clock, clock, {**KEYS, **(environ or {})})
        tokens.chain.start(lambda: None)
        return dict(parse_qsl(tokens.token().decode().partition("?")[2]))

    def test_defaults(self) -> None:
        """They are Envoy's; the region may be the environment's."""
        parts = self.read(environ={"AWS_REGION": "eu-west-3"})
        self.assertIn("/eu-west-3/elasticache/", parts["X-Amz-Credential"])
        self.assertEqual((parts["User"], parts["X-Amz-Expires"]), ("me", "60"))

    def test_values(self) -> None:
        """Each field has its place."""
        inline = {"inline_credential": {"access_key_id": "IN", "secret_access_key": "b"}}
        parts = self.read(
            region="r", service_name="memorydb", expiration_time="900s", credential_provider=inline
        )
        self.assertRegex(parts["X-Amz-Credential"], "^IN/[0-9]+/r/memorydb/")
        self.assertEqual(parts["X-Amz-Expires"], "900")

    def test_wrong(self) -> None:
        """A user and a region are needed; what is wrong below says where."""
        for fields, user, path in (
            ({"region": "r"}, b"", ()),
            ({}, b"me", ("region",)),
            ({"region": "r", "credential_provider": {"custom_credential_provider_chain": True}}, b"me",
             ("credential_provider",)),
        ):  # fmt: skip
            with self.assertRaises(ConfigError) as caught:
                self.read(user, {"HOME": "/nowhere"}, **fields)
            self.assertEqual(caught.exception.path, path)
