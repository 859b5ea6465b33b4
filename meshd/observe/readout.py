"""
The statistics as text and as JSON, in Envoy's formats.

Both list the text readouts, then counters and gauges among each other, then
the histograms, each sorted by name.  How histograms are shown is one of
``summary`` (quantiles), ``cumulative`` and ``disjoint`` (the export buckets)
and ``detailed`` (the buckets as they are kept).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from json import dumps as quote
from re import Pattern
from typing import TYPE_CHECKING, Any, NamedTuple

from meshd.observe.histogram import QUANTILES, Histogram, Statistics

if TYPE_CHECKING:
    from meshd.observe.stats import Counter, Gauge, Store, TextReadout

#: What ?type= may be, in Envoy's words.
TYPES = ("All", "Counters", "Gauges", "Histograms", "TextReadouts")

#: What ?histogram_buckets= may be; none is summary.
BUCKETS = ("none", "cumulative", "disjoint", "detailed", "summary")

_PERCENT = tuple(round(fraction * 100, 1) for fraction in QUANTILES)


class Kinds(NamedTuple):
    """Statistics by kind, in no order."""

    texts: list[TextReadout]
    counters: list[Counter]
    gauges: list[Gauge]
    histograms: list[Histogram]


def of_kinds(store: Store, type: str = "All") -> Kinds:
    """Return what store has of the type, one of TYPES, brought up to date."""
    store.collect()
    return Kinds(
        list(store.texts.values()) if type in ("All", "TextReadouts") else [],
        list(store.counters.values()) if type in ("All", "Counters") else [],
        list(store.gauges.values()) if type in ("All", "Gauges") else [],
        list(store.histograms.values()) if type in ("All", "Histograms") else [],
    )


def shown(
    store: Store, *, usedonly: bool = False, filter: Pattern[str] | None = None, type: str = "All"
) -> tuple[list[TextReadout], list[Counter | Gauge], list[Histogram]]:
    """
    Return what is to be shown of store, sorted by name.

    usedonly leaves out what was never touched, filter what it is not found in.
    """

    def wanted(stat: TextReadout | Counter | Gauge | Histogram) -> bool:
        return (not usedonly or stat.used) and (filter is None or filter.search(stat.name) is not None)

    texts, counters, gauges, histograms = of_kinds(store, type)
    numbers: list[Counter | Gauge] = [*counters, *gauges]
    return (
        sorted([stat for stat in texts if wanted(stat)], key=lambda stat: stat.name),
        sorted([stat for stat in numbers if wanted(stat)], key=lambda stat: stat.name),
        sorted([stat for stat in histograms if wanted(stat)], key=lambda stat: stat.name),
    )


def text(
    store: Store,
    *,
    usedonly: bool = False,
    filter: Pattern[str] | None = None,
    type: str = "All",
    buckets: str = "summary",
) -> str:
    """
    Return the statistics one to a line, with a newline after each.

    type is one of TYPES and buckets one of BUCKETS; see shown() for the rest.
    """
    texts, numbers, histograms = shown(store, usedonly=usedonly, filter=filter, type=type)
    lines = [f'{readout.name}: "{readout.value}"' for readout in texts]
    lines += [f"{number.name}: {number.value}" for number in numbers]
    for histogram in histograms:
        if not histogram.used:
            lines.append(f"{histogram.name}: No recorded values")
        elif buckets == "detailed":
            lines.append(_detailed_text(histogram))
        elif buckets in ("cumulative", "disjoint"):
            lines.append(f"{histogram.name}: {_bucket_text(histogram, buckets == 'disjoint')}")
        else:
            lines.append(f"{histogram.name}: {_summary_text(histogram)}")
    lines.append("")
    return "\n".join(lines)


def number_text(value: float) -> str:
    """Return value as short as it can be told from all others, without a fraction of .0."""
    return repr(float(value)).removesuffix(".0")


def _summary_text(histogram: Histogram) -> str:
    interval = Statistics(histogram.interval).quantiles() or [float("nan")] * len(QUANTILES)
    cumulative = Statistics(histogram.cumulative).quantiles()
    return " ".join(
        f"P{percent:g}({number_text(now)},{number_text(ever)})"
        for percent, now, ever in zip(_PERCENT, interval, cumulative, strict=True)
    )


def _bucket_counts(histogram: Histogram, disjoint: bool) -> Iterator[tuple[float, int, int]]:
    interval = Statistics(histogram.interval).below(histogram.bounds)
    cumulative = Statistics(histogram.cumulative).below(histogram.bounds)
    before_now = before_ever = 0
    for bound, now, ever in zip(histogram.bounds, interval, cumulative, strict=True):
        yield bound, now - before_now, ever - before_ever
        if disjoint:
            before_now, before_ever = now, ever


def _bucket_text(histogram: Histogram, disjoint: bool) -> str:
    return " ".join(f"B{bound:g}({now},{ever})" for bound, now, ever in _bucket_counts(histogram, disjoint))


def _detailed_text(histogram: Histogram) -> str:
    def listed(statistics: Statistics) -> str:
        return ", ".join(f"{left:g},{width:g}:{count}" for left, width, count in statistics.detail())

    return (
        f"{histogram.name}:\n  totals={listed(Statistics(histogram.cumulative))}\n"
        f"  intervals={listed(Statistics(histogram.interval))}\n  summary={_summary_text(histogram)}"
    )


def _dump(value: Any) -> str:
    """Return value as JSON, with numbers as short as C++ has them: 3e+05, but 1800000."""
    if isinstance(value, dict):
        return "{" + ",".join(f'"{key}":{_dump(inner)}' for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dump, value)) + "]"
    return shortest(value) if isinstance(value, float) else quote(value, ensure_ascii=False)


def shortest(value: float) -> str:
    """Return value as C++ writes it in JSON: with an exponent only where that is shorter."""
    if value < 0:
        return f"-{shortest(-value)}"
    fixed = number_text(value)
    digits = fixed.rstrip("0")
    if "." in fixed or "e" in fixed or not digits:
        return fixed
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    scientific = f"{mantissa}e+{len(fixed) - 1:02}"
    return scientific if len(scientific) < len(fixed) else fixed


def json(
    store: Store,
    *,
    usedonly: bool = False,
    filter: Pattern[str] | None = None,
    type: str = "All",
    buckets: str = "summary",
) -> str:
    """Return the statistics as a JSON object of one line; the arguments are those of text()."""
    texts, numbers, histograms = shown(store, usedonly=usedonly, filter=filter, type=type)
    stats: list[Any] = [{"name": readout.name, "value": readout.value} for readout in texts]
    stats += [{"name": number.name, "value": number.value} for number in numbers]
    if histograms:
        stats.append({"histograms": _histograms_json(histograms, buckets)})
    return _dump({"stats": stats})


def _histograms_json(histograms: Sequence[Histogram], buckets: str) -> Any:
    percents = list(_PERCENT)
    if buckets == "detailed":
        return {"supported_percentiles": percents, "details": [_detailed_json(one) for one in histograms]}
    if buckets in ("cumulative", "disjoint"):
        return [_buckets_json(one, buckets == "disjoint") for one in histograms]
    return {
        "supported_quantiles": percents,
        "computed_quantiles": [{"name": one.name, "values": _quantiles_json(one)} for one in histograms],
    }


def _quantiles_json(histogram: Histogram) -> Any:
    interval: Sequence[float | None] = Statistics(histogram.interval).quantiles() or [None] * len(QUANTILES)
    cumulative: Sequence[float | None] = Statistics(histogram.cumulative).quantiles() or [None] * len(
        QUANTILES
    )
    return [{"cumulative": ever, "interval": now} for now, ever in zip(interval, cumulative, strict=True)]


def _buckets_json(histogram: Histogram, disjoint: bool) -> Any:
    counts = [
        {"upper_bound": float(bound), "interval": now, "cumulative": ever}
        for bound, now, ever in _bucket_counts(histogram, disjoint)
    ]
    return {"name": histogram.name, "buckets": counts}


def _detailed_json(histogram: Histogram) -> Any:
    def listed(statistics: Statistics) -> Any:
        return [
            {"lower_bound": float(left), "width": width, "count": count}
            for left, width, count in statistics.detail()
        ]

    return {
        "name": histogram.name,
        "totals": listed(Statistics(histogram.cumulative)),
        "intervals": listed(Statistics(histogram.interval)),
        "percentiles": _quantiles_json(histogram),
    }
