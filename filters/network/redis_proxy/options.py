"""
What meshd's redis_proxy can do that Envoy's message has no field for.

The filter meshd.filters.network.redis_options stands before
envoy.filters.network.redis_proxy in a filter chain, leaves what it was
configured with in the connection's filter state, and is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from random import random
from typing import Any, Literal

import attrs
from attrs import validators
from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from envoy.extensions.access_loggers.stream.v3.stream_pb2 import StderrAccessLog, StdoutAccessLog
from google.protobuf.json_format import ParseDict, ParseError

from meshd.codec.resp import Limits
from meshd.filter import NetworkFilter
from meshd.filters.network.redis_proxy import commands
from meshd.filters.network.redis_proxy.hot_keys import HotKeys
from meshd.interfaces import IAccessLogger, IFactoryContext
from meshd.plugin import ConfigError, NetworkFilterPlugin

#: The filter state that redis_proxy looks for.
KEY = "meshd.redis_options"


@attrs.frozen
class RedisOptions:
    """The config of meshd.filters.network.redis_options; sizes are in bytes."""

    #: RESP2 and RESP3 are Envoy's; ANY lets each client choose by HELLO.
    protocol_version: Literal["RESP2", "RESP3", "ANY"] = "RESP2"
    #: How often a command that only reads is sent again if its host failed, within op_timeout.
    read_retries: int = attrs.field(default=0, validator=[validators.ge(0), validators.le(10)])
    #: Which node of a Redis Cluster commands go to that only read, instead of what RedisProxy says: Envoy's
    #: policies by zone, which the RedisProxy message that meshd reads has no names for.
    read_policy: Literal["", "LOCAL_ZONE_AFFINITY", "LOCAL_ZONE_AFFINITY_REPLICAS_AND_PRIMARY"] = ""
    #: Refuse all commands that write.
    read_only: bool = False
    #: Names of commands (flushall, config|set), or of ACL categories (@dangerous).
    refused_commands: list[str] = attrs.field(factory=list)
    max_bulk_bytes: int = attrs.field(default=512 << 20, validator=validators.ge(1024))
    max_arguments: int = attrs.field(default=1 << 20, validator=validators.ge(16))
    max_request_bytes: int = attrs.field(default=1 << 30, validator=validators.ge(1024))
    #: How many commands of one client may be unanswered; it is not read while it has as many.
    max_pipeline: int = attrs.field(default=4096, validator=validators.ge(1))
    #: What may wait to be sent to a client that does not read; it is cut beyond that.
    max_unsent_bytes: int = attrs.field(default=64 << 20, validator=validators.ge(1024))
    #: How long a client may not read its replies.
    slow_client_timeout: timedelta = timedelta(seconds=60)
    #: AccessLog messages: a line for each command.
    command_log: list[Any] = attrs.field(factory=list)
    #: The share of the commands that are logged.
    command_log_sample: float = attrs.field(default=1.0, validator=[validators.ge(0.0), validators.le(1.0)])
    #: Log only commands that take at least so long.
    command_log_slower_than: timedelta = timedelta(0)
    #: How many of the most used keys the admin page /redis_hot_keys tells of; 0: none.
    hot_keys: int = attrs.field(default=0, validator=[validators.ge(0), validators.le(10_000)])
    #: Note command, key and key_prefix in the connection's dynamic metadata.
    dynamic_metadata: bool = False
    #: Call channels upstream what the routes call keys.
    rewrite_channels: bool = False
    #: Whose hosts commands about all of them ask: those of the catch-all route, as in Envoy, or all.
    fan_out: Literal["catch_all", "all_routes"] = "catch_all"


class Options:
    """RedisOptions, read once."""

    loggers: Sequence[IAccessLogger] = ()
    hot_keys: HotKeys | None = None

    def __init__(self, config: RedisOptions = RedisOptions(), context: IFactoryContext | None = None) -> None:
        self.protocol = config.protocol_version
        self.retries = config.read_retries
        self.read_policy = config.read_policy
        self.read_only = config.read_only
        self.refused = frozenset(name.lower() for name in config.refused_commands)
        for index, name in enumerate(config.refused_commands):
            if not _is_known(name.lower()):
                raise ConfigError(f"there is no command or category {name}", "refused_commands", index)
        self.limits = Limits(
            bulk=config.max_bulk_bytes, arguments=config.max_arguments, request=config.max_request_bytes
        )
        self.max_pipeline = config.max_pipeline
        self.max_unsent = config.max_unsent_bytes
        self.slow_client = config.slow_client_timeout.total_seconds()
        self.sample = config.command_log_sample
        self.slower_than = config.command_log_slower_than.total_seconds()
        self.metadata = config.dynamic_metadata
        self.rewrite_channels = config.rewrite_channels
        self.everywhere = config.fan_out == "all_routes"
        if context is not None:
            self.loggers = context.access_loggers(_messages(config.command_log))
            if config.hot_keys:
                self.hot_keys = HotKeys(config.hot_keys)
                context.admin_pages["/redis_hot_keys"] = self.hot_keys.page

    def logs(self, seconds: float) -> bool:
        """Whether a command that took so long is logged."""
        return bool(self.loggers) and seconds >= self.slower_than and random() < self.sample


def _is_known(name: str) -> bool:
    if name.startswith("@"):
        return name[1:] in _CATEGORIES
    container, _, word = name.encode().partition(b"|")
    command = commands.find(container)
    return command is not None and (not word or word in command.subcommands)


#: The ACL categories of Redis 7.
_CATEGORIES = frozenset(
    """
    keyspace read write set sortedset list hash string bitmap hyperloglog geo stream pubsub admin
    fast slow blocking dangerous connection transaction scripting
    """.split()
)


#: Imported so that these messages can be read.
_LOGGERS = (FileAccessLog, StderrAccessLog, StdoutAccessLog)


def _messages(configs: list[Any]) -> list[AccessLog]:
    messages = []
    for index, each in enumerate(configs):
        try:
            messages.append(ParseDict(each, AccessLog()))
        except ParseError as error:
            raise ConfigError(str(error).splitlines()[0], "command_log", index) from None
    return messages


class OptionsFilter(NetworkFilter):
    """Hands the options to the redis_proxy inside, and leaves."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def connectionMade(self) -> None:
        self.connection.info.filter_state[KEY] = self.options
        self.leave()
        self.inner.connectionMade()


def configure(config: RedisOptions, context: IFactoryContext) -> Callable[[], OptionsFilter]:
    """Read the config; return what makes the filter of a connection."""
    return partial(OptionsFilter, Options(config, context))


redis_options = NetworkFilterPlugin(
    "meshd.filters.network.redis_options",
    RedisOptions,
    configure,
    serves=tuple(each.name for each in attrs.fields(RedisOptions)),
)
