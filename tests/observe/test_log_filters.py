"""Tests for meshd.observe.log_filters."""

from typing import Any

import pytest
from envoy.config.accesslog.v3.accesslog_pb2 import AccessLogFilter
from envoy.config.bootstrap.v3.bootstrap_pb2 import LayeredRuntime
from google.protobuf.json_format import ParseDict

from meshd.config.runtime import Runtime
from meshd.observe.log_filters import build_filter
from meshd.observe.stats import Store
from meshd.plugin import ConfigError
from tests.observe.connections import refused, relayed


def runtime(dice: float = 0.5, **values: str) -> Runtime:
    """Return a runtime with values in its admin layer."""
    config = ParseDict({"layers": [{"name": "admin", "admin_layer": {}}]}, LayeredRuntime())
    made = Runtime(config, Store(), lambda: dice)
    for key, value in values.items():
        made.modify(key, value)
    return made


def passes(config: dict[str, Any], info: Any, given: Runtime | None = None) -> bool:
    test = build_filter(ParseDict(config, AccessLogFilter()), given or runtime())
    assert test is not None
    return test(info)


def compared(op: str, value: int, key: str = "k") -> dict[str, Any]:
    return {"comparison": {"op": op, "value": {"default_value": value, "runtime_key": key}}}


TRUE: dict[str, Any] = {"not_health_check_filter": {}}
FALSE: dict[str, Any] = {"traceable_filter": {}}


class TestLogic:
    """Filters of filters."""

    @pytest.mark.parametrize(
        ("filters", "both", "either"),
        [([TRUE, TRUE], True, True), ([TRUE, FALSE], False, True), ([FALSE, FALSE], False, False)],
    )
    def test_and_or(self, filters: list[dict[str, Any]], both: bool, either: bool) -> None:
        """All, or any, have to pass."""
        assert passes({"and_filter": {"filters": filters}}, relayed()) is both
        assert passes({"or_filter": {"filters": filters}}, relayed()) is either

    def test_empty(self) -> None:
        """A filter that says nothing is none."""
        assert build_filter(AccessLogFilter(), runtime()) is None

    def test_inner_error(self) -> None:
        """What is wrong inside is told with its place."""
        with pytest.raises(ConfigError) as raised:
            passes({"and_filter": {"filters": [TRUE, {"extension_filter": {"name": "x"}}]}}, relayed())
        assert raised.value.path == ("and_filter", "filters", 1, "extension_filter")


class TestNumbers:
    """Filters that compare: this connection took 71 ms."""

    @pytest.mark.parametrize(
        ("op", "value", "result"),
        [
            *(("GE", 71, True), ("GE", 72, False), ("LE", 71, True), ("LE", 70, False)),
            *(("EQ", 71, True), ("EQ", 70, False), ("NE", 70, True), ("NE", 71, False)),
        ],
    )
    def test_duration(self, op: str, value: int, result: bool) -> None:
        """The duration is compared in milliseconds."""
        assert passes({"duration_filter": compared(op, value)}, relayed()) is result

    def test_runtime(self) -> None:
        """The runtime may say another number; what is no number is nothing."""
        config = {"duration_filter": compared("GE", 100)}
        assert passes(config, relayed(), runtime(k="50"))
        assert not passes(config, relayed(), runtime(k="many"))

    def test_status_code(self) -> None:
        """TCP has a status of 0."""
        assert passes({"status_code_filter": compared("LE", 200)}, relayed())
        assert not passes({"status_code_filter": compared("GE", 500)}, relayed())


