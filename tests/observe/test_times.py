"""Tests for meshd.observe.times: the texts were taken from Envoy 1.40, or Abseil's documents."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.observe.times import LOCAL, UTC, time_format
from meshd.plugin import ConfigError

AT = 1795415650.12816


class TestFormats:
    """One time in many formats."""

    @pytest.mark.parametrize(
        ("pattern", "text"),
        [
            (UTC, "2026-11-23T06:34:10.128Z"),
            ("%s", "1795415650"),
            ("%s.%3f", "1795415650.128"),
            ("%3f|%f|%6f|%1f|%9f|%%", "128|128160000|128160|1|128160000|%"),
            ("%%s %%3f", "%s %3f"),
            ("%E3S %E*S %E6f %E*f", "10.128 10.12816 128160 12816"),
            ("%ET%E4Y", "T2026"),
            ("%d/%b/%Y:%H:%M:%S %z", "23/Nov/2026:06:34:10 +0000"),
            ("%Ez", "+00:00"),
            ("%Z %%Z", "UTC %Z"),
            ("", ""),
            ("plain", "plain"),
        ],
    )
    def test_pattern(self, pattern: str, text: str) -> None:
        """Each looks as in Envoy."""
        assert time_format(pattern)(AT) == text

    def test_no_fraction(self) -> None:
        """%E*S has no point on the second."""
        assert time_format("%E*S")(1795415650.0) == "10"

    def test_again(self) -> None:
        """What is kept for a second is not used in the next."""
        write = time_format("%S.%3f")
        assert [write(AT), write(AT + 0.5), write(AT + 1), write(AT)] == [
            *("10.128", "10.628", "11.128", "10.128")
        ]

    def test_local(self) -> None:
        """Local times have their offset."""
        text = time_format(LOCAL, local=True)(AT)
        assert text == time.strftime("%Y-%m-%dT%H:%M:%S.128%z", time.localtime(int(AT)))
        assert time_format("%Z", local=True)(AT) == time.localtime(int(AT)).tm_zone

    @pytest.mark.parametrize("pattern", ["a\nb", "%n", "\1"])
    def test_refused(self, pattern: str) -> None:
        """A time is on one line."""
        with pytest.raises(ConfigError):
            time_format(pattern)

    @given(st.floats(0, 4e9))
    def test_default(self, at: float) -> None:
        """Any time can be written."""
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time_format(UTC)(at))
