"""Tests for meshd.grpc.service."""

from typing import Any

import pytest
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from google.protobuf.json_format import ParseDict

from meshd.grpc.service import MAX_MESSAGE, Service, read_service
from meshd.plugin import ConfigError


def read(default: float = 0.0, envoy_grpc: Any = None, **fields: Any) -> Service:
    """Read a GrpcService to the cluster c."""
    target = {"cluster_name": "c", **(envoy_grpc or {})}
    return read_service(ParseDict({"envoy_grpc": target, **fields}, GrpcService()), default)


class TestService:
    """What a GrpcService message says."""

    def test_little(self) -> None:
        """Without more the cluster's name is the authority, and the time is what the caller says."""
        assert read() == Service("c", b"c", 0.0, (), MAX_MESSAGE)
        assert read(0.2).timeout == 0.2

    def test_all(self) -> None:
        """All that may be set is read."""
        found = read(
            0.2,
            {"authority": "a.b", "max_receive_message_length": 5},
            timeout="1.5s",
            initial_metadata=[{"key": "X-A", "value": "b"}],
        )
        assert found == Service("c", b"a.b", 1.5, ((b"x-a", b"b"),), 5)

    def test_no_time(self) -> None:
        """A time of 0 is none, whatever the caller says; so are 0 bytes."""
        found = read(0.2, {"max_receive_message_length": 0}, timeout="0s")
        assert (found.timeout, found.max_message) == (0.0, MAX_MESSAGE)

    def test_metadata(self) -> None:
        """Of a name the last value counts; percent signs are doubled; binary values are in base64."""
        found = read(
            initial_metadata=[
                {"key": "a", "value": "1"},
                {"key": "a", "value": "50%%"},
                {"key": "b-bin", "raw_value": "AP8="},
                {"key": "c", "raw_value": "/w=="},
            ]
        )
        assert found.metadata == ((b"a", b"50%"), (b"b-bin", b"AP8"), (b"c", b"\xff"))

    @pytest.mark.parametrize(
        ("key", "value", "place"),
        [
            (":path", "/x", "key"),
            ("TE", "x", "key"),
            ("grpc-timeout", "1S", "key"),
            ("a", "%PROTOCOL%", "value"),
            ("a", "50%", "value"),
        ],
    )
    def test_bad_metadata(self, key: str, value: str, place: str) -> None:
        """What is not the operator's to set, and what would have to be filled in, is an error."""
        with pytest.raises(ConfigError) as caught:
            read(initial_metadata=[{"key": "x", "value": "y"}, {"key": key, "value": value}])
        assert caught.value.path == ("initial_metadata", 1, place)

    def test_google(self) -> None:
        """Google's client is an error, and so is none."""
        google = {"target_uri": "a:1", "stat_prefix": "g"}
        for message in (GrpcService(), ParseDict({"google_grpc": google}, GrpcService())):
            with pytest.raises(ConfigError):
                read_service(message)
