"""
What a connection does in stunnel's place: its log lines, its time-outs, its resets.

``meshd.filters.listener.stunnel`` stands first among the listener filters: it
gives the connection its log and its number.  ``meshd.filters.network.stunnel``
stands right before tcp_proxy, inside TLS: it counts the bytes, sees to the
time-outs, sends clients with a bad certificate elsewhere, and makes resets of
errors.  ``accept``, ``relay`` and ``tunnel`` say how.

The lines are events of the namespace stunnel; meshd-stunnel writes them as
stunnel does.  Times are in seconds.

Serves Accept and Relay; Envoy has no such filters.
"""

from __future__ import annotations

from meshd.filters.network.stunnel.accept import Accept, Acceptor
from meshd.filters.network.stunnel.relay import Relay, Relays
from meshd.plugin import ListenerFilterPlugin, NetworkFilterPlugin

stunnel_accept = ListenerFilterPlugin(
    "meshd.filters.listener.stunnel",
    Accept,
    Acceptor,
    serves=(
        "service",
        "client",
        "level",
        "log_id",
        "timeout_busy",
        "verifies",
        "program",
        "libwrap",
        "ident",
        "timeout_connect",
        "reset",
    ),
)

stunnel_relay = NetworkFilterPlugin(
    "meshd.filters.network.stunnel",
    Relay,
    Relays,
    serves=(
        "service",
        "client",
        "level",
        "timeout_busy",
        "timeout_close",
        "timeout_idle",
        "reset",
        "redirect",
        "server_name",
        "verifies",
        "pattern",
        "virtual",
        "tlvs",
        "ocsp",
        "original_destination",
        "persistence",
        "session_cache_size",
        "session_timeout",
    ),
)
