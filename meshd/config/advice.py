"""
What can be served and is hardly meant: a warning, where Envoy says nothing.

A filter chain that wants a server name, TLS or an application protocol is never
chosen if no listener filter finds these out.  A cluster whose TLS context has no
validation takes anybody for its hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from meshd.config.check import Where, parts_of
from meshd.config.unpack import find, open_any
from meshd.plugin import ConfigError

#: Takes note that a part is to be warned of.
Note = Callable[[Where, str], None]

_LISTENER = "envoy.filters.listener."
#: The listener filters that do not find out what is asked for; one's own filters may.
_OTHERS = frozenset(
    _LISTENER + name
    for name in ("local_ratelimit", "original_dst", "original_src", "proxy_protocol", "set_filter_state")
)
_HTTP_INSPECTOR = _LISTENER + "http_inspector"
_OF_HTTP = frozenset({"http/1.0", "http/1.1", "h2c"})


_UPSTREAM_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


def advise(bootstrap: Any, plugins: Any, where: Where, note: Note) -> None:
    """Note what can hardly be meant."""
    _advise_listeners(bootstrap, plugins, where.child("static_resources", "listeners"), note)
    for number, cluster in enumerate(bootstrap.static_resources.clusters):
        at = where.child("static_resources", "clusters", number, "transport_socket")
        for place, context in _contexts(cluster.transport_socket, at):
            if not _validates(context.common_tls_context):
                note(
                    place,
                    f"cluster {cluster.name!r} takes any certificate for its hosts': its TLS context has no"
                    " validation_context",
                )


def _contexts(message: Any, where: Where) -> Iterator[tuple[Where, Any]]:
    """Yield the UpstreamTlsContexts in a message, also those in extensions, and where they are."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        message = open_any(message)
        if message is None:
            return
    if message.DESCRIPTOR.full_name == _UPSTREAM_TLS:
        yield where, message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for place, each in parts_of(field, value, where.child(field.name)):
                yield from _contexts(each, place)


def _validates(context: Any) -> bool:
    """Whether anything is demanded of the peer: a certificate, or that it knows a pre-shared key."""
    if context.WhichOneof("validation_context_type") is not None:
        return True
    return context.HasField("custom_handshaker") and b"psk" in context.custom_handshaker.typed_config.value


def _advise_listeners(bootstrap: Any, plugins: Any, where: Where, note: Note) -> None:
    """Note the criteria of filter chains that no connection can meet, for want of a listener filter."""
    for number, listener in enumerate(bootstrap.static_resources.listeners):
        names = {_name(each, plugins) for each in listener.listener_filters}
        if names <= _OTHERS | {_HTTP_INSPECTOR}:
            for index, chain in enumerate(listener.filter_chains):
                at = where.child(number, "filter_chains", index, "filter_chain_match")
                _match(chain.filter_chain_match, _HTTP_INSPECTOR in names, at, note)


def _name(listener_filter: Any, plugins: Any) -> str:
    try:
        return str(find(plugins, "listener", listener_filter).name)
    except ConfigError:
        return ""  # that is an error already


def _match(match: Any, sees_http: bool, where: Where, note: Note) -> None:
    never = "no connection has one here: the listener filter tls_inspector, which finds it out, is missing"
    if match.server_names:
        note(where.child("server_names"), never)
    if match.transport_protocol == "tls":
        note(where.child("transport_protocol"), never)
    protocols = match.application_protocols
    if protocols and not (sees_http and _OF_HTTP.intersection(protocols)):
        note(where.child("application_protocols"), never)
