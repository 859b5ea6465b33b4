"""/stats and /stats/prometheus; what they look like is meshd.observe's."""

from __future__ import annotations

from typing import Any

from meshd.admin.pages import stats_page
from meshd.admin.query import JSON, Answer, Query, Server
from meshd.observe import prometheus, readout

FORMATS = ("text", "json", "html", "active-html", "prometheus")
#: The first is what there is without the parameter.
BUCKETS = ("summary", "cumulative", "disjoint", "detailed", "none")

_FORMAT_USAGE = "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n"
_BUCKETS_USAGE = "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary)\n"


class _Not:
    """Finds what a pattern does not; readout wants no more of a pattern than search."""

    def __init__(self, pattern: Any) -> None:
        self.pattern = pattern

    def search(self, name: str) -> bool | None:
        return None if self.pattern.search(name) else True


def _filter(query: Query) -> Any:
    pattern = query.pattern()
    return _Not(pattern) if pattern is not None and query.has("invert_filter") else pattern


def stats(server: Server, query: Query) -> Answer:
    """Answer /stats."""
    form = query.choice("format", FORMATS, _FORMAT_USAGE)
    if form == "prometheus":
        return prometheus_stats(server, query)
    if form in ("html", "active-html"):
        return stats_page(server, query)
    wanted: dict[str, Any] = {
        "usedonly": query.has("usedonly"),
        "filter": _filter(query),
        "type": query.choice("type", readout.TYPES, "invalid &type= param"),
        "buckets": query.choice("histogram_buckets", BUCKETS, _BUCKETS_USAGE),
    }
    if form == "json":
        return Answer(readout.json(server.stats, **wanted), content_type=JSON)
    return Answer(readout.text(server.stats, **wanted))


def prometheus_stats(server: Server, query: Query) -> Answer:
    """Answer /stats/prometheus."""
    query.choice(
        "histogram_buckets", ("cumulative",), "usage: /stats/prometheus?histogram_buckets=(cumulative)\n"
    )
    parts = prometheus.parts(
        server.stats,
        usedonly=query.has("usedonly"),
        filter=_filter(query),
        text_readouts=query.has("text_readouts"),
    )
    return Answer(parts)
