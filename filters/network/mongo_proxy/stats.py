"""
The statistics: Envoy's by Envoy's names, and meshd's own beside them.

Numbers are what a stat_prefix has once; Calls what a command, a collection or a
callsite has.  They are made when they are first needed, and kept, so that a
request finds all that it counts in by one look into a dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

from meshd.filters.network.mongo_proxy.config import Bounds
from meshd.filters.network.mongo_proxy.names import OTHER, BoundedNames, part
from meshd.interfaces import ICounter, IHistogram, IScope

#: How often a value occurred.
Often = Mapping[int, int]

#: Envoy's, the second line meshd's own.
COUNTERS = """
cx_destroy_local_with_active_rq cx_destroy_remote_with_active_rq cx_drain_close decoding_error
delays_injected op_command op_command_reply op_get_more op_insert op_kill_cursors op_query
op_query_await_data op_query_exhaust op_query_multi_get op_query_no_cursor_timeout
op_query_no_max_time op_query_scatter_get op_query_tailable_cursor op_reply
op_reply_cursor_not_found op_reply_query_failure op_reply_valid_cursor

op_msg op_msg_reply op_msg_unanswered op_update op_delete op_compressed op_compressed_unknown
op_unknown framing_lost message_large op_query_collection_scan request_forgotten reply_unexpected
cursor_opened cursor_continued cursor_killed cursor_timed_out
transaction_started transaction_committed transaction_aborted retried_writes
refused read_only_refused rate_limited errors_injected hello_rewritten write_errors
""".split()

#: The commands that have statistics of their own in OP_MSG, besides those that the config names.
COMMANDS = (
    "find", "insert", "update", "delete", "aggregate", "getMore", "findAndModify", "count", "distinct",
)  # fmt: skip
UNKNOWN = "unknown_command"

#: Names of commands that servers know by other spellings too.
ALIASES = {
    "collstats": "collStats",
    "dbstats": "dbStats",
    "findandmodify": "findAndModify",
    "getlasterror": "getLastError",
    "ismaster": "isMaster",
}


class Calls:
    """What is counted of the calls of a command, to a collection, or from a callsite."""

    def __init__(self, scope: IScope) -> None:
        self.scope = scope
        self.total: ICounter = scope.counter("total")

    @cached_property
    def multi_get(self) -> ICounter:
        """Queries for several _ids."""
        return self.scope.counter("multi_get")

    @cached_property
    def scatter_get(self) -> ICounter:
        """Queries without an _id."""
        return self.scope.counter("scatter_get")

    @cached_property
    def collection_scan(self) -> ICounter:
        """Queries of which an explain told that they look at the whole collection."""
        return self.scope.counter("collection_scan")

    @cached_property
    def errors(self) -> ICounter:
        """Calls that were answered with an error."""
        return self.scope.counter("errors")

    @cached_property
    def _histograms(self) -> tuple[IHistogram, IHistogram, IHistogram]:
        histogram = self.scope.histogram
        return histogram("reply_num_docs"), histogram("reply_size"), histogram("reply_time_ms")

    def answered(self, documents: int, size: int, time_ms: float) -> None:
        """Count an answer: documents, their bytes, and the time since the request."""
        one, other, third = self._histograms
        one.record(documents)
        other.record(size)
        third.record(time_ms)

    def answered_often(self, documents: Often, sizes: Often, times: Often) -> None:
        """Count many answers: how often there were so many documents, bytes and ms."""
        for histogram, values in zip(self._histograms, (documents, sizes, times), strict=True):
            for value, count in values.items():
                histogram.record(value, count)


class Numbers:
    """All statistics of one stat_prefix."""

    def __init__(self, stats: IScope, prefix: str, commands: list[str], bounds: Bounds) -> None:
        self.scope = stats.scope(f"mongo.{prefix}")
        for name in COUNTERS:
            setattr(self, name, self.scope.counter(name))
        self.op_query_active = self.scope.gauge("op_query_active")
        self.legacy_commands = frozenset(commands)
        self.commands = frozenset((*COMMANDS, *commands))
        self.collections = BoundedNames(bounds.collections)
        self.callsites = BoundedNames(bounds.callsites)
        self.applications = BoundedNames(bounds.applications)
        self.drivers = BoundedNames(bounds.drivers)
        self.errors = BoundedNames(bounds.errors)
        self._calls: dict[str, Calls] = {}

    def __getattr__(self, name: str) -> ICounter:
        # For the type checker: all names are set by __init__.
        raise AttributeError(name)

    def _get(self, name: str) -> Calls:
        calls = self._calls.get(name)
        if calls is None:
            calls = self._calls[name] = Calls(self.scope.scope(name))
        return calls

    def command(self, name: str, known: frozenset[str]) -> Calls:
        """Return what is counted of a command; of those that are not known together."""
        name = ALIASES.get(name, name)
        return self._get(f"cmd.{name if name in known else UNKNOWN}")

    def collection(self, name: str, operation: str = "query") -> Calls:
        """Return what is counted of an operation (query, insert, ...) on a collection."""
        return self._get(f"collection.{self.collections.get(name)}.{operation}")

    def callsite(self, collection: str, callsite: str, operation: str = "query") -> Calls:
        """Return what is counted of an operation on a collection from a place in a program."""
        # One bound on the pairs, else there could be as many as the product of two.
        own = self.collections.get(collection)
        place = self.callsites.get(f"{own}.callsite.{callsite}")
        return self._get(
            f"collection.{own}.callsite.{OTHER if place == OTHER else part(callsite)}.{operation}"
        )

    def has_place(self, collection: str, callsite: str) -> bool:
        """Whether a callsite that was counted is counted by its own name."""
        own = self.collections.get(collection)
        return self.callsites.get(f"{own}.callsite.{callsite}") != OTHER

    def error(self, name: str) -> ICounter:
        """Return the counter of an error by its code's name."""
        return self.scope.counter(f"error.{self.errors.get(name)}")

    def driver(self, name: str, version: str) -> ICounter:
        """Return the counter of handshakes of a driver in a version."""
        driver = self.drivers.get(re.sub(r"\W+", "_", f"{name} {version}").strip("_"))
        return self.scope.counter(f"driver.{driver}.cx_total")

    def wire_version(self, version: int) -> ICounter:
        """Return the counter of handshakes with servers that speak up to this wire version."""
        return self.scope.counter(f"server.wire_version_{min(max(version, 0), 99)}.cx_total")

    def application(self, name: str) -> IScope:
        """Return where an application's connections are counted."""
        return self.scope.scope(f"application.{self.applications.get(name)}")
