"""The process as a whole: /ready, /server_info, /memory, /init_dump."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from envoy.admin.v3.memory_pb2 import Memory
from envoy.admin.v3.server_info_pb2 import CommandLineOptions, ServerInfo
from envoy.config.core.v3.base_pb2 import Node

from meshd import __version__
from meshd.admin.query import Answer, Query, Server, as_json, plain

#: Hot restart: none yet, which Envoy says so too.
HOT_RESTART_VERSION = "disabled"

#: The options that CommandLineOptions calls as meshd.options does, and that are what they are there.
_SAME = (
    "admin_address_path",
    "allow_unknown_static_fields",
    "base_id",
    "base_id_path",
    "concurrency",
    "config_path",
    "config_yaml",
    "disable_hot_restart",
    "ignore_unknown_dynamic_fields",
    "log_format",
    "log_level",
    "log_path",
    "reject_unknown_dynamic_fields",
    "restart_epoch",
    "service_cluster",
    "service_node",
    "service_zone",
    "skip_hot_restart_on_no_parent",
    "skip_hot_restart_parent_stats",
    "use_dynamic_base_id",
)


def build_version() -> str:
    """Return it with Envoy's five parts: revision, release, state of the sources, build, TLS."""
    return f"meshd/{__version__}/Distribution/RELEASE/none"


def uptime(server: Server, now: float | None = None) -> int:
    """Return for how many whole seconds it has been running."""
    return max(0, int((time.time() if now is None else now) - server.started))


def node(server: Server) -> Any:
    """Return the Node message of the bootstrap, completed by the command line and by what is built in."""
    made = Node()
    made.CopyFrom(server.bootstrap.node)
    options = server.options
    made.id = options.service_node or made.id
    made.cluster = options.service_cluster or made.cluster
    if options.service_zone:
        made.locality.zone = options.service_zone
    made.user_agent_name = "meshd"
    numbers = [int(part) if part.isdigit() else 0 for part in __version__.split(".")[:3]] + [0, 0, 0]
    number = made.user_agent_build_version.version
    number.major_number, number.minor_number, number.patch = numbers[:3]
    del made.extensions[:]
    for category, plugins in _extensions(server):
        for name, plugin in sorted({each.name: each for each in plugins}.items()):
            config = plugin.config
            known = getattr(config, "DESCRIPTOR", None)
            made.extensions.add(
                name=name, category=category, type_urls=[known.full_name] if known is not None else []
            )
    return made


def _extensions(server: Server) -> list[tuple[str, Iterable[Any]]]:
    def sockets(side: str) -> list[Any]:
        return [each for each in server.plugins.transport_socket.values() if each.side in ("", side)]

    return [
        ("envoy.filters.listener", server.plugins.listener.values()),
        ("envoy.filters.network", server.plugins.network.values()),
        ("envoy.transport_sockets.downstream", sockets("downstream")),
        ("envoy.transport_sockets.upstream", sockets("upstream")),
    ]


def command_line(server: Server) -> Any:
    """Return the CommandLineOptions message."""
    options = server.options
    made = CommandLineOptions(**{name: getattr(options, name) for name in _SAME})
    made.mode = CommandLineOptions.Mode.Value(options.mode.capitalize())
    made.drain_strategy = CommandLineOptions.DrainStrategy.Value(options.drain_strategy.capitalize())
    made.component_log_level = ",".join(f"{name}:{level}" for name, level in options.component_log_level)
    made.stats_tag.extend(f"{tag}:{value}" for tag, value in options.stats_tag)
    made.file_flush_interval.FromMilliseconds(options.file_flush_interval_msec)
    made.drain_time.FromSeconds(options.drain_time_s)
    made.parent_shutdown_time.FromSeconds(options.parent_shutdown_time_s)
    return made


def ready(server: Server, query: Query) -> Answer:
    """Answer /ready: the state, with 200 only if traffic is to come."""
    return Answer(f"{server.state}\n", 200 if server.state == "LIVE" else 503)


def server_info(server: Server, query: Query) -> Answer:
    """Answer /server_info: an envoy.admin.v3.ServerInfo."""
    info = ServerInfo(
        version=build_version(),
        state=server.state,
        hot_restart_version=HOT_RESTART_VERSION,
        command_line_options=command_line(server),
        node=node(server),
    )
    info.uptime_current_epoch.FromSeconds(uptime(server))
    info.uptime_all_epochs.FromSeconds(uptime(server))
    # The last field is Envoy 1.40's, newer than the messages of xds-protos.
    return as_json({**plain(info, defaults=True), "hot_restart_initializing": False})


def memory_of(status: str) -> dict[str, int]:
    """
    Read the numbers of /proc/self/status, in bytes, as Envoy names them.

    allocated is what the process has touched of its own memory, heap_size
    what it has asked for.
    """
    kilobytes = {}
    for line in status.splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith("kB"):
            kilobytes[name] = int(rest.split()[0]) * 1024
    allocated, heap = kilobytes.get("RssAnon", 0), kilobytes.get("VmData", 0)
    return {
        "allocated": allocated,
        "heap_size": heap,
        "pageheap_unmapped": max(0, heap - allocated),
        "total_physical_bytes": kilobytes.get("VmRSS", 0),
    }


def memory_numbers() -> dict[str, int]:
    """Return how much memory this process has, in bytes."""
    try:
        return memory_of(Path("/proc/self/status").read_text())
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"allocated": peak, "heap_size": peak, "pageheap_unmapped": 0, "total_physical_bytes": peak}


def memory(server: Server, query: Query) -> Answer:
    """Answer /memory: an envoy.admin.v3.Memory."""
    return as_json(plain(Memory(**memory_numbers()), defaults=True))


def hot_restart_version(server: Server, query: Query) -> Answer:
    """Answer /hot_restart_version as Envoy does with --disable-hot-restart."""
    return Answer(HOT_RESTART_VERSION)


def contention(server: Server, query: Query) -> Answer:
    """Answer /contention: a worker is one thread, and has no lock to wait for."""
    return Answer("Mutex contention tracing is not enabled. meshd has no mutexes: a worker is one thread.")


def init_dump(server: Server, query: Query) -> Answer:
    """Answer /init_dump: the clusters that the start is waiting for."""
    waiting = [name for name, cluster in server.clusters.items() if not cluster.warmed]
    if not waiting or query.get("mask") == "listener":
        return as_json({})
    dump = {"name": "init manager Server", "target_names": [f"cluster {name}" for name in waiting]}
    return as_json({"unready_targets_dumps": [dump]})
