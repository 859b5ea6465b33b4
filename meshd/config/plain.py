"""
Config messages that occur everywhere, read once into plain Python.

Durations become seconds, percentages fractions, address ranges and string
matchers functions, data sources bytes: nothing of protobuf is left to be asked
while bytes flow.  What cannot be read is a ConfigError, whose path is relative
to the message that was given.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from meshd.plugin import ConfigError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DENOMINATORS = (100, 10_000, 1_000_000)


def seconds(duration: Any) -> float:
    """Return a google.protobuf.Duration in seconds."""
    return float(duration.seconds + duration.nanos / 1e9)


def optional_seconds(message: Any, field: str, default: float | None = None) -> float | None:
    """Return the Duration in that field of message in seconds; default if it is not set."""
    return seconds(getattr(message, field)) if message.HasField(field) else default


def wrapped(message: Any, field: str, default: Any = None) -> Any:
    """Return what the wrapper (UInt32Value, BoolValue, ...) in that field holds; default if it is not set."""
    return getattr(message, field).value if message.HasField(field) else default


def fraction(percent: Any) -> float:
    """Return an envoy.type.v3.Percent or FractionalPercent as a number from 0 to 1."""
    if percent.DESCRIPTOR.name == "Percent":
        return float(percent.value) / 100
    return min(1.0, float(percent.numerator) / _DENOMINATORS[percent.denominator])


def cidr(message: Any) -> Network:
    """Return an envoy.config.core.v3.CidrRange; host bits are cleared, as Envoy does.  Raise ConfigError."""
    try:
        address = ipaddress.ip_address(message.address_prefix)
    except ValueError:
        raise ConfigError(f"{message.address_prefix!r} is no IP address", "address_prefix") from None
    length = message.prefix_len.value
    if length > address.max_prefixlen:
        raise ConfigError(
            f"the prefix of {address} is longer than {address.max_prefixlen} bits", "prefix_len"
        )
    return ipaddress.ip_network(f"{address}/{length}", strict=False)


def cidr_matcher(messages: Iterable[Any]) -> Callable[[str], bool]:
    """Return what tells whether an IP address, as text, is in any of the CidrRanges.  Raise ConfigError."""
    networks: list[Network] = []
    for index, message in enumerate(messages):
        try:
            networks.append(cidr(message))
        except ConfigError as error:
            raise error.under(index) from None

    def matches(address: str) -> bool:
        ip = ipaddress.ip_address(address.partition("%")[0])
        return any(ip in network for network in networks)

    return matches


def string_matcher(message: Any) -> Callable[[str], bool]:
    """
    Return what tells whether a text matches an envoy.type.matcher.v3.StringMatcher.

    ignore_case holds for all but safe_regex, which has to match the whole text
    (Python's re, which knows what RE2 knows, and more).  Raise ConfigError.
    """
    kind = message.WhichOneof("match_pattern")
    if kind == "safe_regex":
        try:
            return _full_match(re.compile(message.safe_regex.regex))
        except re.error as error:
            raise ConfigError(f"not a regular expression: {error}", "safe_regex", "regex") from None
    if kind not in _TESTS:
        raise ConfigError(
            f"meshd does not serve a string match by {kind or 'nothing'}", *([kind] if kind else [])
        )
    test, pattern = _TESTS[kind], getattr(message, kind)
    if message.ignore_case:
        folded = pattern.lower()
        return lambda text: test(text.lower(), folded)
    return lambda text: test(text, pattern)


def _full_match(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "exact": lambda text, pattern: text == pattern,
    "prefix": lambda text, pattern: text.startswith(pattern),
    "suffix": lambda text, pattern: text.endswith(pattern),
    "contains": lambda text, pattern: pattern in text,
}


def source_name(message: Any) -> str:
    """Return what a DataSource is called in messages: its file, or <inline>."""
    return str(message.filename) if message.WhichOneof("specifier") == "filename" else "<inline>"


def data_source(message: Any, environ: Mapping[str, str] = os.environ, watched: bool = False) -> bytes:
    """
    Return the bytes that an envoy.config.core.v3.DataSource names, b"" if it is not set.

    Files are read now, and not watched: watched says that whoever asks sees to it.  Raise ConfigError.
    """
    if message.HasField("watched_directory") and not watched:
        raise ConfigError("meshd does not serve the field watched_directory", "watched_directory")
    kind = message.WhichOneof("specifier")
    if kind == "filename":
        try:
            return Path(message.filename).read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read {message.filename}: {error.strerror}", "filename") from None
    if kind == "environment_variable":
        name = message.environment_variable
        if name not in environ:
            raise ConfigError(f"there is no environment variable {name}", "environment_variable")
        return environ[name].encode("utf-8", "surrogateescape")
    if kind == "inline_string":
        return str(message.inline_string).encode("utf-8")
    return bytes(message.inline_bytes)
