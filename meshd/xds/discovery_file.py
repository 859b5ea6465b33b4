"""
Resources from a file: a DiscoveryResponse, YAML or JSON, as Envoy's path_config_source has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse, Resource

from meshd.config.check import Checker, Where
from meshd.config.errors import BadConfig, Report, Spot
from meshd.config.lenient import Reader
from meshd.config.load import compose, read_file
from meshd.config.unpack import open_any
from meshd.plugin import ConfigError
from meshd.tls.secrets import Unreadable


class DiscoveryFiles:
    """Reads resources as strictly, or not, as the config was read."""

    def __init__(self, plugins: Any, environ: Mapping[str, str], allow_unserved: bool = False) -> None:
        self._plugins = plugins
        self._environ = environ
        self._allow_unserved = allow_unserved

    def read(self, path: str, kind: type[Any]) -> tuple[str, Sequence[Any]]:
        """
        Return the version that a file says it is, and the messages in it, all of a kind.

        Raise Unreadable if it is no such file, ConfigError if what is in it cannot be served.
        """
        report = Report()
        try:
            node = compose(read_file(path), path, self._environ, report)
            message, spots = DiscoveryResponse(), Spot(node.place)
            Reader(report).message(node, message, spots)
            _fail(report)
        except BadConfig as error:
            raise Unreadable(str(error)) from None
        try:
            Checker(self._plugins, report, self._allow_unserved).message(message, Where(spots))
            _fail(report)
        except BadConfig as error:
            raise ConfigError(str(error)) from None
        return message.version_info, [_opened(each, kind, path) for each in message.resources]


def _fail(report: Report) -> None:
    if report.problems:
        raise BadConfig(report.problems)


def _opened(packed: Any, kind: type[Any], path: str) -> Any:
    """Return the resource in an Any, be it wrapped once more."""
    message: Any = open_any(packed)
    if isinstance(message, Resource):
        message = open_any(message.resource)
    if not isinstance(message, kind):
        found = packed.type_url.rpartition("/")[2] or "nothing"
        raise ConfigError(f"{path}: {kind.DESCRIPTOR.full_name} is expected, not {found}")
    return message
