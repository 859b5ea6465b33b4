"""The parts of the home page that change while meshd runs: summary, listeners, clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshd import __version__
from meshd.admin.clusters import hosts_of, number, observability_name
from meshd.admin.markup import Html, tags
from meshd.admin.mask import unpack
from meshd.admin.query import Server
from meshd.admin.state import memory_numbers, node, uptime
from meshd.upstream.host import address_text

#: How many hosts of a cluster the page shows.
SHOWN = 100


def state_pill(server: Server) -> Html:
    """Return the state, in its colour."""
    kind = "good" if server.state == "LIVE" else "warn"
    return tags.span(server.state, class_=f"pill {kind}", id="state", **{"data-live": ""})


def title(server: Server) -> str:
    """Return what the browser's tab is to be called."""
    name = node(server).id
    return f"{name} - meshd" if name else "meshd"


def duration(seconds: int) -> str:
    """Return a duration as its two largest units: 3d 4h, 2m 5s."""
    found: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count or found or unit == "s":
            found.append(f"{count}{unit}")
    return " ".join(found[:2])


def grouped(value: int) -> str:
    """Return a number with its digits in groups of three."""
    return f"{value:,}"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


def counter(server: Server, name: str) -> int:
    """Return the value of a counter; 0 if there is none."""
    found = server.stats.counters.get(name)
    return found.value if found is not None else 0


def gauge(server: Server, name: str) -> int:
    """Return the value of a gauge; 0 if there is none."""
    found = server.stats.gauges.get(name)
    return found.value if found is not None else 0


def _fact(name: str, value: str, more: str = "") -> Html:
    return tags.div(
        tags.span(name, class_="dim"),
        tags.b(value),
        tags.small(more or "\u00a0", class_="dim"),
        class_="card",
    )


def listener_prefix(listener: Any) -> str:
    """Return what the names of a listener's statistics begin with."""
    prefix = str(listener.stat_prefix)
    return prefix if prefix.startswith("listener.") else f"listener.{prefix}"


def summary(server: Server) -> list[Html]:
    """Return what runs, in a few numbers, and under which name and config."""
    prefixes = [listener_prefix(each) for each in server.listeners.values()]
    active = sum(gauge(server, f"{prefix}.downstream_cx_active") for prefix in prefixes)
    total = sum(counter(server, f"{prefix}.downstream_cx_total") for prefix in prefixes)
    hosts = [host for cluster in server.clusters.values() for host in cluster.hosts]
    healthy = sum(host.healthy for host in hosts)
    addresses = sum(len(each.addresses) for each in server.listeners.values())
    memory = memory_numbers()
    facts = tags.div(
        _fact("Uptime", duration(uptime(server)), f"version {__version__}"),
        _fact("Connections", grouped(active), f"{grouped(total)} in all"),
        _fact("Listeners", grouped(len(server.listeners)), f"at {_count(addresses, 'address', 'es')}"),
        _fact("Healthy hosts", f"{healthy} of {len(hosts)}", f"in {_count(len(server.clusters), 'cluster')}"),
        _fact("Memory", _megabytes(memory["total_physical_bytes"]), "resident"),
        class_="facts",
    )
    return [facts, tags.p(*_about(server), class_="about")]


def _about(server: Server) -> list[Html]:
    who = node(server)
    place = " / ".join(
        part for part in (who.locality.region, who.locality.zone, who.locality.sub_zone) if part
    )
    known = (
        ("config", server.options.config_path or "given on the command line"),
        ("node", who.id),
        ("cluster", who.cluster),
        ("locality", place),
    )
    return [tags.span(name, " ", tags.code(str(value))) for name, value in known if value]


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def _heading(text: str, more: str) -> Html:
    return tags.h2(text, tags.small(more))


def _table(heads: Sequence[tuple[str, str]], *bodies: Html) -> Html:
    head = tags.thead(tags.tr(*(tags.th(text, class_=kind) for text, kind in heads)))
    return tags.div(tags.table(head, *bodies), class_="card")


def listeners(server: Server) -> list[Html]:
    """Return the listeners: where they listen, what they do, how many connections they have."""
    heading = _heading("Listeners", _count(len(server.listeners), "listener"))
    if not server.listeners:
        return [heading, tags.div("No listener is configured.", class_="card empty")]
    heads = (("Name", ""), ("Address", ""), ("Filters", ""), ("Active", "number"), ("Total", "number"))
    rows = [_listener_row(server, each) for each in server.listeners.values()]
    return [heading, _table(heads, tags.tbody(*rows))]


