"""
The short ways to write single messages: an address as 10.0.0.1:80, a filter by its name.

Each function takes the node of a message in the short form and returns it in
the v3 form; what is v3 already is returned as it is.  Errors are BadSpelling.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from meshd.config.errors import Place, did_you_mean
from meshd.config.nodes import Node, plain
from meshd.config.unpack import UPSTREAM_SOCKET, is_message, kind_text, plugin_type

_LOGGERS = "type.googleapis.com/envoy.extensions.access_loggers."
_TYPED_STRUCT = "type.googleapis.com/xds.type.v3.TypedStruct"


class BadSpelling(Exception):
    """What cannot be read; node is where."""

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.message = message
        self.place = place


def made(place: Place, **fields: Any) -> Node:
    """Make an object of nodes, or of plain values, all in one place."""
    return Node(
        {key: each if isinstance(each, Node) else Node(each, place) for key, each in fields.items()}, place
    )


def with_fields(node: Node, **fields: Node) -> Node:
    """Return a copy of an object that has these fields first."""
    rest = {key: each for key, each in node.value.items() if key not in fields}
    return Node({**fields, **rest}, node.place, node.keys, node.size)


# Addresses.


def address(node: Node) -> Node:
    """An Address: 10.0.0.1:80, [::1]:80, name:80, /path, unix:/path or @abstract."""
    if not isinstance(node.value, str):
        return node
    path = node.value.removeprefix("unix:")
    if path[:1] in ("/", "@"):
        return made(node.place, pipe=made(node.place, path=path))
    return made(node.place, socket_address=socket_address(node, need_port=True))


def socket_address(node: Node, need_port: bool = False) -> Node:
    """A SocketAddress: as an address; the port is 0 if there is none, where that means something."""
    if not isinstance(node.value, str):
        return node
    host, port = split_address(node.value)
    if port is None and need_port:
        raise BadSpelling(f"expected ADDRESS:PORT, [IPV6]:PORT or /PATH, not {node.value!r}", node.place)
    return made(node.place, address=host, port_value=port or 0)


def split_address(text: str) -> tuple[str, int | None]:
    """Return host and port of host:port, or of [v6]:port; the port is None if there is none."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        if rest == "":
            return host, None
        port = rest.removeprefix(":") if rest.startswith(":") else ""
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        return text, None
    if not (host and port.isascii() and port.isdigit() and len(port) <= 5):
        return text, None
    return host, int(port)


def is_ip(text: str) -> bool:
    """Whether text is an IPv4 or IPv6 address."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def cidr_range(node: Node) -> Node:
    """A CidrRange: 10.0.0.0/8, or one address."""
    if not isinstance(node.value, str):
        return node
    prefix, slash, length = node.value.partition("/")
    bits = -1
    try:
        longest: int = ipaddress.ip_address(prefix).max_prefixlen
        bits = int(length) if slash else longest
    except ValueError:
        longest = -1
    if not 0 <= bits <= longest:
        raise BadSpelling(f"expected ADDRESS/BITS, such as 10.0.0.0/8, not {node.value!r}", node.place)
    return made(node.place, address_prefix=prefix, prefix_len=bits)


def additional_address(node: Node) -> Node:
    """An AdditionalAddress: an address."""
    return made(node.place, address=node) if isinstance(node.value, str) else node


def data_source(node: Node) -> Node:
    """A DataSource: a string is its content."""
    return made(node.place, inline_string=node) if isinstance(node.value, str) else node


# Extensions.


def extension(node: Node, kind: str, plugins: Any) -> Node:
    """A filter or transport socket: the last part of its plugin's name, or {name: config}."""
    if isinstance(node.value, str):
        name, key_place, config = node.value, node.place, Node(None, node.place)
    elif isinstance(node.value, dict) and len(node.value) == 1 and not node.value.keys() & _V3_EXTENSION:
        ((name, config),) = node.value.items()
        key_place = node.key_place(name)
    elif isinstance(node.value, dict) and not node.value.keys() & _V3_EXTENSION and node.value:
        raise BadSpelling(
            f"expected one {kind_text(kind)}, not {len(node.value)}: begin each with '- '", node.place
        )
    else:
        return node
    plugin = plugins.by_name(kind, name)
    if plugin is None:
        raise BadSpelling(_unknown(name, kind, plugins), key_place)
    return made(
        node.place, name=Node(plugin.name, key_place), typed_config=_config(plugin, config, key_place)
    )


