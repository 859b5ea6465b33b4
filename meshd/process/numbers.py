"""
The numbers of the process: server.*, main_thread.*, as Envoy has them.

Those that change by themselves are brought up to date when somebody reads.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

#: server.state
STATES = ("LIVE", "DRAINING", "PRE_INITIALIZING", "INITIALIZING")
_PAGE = resource.getpagesize()


class ServerStats:
    """server.*, of one server."""

    def __init__(self, server: Any) -> None:
        self._server = server
        scope = server.stats.scope("server")
        self._uptime = scope.gauge("uptime")
        self._state = scope.gauge("state")
        self._live = scope.gauge("live")
        self._total = scope.gauge("total_connections")
        self._allocated = scope.gauge("memory_allocated")
        self._heap = scope.gauge("memory_heap_size")
        self._physical = scope.gauge("memory_physical_size")
        self.initialization = scope.histogram("initialization_time_ms")
        scope.gauge("concurrency").set(1)
        for name in ("hot_restart_epoch", "parent_connections", "stats_recent_lookups", "version"):
            scope.gauge(name)
        self._first_expiry = scope.gauge("days_until_first_cert_expiring")
        self._first_staple = scope.gauge("seconds_until_first_ocsp_response_expiring")
        for name in ("debug_assertion_failures", "dropped_stat_flushes", "dynamic_unknown_fields"):
            scope.counter(name)
        for name in ("envoy_bug_failures", "envoy_notifications", "static_unknown_fields", "wip_protos"):
            scope.counter(name)
        server.stats.on_collect(self.collect)

    def collect(self) -> None:
        """Bring up to date what changes by itself."""
        server = self._server
        self._uptime.set(int(time.time() - server.started))
        self._state.set(STATES.index(server.state))
        self._live.set(int(server.state == "LIVE"))
        self._total.set(server.resources.connections)
        registry = server.tls.registry
        self._first_expiry.set(registry.days_until_first_expires())
        self._first_staple.set(registry.seconds_until_first_staple_expires())
        physical = _resident()
        self._allocated.set(physical)
        self._heap.set(physical)
        self._physical.set(physical)


def _resident() -> int:
    """Return the bytes of memory that the process occupies."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
