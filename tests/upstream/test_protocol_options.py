"""Tests for meshd.upstream.protocol_options."""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from meshd.interfaces import UpstreamError
from meshd.plugin import ConfigError
from meshd.upstream.protocol_options import REDIS, RedisLogins, read_redis_logins
from tests.upstream.support import Surrounding, message

TYPE = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions"


#: Logging on with IAM.
IAM: dict[str, Any] = {
    "auth_username": {"inline_string": "me"},
    "aws_iam": {
        "cache_name": "c",
        "region": "r",
        "credential_provider": {"inline_credential": {"access_key_id": "a", "secret_access_key": "b"}},
    },
}


def cluster(name: str = REDIS, **options: Any) -> Any:
    """Return a Cluster message with options for a protocol."""
    return message(typed_extension_protocol_options={name: {"@type": TYPE, **options}})


def logins_of(config: Any) -> RedisLogins:
    """Read the options of a Cluster message."""
    reactor = MemoryReactorClock()
    return read_redis_logins(config, reactor, reactor)


class TestRedis:
    """The options of Redis."""

    def test_unset(self) -> None:
        """Without options, or without a password, there is none."""
        assert logins_of(message()) == logins_of(cluster()) == RedisLogins()

    def test_password(self) -> None:
        """A password may have a user name."""
        password = {"inline_bytes": "AAE="}
        assert logins_of(cluster(auth_password=password)).default == (b"", b"\0\1")
        named = cluster(auth_password=password, auth_username={"inline_string": "me"})
        assert logins_of(named).default == (b"me", b"\0\1")

    def test_file(self, tmp_path: Path) -> None:
        """It may be in a file, and is taken as it stands there."""
        (tmp_path / "password").write_bytes(b"secret\n")
        made = cluster(auth_password={"filename": str(tmp_path / "password")})
        assert logins_of(made).default == (b"", b"secret\n")

    def test_addresses(self) -> None:
        """Servers may have their own; the first of an address counts, and without one the common one."""
        one, two = ({"inline_string": text} for text in ("one", "two"))
        at = {"socket_address": {"address": "10.0.0.1", "port_value": 1}}
        credentials = [{"address": at, "auth_password": each} for each in (two, one)]
        logins = logins_of(cluster(auth_password=one, credentials=credentials))
        assert [logins.of(("10.0.0.1", port)) for port in (1, 2)] == [(b"", b"two"), (b"", b"one")]

    def test_iam(self) -> None:
        """With aws_iam passwords are made, for all servers; there is none while there are no credentials."""
        made = cluster(**IAM)
        logins = logins_of(made)
        assert logins.iam is not None
        with pytest.raises(UpstreamError):
            logins.of(("10.0.0.1", 1))
        logins.iam.chain.start(lambda: None)
        login = logins.of(("10.0.0.1", 1))
        assert login is not None
        assert login[0] == b"me"
        assert login[1].startswith(b"c/?Action=connect&User=me&X-Amz-")

    def test_of_cluster(self) -> None:
        """A cluster of any type has it."""
        around = Surrounding()
        made = around.cluster(typed_extension_protocol_options={REDIS: {"@type": TYPE}})
        assert made.redis_auth is None

    @pytest.mark.parametrize(
        ("config", "path"),
        [
            (cluster("envoy.x"), ("envoy.x",)),
            (cluster(auth_password={"filename": "/nowhere/x"}), (REDIS, "auth_password", "filename")),
            (cluster(auth_username={"inline_string": "me"}), (REDIS, "auth_username")),
            (cluster(**{**IAM, "auth_username": {}}), (REDIS, "aws_iam")),
            (cluster(**IAM, auth_password={"inline_string": "x"}), (REDIS, "auth_password")),
            (cluster(**IAM, credentials=[{}]), (REDIS, "credentials")),
            (
                cluster(**{**IAM, "auth_username": {"filename": "/nowhere/x"}}),
                (REDIS, "auth_username", "filename"),
            ),
            (cluster(credentials=[{}]), (REDIS, "credentials", 0)),
            (
                cluster(credentials=[{"auth_password": {"inline_string": "x"}}]),
                (REDIS, "credentials", 0, "address"),
            ),
            (
                cluster(credentials=[{"auth_password": {"filename": "/nowhere/x"}}]),
                (REDIS, "credentials", 0, "auth_password", "filename"),
            ),
            (
                message(typed_extension_protocol_options={REDIS: {
                    "@type": "type.googleapis.com/google.protobuf.Struct", "value": {}}}),
                (REDIS,),
            ),
        ],
    )  # fmt: skip
    def test_wrong(self, config: Any, path: tuple[str, ...]) -> None:
        """What cannot be served is an error that says where."""
        with pytest.raises(ConfigError) as caught:
            logins_of(config)
        assert caught.value.path == ("typed_extension_protocol_options", *path)
