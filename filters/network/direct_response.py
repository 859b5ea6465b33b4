"""
Answers each connection with fixed bytes, as soon as it is there, and closes it.

What the client sends is not read.

Serves envoy.extensions.filters.network.direct_response.v3.Config.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from envoy.extensions.filters.network.direct_response.v3.config_pb2 import Config

from meshd.config.plain import data_source
from meshd.filter import TerminalFilter
from meshd.interfaces import IFactoryContext
from meshd.plugin import ConfigError, NetworkFilterPlugin


class DirectResponse(TerminalFilter):
    """Writes the response, and closes."""

    def __init__(self, response: bytes) -> None:
        self.response = response

    def connectionMade(self) -> None:
        info: Any = self.connection.info
        info.response_code_details = "direct_response"
        if self.response:
            info.bytes_sent += len(self.response)
            self.transport.write(self.response)
        self.transport.loseConnection()


def configure(config: Any, context: IFactoryContext) -> Callable[[], DirectResponse]:
    """Read the response; raise ConfigError if its file or environment variable is not there."""
    try:
        return partial(DirectResponse, data_source(config.response))
    except ConfigError as error:
        raise error.under("response") from None


direct_response = NetworkFilterPlugin(
    "envoy.filters.network.direct_response", Config, configure, serves=("response",), terminal=True
)
