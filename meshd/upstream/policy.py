"""
How a cluster balances: read from lb_policy or load_balancing_policy.

Both ways to write it come to the same Balancing: plain values, and a function
that makes a balancer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster as ClusterMessage
from envoy.extensions.load_balancing_policies.least_request.v3.least_request_pb2 import (
    LeastRequest as LeastConfig,
)
from envoy.extensions.load_balancing_policies.maglev.v3.maglev_pb2 import Maglev as MaglevMessage
from envoy.extensions.load_balancing_policies.random.v3.random_pb2 import Random as RandomConfig
from envoy.extensions.load_balancing_policies.ring_hash.v3.ring_hash_pb2 import RingHash
from envoy.extensions.load_balancing_policies.round_robin.v3.round_robin_pb2 import RoundRobin as RoundConfig
from google.protobuf.json_format import MessageToDict
from xds.type.v3.typed_struct_pb2 import TypedStruct

from meshd.interfaces import IGauge, ILoadBalancer, IRuntime, IScope
from meshd.plugin import ConfigError
from meshd.upstream.balancers import LeastRequest, RandomChoice, RoundRobin
from meshd.upstream.bounded import BoundedLoad
from meshd.upstream.failover import FAILOVER, Failover
from meshd.upstream.hashing import murmur2, xxhash64
from meshd.upstream.maglev import LARGEST, Maglev, MaglevConfig, is_prime
from meshd.upstream.ring import Ring, RingConfig

#: The largest ring that Envoy's rules of validation allow.
LARGEST_RING = 8 * 1024 * 1024


@dataclass(frozen=True)
class Surroundings:
    """What a balancer may use: the cluster's scope and active requests, chance, and the runtime."""

    stats: IScope
    active: IGauge
    random: Random
    runtime: IRuntime


@dataclass(frozen=True)
class Balancing:
    """What makes the balancer of one priority; hashing ones are given a key with each pick."""

    make: Callable[[Surroundings], ILoadBalancer]
    hashing: bool = False
    #: What goes through the hosts in order, one for each attempt of a connection, instead.
    failover: Failover | None = None


def read_balancing(cluster: Any) -> Balancing:
    """Read how a Cluster message balances; ConfigError if that cannot be served."""
    _check_hostnames(cluster)
    if cluster.HasField("load_balancing_policy"):
        return _extension(cluster.name, cluster.load_balancing_policy.policies)
    policy = ClusterMessage.LbPolicy.Name(cluster.lb_policy)
    if policy == "LOAD_BALANCING_POLICY_CONFIG":
        raise ConfigError("cluster: field load_balancing_policy need to be set", "lb_policy")
    if policy not in _LEGACY:
        raise ConfigError(f"meshd does not serve the policy {policy}", "lb_policy")
    return _LEGACY[policy](cluster)


def _check_hostnames(cluster: Any) -> None:
    """Refuse what Envoy refuses: only hosts of STRICT_DNS clusters have names that tell them apart."""
    path = ("common_lb_config", "consistent_hashing_lb_config")
    wanted = cluster.common_lb_config.consistent_hashing_lb_config.use_hostname_for_hashing
    if wanted and cluster.type != ClusterMessage.STRICT_DNS:
        kind = ClusterMessage.DiscoveryType.Name(cluster.type).lower()
        raise ConfigError(
            "Cannot use hostname for consistent hashing loadbalancing for cluster of type:"
            f" 'envoy.cluster.{kind}'",
            *path,
            "use_hostname_for_hashing",
        )