class TestFacts:
    """Filters of what is known of a connection."""

    def test_response_flag(self) -> None:
        """Some flag, or one of some."""
        assert passes({"response_flag_filter": {}}, refused())
        assert not passes({"response_flag_filter": {}}, relayed())
        assert passes({"response_flag_filter": {"flags": ["UF", "NC"]}}, refused())
        assert not passes({"response_flag_filter": {"flags": ["UF"]}}, refused())

    def test_unknown_flag(self) -> None:
        """A flag that there is none of is refused."""
        with pytest.raises(ConfigError, match="ZZ"):
            passes({"response_flag_filter": {"flags": ["ZZ"]}}, refused())

    def test_log_type(self) -> None:
        """The kind of the line."""
        assert passes({"log_type_filter": {"types": ["TcpConnectionEnd"]}}, relayed())
        assert not passes({"log_type_filter": {"types": ["TcpPeriodic"]}}, relayed())
        assert passes({"log_type_filter": {"types": ["TcpPeriodic"], "exclude": True}}, relayed())

    def test_runtime(self) -> None:
        """A share of all; the runtime may say another."""
        config = {"runtime_filter": {"runtime_key": "k", "percent_sampled": {"numerator": 60}}}
        assert passes(config, relayed())
        assert not passes(config, relayed(), runtime(0.7))
        assert not passes(config, relayed(), runtime(0.5, k="40"))

    @pytest.mark.parametrize(
        ("value", "found"),
        [
            ({"string_match": {"prefix": "lo"}}, True),
            ({"string_match": {"exact": "lo"}}, False),
            ({"present_match": True}, True),
            ({"bool_match": True}, False),
            ({"null_match": {}}, False),
            ({"double_match": {"exact": 1}}, False),
            ({"or_match": {"value_matchers": [{"null_match": {}}, {"string_match": {"suffix": "g"}}]}}, True),
        ],
    )
    def test_metadata(self, value: dict[str, Any], found: bool) -> None:
        """A value of the metadata matches, or does not, the other way round if inverted."""
        info = relayed()
        info.metadata["f"] = {"k": "long"}
        matcher = {"filter": "f", "path": [{"key": "k"}], "value": value}
        assert passes({"metadata_filter": {"matcher": matcher}}, info) is found
        assert passes({"metadata_filter": {"matcher": {**matcher, "invert": True}}}, info) is not found

    @pytest.mark.parametrize(
        ("value", "matcher"),
        [
            (3.5, {"double_match": {"range": {"start": 3, "end": 4}}}),
            (True, {"bool_match": True}),
            ([1, "x"], {"list_match": {"one_of": {"string_match": {"exact": "x"}}}}),
        ],
    )
    def test_kinds(self, value: Any, matcher: dict[str, Any]) -> None:
        """Numbers, truths and lists match, too."""
        info = relayed()
        info.metadata["f"] = {"k": value}
        config = {"matcher": {"filter": "f", "path": [{"key": "k"}], "value": matcher}}
        assert passes({"metadata_filter": config}, info)

    def test_no_metadata(self) -> None:
        """What is not there passes, unless it is not to."""
        config: dict[str, Any] = {
            "matcher": {"filter": "f", "path": [{"key": "k"}], "value": {"present_match": True}}
        }
        assert passes({"metadata_filter": config}, relayed())
        config["match_if_key_not_found"] = False
        assert not passes({"metadata_filter": config}, relayed())


class TestHttp:
    """Filters that only HTTP has an answer to."""

    @pytest.mark.parametrize(
        ("header", "result"),
        [
            ({"name": "x"}, False),
            ({"name": "x", "present_match": False}, True),
            ({"name": "x", "present_match": True, "invert_match": True}, True),
            ({"name": "x", "string_match": {"exact": ""}}, False),
            ({"name": "x", "string_match": {"exact": ""}, "treat_missing_header_as_empty": True}, True),
        ],
    )
    def test_header(self, header: dict[str, Any], result: bool) -> None:
        """There are no headers."""
        assert passes({"header_filter": {"header": header}}, relayed()) is result

    def test_grpc(self) -> None:
        """The gRPC status is unknown."""
        assert passes({"grpc_status_filter": {"statuses": ["UNKNOWN"]}}, relayed())
        assert not passes({"grpc_status_filter": {"statuses": ["OK"]}}, relayed())
        assert passes({"grpc_status_filter": {"statuses": ["OK"], "exclude": True}}, relayed())
