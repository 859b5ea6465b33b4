"""
What a statistic's name says beyond itself: the tags in it, and whether it is wanted.

The name ``cluster.db.upstream_cx_total`` is the statistic
``cluster.upstream_cx_total`` with the tag envoy_cluster_name=db.  Tags are found
when names are read, by Envoy's default rules and those of stats_config, and are
remembered by name.  stats_matcher and histogram_bucket_settings, which too go by
names, are read here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from meshd.config.plain import string_matcher
from meshd.observe.histogram import BOUNDS
from meshd.plugin import ConfigError

Labels = tuple[tuple[str, str], ...]

_VALUE = r"[^.]+"

# Envoy's default rules in its order (source/common/config/well_known_names.cc).  A rule with dots
# and no regular expression: * is a part of the name, $ the part that is the tag, ** the rest.
_DEFAULTS = (
    ("envoy_response_code", r"_rq(_(\d{3}))$"),
    ("envoy_response_code_class", r"_rq_((\d))xx$"),
    (
        "envoy_dynamo_partition_id",
        rf"^http\.{_VALUE}\.dynamodb\.table\.{_VALUE}\.capacity\.{_VALUE}(\.__partition_id=(\w{{7}}))$",
    ),
    (
        "envoy_dynamo_operation",
        rf"^http\.{_VALUE}\.dynamodb\.(?:operation|table\.{_VALUE}\.capacity)(\.({_VALUE}))(?:\.|$)",
    ),
    ("envoy_mongo_callsite", "mongo.*.collection.*.callsite.$.query.**"),
    ("envoy_dynamo_table", rf"^http\.{_VALUE}\.dynamodb\.(?:table|error)\.(({_VALUE})\.)"),
    ("envoy_mongo_collection", "mongo.*.collection.$.**"),
    ("envoy_mongo_cmd", "mongo.*.cmd.$.**"),
    ("envoy_grpc_bridge_method", rf"^cluster\.{_VALUE}\.grpc\.{_VALUE}\.(({_VALUE})\.)"),
    ("envoy_http_user_agent", "http.*.user_agent.$.**"),
    ("envoy_virtual_cluster", "vhost.*.vcluster.$.**"),
    ("envoy_fault_downstream_cluster", "http.*.fault.$.**"),
    ("envoy_ssl_cipher", r"^listener\..*?\.ssl\.cipher(\.([\w-]+))$"),
    ("cipher_suite", rf"^cluster\.{_VALUE}\.ssl\.ciphers(\.([\w-]+))$"),
    ("envoy_grpc_bridge_service", "cluster.*.grpc.$.**"),
    ("envoy_tcp_prefix", "tcp.$.**"),
    ("envoy_udp_prefix", "udp.$.**"),
    ("envoy_clientssl_prefix", "auth.clientssl.$.**"),
    ("envoy_ratelimit_prefix", "ratelimit.$.**"),
    ("envoy_cluster_name", "cluster.$.**"),
    ("envoy_http_conn_manager_prefix", rf"^listener\..*?\.http\.(({_VALUE})\.)"),
    ("envoy_http_conn_manager_prefix", "http.$.**"),
    # The listener of the admin page is no address.
    (
        "envoy_listener_address",
        rf"^listener\.((?!admin\.)(\d+\.\d+\.\d+\.\d+_\d+|\[[_a-fA-F\d.]*\]_\d+|{_VALUE})\.)",
    ),
    ("envoy_virtual_host", "vhost.$.**"),
    ("envoy_mongo_prefix", "mongo.$.**"),
    ("envoy_rds_route_config", rf"^http\.{_VALUE}\.rds\.(([\w.-]+)\.)\w+?$"),
    ("envoy_vhost_route", "vhost.*.route.$.**"),
    (
        "envoy_worker_id",
        r"^(?:listener\.(?:\d+\.\d+\.\d+\.\d+_\d+|[^.]+)|server|listener_manager|thread_local_cluster_manager)"
        r"\.worker(_(\d+))\.",
    ),
    ("envoy_thrift_prefix", "thrift.$.**"),
    ("envoy_redis_prefix", "redis.$.**"),
    ("envoy_local_http_ratelimit_prefix", "$.http_local_rate_limit.**"),
    ("envoy_local_network_ratelimit_prefix", "local_rate_limit.$.**"),
    ("envoy_local_listener_ratelimit_prefix", "listener_local_ratelimit.$.**"),
    ("envoy_dns_filter_prefix", "dns_filter.$.**"),
    ("envoy_connection_limit_prefix", "connection_limit.$.**"),
    ("envoy_rbac_prefix", "$.rbac.**"),
    ("envoy_rbac_http_prefix", rf"^http\.{_VALUE}\.rbac\.((?!policy\.)({_VALUE})\.)"),
    ("envoy_rbac_policy_name", rf"^http\.{_VALUE}\.rbac\.policy\.(({_VALUE})\.)"),
    ("envoy_proxy_protocol_prefix", rf"^proxy_proto\.((?!versions\.)({_VALUE})\.).+$"),
    ("envoy_proxy_protocol_version", r"^proxy_proto\.(?:[^.]+\.)??(versions\.v(\d)\.)\w+"),
)


class _Rule:
    """One tag, and where it is in a name: group 1 is taken out, group 2 (or else 1) is the value."""

    def __init__(self, tag: str, regex: str) -> None:
        self.tag = tag
        self.regex = re.compile(regex)
        self.value_group = min(2, self.regex.groups)
        literal = re.match(r"\^(\w+)(?:\\\.|\(\?=\\\.\))", regex)
        #: The first part that a name must have, if that is fixed.
        self.first = literal[1] if literal else None


def _regex(rule: str) -> str:
    if rule.startswith(("^", "_")):
        return rule
    parts = {"*": rf"{_VALUE}\.", "$": rf"(({_VALUE})\.)", "**": ".*"}
    return "^" + "".join(parts.get(part, re.escape(part) + r"\.") for part in rule.split("."))


_DEFAULT_RULES = tuple(_Rule(tag, _regex(rule)) for tag, rule in _DEFAULTS)


class Tags:
    """The rules by which names are taken apart; those of Envoy unless others are given."""

    def __init__(self, rules: Sequence[_Rule] = _DEFAULT_RULES) -> None:
        # As in Envoy, those that may match any name come first, so their tags do.
        self._any = [rule for rule in rules if rule.first is None]
        self._by_first: dict[str, list[_Rule]] = {}
        for rule in rules:
            if rule.first is not None:
                self._by_first.setdefault(rule.first, []).append(rule)
        self._known: dict[str, tuple[str, Labels]] = {}

    def extract(self, name: str) -> tuple[str, Labels]:
        """Return name without its tags, and the tags in the order that Envoy shows them."""
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._extract(name)
        return known

    def _extract(self, name: str) -> tuple[str, Labels]:
        found: dict[str, str] = {}
        gone = []
        for rule in (*self._any, *self._by_first.get(name.partition(".")[0], ())):
            match = rule.regex.search(name)
            if match is not None and rule.tag not in found:
                value = match[rule.value_group] if rule.value_group else match[0]
                found[rule.tag] = value or ""
                gone.append(match.span(1))
        kept = list(name)
        for start, end in gone:
            kept[start:end] = [""] * (end - start)
        return "".join(kept), tuple(found.items())

    def forget(self) -> None:
        """Forget the names that were seen; for when statistics are removed."""
        self._known.clear()


class _Fixed(_Rule):
    """A tag that all names have."""

    def __init__(self, tag: str, value: str) -> None:
        # Empty groups after a look-ahead: nothing is taken out, and the value is not in the name.
        super().__init__(tag, "()")
        self.value = value


class _FixedTags(Tags):
    """Rules some of which are fixed values."""

    def _extract(self, name: str) -> tuple[str, Labels]:
        fixed = {rule.tag: rule.value for rule in self._any if isinstance(rule, _Fixed)}
        bare, labels = super()._extract(name)
        return bare, tuple((tag, fixed.get(tag, value)) for tag, value in labels)


def read_tags(config: Any, fixed: Mapping[str, str]) -> Tags:
    """Return the rules of a StatsConfig message, and fixed tags that all have; raise ConfigError."""
    rules: list[_Rule] = [_Fixed(tag, value) for tag, value in fixed.items()]
    default = not config.HasField("use_all_default_tags") or config.use_all_default_tags.value
    if default:
        rules += _DEFAULT_RULES
    for index, specifier in enumerate(config.stats_tags):
        try:
            rules += _specified(specifier, default)
        except ConfigError as error:
            raise error.under("stats_tags", index) from None
    return _FixedTags(rules)


def _specified(specifier: Any, default: bool) -> Sequence[_Rule]:
    tag = specifier.tag_name
    if specifier.WhichOneof("tag_value") == "fixed_value":
        return [_Fixed(tag, specifier.fixed_value)]
    if specifier.regex:
        rule = _Rule(tag, _compiled(specifier.regex, "regex").pattern)
        if not rule.value_group:
            raise ConfigError("the regex has no group, which says what the tag is", "regex")
        return [rule]
    known = [rule for rule in _DEFAULT_RULES if rule.tag == tag]
    if not known:
        raise ConfigError(f"No regex specified for tag specifier and no default regex for name: '{tag}'")
    # Envoy would have each twice.
    return [] if default else known


def _compiled(regex: str, *path: str | int) -> re.Pattern[str]:
    try:
        return re.compile(regex)
    except re.error as error:
        raise ConfigError(f"{error}: {regex}", *path) from None


def _any_of(patterns: Sequence[Any], *path: str) -> Callable[[str], bool]:
    tests = []
    for index, pattern in enumerate(patterns):
        try:
            tests.append(string_matcher(pattern))
        except ConfigError as error:
            raise error.under(*path, "patterns", index) from None
    return lambda name: any(test(name) for test in tests)


def read_wanted(matcher: Any) -> Callable[[str], bool]:
    """Return which names a StatsMatcher message lets through; raise ConfigError."""
    kind = matcher.WhichOneof("stats_matcher")
    if kind == "reject_all":
        keep = not matcher.reject_all
        return lambda name: keep
    if kind == "exclusion_list":
        unwanted = _any_of(matcher.exclusion_list.patterns, "stats_matcher", kind)
        return lambda name: not unwanted(name)
    if kind == "inclusion_list":
        return _any_of(matcher.inclusion_list.patterns, "stats_matcher", kind)
    return lambda name: True


def read_bounds(settings: Sequence[Any]) -> Callable[[str], Sequence[float]]:
    """Return the export buckets of histograms by name, of HistogramBucketSettings; raise ConfigError."""
    rules = []
    for index, setting in enumerate(settings):
        path = ("histogram_bucket_settings", index)
        if setting.HasField("bins"):
            raise ConfigError("meshd does not serve the field bins", *path, "bins")
        try:
            rules.append((string_matcher(setting.match), tuple(sorted(setting.buckets)) or BOUNDS))
        except ConfigError as error:
            raise error.under(*path, "match") from None
    return lambda name: next((bounds for test, bounds in rules if test(name)), BOUNDS)
