"""
Lines of measurements, and the table that they make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

#: The candidate that the others are compared with, and the one that has bars to reach.
REFERENCE = "envoy"
OURS = "meshd"


@dataclass
class Line:
    """
    One figure, measured once a round for each candidate; less is better.

    bar is (the candidate, or "best peer"; the ratio to it that meshd must not exceed).
    """

    work: str
    unit: str
    bar: tuple[str, float] | None = None
    values: dict[str, list[float]] = field(default_factory=dict)
    #: It only says something, and is not compared.
    plain: bool = False
    #: A bar that is no ratio to anybody: what meshd's figure must not exceed.
    limit: float | None = None

    def add(self, name: str, value: float) -> None:
        """Add what was measured in a round."""
        self.values.setdefault(name, []).append(value)

    def medians(self) -> dict[str, float]:
        """Return each candidate's median over the rounds."""
        return {name: median(values) for name, values in self.values.items() if values}

    def best_peer(self) -> str | None:
        """Return which of the others has the least."""
        peers = {name: value for name, value in self.medians().items() if name not in (OURS, "direct")}
        return min(peers, key=lambda name: peers[name]) if peers else None

    def ratio(self, name: str, to: str | None) -> float | None:
        """Return how many times as much name has; None where one of them was not measured."""
        found = self.medians()
        if to is None or name not in found or not found.get(to):
            return None
        return found[name] / found[to]


def number(value: float) -> str:
    """Write a number with three digits that say something: 0.123, 12.3, 12345."""
    return f"{value:.{3 if value < 1 else 2 if value < 10 else 1 if value < 1000 else 0}f}"


def cell(values: Sequence[float]) -> str:
    """Write the median, and half of the spread as a percentage of it where there are rounds."""
    if not values:
        return "-"
    middle = median(values)
    if len(values) < 2 or not middle:
        return number(middle)
    return f"{number(middle)} ±{50 * (max(values) - min(values)) / middle:.0f}%"


def _bar(line: Line) -> str:
    if line.limit is not None:
        ours = line.medians().get(OURS)
        verdict = "" if ours is None else " met" if ours <= line.limit else " MISSED"
        return f"<= {line.limit:g}{verdict}"
    if line.bar is None:
        return "-"
    to, most = line.bar
    ratio = line.ratio(OURS, line.best_peer() if to == "best peer" else to)
    verdict = "" if ratio is None else " met" if ratio <= most else " MISSED"
    return f"<= {most:g} x {to}{verdict}"


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def cells(lines: Sequence[Line], names: Sequence[str]) -> list[list[str]]:
    """Return the table as rows of text, the heading first."""
    heading = ["work", "unit", *names, f"{OURS}/{REFERENCE}", f"{OURS}/best peer", "bar"]
    rows = [heading]
    for line in lines:
        best = None if line.plain else line.best_peer()
        peer = line.ratio(OURS, best)
        rows.append(
            [
                line.work,
                line.unit,
                *(cell(line.values.get(name, [])) for name in names),
                _ratio(line.ratio(OURS, None if line.plain else REFERENCE)),
                _ratio(peer) + (f" ({best})" if peer is not None else ""),
                _bar(line),
            ]
        )
    return rows


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _joined(row: Sequence[str], widths: Sequence[int], between: str) -> str:
    return between.join(text.ljust(width) for text, width in zip(row, widths, strict=True))


def rst(rows: Sequence[Sequence[str]]) -> str:
    """Write rows as a simple table of reStructuredText."""
    widths = _widths(rows)
    rule = "  ".join("=" * width for width in widths)
    body = [_joined(row, widths, "  ").rstrip() for row in rows]
    return "\n".join([rule, body[0], rule, *body[1:], rule]) + "\n"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Write rows as a table of Markdown."""
    widths = _widths(rows)
    body = [f"| {_joined(row, widths, ' | ')} |" for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([body[0], rule, *body[1:]]) + "\n"


def as_json(lines: Sequence[Line], left_out: Mapping[str, str], notes: Sequence[str]) -> dict[str, Any]:
    """Return all that was measured, as JSON has it."""
    return {
        "lines": [
            {"work": line.work, "unit": line.unit, "bar": line.bar, "values": line.values} for line in lines
        ],
        "left_out": dict(left_out),
        "notes": list(notes),
    }
