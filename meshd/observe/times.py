"""
Times as texts: Envoy's formats for %START_TIME(...)% and its kin.

A format is strftime's, and also ``%s`` (seconds since the epoch), ``%f`` (nine
digits of the second's fraction), ``%3f`` (three, or another number, of them) and
what Abseil adds (``%E3S``, ``%E*S``, ``%E3f``, ``%E*f``, ``%Ez``, ``%ET``, ``%E4Y``).
The part that changes by the second only is made once a second.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from meshd.plugin import ConfigError

#: How times look by default, in UTC and in local time.
UTC = "%Y-%m-%dT%H:%M:%S.%3fZ"
LOCAL = "%Y-%m-%dT%H:%M:%S.%3f%z"

_SPEC = re.compile(r"%(?:(\d)f|(f)|(s)|E(?:(\d+|\*)([Sf])|(z)|(T)|(4Y))|(n|t)|(%)|([A-Za-z]))", re.DOTALL)

# What strftime does not know; %% is here so that the s of %%s is not taken for it.
_OWN = re.compile("%(%|s|:z|Z)")

# A number of digits in place of what changes within a second; no strftime result has it.
_MARK = "\1"

Clock = Callable[[float], str]


def time_format(text: str, local: bool = False) -> Clock:
    """
    Return what writes a time (seconds since the epoch) in the format text.

    The time is told in UTC, or in local time.  Raise ConfigError.
    """
    if "\n" in text or "%n" in text:
        raise ConfigError("Invalid header configuration. Format string contains newline.")
    if _MARK in text or "\0" in text:
        raise ConfigError("a time format cannot have a control character")
    pieces = _pieces(text)
    digits = [piece for piece in pieces if isinstance(piece, int)]
    pattern = "".join(piece if isinstance(piece, str) else _MARK for piece in pieces)
    broken_down = time.localtime if local else time.gmtime
    zone = "" if local else "UTC"  # which strftime calls GMT
    cached_second = -1
    cached: list[str] = []

    def write(at: float) -> str:
        nonlocal cached_second, cached
        nanos = round(at * 1e6) * 1000
        second, fraction = divmod(nanos, 1_000_000_000)
        if second != cached_second:
            parts = broken_down(second)
            cached = _strftime(pattern, parts, second, zone).split(_MARK)
            cached_second = second
        if not digits:
            return cached[0]
        if len(digits) == 1 and digits[0]:
            return f"{cached[0]}{f'{fraction:09}'[: digits[0]]}{cached[1]}"
        return _with_fractions(cached, digits, f"{fraction:09}")

    return write


def _pieces(text: str) -> list[str | int]:
    """Return text for _strftime, with numbers where so many digits of the fraction go; 0 is all of them."""
    pieces: list[str | int] = []
    at = 0
    for match in _SPEC.finditer(text):
        pieces.append(text[at : match.start()])
        at = match.end()
        digits, nine, epoch, width, kind, colon, letter, year, space, _, _ = match.groups()
        if digits:
            pieces.append(int(digits))
        elif nine:
            pieces.append(9)
        elif epoch:
            pieces.append("%s")
        elif width:
            pieces += ["%S.", 0 if width == "*" else min(int(width), 9)] if kind == "S" else []
            pieces += [0 if width == "*" else min(int(width), 9)] if kind == "f" else []
        elif colon:
            pieces.append("%:z")
        elif letter or year:
            pieces.append("T" if letter else "%Y")
        elif space:
            pieces.append("\t")
        else:
            pieces.append(match[0])
    pieces.append(text[at:])
    return pieces


def _strftime(pattern: str, parts: time.struct_time, second: int, zone: str) -> str:
    def own(match: re.Match[str]) -> str:
        if match[1] == "s":
            return str(second)
        if match[1] == "Z":
            return zone or parts.tm_zone
        if match[1] == ":z":
            offset = time.strftime("%z", parts)
            return f"{offset[:3]}:{offset[3:]}"
        return match[0]

    return time.strftime(_OWN.sub(own, pattern), parts)


def _with_fractions(texts: list[str], digits: list[int], fraction: str) -> str:
    written = [texts[0]]
    for text, count in zip(texts[1:], digits, strict=True):
        if count:
            written.append(fraction[:count])
        else:
            written.append(fraction.rstrip("0"))
            if not written[-1]:
                # %E*S has no point if there is nothing behind it.
                written[-2] = written[-2].removesuffix(".")
        written.append(text)
    return "".join(written)
