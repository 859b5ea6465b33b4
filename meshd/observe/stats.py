"""
The statistics: where they are made, and how they are read.

A Store has them all, under Envoy's full names.  Whoever counts asks a scope
for a counter, gauge or histogram once, at configure time, and keeps it: while
bytes flow nothing is looked up, and ``counter.value += n`` is all that is done.
text() and json() read all of it out.
What the names mean as tags is found when they are read (see tags.py), not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from zope.interface import implementer

from meshd.interfaces import ICounter, IGauge, IScope, IText
from meshd.observe.histogram import BOUNDS, Histogram
from meshd.observe.readout import json, text
from meshd.observe.tags import Tags, read_bounds, read_tags, read_wanted

__all__ = ["Counter", "Gauge", "Histogram", "Scope", "Store", "TextReadout", "json", "text"]


@implementer(ICounter)
class Counter:
    """A number that only grows."""

    __slots__ = ("_touched", "name", "value")

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 0
        self._touched = False

    def inc(self, amount: int = 1) -> None:
        self.value += amount

    @property
    def used(self) -> bool:
        """Whether it ever counted."""
        return self._touched or self.value != 0

    def reset(self) -> None:
        """Begin again at 0."""
        self._touched = self.used
        self.value = 0


@implementer(IGauge)
class Gauge:
    """A number that goes up and down."""

    __slots__ = ("_touched", "name", "value")

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 0
        self._touched = False

    def inc(self, amount: int = 1) -> None:
        self.value += amount
        self._touched = True

    def dec(self, amount: int = 1) -> None:
        self.value -= amount
        self._touched = True

    def set(self, value: int) -> None:
        self.value = value
        self._touched = True

    @property
    def used(self) -> bool:
        """Whether it was ever changed."""
        return self._touched or self.value != 0

    def touch(self) -> None:
        """Note that it is used, if it is: the data plane may change value directly."""
        self._touched = self.used


@implementer(IText)
class TextReadout:
    """A text, such as the version of a config."""

    __slots__ = ("name", "used", "value")

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = ""
        self.used = False

    def set(self, value: str) -> None:
        """Put it to value."""
        self.value = value
        self.used = True


def sanitize(name: str) -> str:
    """Return name as it may be part of a statistic's: without colons, and dots at its ends."""
    name = name.strip(".")
    if ":" in name:
        name = name.replace("://", "_").replace(":/", "_").replace(":", "_")
    return name.replace("\0", "_")


@implementer(IScope)
class Scope:
    """Makes statistics whose names begin with a prefix."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self.prefix = prefix

    def counter(self, name: str) -> Counter:
        return self._store.counter(f"{self.prefix}.{name}")

    def gauge(self, name: str) -> Gauge:
        return self._store.gauge(f"{self.prefix}.{name}")

    def histogram(self, name: str) -> Histogram:
        return self._store.histogram(f"{self.prefix}.{name}")

    def text(self, name: str) -> TextReadout:
        """Return the text readout of that name, making it if there is none."""
        return self._store.text(f"{self.prefix}.{name}")

    def scope(self, prefix: str) -> Scope:
        return Scope(self._store, f"{self.prefix}.{sanitize(prefix)}")


_T = TypeVar("_T", Counter, Gauge, Histogram, TextReadout)


@implementer(IScope)
class Store:
    """
    All statistics, by name; itself the scope without a prefix.

    wanted says which names are kept (stats_matcher), bounds the export
    buckets of a histogram by its name (histogram_bucket_settings).  What is
    not wanted counts, but is not shown.
    """

    def __init__(self) -> None:
        #: How names are taken apart.
        self.tags = Tags()
        self.wanted: Callable[[str], bool] = lambda name: True
        self.bounds: Callable[[str], Sequence[float]] = lambda name: BOUNDS
        self.counters: dict[str, Counter] = {}
        self.gauges: dict[str, Gauge] = {}
        self.histograms: dict[str, Histogram] = {}
        self.texts: dict[str, TextReadout] = {}
        self._unwanted: dict[tuple[type, str], Counter | Gauge | Histogram | TextReadout] = {}
        self._collectors: list[Callable[[], object]] = []

    def configure(self, config: Any, fixed: Mapping[str, str] | None = None) -> None:
        """
        Keep and show what the StatsConfig message config says, with fixed tags (--stats-tag) for all.

        Raise ConfigError, and change nothing, if it cannot be served.
        """
        tags = read_tags(config, fixed or {})
        wanted = read_wanted(config.stats_matcher)
        bounds = read_bounds(config.histogram_bucket_settings)
        self.tags, self.wanted, self.bounds = tags, wanted, bounds
        for kept in (self.texts, self.counters, self.gauges, self.histograms):
            for name in [name for name in kept if not wanted(name)]:
                gone = kept.pop(name)
                self._unwanted[gone.__class__, name] = gone
        for histogram in self.histograms.values():
            histogram.bounds = tuple(bounds(histogram.name))

    def _get(self, kept: dict[str, _T], kind: type[_T], name: str) -> _T:
        found = kept.get(name)
        if found is not None:
            return found
        name = sanitize(name)
        if name in kept:
            return kept[name]
        if not self.wanted(name):
            unwanted = self._unwanted.setdefault((kind, name), kind(name))
            assert isinstance(unwanted, kind)
            return unwanted
        made = kept[name] = kind(name)
        return made

    def counter(self, name: str) -> Counter:
        return self._get(self.counters, Counter, name)

    def gauge(self, name: str) -> Gauge:
        return self._get(self.gauges, Gauge, name)

    def histogram(self, name: str) -> Histogram:
        made = self._get(self.histograms, Histogram, name)
        made.bounds = tuple(self.bounds(made.name))
        return made

    def text(self, name: str) -> TextReadout:
        """Return the text readout of that name, making it if there is none."""
        return self._get(self.texts, TextReadout, name)

    def scope(self, prefix: str) -> Scope:
        return Scope(self, sanitize(prefix))

    def __iter__(self) -> Iterator[Counter | Gauge | Histogram | TextReadout]:
        """Yield all, kind by kind, sorted by name."""
        for kept in (self.texts, self.counters, self.gauges, self.histograms):
            for name in sorted(kept):
                yield kept[name]

    def remove(self, prefix: str) -> None:
        """Forget all whose names begin with prefix and a dot."""
        start = f"{sanitize(prefix)}."
        for kept in (self.texts, self.counters, self.gauges, self.histograms):
            for name in [name for name in kept if name.startswith(start)]:
                del kept[name]
        self.tags.forget()

    def on_collect(self, callback: Callable[[], object]) -> None:
        """Call back before each read-out and flush, so that numbers kept lazily can be brought up to date."""
        self._collectors.append(callback)

    def collect(self) -> None:
        """Bring the numbers up to date, to be read."""
        for callback in self._collectors:
            callback()
        for gauge in self.gauges.values():
            gauge.touch()

    def flush(self) -> None:
        """Close an interval of the histograms; to be called every stats_flush_interval."""
        self.collect()
        for histogram in self.histograms.values():
            histogram.roll()

    def reset_counters(self) -> None:
        """Put all counters to 0."""
        for counter in self.counters.values():
            counter.reset()
