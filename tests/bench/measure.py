"""
What a process and all that it started have used, read from /proc.

CPU time rather than elapsed time, for on a machine that others use too it is
the figure that holds; proportional memory (PSS), for the processes of one
proxy share most of their pages.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Stat(NamedTuple):
    """A process's parent, and its CPU time in ticks with that of the children it has reaped."""

    parent: int
    ticks: int


def parse_stat(text: str) -> Stat:
    """Read /proc/PID/stat; the name in it may have blanks and brackets. ValueError if it is none."""
    fields = text.rpartition(")")[2].split()
    if len(fields) < 15:
        raise ValueError("not a /proc/PID/stat")
    return Stat(int(fields[1]), sum(int(ticks) for ticks in fields[11:15]))


def parse_rollup(text: str) -> int:
    """Return the bytes of PSS in a /proc/PID/smaps_rollup. ValueError if there are none."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0]) * 1024
    raise ValueError("no Pss in this smaps_rollup")


def descendants(pid: int, parents: Mapping[int, int]) -> list[int]:
    """Return pid and all below it, by a map from process to parent."""
    tree = [pid]
    for seen in tree:
        tree.extend(child for child, parent in parents.items() if parent == seen)
    return tree


def _stats() -> dict[int, Stat]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found[int(name)] = parse_stat(Path("/proc", name, "stat").read_text())
            except OSError:  # it has ended since
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds, user and system, that pid and its descendants have used so far."""
    stats = _stats()
    tree = descendants(pid, {child: stat.parent for child, stat in stats.items()})
    return sum(stats[member].ticks for member in tree if member in stats) / TICKS_PER_SECOND


def memory_bytes(pid: int) -> int:
    """Return the PSS of pid and its descendants. PermissionError if they are another user's."""
    stats = _stats()
    tree = descendants(pid, {child: stat.parent for child, stat in stats.items()})
    return sum(parse_rollup(Path(f"/proc/{member}/smaps_rollup").read_text()) for member in tree)


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """Return the value that this fraction of the ordered values does not exceed (nearest rank)."""
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(len(ordered) * fraction) - 1)]