def _listener_row(server: Server, listener: Any) -> Html:
    prefix = listener_prefix(listener)
    addresses = [tags.div(address_text(address)) for address in listener.addresses]
    return tags.tr(
        tags.td(tags.b(listener.name)),
        tags.td(*addresses or [tags.span("not listening", class_="dim")], class_="mono"),
        tags.td(*map(_chain, _chains(listener.config))),
        tags.td(grouped(gauge(server, f"{prefix}.downstream_cx_active")), class_="number"),
        tags.td(grouped(counter(server, f"{prefix}.downstream_cx_total")), class_="number"),
    )


def _chains(config: Any) -> list[Any]:
    default = [config.default_filter_chain] if config.HasField("default_filter_chain") else []
    return [*config.filter_chains, *default]


def _chain(chain: Any) -> Html:
    return tags.div(*(each for config in chain.filters for each in _filter(config)), class_="chain")


def _filter(config: Any) -> list[Html]:
    """Return the last part of a filter's name, and the cluster to which it leads, if it is one that does."""
    name = tags.span(config.name.rpartition(".")[2], class_="mono")
    # Whatever has a cluster leads there: which filters there are is not known here.
    cluster = getattr(unpack(config.typed_config), "cluster", None)
    return [name, tags.span(cluster, class_="dim")] if cluster and isinstance(cluster, str) else [name]


def clusters(server: Server) -> list[Html]:
    """Return the clusters with their hosts: health, share, connections."""
    heading = _heading("Clusters", _count(len(server.clusters), "cluster"))
    if not server.clusters:
        return [heading, tags.div("No cluster is configured.", class_="card empty")]
    heads = (
        ("Host", ""),
        ("Name", ""),
        ("Health", ""),
        ("Weight", "number"),
        ("Priority", "number"),
        ("Active", "number"),
        ("Total", "number"),
        ("Failed", "number"),
    )
    bodies = [_cluster_body(server, each) for each in server.clusters.values()]
    return [heading, _table(heads, *bodies)]


def _cluster_body(server: Server, cluster: Any) -> Html:
    config = cluster.config
    stats = f"cluster.{observability_name(cluster)}"
    active, total, failed = (
        gauge(server, f"{stats}.upstream_cx_active"),
        counter(server, f"{stats}.upstream_cx_total"),
        counter(server, f"{stats}.upstream_cx_connect_fail"),
    )
    limit = cluster.limits.max_connections
    about = f"{_enum(config, 'type')}, {_enum(config, 'lb_policy')}, at most {_count(limit, 'connection')}"
    row = tags.tr(
        tags.td(tags.b(cluster.name), " ", tags.small(about, class_="dim"), colspan="5"),
        *(tags.td(grouped(value), class_="number") for value in (active, total, failed)),
        class_="group",
    )
    most = max((number(host, "cx_active") for host in cluster.hosts), default=0)
    hosts = [_host_row(host, most) for host in hosts_of(cluster)[:SHOWN]]
    if len(cluster.hosts) > SHOWN:
        more = f"and {_count(len(cluster.hosts) - SHOWN, 'host')} more: see /clusters"
        hosts.append(tags.tr(tags.td(more, colspan="8", class_="dim")))
    none = tags.tr(tags.td("no hosts", colspan="8", class_="dim"))
    return tags.tbody(row, *(hosts or [none]))


def _enum(config: Any, field: str) -> str:
    values = config.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return values[getattr(config, field)].name.lower().replace("_", " ")  # type: ignore[no-any-return]


def _host_row(host: Any, most: int) -> Html:
    active = number(host, "cx_active")
    place = " / ".join(part for part in host.locality if part)
    return tags.tr(
        tags.td(host.text, class_="mono"),
        tags.td(host.hostname, " " if host.hostname else "", tags.small(place, class_="dim")),
        tags.td(
            tags.span(host.health_text.strip("/").replace("/", ", "), class_=f"pill {_health_kind(host)}")
        ),
        tags.td(grouped(host.weight), class_="number"),
        tags.td(str(host.priority), class_="number"),
        tags.td(_bar(active, most), tags.span(grouped(active), class_="wide"), class_="number"),
        tags.td(grouped(number(host, "cx_total")), class_="number"),
        tags.td(grouped(number(host, "cx_connect_fail")), class_="number"),
    )


def _health_kind(host: Any) -> str:
    return {"healthy": "good", "degraded": "warn"}.get(host.health, "bad")


def _bar(value: int, most: int) -> Html:
    """Draw a host's share of the connections, against the host that has most."""
    share = 100 * value // most if most else 0
    of = tags.rect(class_="of", width="100%", height="6", rx="3")
    part = tags.rect(class_="is", width=f"{share}%", height="6", rx="3")
    return tags.svg(of, part, class_="bar", **{"aria-hidden": "true"})
