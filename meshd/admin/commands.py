"""Which function answers which command; what the commands are called and mean is in menu.py."""

from __future__ import annotations

from collections.abc import Callable

from meshd.admin import certs, clusters, control, dump, numbers, pages, state
from meshd.admin.menu import help_text
from meshd.admin.query import Answer, Query, Server


def help_page(server: Server, query: Query) -> Answer:
    """Answer /help."""
    return Answer(help_text())


ANSWERS: dict[str, Callable[[Server, Query], Answer]] = {
    "/": pages.home,
    "/certs": certs.certs,
    "/clusters": clusters.clusters,
    "/config_dump": dump.config_dump,
    "/contention": state.contention,
    "/drain_listeners": control.drain_listeners,
    "/healthcheck/fail": control.healthcheck_fail,
    "/healthcheck/ok": control.healthcheck_ok,
    "/help": help_page,
    "/hot_restart_version": state.hot_restart_version,
    "/init_dump": state.init_dump,
    "/listeners": clusters.listeners,
    "/logging": control.logging,
    "/memory": state.memory,
    "/metrics": numbers.prometheus_stats,  # where Prometheus looks if it is not told; Envoy has no such path
    "/quitquitquit": control.quitquitquit,
    "/ready": state.ready,
    "/reopen_logs": control.reopen_logs,
    "/reset_counters": control.reset_counters,
    "/runtime": control.runtime,
    "/runtime_modify": control.runtime_modify,
    "/server_info": state.server_info,
    "/stats": numbers.stats,
    "/stats/prometheus": numbers.prometheus_stats,
}
