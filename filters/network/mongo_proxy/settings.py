"""
What the connections of one filter chain share: the config, read once, and the statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakMethod, WeakSet

from envoy.config.core.v3.base_pb2 import RuntimeFractionalPercent

from meshd.filters.network.mongo_proxy.config import Config, Log
from meshd.filters.network.mongo_proxy.logs import OperationLog, fraction
from meshd.filters.network.mongo_proxy.names import OTHER
from meshd.filters.network.mongo_proxy.operation import Operations
from meshd.filters.network.mongo_proxy.quick import Known, Tails
from meshd.filters.network.mongo_proxy.rules import Rules
from meshd.filters.network.mongo_proxy.stats import Numbers
from meshd.interfaces import IFactoryContext

#: Seconds between two looks at runtime and drain, and at connections that are idle meanwhile.
LOOK = 1.0


class Settings:
    """The config of one filter chain."""

    def __init__(self, config: Config, context: IFactoryContext) -> None:
        """Raise ConfigError if it cannot be served."""
        self.numbers = Numbers(context.stats, config.stat_prefix, config.commands, config.bounds)
        self.operations = Operations(self.numbers)
        self.runtime = context.runtime
        self.timers = context.timers
        self.now = context.clock.seconds
        self.draining = context.draining
        self.keep = config.max_inspected_bytes
        self.held = config.max_held_bytes
        self.emit_metadata = config.emit_dynamic_metadata
        self.hosts = {member.lower(): address for member, address in config.hosts.items()}
        self.rules = Rules(config, context)
        self.access_log: Callable[[str], object] | None = None
        self.all_operations: OperationLog | None = None
        if config.access_log:
            self.access_log = context.log_file(config.access_log).write
            self.all_operations = OperationLog(Log(config.access_log), context)
        self.logs = [OperationLog(each, context) for each in config.logs]
        self.delay: Callable[[], float] = lambda: 0.0
        self.has_delay = config.delay is not None
        if config.delay is not None:
            share = fraction(config.delay.percentage, "mongo.fault.fixed_delay.percent")
            self.delay = partial(self._delay, share, config.delay.fixed_delay.total_seconds())
        #: Whether bytes may go on before they are looked at.
        self.only_watches = not (self.has_delay or self.emit_metadata or self.rules.any or self.hosts)
        #: Whether what was seen before may go the short way: nobody wants to know more than numbers.
        self._may_be_quick = not (self.access_log or self.logs or self.emit_metadata or self.has_delay)
        self.quick = False
        self.tails = Tails()
        self._known: dict[str, Known] = {}
        self._strangers: WeakSet[Known] = WeakSet()
        self._connections: set[Any] = set()
        self._looking = False
        # Statistics outlive listeners, and must not keep what these are done with.
        settle = WeakMethod(self.settle)
        context.on_collect(lambda: (settle() or _nothing)())
        self._attend()

    def known(self, application: str) -> Known:
        """Return what is known of an application's requests."""
        found = self._known.get(application)
        if found is None:
            # Those that have no name of their own may be many: each connection learns for itself.
            found = Known(not application or self.numbers.applications.get(application) != OTHER)
            if found.lasting:
                self._known[application] = found
            else:
                self._strangers.add(found)
        return found

    def settle(self) -> None:
        """Bring the statistics up to date."""
        for known in (*self._known.values(), *self._strangers):
            known.settle()
        self.numbers.op_query_active.set(sum(len(each.active) for each in self._connections))

    def _attend(self) -> None:
        """See whether what was seen before may go the short way now: runtime and drain have their say."""
        self.quick = (
            self._may_be_quick and self.runtime.get("mongo.proxy_enabled") is None and not self.draining()
        )

    def _delay(self, share: Any, default: float) -> float:
        """Return how many seconds a request is to wait."""
        if not self.runtime.sampled(share):
            return 0.0
        told = self.runtime.get("mongo.fault.fixed_delay.duration_ms")
        return int(told) / 1000 if told is not None and told.isdigit() else default

    def enabled(self, key: str) -> bool:
        """Whether a runtime key is on: unless its value says otherwise or, as a percentage, the dice."""
        return self.runtime.get(key) is None or self.runtime.sampled(_all_of(key))

    # While the proxy drains: those that are idle are closed too.

    def connected(self, link: Any) -> None:
        """Note a connection."""
        self._connections.add(link)
        self._attend()
        if not self._looking:
            self._looking = True
            self.timers.call_later(LOOK, self._look)

    def closed(self, link: Any) -> None:
        """Forget a connection; after the last one nothing is left aside."""
        self._connections.discard(link)
        if not self._connections:
            self.settle()

    def _look(self) -> None:
        self._attend()
        if self.draining():
            for link in list(self._connections):
                link.close_if_idle()
        self._looking = bool(self._connections)
        if self._looking:
            self.timers.call_later(LOOK, self._look)


def _nothing() -> None:
    """There is nothing to do."""


_percentages: dict[str, Any] = {}


def _all_of(key: str) -> Any:
    """Return the message of a runtime key that is on for all, unless its value says otherwise."""
    made = _percentages.get(key)
    if made is None:
        made = _percentages[key] = RuntimeFractionalPercent(runtime_key=key)
        made.default_value.numerator = 100
    return made
