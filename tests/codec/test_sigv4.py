"""Tests for meshd.codec.sigv4."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from unittest import TestCase

import botocore.auth
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.sigv4 import (
    LONGEST,
    Credentials,
    Request,
    Scope,
    canonical,
    encode_query,
    presign,
    sign_headers,
)

#: AWS's own examples are of this moment, with this key.
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
KEY = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
HOST = {"Host": "example.amazonaws.com"}
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


class PublishedTests(TestCase):
    """What AWS has published: the example of the guide, and vectors of the test suite."""

    def test_guide(self) -> None:
        """The worked example of the guide."""
        query = [("Action", "ListUsers"), ("Version", "2010-05-08")]
        request = Request("GET", "/", query, {"Host": "iam.amazonaws.com", **FORM})
        added = sign_headers(request, KEY, Scope("us-east-1", "iam"), NOW)
        self.assertEqual(added["X-Amz-Date"], "20150830T123600Z")
        self.assertEqual(
            added["Authorization"],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request,"
            " SignedHeaders=content-type;host;x-amz-date,"
            " Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        )

    def test_suite(self) -> None:
        """Vectors of the test suite: get-vanilla, get-vanilla-query-order-key-case, post-vanilla."""
        pairs = [("Param2", "value2"), ("Param1", "value1")]
        for method, query, signature in (
            ("GET", [], "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("GET", pairs, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
            ("POST", [], "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ):
            request = Request(method, "/", query, HOST)
            added = sign_headers(request, KEY, Scope("us-east-1", "service"), NOW)
            self.assertEqual(added["Authorization"].rpartition("Signature=")[2], signature)

    def test_canonical(self) -> None:
        """Headers lose capitals and superfluous blanks, and are sorted; paths are encoded again."""
        headers = {"My-Header2": '"a   b  c"', "My-Header1": " a   b  c ", **HOST}
        lines = canonical(Request("GET", "/a%20b", [("b", "x y"), ("a", "/")], headers)).split("\n")
        self.assertEqual(
            lines[:-1],
            ["GET", "/a%2520b", "a=%2F&b=x%20y", "host:example.amazonaws.com", "my-header1:a b c",
             'my-header2:"a b c"', "", "host;my-header1;my-header2"],
        )  # fmt: skip

    def test_too_long(self) -> None:
        """A signature is good for a week at most."""
        for lifetime in (-1, LONGEST + 1):
            with self.assertRaises(ValueError):
                presign(Request("GET", "/", [], HOST), KEY, Scope("r", "s"), NOW, lifetime)


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
NAMES = st.text("abcXYZ019-_.~", min_size=1, max_size=8)
TOKENS = st.text("abcXYZ019+/=", min_size=1, max_size=30)
VALUES = st.text("ab ,;=", max_size=12)
MOMENTS = st.integers(0, 4_000_000_000)


@contextlib.contextmanager
def boto_at(now: float) -> Iterator[None]:
    """Let it be then for botocore, which takes no time from outside."""
    before = botocore.auth.get_current_datetime
    moment = datetime.fromtimestamp(now, UTC).replace(tzinfo=None)
    botocore.auth.get_current_datetime = lambda remove_tzinfo=True: moment
    try:
        yield
    finally:
        botocore.auth.get_current_datetime = before


class TestBoto:
    """botocore, AWS's own library, signs the same things in the same way."""

    @given(
        query=st.dictionaries(NAMES, TEXT, max_size=4),
        token=st.none() | TOKENS,
        secret=TOKENS,
        now=MOMENTS,
        lifetime=st.integers(1, LONGEST),
    )
    def test_query(
        self, query: dict[str, str], token: str | None, secret: str, now: int, lifetime: int
    ) -> None:
        """In the query string, letter by letter."""
        boto = AWSRequest("GET", f"http://cache/?{encode_query(list(query.items()))}")
        with boto_at(now):
            SigV4QueryAuth(
                BotoCredentials("AKID", secret, token), "elasticache", "eu-west-1", lifetime
            ).add_auth(boto)
        ours = presign(
            Request("GET", "/", list(query.items()), {"host": "cache"}),
            Credentials("AKID", secret, token or ""),
            Scope("eu-west-1", "elasticache"),
            now,
            lifetime,
        )
        assert f"http://cache/?{encode_query(ours)}" == boto.url

    @given(
        query=st.dictionaries(NAMES, TEXT, max_size=4),
        values=st.dictionaries(st.sampled_from(["x-a", "X-B", "content-type"]), VALUES, max_size=3),
        body=st.binary(max_size=20),
        token=st.none() | TOKENS,
        now=MOMENTS,
    )
    def test_headers(
        self, query: dict[str, str], values: dict[str, str], body: bytes, token: str | None, now: int
    ) -> None:
        """In a header."""
        boto = AWSRequest(
            "POST", f"https://sts/?{encode_query(list(query.items()))}", headers=dict(values), data=body
        )
        with boto_at(now):
            SigV4Auth(BotoCredentials("AKID", "secret", token), "sts", "eu-west-1").add_auth(boto)
        request = Request("POST", "/", list(query.items()), {"host": "sts", **values}, body)
        added = sign_headers(
            request, Credentials("AKID", "secret", token or ""), Scope("eu-west-1", "sts"), now
        )
        assert added["Authorization"] == boto.headers["Authorization"]
