"""
The filters of access logs: which connections are logged.

Each becomes a function of a connection's info.  Filters of HTTP find what Envoy's
find on a TCP connection: a response code of 0, no headers, an unknown gRPC status,
no trace.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from envoy.config.core.v3.base_pb2 import RuntimeFractionalPercent
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType

from meshd.config.plain import string_matcher, wrapped
from meshd.interfaces import IRuntime
from meshd.observe.flags import FLAGS
from meshd.observe.values import metadata_at
from meshd.plugin import ConfigError

#: Whether a connection, given by its info, is to be logged.
Test = Callable[[Any], bool]

_GRPC_UNKNOWN = 2
_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "EQ": operator.eq,
    "GE": operator.ge,
    "LE": operator.le,
    "NE": operator.ne,
}


def build_filter(message: Any, runtime: IRuntime) -> Test | None:
    """Return the test that an AccessLogFilter message stands for, None if it is empty; raise ConfigError."""
    kind = message.WhichOneof("filter_specifier")
    if kind is None:
        return None
    build = _KINDS.get(kind)
    if build is None:
        raise ConfigError(f"meshd does not serve the field {kind}", kind)
    try:
        return build(getattr(message, kind), runtime)
    except ConfigError as error:
        raise error.under(kind) from None


def _all(message: Any, runtime: IRuntime) -> Test:
    tests = _several(message.filters, runtime)
    return lambda info: all(test(info) for test in tests)


def _any(message: Any, runtime: IRuntime) -> Test:
    tests = _several(message.filters, runtime)
    return lambda info: any(test(info) for test in tests)


def _several(messages: Sequence[Any], runtime: IRuntime) -> list[Test]:
    tests = []
    for index, message in enumerate(messages):
        try:
            test = build_filter(message, runtime)
        except ConfigError as error:
            raise error.under("filters", index) from None
        if test is None:
            raise ConfigError("a filter without a kind", "filters", index)
        tests.append(test)
    return tests


def _comparison(message: Any, runtime: IRuntime) -> Callable[[int], bool]:
    """Read a ComparisonFilter: compare with a number that the runtime may change."""
    holds = _COMPARISONS[type(message).Op.Name(message.op)]
    default, key = message.value.default_value, message.value.runtime_key

    def compare(value: int) -> bool:
        given = runtime.get(key) if key else None
        try:
            return holds(value, default if given is None else int(given))
        except ValueError:
            return holds(value, default)

    return compare


def _status_code(message: Any, runtime: IRuntime) -> Test:
    compare = _comparison(message.comparison, runtime)
    return lambda info: compare(0)


def _duration(message: Any, runtime: IRuntime) -> Test:
    compare = _comparison(message.comparison, runtime)
    return lambda info: compare(max(0, round(info.duration * 1_000_000) // 1000))


def _runtime(message: Any, runtime: IRuntime) -> Test:
    fraction = RuntimeFractionalPercent(
        runtime_key=message.runtime_key, default_value=message.percent_sampled
    )
    return lambda info: runtime.sampled(fraction)


def _header(message: Any, runtime: IRuntime) -> Test:
    """There are no headers: only what is said of absent ones counts."""
    header = message.header
    kind = header.WhichOneof("header_match_specifier")
    if kind in (None, "present_match"):
        wanted = header.present_match if kind else True
        found = not wanted
    elif kind == "string_match" and header.treat_missing_header_as_empty:
        found = string_matcher(header.string_match)("")
    else:
        inverted = bool(header.invert_match)
        return lambda info: inverted
    invert = bool(header.invert_match)
    return lambda info: found != invert


def _response_flag(message: Any, runtime: IRuntime) -> Test:
    wanted = frozenset(message.flags)
    for index, flag in enumerate(message.flags):
        if flag not in FLAGS:
            raise ConfigError(f"there is no response flag {flag}", "flags", index)
    if not wanted:
        return lambda info: bool(info.flags)
    return lambda info: not wanted.isdisjoint(info.flags)


def _grpc_status(message: Any, runtime: IRuntime) -> Test:
    found = (_GRPC_UNKNOWN in message.statuses) != message.exclude
    return lambda info: found


def _log_type(message: Any, runtime: IRuntime) -> Test:
    types = frozenset(AccessLogType.Name(number) for number in message.types)
    exclude = message.exclude
    return lambda info: (info.log_type in types) != exclude


def _metadata(message: Any, runtime: IRuntime) -> Test:
    matcher = message.matcher
    missing = bool(wrapped(message, "match_if_key_not_found", True))
    if not message.HasField("matcher"):
        return lambda info: True
    path = (matcher.filter, *(segment.key for segment in matcher.path))
    invert = bool(matcher.invert)
    try:
        test = value_matcher(matcher.value)
    except ConfigError as error:
        raise error.under("matcher", "value") from None

    def matches(info: Any) -> bool:
        value = metadata_at(info.metadata, path)
        return missing if value is None else test(value) != invert

    return matches


def value_matcher(message: Any) -> Callable[[Any], bool]:
    """Return what tells whether a value of metadata matches a ValueMatcher; raise ConfigError."""
    kind = message.WhichOneof("match_pattern")
    if kind == "null_match":
        return lambda value: value is None
    if kind == "double_match":
        return _number_matcher(message.double_match)
    if kind == "string_match":
        text = string_matcher(message.string_match)
        return lambda value: isinstance(value, str) and text(value)
    if kind == "bool_match":
        wanted = bool(message.bool_match)
        return lambda value: value is wanted
    if kind == "present_match":
        present = message.present_match
        return lambda value: (value is not None) == present
    if kind == "list_match":
        one = value_matcher(message.list_match.one_of)
        return lambda value: isinstance(value, list) and any(one(item) for item in value)
    if kind == "or_match":
        tests = [value_matcher(inner) for inner in message.or_match.value_matchers]
        return lambda value: any(test(value) for test in tests)
    raise ConfigError("a value matcher without a kind")


def _number_matcher(message: Any) -> Callable[[Any], bool]:
    def number(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool)

    if message.WhichOneof("match_pattern") == "exact":
        exact = message.exact
        return lambda value: number(value) and value == exact
    start, end = message.range.start, message.range.end
    return lambda value: number(value) and start <= value < end


_KINDS: dict[str, Callable[[Any, IRuntime], Test]] = {
    "status_code_filter": _status_code,
    "duration_filter": _duration,
    # No connection is a health check, and none is traced.
    "not_health_check_filter": lambda message, runtime: lambda info: True,
    "traceable_filter": lambda message, runtime: lambda info: False,
    "runtime_filter": _runtime,
    "and_filter": _all,
    "or_filter": _any,
    "header_filter": _header,
    "response_flag_filter": _response_flag,
    "grpc_status_filter": _grpc_status,
    "metadata_filter": _metadata,
    "log_type_filter": _log_type,
}
