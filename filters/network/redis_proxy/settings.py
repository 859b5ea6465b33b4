"""The RedisProxy message, read once into plain attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from attrs import frozen

from meshd.config.plain import data_source, optional_seconds, seconds, wrapped
from meshd.filters.network.redis_proxy.external_auth import ExternalAuth
from meshd.filters.network.redis_proxy.names import Names
from meshd.filters.network.redis_proxy.options import Options
from meshd.filters.network.redis_proxy.pool import Flavour, Pool
from meshd.filters.network.redis_proxy.pubsub import Hub
from meshd.filters.network.redis_proxy.routes import Route, Routes, read_routes
from meshd.filters.network.redis_proxy.stats import Stats
from meshd.filters.network.redis_proxy.table import Table
from meshd.interfaces import IFactoryContext
from meshd.plugin import ConfigError

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client

#: Seconds; Envoy's default of buffer_flush_timeout.
FLUSH_TIMEOUT = 0.003
MAX_UNKNOWN = 100

SERVES = (
    "stat_prefix",
    "settings.op_timeout",
    "settings.enable_hashtagging",
    "settings.enable_redirection",
    "settings.max_buffer_size_before_flush",
    "settings.buffer_flush_timeout",
    "settings.max_upstream_unknown_connections",
    "settings.enable_command_stats",
    "settings.read_policy",
    "settings.connection_rate_limit",
    "settings.dns_cache_config",
    "latency_in_micros",
    "prefix_routes",
    "downstream_auth_password",
    "downstream_auth_passwords",
    "downstream_auth_username",
    "external_auth_provider",
    "faults",
    "custom_commands",
)


@frozen(eq=False)
class Fault:
    """What is done to some commands, for tests: a delay in seconds, or an error."""

    delay: float
    is_error: bool
    #: A RuntimeFractionalPercent message.
    enabled: Any
    #: In small letters; empty: all.
    commands: frozenset[str]


class Settings:
    """What all connections of a redis_proxy share."""

    #: Whether read_policy goes by the zones of hosts.
    by_zone = False

    def __init__(self, config: Any, context: IFactoryContext) -> None:
        self.context = context
        self.timers = context.timers
        self.seconds: Callable[[], float] = context.clock.seconds
        self.scope = context.stats.scope(f"redis.{config.stat_prefix}")
        self.stats = Stats(self.scope)
        #: By which the host of a command is chosen that only reads.
        self.read_policy: str
        self._read_pool(config.settings)
        self.latency_factor = 1_000_000 if config.latency_in_micros else 1000
        try:
            self.routes: Routes = read_routes(config.prefix_routes)
        except ConfigError as error:
            raise error.under("prefix_routes") from None
        self._read_auth(config)
        #: By the names of the clusters of the routes.
        self.pools: dict[str, Pool] = {}
        for route in self.routes.all:
            for name in (route.cluster, route.read_cluster, *(each.cluster for each in route.mirrors)):
                if name and name not in self.pools:
                    self.pools[name] = Pool(self, name)
        only = self.routes.catch_all if len(self.routes.all) == 1 else None
        #: The pool for all keys, if nothing but the host depends on the key.
        self.trains: Pool | None = None
        if only is not None and not (only.changes or only.mirrors or only.read_cluster):
            self.trains = self.pools[only.cluster]
        self._flavours: dict[tuple[int, int], Flavour] = {}
        self.hub = Hub(self)
        self._hubs: dict[Route, Hub] = {}
        #: Those that know their number, by it.
        self.clients: WeakValueDictionary[int, Client] = WeakValueDictionary()
        #: For clients without redis_options.
        self.options = Options()
        self._tables: dict[Options, Table] = {}
        self.faults = tuple(_fault(each) for each in config.faults)
        self.custom = frozenset(name.lower() for name in config.custom_commands)

    def table(self, options: Options) -> Table:
        """Return the table of the commands under these options."""
        found = self._tables.get(options)
        if found is None:
            found = self._tables[options] = Table(self, options)
            if options.read_policy:
                self._read_by_zone(options.read_policy)
        return found

    def _read_by_zone(self, policy: str) -> None:
        # A filter chain has one redis_options, which is known when its first connection comes.
        self.read_policy = policy
        self.by_zone = True
        for pool in self.pools.values():
            pool.find_zones()

    def hub_of(self, route: Route) -> Hub:
        """Return the subscriptions to channels as a route names them."""
        hub = self._hubs.get(route)
        if hub is None:
            hub = self._hubs[route] = Hub(self, route)
        return hub

    def flavour(self, database: int, protocol: int) -> Flavour:
        """Return the flavour that the clients of a database and a RESP version share."""
        found = self._flavours.get((database, protocol))
        if found is None:
            found = self._flavours[database, protocol] = Flavour(database, protocol)
        return found

    def _read_pool(self, settings: Any) -> None:
        self.op_timeout = seconds(settings.op_timeout)
        if not self.op_timeout:
            raise ConfigError("an op_timeout of 0 s lets every command fail", "settings", "op_timeout")
        self.hash_tags: bool = settings.enable_hashtagging
        self.redirects: bool = settings.enable_redirection
        self.flush_size: int = settings.max_buffer_size_before_flush
        self.flush_timeout: float = optional_seconds(settings, "buffer_flush_timeout") or FLUSH_TIMEOUT
        self.max_unknown: int = wrapped(settings, "max_upstream_unknown_connections", MAX_UNKNOWN)
        self.command_stats: bool = settings.enable_command_stats
        self.read_policy = type(settings).ReadPolicy.Name(settings.read_policy)
        #: Who follows redirections to names; None: nobody.
        self.names: Names | None = None
        if settings.HasField("dns_cache_config"):
            try:
                self.names = Names(self.context.dns_cache(settings.dns_cache_config))
            except ConfigError as error:
                raise error.under("settings", "dns_cache_config") from None
        self.rate_limit: int = settings.connection_rate_limit.connection_rate_limit_per_sec

    def _read_auth(self, config: Any) -> None:
        passwords = [data_source(each) for each in config.downstream_auth_passwords]
        if config.HasField("downstream_auth_password"):
            passwords.append(data_source(config.downstream_auth_password))
        #: Any of them will do.
        self.passwords = tuple(each for each in passwords if each)
        self.username = data_source(config.downstream_auth_username)
        #: Who is asked instead of comparing passwords.
        self.external: ExternalAuth | None = None
        if config.HasField("external_auth_provider"):
            self.external = ExternalAuth(config.external_auth_provider, self.context)


def _fault(message: Any) -> Fault:
    kind = type(message).RedisFaultType.Name(message.fault_type)
    return Fault(
        seconds(message.delay),
        kind == "ERROR",
        message.fault_enabled,
        frozenset(name.lower() for name in message.commands),
    )
