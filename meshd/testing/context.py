"""
A factory context for tests: what the configure function of a plugin is handed.

Every part of it can be looked at, and nothing in it happens by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from meshd.interfaces import (
    IAccessLogger,
    ICounter,
    IFactoryContext,
    IGauge,
    IHistogram,
    INetworkFilter,
    IRuntime,
    IScope,
    IStreamInfo,
    ITimer,
    ITimers,
)

if TYPE_CHECKING:
    from meshd.testing.cluster import FakeCluster


@implementer(ICounter, IGauge)
class FakeNumber:
    """A counter or a gauge."""

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        self.value += amount

    def dec(self, amount: int = 1) -> None:
        self.value -= amount

    def set(self, value: int) -> None:
        self.value = value


@implementer(IHistogram)
class FakeHistogram:
    """Keeps every value that it was given, in values."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def record(self, value: float) -> None:
        self.values.append(value)


@implementer(IScope)
class FakeScope:
    """
    Keeps the statistics by their full names.

    scope["a.b"] is the value of the counter or gauge a.b, 0 if nobody made it;
    scope.histograms["a.b"].values is what a histogram was given.
    """

    def __init__(self, root: FakeScope | None = None, prefix: str = "") -> None:
        self.prefix = prefix
        self.numbers: dict[str, FakeNumber] = {} if root is None else root.numbers
        self.histograms: dict[str, FakeHistogram] = {} if root is None else root.histograms

    def counter(self, name: str) -> FakeNumber:
        return self.numbers.setdefault(self.prefix + name, FakeNumber())

    def gauge(self, name: str) -> FakeNumber:
        return self.counter(name)

    def histogram(self, name: str) -> FakeHistogram:
        return self.histograms.setdefault(self.prefix + name, FakeHistogram())

    def scope(self, prefix: str) -> FakeScope:
        return FakeScope(self, f"{self.prefix}{prefix}.")

    def __getitem__(self, name: str) -> int:
        number = self.numbers.get(self.prefix + name)
        return number.value if number is not None else 0


@implementer(ITimer)
class FakeTimer:
    """A call that will be made when the test moves the clock."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def cancel(self) -> None:
        if self._call.active():
            self._call.cancel()


@implementer(ITimers)
class FakeTimers:
    """Timers that go by a twisted.internet.task.Clock, to the second's fraction."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock

    def call_later(self, delay: float, callback: Callable[[], object]) -> FakeTimer:
        return FakeTimer(self.clock.callLater(delay, callback))


@implementer(IRuntime)
class FakeRuntime:
    """
    Runtime values that the test sets in values, all of them text.

    dice, from 0 to under 1, is what sampled() throws: 0 hits whatever can be hit.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.dice = 0.0

    def get(self, key: str) -> str | None:
        return self.values.get(key)

    def enabled(self, flag: Any) -> bool:
        value = self.values.get(flag.runtime_key)
        if value is not None:
            return value.lower() in ("true", "1")
        return bool(flag.default_value.value) if flag.HasField("default_value") else True

    def sampled(self, fraction: Any) -> bool:
        share = fraction.default_value
        value = float(self.values.get(fraction.runtime_key, share.numerator))
        return self.dice < value / (100, 10_000, 1_000_000)[share.denominator]


@implementer(IAccessLogger)
class FakeAccessLogger:
    """Keeps the info of what was logged, in logged; config is the message it was made of."""

    def __init__(self, config: Any = None) -> None:
        self.config = config
        self.logged: list[IStreamInfo] = []

    def log(self, info: IStreamInfo) -> None:
        self.logged.append(info)


@implementer(IFactoryContext)
class FakeContext:
    """
    A factory context whose parts can be looked at.

    clock and reactor are one MemoryReactorClock; loggers are the access loggers
    that were asked for.  Clusters are given by name or added to clusters.
    """

    def __init__(self, *clusters: FakeCluster) -> None:
        self.clock = self.reactor = MemoryReactorClock()
        self.timers = FakeTimers(self.clock)
        self.stats = FakeScope()
        self.runtime = FakeRuntime()
        self.clusters: dict[str, FakeCluster] = {each.name: each for each in clusters}
        self.loggers: list[FakeAccessLogger] = []
        self.transport_links: list[Callable[[], INetworkFilter]] = []

    def access_loggers(self, configs: Sequence[Any]) -> Sequence[FakeAccessLogger]:
        made = [FakeAccessLogger(each) for each in configs]
        self.loggers += made
        return made

    def transport_socket(self, config: Any) -> Sequence[Callable[[], INetworkFilter]]:
        """Return the links that the test put into transport_links."""
        return self.transport_links
