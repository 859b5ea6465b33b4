"""
A factory context for tests: what the configure function of a plugin is handed.

Every part of it can be looked at, and nothing in it happens by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from meshd.interfaces import (
    IAccessLogger,
    ICounter,
    IDnsCache,
    IFactoryContext,
    IGauge,
    IHistogram,
    ILogFile,
    INetworkFilter,
    IRuntime,
    IScope,
    IStreamInfo,
    IText,
    ITimer,
    ITimers,
)
from meshd.testing.grpc import FakeGrpcChannel
from meshd.upstream.dns_caches import DnsCaches
from meshd.upstream.resolver import Answer, Family, INameResolver

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

    def record(self, value: float, count: int = 1) -> None:
        self.values += [value] * count


@implementer(IText)
class FakeText:
    """A text readout."""

    def __init__(self) -> None:
        self.value = ""

    def set(self, value: str) -> None:
        self.value = value


@implementer(IScope)
class FakeScope:
    """
    Keeps the statistics by their full names.

    scope["a.b"] is the value of the counter or gauge a.b, 0 if nobody made it;
    scope.histograms["a.b"].values is what a histogram was given, scope.texts["a.b"].value
    what a text readout tells.
    """

    def __init__(self, root: FakeScope | None = None, prefix: str = "") -> None:
        self.prefix = prefix
        self.numbers: dict[str, FakeNumber] = {} if root is None else root.numbers
        self._histograms: dict[str, FakeHistogram] = {} if root is None else root._histograms
        self.texts: dict[str, FakeText] = {} if root is None else root.texts
        #: What is called before they are read.
        self.collectors: list[Callable[[], object]] = [] if root is None else root.collectors

    def counter(self, name: str) -> FakeNumber:
        return self.numbers.setdefault(self.prefix + name, FakeNumber())

    def gauge(self, name: str) -> FakeNumber:
        return self.counter(name)

    def histogram(self, name: str) -> FakeHistogram:
        return self._histograms.setdefault(self.prefix + name, FakeHistogram())

    @property
    def histograms(self) -> dict[str, FakeHistogram]:
        """The histograms by their full names."""
        self._collect()
        return self._histograms

    def _collect(self) -> None:
        for callback in self.collectors:
            callback()

    def text(self, name: str) -> FakeText:
        return self.texts.setdefault(self.prefix + name, FakeText())

    def scope(self, prefix: str) -> FakeScope:
        return FakeScope(self, f"{self.prefix}{prefix}.")

    def __getitem__(self, name: str) -> int:
        self._collect()
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


@implementer(INameResolver)
class FakeResolver:
    """Keeps each question until the test answers it; lookups has (name, family, Deferred)."""

    def __init__(self) -> None:
        self.lookups: list[tuple[str, Family, Deferred[Answer]]] = []
        self.cancelled: list[str] = []

    def lookup(self, name: str, family: Family) -> Deferred[Answer]:
        asked: Deferred[Answer] = Deferred(lambda _: self.cancelled.append(name))
        self.lookups.append((name, family, asked))
        return asked

    def answer(self, *addresses: str, ttl: int = 0) -> None:
        """Answer the oldest question."""
        self.lookups.pop(0)[2].callback((list(addresses), ttl))

    def fail(self, error: Exception) -> None:
        """Fail the oldest question."""
        self.lookups.pop(0)[2].errback(error)


@implementer(IAccessLogger)
class FakeAccessLogger:
    """Keeps the info of what was logged, in logged; config is the message it was made of."""

    def __init__(self, config: Any = None) -> None:
        self.config = config
        self.logged: list[IStreamInfo] = []

    def log(self, info: IStreamInfo) -> None:
        self.logged.append(info)


@implementer(ILogFile)
class FakeLogFile:
    """Keeps the lines that were written, in lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


@implementer(IFactoryContext)
class FakeContext:
    """
    A factory context whose parts can be looked at.

    What is to be called soon is called when the test lets the clock advance, be it by 0.
    clock and reactor are one MemoryReactorClock; loggers are the access loggers
    that were asked for, log_files the files by their paths; is_draining is what
    draining() says.  Clusters are given by name or added to clusters.
    """

    def __init__(self, *clusters: FakeCluster) -> None:
        self.clock = self.reactor = MemoryReactorClock()
        self.timers = FakeTimers(self.clock)
        self.soon: Callable[[Callable[[], object]], object] = lambda callback: self.clock.callLater(
            0, callback
        )
        self.stats = FakeScope()
        self.runtime = FakeRuntime()
        self.resolver = FakeResolver()
        self.dns_caches = DnsCaches(self.clock, self.reactor, self.resolver, self.stats)
        self.clusters: dict[str, FakeCluster] = {each.name: each for each in clusters}
        self.admin_pages: dict[str, Callable[[], str]] = {}
        self.loggers: list[FakeAccessLogger] = []
        self.log_files: dict[str, FakeLogFile] = {}
        self.is_draining = False
        #: The channels to gRPC services that were asked for.
        self.grpc_channels: list[FakeGrpcChannel] = []
        self.transport_links: list[Callable[[], INetworkFilter]] = []
        #: Of the proxy's own TLS; tests of that set them.
        self.tls: Any = None
        self.around: Any = None

    def dns_cache(self, config: Any) -> IDnsCache:
        """Return a real cache, whose questions resolver gets."""
        return self.dns_caches.cache(config)

    def access_loggers(self, configs: Sequence[Any]) -> Sequence[FakeAccessLogger]:
        made = [FakeAccessLogger(each) for each in configs]
        self.loggers += made
        return made

    def log_file(self, path: str) -> FakeLogFile:
        """Return the file that log_files has by that path."""
        return self.log_files.setdefault(path, FakeLogFile())

    def on_collect(self, callback: Callable[[], object]) -> None:
        """Call back before the test reads a statistic."""
        self.stats.collectors.append(callback)

    def draining(self) -> bool:
        """Return what the test set is_draining to."""
        return self.is_draining

    def transport_socket(self, config: Any) -> Sequence[Callable[[], INetworkFilter]]:
        """Return the links that the test put into transport_links."""
        return self.transport_links

    def grpc_channel(self, config: Any, timeout: float = 0.0) -> FakeGrpcChannel:
        """Return a channel whose calls the test answers; it is kept in grpc_channels."""
        channel = FakeGrpcChannel(config, timeout)
        self.grpc_channels.append(channel)
        return channel
