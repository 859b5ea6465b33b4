"""Makes the cluster of a Cluster message, of whichever type it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshd.config.unpack import open_record
from meshd.net.program import Exec
from meshd.plugin import ConfigError
from meshd.upstream import named_target, program, redis_cluster
from meshd.upstream.cluster import Cluster, ClusterContext, within

#: The types of meshd's own, by the name in cluster_type: the attrs class of the config, and the cluster.
OWN: dict[str, tuple[type[Any], Callable[[Any, Any, ClusterContext], Cluster]]] = {
    named_target.NAME: (named_target.NamedTarget, named_target.NamedTargetCluster),
    program.NAME: (Exec, program.ProgramCluster),
}


def make_cluster(config: Any, context: ClusterContext) -> Cluster:
    """Make it; raise ConfigError, its path seen from the Cluster message."""
    if not config.HasField("cluster_type"):
        return Cluster(config, context)
    name = config.cluster_type.name
    if name == redis_cluster.NAME:
        return redis_cluster.RedisCluster(config, context)
    if name not in OWN:
        known = ", ".join((redis_cluster.NAME, *OWN))
        raise ConfigError(f"meshd has no cluster type {name!r}: it has {known}", "cluster_type", "name")
    record, make = OWN[name]
    with within("cluster_type", "typed_config"):
        settings = open_record(config.cluster_type.typed_config, name, record)
    if config.load_assignment.ListFields():
        raise ConfigError(f"a cluster of the type {name} has no endpoints of its own", "load_assignment")
    return make(settings, config, context)
