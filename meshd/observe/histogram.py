"""
Distributions of numbers, kept as Envoy keeps them: in log-linear buckets.

A bucket holds the values that agree in their first two decimal digits (12 and
13 are apart, 1200 and 1299 are one), so that a histogram is small whatever it
is fed, and a quantile is off by some percent at most.  The algorithms are
those of libcircllhist, which Envoy uses; the numbers agree with Envoy's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import ceil

from zope.interface import implementer

from meshd.interfaces import IHistogram

#: What Envoy prints of each histogram, as fractions.
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0)

#: Upper bounds of the buckets that are exported, unless histogram_bucket_settings says otherwise.
BOUNDS = (
    *(0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000),
    *(300000, 600000, 1800000, 3600000),
)

# Every value up to 99 has a bucket of its own; from 100 the third digit and those below are dropped.
_POWERS: tuple[int, ...] = tuple(10**n for n in range(2, 40))
_STEPS: tuple[int, ...] = (1, *(10**n for n in range(1, 39)))


def bucket_of(value: int) -> int:
    """Return the lower end of value's bucket."""
    return value - value % _STEPS[bisect_right(_POWERS, value)]


def width_of(bucket: int) -> float:
    """Return the width of the bucket whose lower end is given."""
    if bucket == 0:
        return 0.0
    # As in libcircllhist 5 is 5.0 to 5.1, since it too has two digits.
    return 0.1 if bucket < 10 else float(_STEPS[bisect_right(_POWERS, bucket)])


class Statistics:
    """What can be told of the counts by bucket of one span of time, all at once."""

    def __init__(self, counts: Mapping[int, int]) -> None:
        self.buckets = sorted(counts.items())
        self.count = sum(counts.values())

    @property
    def sum(self) -> float:
        """The sum of the values, as far as the buckets tell."""
        total = 0.0
        for left, count in self.buckets:
            width = width_of(left)
            if left:
                # The estimate of least relative error, as in hist_bucket_midpoint.
                total += count * (left + width * left / (left + left + width))
        return total

    def quantiles(self, wanted: Sequence[float] = QUANTILES) -> list[float]:
        """Return the values below which the wanted fractions (in order) are; an empty list without values."""
        if not self.buckets:
            return []
        found = []
        rest = iter(self.buckets)
        left, count = next(rest)
        lower, width = 0, width_of(left)
        for fraction in wanted:
            # The n-th smallest value; the values of a bucket lie in it at even distances.
            rank = max(1, ceil(self.count * fraction))
            while rank > lower + count:
                lower += count
                left, count = next(rest)
                width = width_of(left)
            found.append(left + (rank - lower) / (count + 1) * width)
        return found

    def detail(self) -> list[tuple[float, float, int]]:
        """Return lower end, width and count of each bucket, in order."""
        return [(left, width_of(left), count) for left, count in self.buckets]

    def below(self, bounds: Sequence[float]) -> list[int]:
        """Return how many values are in buckets that begin at or below each bound (in order)."""
        lefts = [left for left, _ in self.buckets]
        sums = [0]
        for _, count in self.buckets:
            sums.append(sums[-1] + count)
        return [sums[bisect_right(lefts, bound)] for bound in bounds]


@implementer(IHistogram)
class Histogram:
    """
    A distribution: of all values so far, and of those of the last interval.

    The values recorded since the last roll() are in neither, as in Envoy,
    where they are merged at each flush of the statistics.
    """

    __slots__ = ("_new", "bounds", "cumulative", "interval", "name")

    def __init__(self, name: str, bounds: Sequence[float] = BOUNDS) -> None:
        self.name = name
        self.bounds = tuple(bounds)
        self._new: defaultdict[int, int] = defaultdict(int)
        self.interval: dict[int, int] = {}
        self.cumulative: dict[int, int] = {}

    def record(self, value: float, count: int = 1) -> None:
        """Count a value, without its fraction; less than 0 is 0, since Envoy's are unsigned."""
        bucket = int(value)
        if bucket >= 100:
            # Most are milliseconds of less than a second: no need to look for the power of ten.
            bucket -= bucket % (10 if bucket < 1000 else _STEPS[bisect_right(_POWERS, bucket)])
        elif bucket < 0:
            bucket = 0
        self._new[bucket] += count

    @property
    def used(self) -> bool:
        """Whether a value was ever recorded, in an interval that is over."""
        return bool(self.cumulative)

    def roll(self) -> None:
        """Close an interval."""
        self.interval = dict(self._new)
        self._new = defaultdict(int)
        cumulative = self.cumulative
        for bucket, count in self.interval.items():
            cumulative[bucket] = cumulative.get(bucket, 0) + count