def _extension(name: str, policies: Any) -> Balancing:
    """Take the first policy that is known, as Envoy does."""
    path = ("load_balancing_policy", "policies")
    for index, each in enumerate(policies):
        typed = each.typed_extension_config.typed_config
        if (struct := _own(typed)) is not None:
            try:
                return _failover(struct)
            except ConfigError as error:
                raise error.under(*path, index, "typed_extension_config", "typed_config") from None
        for kind, read in _EXTENSIONS:
            if typed.Is(kind.DESCRIPTOR):
                config = kind()
                typed.Unpack(config)
                try:
                    return read(config)
                except ConfigError as error:
                    raise error.under(*path, index, "typed_extension_config", "typed_config") from None
    names = ", ".join(each.typed_extension_config.name for each in policies)
    raise ConfigError(
        f"cluster: didn't find a registered load balancer factory implementation for cluster: '{name}'"
        f" with names from [{names}]",
        *path,
    )


def _own(typed: Any) -> dict[str, Any] | None:
    """Return the fields of meshd's own policy, failover; None if it is another."""
    if not typed.Is(TypedStruct.DESCRIPTOR):
        return None
    struct = TypedStruct()
    typed.Unpack(struct)
    if struct.type_url.rpartition("/")[2] != FAILOVER:
        return None
    return dict(MessageToDict(struct.value))


def _failover(fields: dict[str, Any]) -> Balancing:
    for name in fields:
        if name != "rotate":
            raise ConfigError(f"no such field: {name}", "value", name)
    rotate = fields.get("rotate", False)
    if not isinstance(rotate, bool):
        raise ConfigError("true or false is needed", "value", "rotate")
    return Balancing(lambda around: RoundRobin(around.random), failover=Failover(rotate))


def _refuse(config: Any, *fields: str) -> None:
    """Refuse fields that only a later meshd serves."""
    for field in fields:
        if config.HasField(field):
            raise ConfigError(f"meshd does not serve the field {field}", field)


def _value(config: Any, field: str, default: int) -> int:
    return int(getattr(config, field).value) if config.HasField(field) else default


# Round robin, random.


def _round_robin(config: Any) -> Balancing:
    _refuse(config, "slow_start_config")
    return Balancing(lambda around: RoundRobin(around.random))


def _random(config: Any) -> Balancing:
    return Balancing(lambda around: RandomChoice(around.random))


# Least request.


def _least_request(config: Any) -> Balancing:
    _refuse(config, "slow_start_config")
    choices: int | None = _value(config, "choice_count", 2)
    if choices is not None and choices < 2:
        raise ConfigError("value must be greater than or equal to 2", "choice_count")
    full = isinstance(config, LeastConfig) and (
        config.enable_full_scan.value or config.selection_method == LeastConfig.FULL_SCAN
    )
    if full:
        choices = None
    default, key = 1.0, ""
    if config.HasField("active_request_bias"):
        default = config.active_request_bias.default_value
        key = config.active_request_bias.runtime_key

    def make(around: Surroundings) -> ILoadBalancer:
        bias = partial(_bias, around.runtime, key, default)
        return LeastRequest(around.random, choices, bias)

    return Balancing(make)


def _bias(runtime: IRuntime, key: str, default: float) -> float:
    """Return the runtime's number if it is one, else the config's; never one below 0."""
    value = default
    try:
        value = float(runtime.get(key) or default) if key else default
    except ValueError:
        pass
    return value if value >= 0.0 else 1.0


# Ring hash and maglev.


def _ring(config: Any, hashed: Any, by_hostname: bool, balance: int) -> Balancing:
    minimum = _value(config, "minimum_ring_size", 1024)
    maximum = _value(config, "maximum_ring_size", LARGEST_RING)
    for field, size in (("minimum_ring_size", minimum), ("maximum_ring_size", maximum)):
        if size > LARGEST_RING:
            raise ConfigError(f"value must be less than or equal to {LARGEST_RING}", field)
    if minimum > maximum:
        raise ConfigError(
            f"ring hash: minimum_ring_size ({minimum}) > maximum_ring_size ({maximum})", "minimum_ring_size"
        )
    ring = RingConfig(minimum, maximum, hashed, by_hostname)
    return Balancing(lambda around: _bounded(Ring(ring, around.stats), balance, around), hashing=True)