_V3_EXTENSION = {"name", "typed_config", "typedConfig", "config_discovery", "configDiscovery"}


def _config(plugin: Any, config: Node, key_place: Place) -> Node:
    if config.value is None:
        config = Node({}, config.place)
    if not isinstance(config.value, dict):
        raise BadSpelling(
            f"expected the config of {plugin.name}, an object, not {config.what()}", config.place
        )
    if "@type" in config.value:
        return config
    type_url = Node(f"type.googleapis.com/{plugin_type(plugin)}", key_place)
    if is_message(plugin.config):
        return with_fields(config, **{"@type": type_url})
    fields: dict[str, Any] = {"@type": Node(_TYPED_STRUCT, key_place), "type_url": type_url, "value": config}
    return Node(fields, config.place)


def _unknown(name: str, kind: str, plugins: Any) -> str:
    known = {each.name: each for each in plugins.of_kind(kind).values()}
    last = {each.rpartition(".")[2]: None for each in known}
    ends = [each for each in known if each.rpartition(".")[2] == name]
    if len(ends) > 1:
        return f"{name!r} may be {' or '.join(ends)}: give the full name"
    text = f"meshd has no {kind_text(kind)} {name!r}{did_you_mean(name, [*last, *known])}"
    failed = ", ".join(f"{module} ({why})" for module, why in plugins.failed)
    return f"{text}; these plugins failed to import: {failed}" if failed else text


# Access logs.


def access_log(node: Node) -> Node:
    """An AccessLog: a path, stdout or stderr; or {path, format or json, filter}."""
    if isinstance(node.value, str):
        node = made(node.place, path=node)
    if not isinstance(node.value, dict) or node.value.keys() & {"name", "typed_config", "typedConfig"}:
        return node
    for key in node.value:
        if key not in ("path", "format", "json", "filter"):
            near = did_you_mean(key, ("path", "format", "json", "filter"))
            raise BadSpelling(f"an access log has no {key!r}{near}", node.key_place(key))
    path = node.value.get("path")
    if path is None or not isinstance(path.value, str):
        raise BadSpelling("an access log needs a path: a file, stdout or stderr", node.place)
    config = dict(_log_format(node))
    stream = {"stdout": "Stdout", "stderr": "Stderr"}.get(path.value)
    kind = f"stream.v3.{stream}AccessLog" if stream else "file.v3.FileAccessLog"
    config["@type"] = Node(_LOGGERS + kind, path.place)
    if not stream:
        config["path"] = path
    name = f"envoy.access_loggers.{path.value if stream else 'file'}"
    log = made(node.place, name=name, typed_config=Node(config, node.place))
    return with_fields(log, filter=node.value["filter"]) if "filter" in node.value else log


def _log_format(node: Node) -> dict[str, Node]:
    text, json = node.value.get("format"), node.value.get("json")
    if text is not None and json is not None:
        raise BadSpelling("format and json are two ways to say one thing: give one", node.key_place("json"))
    if json is not None:
        return {"log_format": made(json.place, json_format=json)}
    if text is None:
        return {}
    if not isinstance(text.value, str):
        raise BadSpelling(f"expected a format, a string, not {text.what()}", text.place)
    line = text.value if text.value.endswith("\n") else text.value + "\n"
    source = made(text.place, inline_string=line)
    return {"log_format": made(text.place, text_format_source=source)}


# Listeners.


def filter_chain(node: Node) -> Node:
    """A FilterChain: the list of its filters, or an object, whose match is filter_chain_match."""
    if isinstance(node.value, list):
        return made(node.place, filters=node)
    return renamed(node, "match", "filter_chain_match")


def listener(node: Node) -> Node:
    """A Listener: the list of its filters; or an object, with filters where there is one chain only."""
    if isinstance(node.value, (list, str)):
        chain = made(node.place, filters=node)
        return made(node.place, filter_chains=Node([chain], node.place))
    if not isinstance(node.value, dict):
        return node
    filters = node.value.get("filters")
    if filters is not None:
        if "filter_chains" in node.value:
            place = node.key_place("filters")
            raise BadSpelling("filters and filter_chains cannot both be given: filters is one chain", place)
        chain = made(filters.place, filters=filters)
        node = with_fields(node.without("filters"), filter_chains=Node([chain], filters.place))
    return _addresses(node)


