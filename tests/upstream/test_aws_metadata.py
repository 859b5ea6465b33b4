"""Tests for meshd.upstream.aws_metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from hypothesis import given
from hypothesis import strategies as st
from treq.testing import StubTreq
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from meshd.codec.sigv4 import Credentials, Request, Scope, sign_headers
from meshd.upstream.aws_metadata import (
    ANSWER_LIMIT,
    FORM,
    TIMEOUT,
    AssumedRole,
    Container,
    Instance,
    Web,
    WebIdentity,
    read_json,
    read_xml,
    sts_url,
)
from meshd.upstream.aws_sources import NoCredentials, Source

DOCUMENT = {"AccessKeyId": "AKID", "SecretAccessKey": "secret", "Token": "token",
            "Expiration": "2026-01-02T03:04:05Z"}  # fmt: skip
FOUND = Credentials("AKID", "secret", "token", 1767323045.0)

XML = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn</Arn></AssumedRoleUser><Credentials><AccessKeyId>AKID</AccessKeyId>
<SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>2026-01-02T03:04:05.678Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


#: Of any form, with some of the right names.
DOCUMENTS = st.recursive(
    st.none() | st.text(max_size=5) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*DOCUMENT, "x"]), inner, max_size=4)
    ),
)


class Service(Resource):
    """Answers by (method, path); asked has the headers and the body of each request."""

    isLeaf = True

    def __init__(self, answers: dict[tuple[str, str], str | int]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[tuple[str, str, Any, bytes]] = []

    def render(self, request: Any) -> bytes:
        """Answer as it is told; a number is a status."""
        method, path = request.method.decode(), request.path.decode()
        self.asked.append((method, path, request.requestHeaders, request.content.read()))
        answer = self.answers.get((method, path), 404)
        if isinstance(answer, int):
            request.setResponseCode(answer)
            return b"why not"
        return answer.encode()


class MetadataCase(SynchronousTestCase):
    """A service that is asked by HTTP."""

    def setUp(self) -> None:
        self.service = Service({})
        self.clock = Clock()
        self.web = Web(self.clock, StubTreq(self.service))

    def fetch(self, source: Source) -> Any:
        """Return what a source has."""
        return self.successResultOf(Deferred.fromCoroutine(source.fetch()))

    def fail(self, source: Source) -> str:  # type: ignore[override]
        """Return why a source has nothing."""
        failure = self.failureResultOf(Deferred.fromCoroutine(source.fetch()), NoCredentials)
        return str(failure.value)

    def header(self, index: int, name: str) -> Any:
        """Return a header of a request."""
        return self.service.asked[index][2].getRawHeaders(name, [None])[0]


class ContainerTests(MetadataCase):
    """The container's agent."""

    def test_relative(self) -> None:
        """ECS names a path of its agent."""
        self.service.answers["GET", "/v2/x"] = json.dumps(DOCUMENT)
        environ = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"}
        self.assertEqual(self.fetch(Container(self.web, environ)), FOUND)
        self.assertEqual(self.header(0, "host"), "169.254.170.2")
        self.assertIsNone(self.header(0, "authorization"))

    def test_full(self) -> None:
        """EKS names all of the URL, and a file with a token, which is read anew each time."""
        path = Path(self.mktemp())
        path.write_text("one\n")
        self.service.answers["GET", "/c"] = json.dumps(DOCUMENT)
        environ = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:7/c",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "given",
        }
        self.fetch(Container(self.web, environ))
        source = Container(self.web, {**environ, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(path)})
        self.fetch(source)
        path.write_text("two")
        self.fetch(source)
        self.assertEqual([self.header(index, "authorization") for index in range(3)], ["given", "one", "two"])

    def test_none(self) -> None:
        """Where no agent is named nobody is asked."""
        self.assertIsNone(self.fetch(Container(self.web, {})))
        self.assertEqual(self.service.asked, [])

    def test_refused(self) -> None:
        """Anything but 200 OK, or too much, is no answer."""
        source = Container(self.web, {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"})
        self.assertIn("answered 404: why not", self.fail(source))
        self.service.answers["GET", "/v2/x"] = " " * (ANSWER_LIMIT + 1) + json.dumps(DOCUMENT)
        self.fail(source)

    def test_silent(self) -> None:
        """Who does not answer in time is given up."""
        asked: list[Any] = []

        class Silent:
            def request(self, *args: Any, **more: Any) -> Deferred[Any]:
                asked.append(args)
                return Deferred()

        web = Web(self.clock, Silent())
        source = Container(web, {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"})
        waiting = Deferred.fromCoroutine(source.fetch())
        self.clock.advance(TIMEOUT)
        self.failureResultOf(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class InstanceTests(MetadataCase):
    """The metadata service of the machine."""

    ROLES = "/latest/meta-data/iam/security-credentials/"

    def test_found(self) -> None:
        """It wants a token first, and is asked for the role's name, then for its credentials."""
        self.service.answers |= {
            ("PUT", "/latest/api/token"): "tok",
            ("GET", self.ROLES): "my-role\n",
            ("GET", self.ROLES + "my-role"): json.dumps(DOCUMENT),
        }
        self.assertEqual(self.fetch(Instance(self.web, {})), FOUND)
        self.assertEqual(self.header(0, "host"), "169.254.169.254")
        self.assertEqual(self.header(0, "x-aws-ec2-metadata-token-ttl-seconds"), "21600")
        self.assertEqual([self.header(index, "x-aws-ec2-metadata-token") for index in (1, 2)], ["tok"] * 2)

    def test_no_role(self) -> None:
        """A machine without a role has none."""
        self.service.answers |= {("PUT", "/latest/api/token"): "tok", ("GET", self.ROLES): ""}
        self.assertIn("no role", self.fail(Instance(self.web, {})))

    def test_elsewhere(self) -> None:
        """The environment may say where it is, or that it is not to be asked."""
        environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:7/"}
        self.fail(Instance(self.web, environ))
        self.assertEqual(self.service.asked[0][:2], ("PUT", "/latest/api/token"))
        self.assertEqual(self.header(0, "host"), "127.0.0.1:7")
        self.assertIsNone(self.fetch(Instance(self.web, {"AWS_EC2_METADATA_DISABLED": "TRUE"})))


class StsTests(MetadataCase):
    """STS, that gives credentials for a role."""

    def setUp(self) -> None:
        super().setUp()
        self.service.answers["POST", "/"] = XML

    def body(self) -> dict[str, list[str]]:
        """Return what STS was asked for."""
        return parse_qs(self.service.asked[0][3].decode(), keep_blank_values=True)

    def test_identity(self) -> None:
        """A web identity is told as it is, unsigned."""
        source = WebIdentity(self.web, sts_url("eu-west-1", {}), "arn:x", "me", lambda: "a b+c")
        self.assertEqual(self.fetch(source), FOUND)
        self.assertEqual(
            self.body(),
            {"Action": ["AssumeRoleWithWebIdentity"], "Version": ["2011-06-15"], "RoleArn": ["arn:x"],
             "RoleSessionName": ["me"], "WebIdentityToken": ["a b+c"]},
        )  # fmt: skip
        self.assertIsNone(self.header(0, "authorization"))
        self.assertEqual(self.header(0, "host"), "sts.eu-west-1.amazonaws.com")

    def test_role(self) -> None:
        """A role is assumed with credentials that sign."""
        own = Credentials("OWN", "secret", "own-token")
        source = AssumedRole(
            self.web, "https://sts.x/", "eu-west-1", [("RoleArn", "arn:x")], lambda: succeed(own), lambda: 0.0
        )
        self.assertEqual(self.fetch(source), FOUND)
        self.assertEqual(self.body()["RoleArn"], ["arn:x"])
        request = Request("POST", "/", [], {"host": "sts.x", **FORM}, self.service.asked[0][3])
        for name, value in sign_headers(request, own, Scope("eu-west-1", "sts"), 0.0).items():
            self.assertEqual(self.header(0, name), value)

    def test_nobody(self) -> None:
        """Who has no credentials cannot assume a role."""
        source = AssumedRole(self.web, "https://sts.x/", "r", [], lambda: succeed(None))
        self.assertIsNone(self.fetch(source))
        self.assertEqual(self.service.asked, [])

    def test_where(self) -> None:
        """Each region has its own; the environment may name another."""
        self.assertEqual(sts_url("cn-north-1", {}), "https://sts.cn-north-1.amazonaws.com.cn/")
        self.assertEqual(sts_url("x", {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:7"}), "http://127.0.0.1:7/")


class TestReading:
    """Answers."""

    def test_plain(self) -> None:
        """A token and an end are not needed."""
        found = read_json('{"AccessKeyId": "AKID", "SecretAccessKey": "secret"}')
        assert found == Credentials("AKID", "secret")

    @given(DOCUMENTS)
    def test_rubbish_json(self, value: Any) -> None:
        """Any other document is none with credentials."""
        try:
            assert read_json(json.dumps(value)).access_key_id
        except NoCredentials:
            pass

    @given(st.text(max_size=40) | st.sampled_from([XML[:200], XML.replace("AccessKeyId", "x"), "<a/>",
           XML.replace("2026-", "26-")]))  # fmt: skip
    def test_rubbish_xml(self, text: str) -> None:
        """So is any other text of STS."""
        try:
            raise AssertionError(read_xml(text))
        except NoCredentials:
            pass