def _maglev(config: Any, by_hostname: bool, balance: int) -> Balancing:
    size = _value(config, "table_size", 65537)
    if size > LARGEST:
        raise ConfigError(f"value must be less than or equal to {LARGEST}", "table_size")
    if not is_prime(size):
        raise ConfigError("The table size of maglev must be prime number", "table_size")
    table = MaglevConfig(size, by_hostname)
    return Balancing(lambda around: _bounded(Maglev(table, around.stats), balance, around), hashing=True)


def _bounded(balancer: ILoadBalancer, factor: int, around: Surroundings) -> ILoadBalancer:
    return BoundedLoad(balancer, factor, around.active) if factor else balancer


def _consistent(config: Any, *path: str) -> tuple[bool, int]:
    """Read use_hostname_for_hashing and hash_balance_factor of a ConsistentHashingLbConfig."""
    if "hash_policy" in config.DESCRIPTOR.fields_by_name and config.hash_policy:
        raise ConfigError("meshd does not serve the field hash_policy", *path, "hash_policy")
    factor = _value(config, "hash_balance_factor", 0)
    if config.HasField("hash_balance_factor") and factor < 100:
        raise ConfigError("value must be greater than or equal to 100", *path, "hash_balance_factor")
    return config.use_hostname_for_hashing, factor


def _ring_extension(config: Any) -> Balancing:
    _refuse(config, "locality_weighted_lb_config")
    murmur = config.hash_function == RingHash.MURMUR_HASH_2
    if config.HasField("consistent_hashing_lb_config"):
        consistent = _consistent(config.consistent_hashing_lb_config, "consistent_hashing_lb_config")
    else:
        consistent = _consistent(config)
    return _ring(config, murmur2 if murmur else xxhash64, *consistent)


def _maglev_extension(config: Any) -> Balancing:
    _refuse(config, "locality_weighted_lb_config")
    return _maglev(config, *_consistent(config.consistent_hashing_lb_config, "consistent_hashing_lb_config"))


# The older way: lb_policy and its *_lb_config.


def _legacy(field: str, read: Callable[[Any], Balancing]) -> Callable[[Any], Balancing]:
    """Return what reads the message field of a Cluster."""

    def read_field(cluster: Any) -> Balancing:
        try:
            return read(getattr(cluster, field))
        except ConfigError as error:
            raise error.under(field) from None

    return read_field


def _legacy_hashing(cluster: Any, field: str, read: Callable[..., Balancing], *more: Any) -> Balancing:
    path = ("common_lb_config", "consistent_hashing_lb_config")
    consistent = _consistent(cluster.common_lb_config.consistent_hashing_lb_config, *path)
    return _legacy(field, lambda config: read(config, *more, *consistent))(cluster)


def _legacy_ring(cluster: Any) -> Balancing:
    kind = ClusterMessage.RingHashLbConfig
    murmur = cluster.ring_hash_lb_config.hash_function == kind.MURMUR_HASH_2
    return _legacy_hashing(cluster, "ring_hash_lb_config", _ring, murmur2 if murmur else xxhash64)


def _legacy_maglev(cluster: Any) -> Balancing:
    return _legacy_hashing(cluster, "maglev_lb_config", _maglev)


_LEGACY: dict[str, Callable[[Any], Balancing]] = {
    "ROUND_ROBIN": _legacy("round_robin_lb_config", _round_robin),
    "LEAST_REQUEST": _legacy("least_request_lb_config", _least_request),
    "RANDOM": _random,
    "RING_HASH": _legacy_ring,
    "MAGLEV": _legacy_maglev,
}

_EXTENSIONS: tuple[tuple[Any, Callable[[Any], Balancing]], ...] = (
    (RoundConfig, _round_robin),
    (LeastConfig, _least_request),
    (RandomConfig, _random),
    (RingHash, _ring_extension),
    (MaglevMessage, _maglev_extension),
)
