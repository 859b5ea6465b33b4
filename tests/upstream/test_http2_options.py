"""Tests for meshd.upstream.http2_options."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from meshd.codec.http2 import Options
from meshd.plugin import ConfigError
from meshd.upstream.http2_options import HTTP, Http2, Pings, read_http2
from meshd.upstream.protocol_options import RedisLogins, read_redis_logins
from tests.upstream.support import Surrounding, message

REDIS_TYPE = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions"
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
            "connection_keepalive": {"interval": "9s", "timeout": "3s"},
        }
        made = http(
            explicit_http_config={"http2_protocol_options": options},
            common_http_protocol_options={"idle_timeout": "0s"},
        )
        assert read_http2(made) == Http2(Options(5, 70_000, 80_000), 0.0, Pings(9.0, 3.0, 0.15))
        assert read_redis_logins(made, Clock(), None) == RedisLogins()

    def test_pings(self) -> None:
        """Pings have an interval, or there are none; they may come without chance."""
        for keepalive, pings in (
            ({"timeout": "3s"}, None),
            ({"interval": "9s", "timeout": "3s", "interval_jitter": {"value": 0}}, Pings(9.0, 3.0, 0.0)),
        ):
            options = {"connection_keepalive": keepalive}
            assert read_http2(http(explicit_http_config={"http2_protocol_options": options})).pings == pings

    def test_of_cluster(self) -> None:
        """A cluster of any type has them."""
        assert Surrounding().cluster().http2 == Http2()

    def test_other_type(self) -> None:
        """Another message in their place is an error."""
        made = message(typed_extension_protocol_options={HTTP: {"@type": REDIS_TYPE}})
        with pytest.raises(ConfigError) as caught:
            read_http2(made)
        assert caught.value.path == ("typed_extension_protocol_options", HTTP)
