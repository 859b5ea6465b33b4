"""/config_dump: the configuration as it runs, in messages of envoy.admin.v3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from envoy.admin.v3.config_dump_pb2 import BootstrapConfigDump, ConfigDump, SecretsConfigDump
from envoy.admin.v3.config_dump_shared_pb2 import ClustersConfigDump, EndpointsConfigDump, ListenersConfigDump
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from meshd.admin.clusters import address_message, eds_health
from meshd.admin.mask import redact, trim, trim_resource
from meshd.admin.query import PLAIN, Answer, BadRequest, Query, Server, as_json
from meshd.admin.state import node

DNS = (Cluster.STRICT_DNS, Cluster.LOGICAL_DNS)

#: The priority of a host is part of its group's key, with its locality.
_Group = tuple[int, tuple[str, str, str]]


def config_dump(server: Server, query: Query) -> Answer:
    """Answer /config_dump; parameters resource, mask, name_regex, include_eds."""
    wanted = _name_pattern(query)
    resource, mask = query.get("resource"), query.get("mask")
    paths = [path for path in (mask or "").split(",") if path]
    dumps = _dumps(server, query.has("include_eds"))
    if resource:
        return _packed(_resource(dumps, wanted, resource, paths))
    messages = [message for message in (make(wanted) for make in dumps) if trim(message, paths)]
    if mask and not messages:
        raise BadRequest(f"FieldMask {mask} could not be successfully applied to any configs.", 400, PLAIN)
    return _packed(messages)


def _name_pattern(query: Query) -> Callable[[str], object]:
    text = query.get("name_regex")
    refusal = f"INVALID_ARGUMENT: Error while parsing name_regex from {text}"
    try:
        pattern = query.pattern("name_regex", refusal)
    except BadRequest as error:
        raise BadRequest(str(error), 400, PLAIN) from error
    return pattern.fullmatch if pattern is not None else lambda name: True


_Wanted = Callable[[str], object]


def _dumps(server: Server, include_eds: bool) -> list[Callable[[_Wanted], Any]]:
    """Return what makes the dumps, in Envoy's order."""
    makers: list[tuple[Callable[[Server, _Wanted], Any], bool]] = [
        (bootstrap, True),
        (clusters, True),
        (endpoints, include_eds),
        (listeners, True),
        (secrets, True),
    ]
    return [lambda wanted, make=make: make(server, wanted) for make, shown in makers if shown]  # type: ignore[misc]


def _resource(
    dumps: Sequence[Callable[[_Wanted], Any]], wanted: _Wanted, resource: str, paths: Sequence[str]
) -> list[Any]:
    """Return the elements of the repeated field that is called resource."""
    for make in dumps:
        message = make(wanted)
        field = message.DESCRIPTOR.fields_by_name.get(resource)
        if field is None:
            continue
        if not field.is_repeated:
            text = f"{resource} is not a repeated field. Use ?mask={resource} to get only this field"
            raise BadRequest(text, 400, PLAIN)
        elements = list(getattr(message, resource))
        if not all(trim_resource(element, paths) for element in elements):
            raise BadRequest(f"FieldMask {','.join(paths)} could not be successfully used.", 400, PLAIN)
        return elements
    raise BadRequest(f"{resource} not found in config dump", 404, PLAIN)


def _packed(messages: Sequence[Any]) -> Answer:
    dump = ConfigDump()
    for message in messages:
        redact(message)
        dump.configs.add().Pack(message)
    return as_json(dump)


def _stamp(message: Any, server: Server) -> None:
    """Note when a message came: with the start, to the millisecond as Envoy writes it."""
    message.last_updated.FromMilliseconds(int(server.started * 1000))


def bootstrap(server: Server, wanted: _Wanted) -> Any:
    """Return the bootstrap, whatever names are wanted."""
    made = BootstrapConfigDump(bootstrap=server.bootstrap)
    made.bootstrap.node.CopyFrom(node(server))
    _stamp(made, server)
    return made


def clusters(server: Server, wanted: _Wanted) -> Any:
    """Return the clusters; all are static, from the bootstrap."""
    made = ClustersConfigDump()
    for cluster in server.clusters.values():
        if wanted(cluster.name):
            static = made.static_clusters.add()
            static.cluster.Pack(cluster.config)
            _stamp(static, server)
    return made


def listeners(server: Server, wanted: _Wanted) -> Any:
    """Return the listeners; all are static, from the bootstrap."""
    made = ListenersConfigDump()
    for listener in server.listeners.values():
        if wanted(listener.name):
            static = made.static_listeners.add()
            static.listener.Pack(listener.config)
            _stamp(static, server)
    return made


def secrets(server: Server, wanted: _Wanted) -> Any:
    """Return the secrets, static and of SDS; those that never came are warming."""
    made = SecretsConfigDump()
    for secret in server.tls.secrets.static.values():
        if wanted(secret.name):
            made.static_secrets.add(name=secret.name).secret.Pack(secret)
    for each in server.tls.secrets.subscriptions:
        if wanted(each.name):
            came = each.whole is not None
            those = made.dynamic_active_secrets if came else made.dynamic_warming_secrets
            one = those.add(name=each.name, version_info=each.version if came else "uninitialized")
            one.last_updated.FromMilliseconds(int(each.updated * 1000))
            one.secret.Pack(each.whole if came else Secret(name=each.name))
    return made


def endpoints(server: Server, wanted: _Wanted) -> Any:
    """Return the hosts of the clusters, as discovery found them."""
    made = EndpointsConfigDump()
    for cluster in server.clusters.values():
        if wanted(cluster.name):
            made.static_endpoint_configs.add().endpoint_config.Pack(assignment(cluster))
    return made


def assignment(cluster: Any) -> Any:
    """Return the hosts of a cluster as a ClusterLoadAssignment."""
    made = ClusterLoadAssignment(cluster_name=cluster.name)
    made.policy.overprovisioning_factor.value = _overprovisioning(cluster.config)
    groups: dict[_Group, list[Any]] = {}
    for host in cluster.hosts:
        groups.setdefault((host.priority, tuple(host.locality)), []).append(host)
    for (priority, locality), hosts in sorted(groups.items(), key=lambda item: item[0]):
        group = made.endpoints.add(priority=priority)
        group.locality.region, group.locality.zone, group.locality.sub_zone = locality
        group.locality.SetInParent()
        group.load_balancing_weight.value = 0
        for host in hosts:
            made_host = _add_endpoint(group, host)
            if cluster.config.type in DNS:
                # Envoy has one for these hosts, be it empty.
                made_host.metadata.SetInParent()
    return made


def _add_endpoint(group: Any, host: Any) -> Any:
    made = group.lb_endpoints.add(health_status=eds_health(host))
    made.endpoint.address.CopyFrom(address_message(host.address))
    made.endpoint.hostname = host.hostname
    made.endpoint.health_check_config.SetInParent()
    made.load_balancing_weight.value = host.weight
    for name, values in host.metadata.items():
        made.metadata.filter_metadata[name].update(values)
    return made


def _overprovisioning(config: Any) -> int:
    policy = config.load_assignment.policy
    return policy.overprovisioning_factor.value if policy.HasField("overprovisioning_factor") else 140
