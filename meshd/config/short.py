"""
The short form of a config, to the v3 form.

Listeners are named by their addresses, filters by the last part of their
plugin's name, clusters by name with hosts; everything below is v3, except that
a few messages may be written as one string wherever they occur (spellings.py).
Each node of the long form stands where that of the short form stood, so that
errors show the line that the user wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import yaml
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from meshd.config import spellings
from meshd.config.env import escape
from meshd.config.errors import Place, Report, did_you_mean, dotted
from meshd.config.lenient import field_names, is_map
from meshd.config.nodes import BROKEN, Node, plain, scalar, walk
from meshd.config.spellings import BadSpelling, made, with_fields
from meshd.config.types import TYPED_STRUCTS, message_class

_CORE = "envoy.config.core.v3."
_LISTENER = "envoy.config.listener.v3."
_ONE_FORM = "a file is of the short form (listeners, clusters) or of the v3 form (static_resources)"


def is_short(node: Node) -> bool:
    """Whether the text of a file is of the short form, told by its keys."""
    if not isinstance(node.value, dict):
        return False
    if node.value.keys() & {"listeners", "clusters"}:
        return True
    admin = node.value.get("admin")
    if admin is None or node.value.keys() & {"static_resources", "staticResources"}:
        return False
    address = admin.value.get("address") if isinstance(admin.value, dict) else admin
    return address is not None and isinstance(address.value, str)


class Expander:
    """Turns the nodes of the short form to those of v3; what is wrong goes to report."""

    def __init__(self, plugins: Any, report: Report) -> None:
        self.report = report
        self.spellings: dict[str, Callable[[Node], Node]] = {
            f"{_CORE}Address": spellings.address,
            f"{_CORE}SocketAddress": spellings.socket_address,
            f"{_CORE}CidrRange": spellings.cidr_range,
            f"{_CORE}DataSource": spellings.data_source,
            f"{_CORE}TransportSocket": self._extension("transport_socket", plugins),
            f"{_LISTENER}AdditionalAddress": spellings.additional_address,
            f"{_LISTENER}Filter": self._extension("network", plugins),
            f"{_LISTENER}ListenerFilter": self._extension("listener", plugins),
            f"{_LISTENER}FilterChain": spellings.filter_chain,
            f"{_LISTENER}Listener": spellings.listener,
            "envoy.config.accesslog.v3.AccessLog": spellings.access_log,
            "envoy.config.cluster.v3.Cluster": partial(spellings.cluster, plugins=plugins),
            "envoy.config.bootstrap.v3.Admin": _admin,
        }

    def expand(self, root: Node) -> Node:
        """Return the nodes of a Bootstrap for a file of the short form."""
        for place, path in walk(root):
            self.report.labels.setdefault(place, dotted(path))
        known = {*field_names(Bootstrap.DESCRIPTOR), "listeners", "clusters"}
        fields: dict[str, Node] = {}
        for key, node in root.value.items():
            if key in ("static_resources", "staticResources"):
                self._error(f"{key} is of the v3 form: {_ONE_FORM}", root.key_place(key))
            elif key not in known:
                near = did_you_mean(key, known)
                self._error(f"the short form has no {key!r}{near}", root.key_place(key))
            elif key not in ("listeners", "clusters"):
                fields[key] = node
        static = {
            key: Node(self._items(root.value[key], as_item), root.value[key].place)
            for key, as_item in (("listeners", _listener), ("clusters", _cluster))
            if key in root.value
        }
        if static:
            fields["static_resources"] = Node(static, root.place, root.keys)
        return self._message(Node(fields, root.place, root.keys), Bootstrap.DESCRIPTOR)

    def _items(self, node: Node, as_item: Callable[[str, Place, Node], Node]) -> list[Node]:
        """Return the listeners or clusters of a mapping; each knows its key."""
        if node.value is None:
            return []
        if isinstance(node.value, list):
            return node.value
        if not isinstance(node.value, dict):
            self._error(f"expected an object, not {node.what()}", node.place)
            return []
        items = []
        for key, each in node.value.items():
            try:
                items.append(as_item(key, node.key_place(key), each))
            except BadSpelling as error:
                items.append(Node(BROKEN, each.place))
                self._error(error.message, error.place)
        return items

    def _message(self, node: Node, descriptor: Descriptor) -> Node:
        """Expand a message, and all in it."""
        name = descriptor.full_name
        spelling = self.spellings.get(name)
        if spelling is not None and node.value is not None and node.value is not BROKEN:
            try:
                node = spelling(node)
            except BadSpelling as error:
                self._error(error.message, error.place)
                return Node(BROKEN, node.place)
        if not isinstance(node.value, dict):
            return node
        if name == "google.protobuf.Any":
            return self._any(node)
        fields = field_names(descriptor)
        value = {key: self._field(each, fields.get(key)) for key, each in node.value.items()}
        return Node(value, node.place, node.keys, node.size)

    def _field(self, node: Node, field: FieldDescriptor | None) -> Node:
        if field is None or node.value is None:
            return node
        if field.is_repeated and not is_map(field) and not isinstance(node.value, list):
            node = Node([node], node.place, size=node.size)
        if field.message_type is None:
            return node
        inner: Any = field.message_type
        if is_map(field):
            inner = inner.fields_by_name["value"].message_type
            if inner is None or not isinstance(node.value, dict):
                return node
            value = {key: self._message(each, inner) for key, each in node.value.items()}
            return Node(value, node.place, node.keys, node.size)
        if field.is_repeated:
            return Node([self._message(each, inner) for each in node.value], node.place, size=node.size)
        return self._message(node, inner)

    def _any(self, node: Node) -> Node:
        url = node.value.get("@type")
        if url is None or not isinstance(url.value, str):
            return node
        cls = message_class(url.value.rsplit("/", 1)[-1])
        if cls is None or cls.DESCRIPTOR.full_name in TYPED_STRUCTS:
            return node
        inner = self._message(node.without("@type"), cls.DESCRIPTOR)
        return with_fields(inner, **{"@type": url}) if isinstance(inner.value, dict) else inner

    def _extension(self, kind: str, plugins: Any) -> Callable[[Node], Node]:
        return partial(spellings.extension, kind=kind, plugins=plugins)

    def _error(self, message: str, place: Place) -> None:
        self.report.problems.append(self.report.problem(place, self.report.labels.get(place, ""), message))


def _listener(key: str, key_place: Place, node: Node) -> Node:
    """Make a listener of key and value: the key is its address, or its name if it says its address itself."""
    node = spellings.listener(Node([], node.place) if node.value is None else node)
    if not isinstance(node.value, dict):
        raise BadSpelling(f"expected a listener, not {node.what()}", node.place)
    fields = {"name": node.value.get("name", Node(key, key_place))}
    if "address" not in node.value:
        fields["address"] = Node(key, key_place)
    return with_fields(node, **fields)


def _cluster(key: str, key_place: Place, node: Node) -> Node:
    node = made(node.place, hosts=node) if isinstance(node.value, (list, str)) else node
    node = Node({}, node.place) if node.value is None else node
    if not isinstance(node.value, dict):
        raise BadSpelling(f"expected a cluster, not {node.what()}", node.place)
    if "name" in node.value:
        raise BadSpelling(f"the name of this cluster is {key!r} already", node.key_place("name"))
    return with_fields(node, name=Node(key, key_place))


def _admin(node: Node) -> Node:
    return made(node.place, address=node) if isinstance(node.value, str) else node


class _Dumper(yaml.SafeDumper):
    """Writes YAML that means to Envoy's parser, and to meshd's, what it means here."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


#: What YAML takes for the end of a line, and would fold.
_BREAKS = frozenset("\n\r\x85\u2028\u2029")


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    breaks = not _BREAKS.isdisjoint(text)
    style = '"' if breaks else None if scalar(text) == text else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", escape(text), style=style)


_Dumper.add_representer(str, _string)


def dump(node: Node) -> str:
    """Return nodes as YAML text."""
    return yaml.dump(plain(node), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
