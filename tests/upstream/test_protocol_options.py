"""Tests for meshd.upstream.protocol_options."""

from pathlib import Path
from typing import Any

import pytest

from meshd.codec.http2 import Options
from meshd.plugin import ConfigError
from meshd.upstream.protocol_options import (
    HTTP,
    REDIS,
    Http2,
    RedisLogins,
    read_http2,
    read_redis_logins,
)
from tests.upstream.support import Surrounding, message

TYPE = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions"


def cluster(name: str = REDIS, **options: Any) -> Any:
    """Return a Cluster message with options for a protocol."""
    return message(typed_extension_protocol_options={name: {"@type": TYPE, **options}})


class TestRedis:
    """The options of Redis."""

    def test_unset(self) -> None:
        """Without options, or without a password, there is none."""
        assert read_redis_logins(message()) == read_redis_logins(cluster()) == RedisLogins()

    def test_password(self) -> None:
        """A password may have a user name."""
        password = {"inline_bytes": "AAE="}
        assert read_redis_logins(cluster(auth_password=password)).default == (b"", b"\0\1")
        named = cluster(auth_password=password, auth_username={"inline_string": "me"})
        assert read_redis_logins(named).default == (b"me", b"\0\1")

    def test_file(self, tmp_path: Path) -> None:
        """It may be in a file, and is taken as it stands there."""
        (tmp_path / "password").write_bytes(b"secret\n")
        made = cluster(auth_password={"filename": str(tmp_path / "password")})
        assert read_redis_logins(made).default == (b"", b"secret\n")

    def test_addresses(self) -> None:
        """Servers may have their own; the first of an address counts, and without one the common one."""
        one, two = ({"inline_string": text} for text in ("one", "two"))
        at = {"socket_address": {"address": "10.0.0.1", "port_value": 1}}
        credentials = [{"address": at, "auth_password": each} for each in (two, one)]
        logins = read_redis_logins(cluster(auth_password=one, credentials=credentials))
        assert [logins.of(("10.0.0.1", port)) for port in (1, 2)] == [(b"", b"two"), (b"", b"one")]

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
            read_redis_logins(config)
        assert caught.value.path == ("typed_extension_protocol_options", *path)


HTTP_TYPE = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def http(**options: Any) -> Any:
    """Return a Cluster message with HttpProtocolOptions."""
    return message(typed_extension_protocol_options={HTTP: {"@type": HTTP_TYPE, **options}})


class TestHttp2:
    """The options of HTTP/2."""

    def test_unset(self) -> None:
        """What is not said is as in Envoy."""
        plain = http(explicit_http_config={"http2_protocol_options": {}})
        assert read_http2(message()) == read_http2(plain) == Http2(Options(), 3600.0)

    def test_set(self) -> None:
        """All that may be set is read; no time is for ever."""
        options = {
            "max_concurrent_streams": 5,
            "initial_stream_window_size": 70_000,
            "initial_connection_window_size": 80_000,
        }
        made = http(
            explicit_http_config={"http2_protocol_options": options},
            common_http_protocol_options={"idle_timeout": "0s"},
        )
        assert read_http2(made) == Http2(Options(5, 70_000, 80_000), 0.0)
        assert read_redis_logins(made) == RedisLogins()

    def test_of_cluster(self) -> None:
        """A cluster of any type has them."""
        assert Surrounding().cluster().http2 == Http2()

    def test_other_type(self) -> None:
        """Another message in their place is an error."""
        made = message(typed_extension_protocol_options={HTTP: {"@type": TYPE}})
        with pytest.raises(ConfigError) as caught:
            read_http2(made)
        assert caught.value.path == ("typed_extension_protocol_options", HTTP)
