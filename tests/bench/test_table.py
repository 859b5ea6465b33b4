"""
The table.
"""

from __future__ import annotations

import re

from tests.bench.table import Line, as_json, cell, cells, markdown, number, rst


def line() -> Line:
    """Return a line with three rounds of meshd and one of two peers."""
    return Line(
        "work",
        "us",
        ("envoy", 0.9),
        {"meshd": [8.0, 10.0, 9.0], "envoy": [10.0], "haproxy": [6.0], "direct": [1.0]},
    )


class TestLine:
    """Medians and ratios."""

    def test_ratio_of_medians(self) -> None:
        """The ratio is that of the medians, to Envoy and to the best other."""
        assert line().ratio("meshd", "envoy") == 0.9
        assert line().best_peer() == "haproxy"
        assert line().ratio("meshd", line().best_peer()) == 1.5

    def test_missing(self) -> None:
        """There is no ratio to or of what was not measured."""
        assert line().ratio("nginx", "envoy") is None
        assert line().ratio("meshd", "nginx") is None
        assert Line("w", "u", None, {"meshd": [1.0]}).best_peer() is None


class TestCells:
    """The text of the table."""

    def test_row(self) -> None:
        """A row has medians with their spread, both ratios, and whether the bar is met."""
        assert cells([line()], ["meshd", "envoy", "nginx"])[1] == [
            "work", "us", "9.00 ±11%", "10.0", "-", "0.90", "1.50 (haproxy)", "<= 0.9 x envoy met",
        ]  # fmt: skip

    def test_missed(self) -> None:
        """A bar that is not reached says so, and one without figures says nothing."""
        high = line()
        high.values["meshd"] = [9.2]
        assert cells([high], [])[1][-1] == "<= 0.9 x envoy MISSED"
        assert cells([Line("w", "u", ("best peer", 0.6))], [])[1][-1] == "<= 0.6 x best peer"

    def test_plain(self) -> None:
        """A line that only says something has no ratios."""
        plain = Line("w", "u", None, line().values, plain=True)
        assert cells([plain], [])[1][-3:] == ["-", "-", "-"]

    def test_limit(self) -> None:
        """A bar that compares with nobody is held against our own median."""
        limited = Line("w", "ratio", None, {"meshd": [0.6, 0.8]}, plain=True, limit=0.7)
        assert cells([limited], [])[1][-1] == "<= 0.7 met"
        limited.add("meshd", 0.8)
        assert cells([limited], [])[1][-1] == "<= 0.7 MISSED"
        assert cells([Line("w", "ratio", limit=0.7)], [])[1][-1] == "<= 0.7"

    def test_numbers(self) -> None:
        """Three digits that say something."""
        assert [number(value) for value in (0.1234, 1.234, 12.34, 12345.6)] == [
            "0.123",
            "1.23",
            "12.3",
            "12346",
        ]
        assert cell([]) == "-"
        assert cell([0.0, 0.0]) == "0.000"


class TestFormats:
    """How it is printed."""

    def test_rst(self) -> None:
        """Every cell begins where its column's rule does, as a simple table needs it."""
        first, heading, second, row, last = rst(cells([line()], ["meshd", "envoy"])).splitlines()
        assert first == second == last
        starts = [found.start() for found in re.finditer("=+", first)]
        assert [heading[start : start + 4] for start in starts[:4]] == ["work", "unit", "mesh", "envo"]
        assert all(row[start - 2 : start] == "  " and row[start] != " " for start in starts[1:])

    def test_markdown(self) -> None:
        """All lines are as wide, and the rule is the second."""
        lines = markdown(cells([line()], ["meshd"])).splitlines()
        assert len({len(text) for text in lines}) == 1
        assert set(lines[1]) == {"|", "-"}

    def test_json(self) -> None:
        """JSON has all rounds."""
        assert as_json([line()], {"nginx": "why"}, [])["lines"][0]["values"]["meshd"] == [8.0, 10.0, 9.0]
