"""
Makes the links of a filter chain from either config.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from meshd.filters.network.mongo_proxy.config import Config, of_message
from meshd.filters.network.mongo_proxy.guard import Guard
from meshd.filters.network.mongo_proxy.settings import Settings
from meshd.filters.network.mongo_proxy.sniffer import Sniffer
from meshd.interfaces import IFactoryContext


def of_config(config: Config, context: IFactoryContext) -> Callable[[], Sniffer]:
    """Read meshd's own config; return what makes the filter of a connection."""
    shared = Settings(config, context)
    return partial(Guard if shared.rules.any or shared.hosts else Sniffer, shared)


def of_envoy(message: Any, context: IFactoryContext) -> Callable[[], Sniffer]:
    """Read Envoy's message; return what makes the filter of a connection.  Raise ConfigError."""
    return of_config(of_message(message), context)
