"""A connection that is over, for the tests of access logs: the one that Envoy 1.40 was asked to log."""

from __future__ import annotations

from typing import Any

from meshd.observe.info import ConnectionInfo, UpstreamInfo

START = 1795415650.12816


class Endpoint:
    """The host that it went to."""

    address = ("127.0.0.1", 24903)
    hostname = "host.name:9"
    text = "127.0.0.1:24903"
    metadata = {"um": {"s": "UM", "b": 2.0}}


class Attempt:
    """The connection to the host."""

    host = Endpoint()
    id = 1
    local = ("127.0.0.1", 36562)


def refused() -> Any:
    """Return a connection for which there was no cluster."""
    info: Any = ConnectionInfo(("127.0.0.1", 59504), ("127.0.0.1", 24902))
    info.id = 0
    info.start = START
    info.end = START + 0.000279
    info.filter_chain_name = "chainy"
    info.log_type = "TcpConnectionEnd"
    info.flags.add("NC")
    info.local_close_reason = "tcp_initializion_failure:3"
    return info


def relayed() -> Any:
    """Return a connection that was relayed, with 25 bytes each way."""
    info = refused()
    info.flags.clear()
    info.local_close_reason = ""
    info.end = START + 0.071926
    info.filter_state["fs"] = 'hello "w"'
    info.listener_metadata = {"lm": {"s": "LM"}}
    info.filter_chain_metadata = {"fm": {"s": "FM"}}
    up: Any = UpstreamInfo()
    info.upstream = up
    up.cluster = "c1"
    up.cluster_stat_name = "c1:alt"
    up.cluster_metadata = {
        "cm": {
            "s": "string",
            "l": ["a", 1.0, True, None, 2.5],
            "n": 3.0,
            "f": 1.25,
            "b": True,
            "st": {"k": "vv", "a": 1.0},
        }
    }
    up.host = Attempt.host
    up.tried = (Attempt(),)
    up.id = 1
    up.remote = Endpoint.address
    up.local = Attempt.local
    up.connect_start = START + 0.000285
    up.connected = START + 0.000346
    info.bytes_received = info.bytes_sent = 25
    info.wire_bytes_received = info.wire_bytes_sent = 25
    up.wire_bytes_received = up.wire_bytes_sent = 25
    return info