def _addresses(node: Node) -> Node:
    """Let the address of a listener be a list, or several with commas between them."""
    found = node.value.get("address")
    if found is None:
        return node
    some = found.value if isinstance(found.value, list) else [found]
    each = [one for item in some for one in _parted(item)]
    if len(each) < 2:
        return with_fields(node, address=each[0]) if each else node
    if "additional_addresses" in node.value:
        raise BadSpelling("give all addresses at one place", node.key_place("additional_addresses"))
    more = Node([made(one.place, address=one) for one in each[1:]], found.place)
    return with_fields(node, address=each[0], additional_addresses=more)


def _parted(node: Node) -> list[Node]:
    if not isinstance(node.value, str):
        return [node]
    return [Node(part.strip(), node.place) for part in node.value.split(",")]


def renamed(node: Node, short: str, long: str) -> Node:
    """Return a copy of an object in which a field has its v3 name."""
    if not isinstance(node.value, dict) or short not in node.value:
        return node
    if long in node.value:
        raise BadSpelling(f"{short} and {long} are one and the same: give one", node.key_place(short))
    value = {long if key == short else key: each for key, each in node.value.items()}
    keys = {long if key == short else key: each for key, each in node.keys.items()}
    return Node(value, node.place, keys, node.size)


# Clusters.


def cluster(node: Node, plugins: Any) -> Node:
    """A Cluster: its hosts, or an object with hosts, in place of load_assignment."""
    if isinstance(node.value, (list, str)):
        node = made(node.place, hosts=node)
    if isinstance(node.value, dict) and "transport_socket" in node.value:
        socket = extension(node.value["transport_socket"], UPSTREAM_SOCKET, plugins)
        node = with_fields(node, transport_socket=socket)
    if not isinstance(node.value, dict) or "hosts" not in node.value:
        return node
    hosts = node.value["hosts"]
    if "load_assignment" in node.value:
        place = node.key_place("hosts")
        raise BadSpelling("hosts and load_assignment are two ways to say one thing: give one", place)
    items = hosts.value if isinstance(hosts.value, list) else [] if hosts.value is None else [hosts]
    assignment = {"endpoints": Node(_localities(items, hosts.place), hosts.place)}
    if "name" in node.value:
        assignment = {"cluster_name": node.value["name"], **assignment}
    result = node.without("hosts")
    if not node.value.keys() & {"type", "cluster_type"} and any(_is_name(item) for item in items):
        result.value["type"] = Node("STRICT_DNS", hosts.place)
    result.value["load_assignment"] = Node(assignment, hosts.place)
    return result


def _localities(hosts: list[Node], place: Place) -> list[Node]:
    """Return the LocalityLbEndpoints of hosts, those of one priority and locality together."""
    groups: dict[str, Node] = {}
    for host in hosts:
        shared = {key: host.value[key] for key in ("priority", "locality") if _has(host, key)}
        key = repr({key: plain(each) for key, each in shared.items()})
        group = groups.get(key)
        if group is None:
            group = groups[key] = Node(
                {**shared, "lb_endpoints": Node([], host.place)}, host.place, host.keys
            )
        group.value["lb_endpoints"].value.append(_lb_endpoint(host))
    return list(groups.values())


def _lb_endpoint(node: Node) -> Node:
    if isinstance(node.value, str):
        return made(node.place, endpoint=made(node.place, address=node))
    if not isinstance(node.value, dict):
        raise BadSpelling(f"expected a host, such as 10.0.0.1:80, not {node.what()}", node.place)
    node = renamed(node.without("priority", "locality"), "weight", "load_balancing_weight")
    inner = {
        key: node.value[key] for key in ("address", "hostname", "additional_addresses") if key in node.value
    }
    if "endpoint" in node.value:
        if inner:
            raise BadSpelling(f"{next(iter(inner))} belongs inside of endpoint here", node.place)
        return node
    if "address" not in inner:
        raise BadSpelling("this host needs an address", node.place)
    return with_fields(node.without(*inner), endpoint=Node(inner, node.place, node.keys))


#: The fields of an Endpoint, which lie beside those of the LbEndpoint around it in the short form.
_ENDPOINT = ("address", "hostname", "additional_addresses")


def _has(node: Node, key: str) -> bool:
    return isinstance(node.value, dict) and key in node.value


def _is_name(host: Node) -> bool:
    """Whether a host is given by a name to look up, in the short form."""
    node = host.value.get("address") if isinstance(host.value, dict) else host
    if (
        node is None
        or not isinstance(node.value, str)
        or node.value[:1] in ("/", "@")
        or "unix:" in node.value
    ):
        return False
    return not is_ip(split_address(node.value)[0])
