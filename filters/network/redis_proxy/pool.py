"""
The connections to the hosts of one cluster, and which of them a key belongs to.

There is one connection for each host and flavour (database and RESP version), made when it
is first wanted and shared by all clients; a client with state at the server has a
flavour of its own, and so connections of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from meshd.codec.murmur import murmur2, murmur2_each
from meshd.codec.redis_slot import hash_tag, slot
from meshd.codec.resp import encode
from meshd.filters.network.redis_proxy.lane import Lane
from meshd.filters.network.redis_proxy.link import Link
from meshd.filters.network.redis_proxy.names import Then, is_ip, known_by_name, target
from meshd.filters.network.redis_proxy.renewal import Renewals
from meshd.filters.network.redis_proxy.request import ASKING, NO_HOST, Copy, Request
from meshd.filters.network.redis_proxy.retry import retry
from meshd.filters.network.redis_proxy.stats import ClusterStats
from meshd.interfaces import ICluster, IHost, NoHost, UpstreamError
from meshd.observe.info import ConnectionInfo
from meshd.policy.token_bucket import TokenBucket

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.settings import Settings

#: Keys whose hash is remembered.
_CACHED = 65536
#: How often a command follows MOVED and ASK.
_REDIRECTS = 5
#: Spare connections of their own that are kept for each host and flavour.
_SPARES = 8

_REDIRECTIONS = (b"-MOVED ", b"-ASK ")


class Flavour:
    """What a connection is prepared with."""

    __slots__ = ("database", "protocol")

    def __init__(self, database: int = 0, protocol: int = 2) -> None:
        self.database = database
        self.protocol = protocol

    def make_link(self, pool: Pool, host: IHost, greetings: list[bytes]) -> Link:
        """Return a new connection, that begins with greetings; nobody has begun to connect it."""
        return Link(pool, host, greetings)


class Pool:
    """The connections to one cluster."""

    def __init__(self, settings: Settings, name: str) -> None:
        context = settings.context
        self.name = name
        self.settings = settings
        self.clusters = context.clusters
        self.clock = context.clock
        self.seconds = settings.seconds
        self.soon = context.soon
        self.timers = context.timers
        self.op_timeout = settings.op_timeout
        self.flush_size = settings.flush_size
        self.flush_timeout = settings.flush_timeout
        self.cluster: ICluster = None  # type: ignore[assignment]
        self.redis_stats: ClusterStats
        self._links: dict[Flavour, dict[IHost, Link]] = defaultdict(dict)
        self._spare: dict[tuple[Flavour, IHost], list[Link]] = defaultdict(list)
        self._hashes: dict[bytes, int] = {}
        self._lanes: dict[Flavour, Lane] = {}
        self._unknown: dict[Any, IHost] = {}
        self._buckets: dict[IHost, TokenBucket] = {}
        self._info = ConnectionInfo("", "")
        self._renewals = Renewals(self)
        self.current()

    def current(self) -> ICluster | None:
        """Return the cluster of our name, be it another than before."""
        cluster = self.clusters.get(self.name)
        if cluster is not self.cluster and cluster is not None:
            for link in [each for links in self._links.values() for each in links.values()]:
                link.drain()
            self.cluster = cluster
            self._hashes.clear()
            self._forget_places()
            self._unknown.clear()
            scope = self.settings.context.stats.scope(f"cluster.{cluster.stat_name}")
            self.redis_stats = ClusterStats(scope.scope("redis_cluster"), self.settings.command_stats)
            self._followed = scope.counter("upstream_internal_redirect_succeeded_total")
            self._unfollowed = scope.counter("upstream_internal_redirect_failed_total")
            thresholds = getattr(cluster.config, "circuit_breakers", None)
            self._breaks = thresholds is not None and any(
                not each.priority and each.HasField("max_requests") for each in thresholds.thresholds
            )
            self._choose_hash(cluster)
            cluster.on_removed(partial(self._removed, cluster))
            self.find_zones()
        return cluster

    def find_zones(self) -> None:
        """Let a Redis Cluster find out in which zones its nodes are, if reads go by that."""
        if self.settings.by_zone and self.cluster is not None and self.cluster.redis_slots:
            self.cluster.find_zones()  # type: ignore[attr-defined]

    def count(self, name: str) -> None:
        """Count something rare among the cluster's statistics."""
        self.settings.context.stats.counter(f"cluster.{self.cluster.stat_name}.{name}").inc()

    # Where a key belongs.

    def lane(self, flavour: Flavour) -> Lane:
        """Return the short way of the clients of a shared flavour."""
        found = self._lanes.get(flavour)
        if found is None:
            found = self._lanes[flavour] = Lane(self, flavour)
        return found

    def _forget_places(self) -> None:
        for lane in self._lanes.values():
            lane.forget()

    def _choose_hash(self, cluster: ICluster) -> None:
        #: What the cluster picks the host of a key by, and of each of many keys.
        self.hash_of: Callable[[bytes], int] = murmur2
        self.hashes_of: Callable[[Sequence[bytes]], Iterable[int]] = murmur2_each
        if cluster.redis_slots:
            self.hash_of, self.hashes_of = slot, partial(map, slot)
        elif self.settings.hash_tags:
            self.hash_of = lambda key: murmur2(hash_tag(key))
            self.hashes_of = lambda keys: murmur2_each(list(map(hash_tag, keys)))
        self._hash = self.hash_of if cluster.redis_slots or cluster.hashing else None

    def hash(self, key: bytes | None) -> int | None:
        """Return what the cluster picks the host of key by."""
        if key is None or self._hash is None:
            return None
        if len(self.cluster.hosts) == 1 and not self.cluster.redis_slots:
            return 0
        hashed = self._hashes.get(key)
        if hashed is None:
            if len(self._hashes) >= _CACHED:
                self._hashes.clear()
            hashed = self._hash(key)
            if len(key) < 256:
                self._hashes[key] = hashed
        return hashed

    @property
    def has_places(self) -> bool:
        """Whether a key belongs to one host rather than to any."""
        return self._hash is not None

    @property
    def hashes_tags(self) -> bool:
        """Whether keys with the same hash tag belong together."""
        return self.settings.hash_tags or self.cluster.redis_slots

    def slot_of(self, key: bytes) -> int | None:
        """Return what is the same for keys that belong together for certain; None: for all keys."""
        return self.hash(key)

    def host_of(self, key: bytes | None, reads: bool = False) -> IHost | None:
        """Return the host of key, None if there is none."""
        cluster = self.clusters.get(self.name)
        if cluster is None or cluster is not self.cluster:
            cluster = self.current()
            if cluster is None:
                return None
        try:
            if reads and key is not None and cluster.redis_slots and self.settings.read_policy != "MASTER":
                return cluster.pick_read(self.hash(key), self.settings.read_policy)  # type: ignore[attr-defined,no-any-return]
            hashed = self._hashes.get(key)  # type: ignore[arg-type]
            return cluster.pick(self.hash(key) if hashed is None else hashed)
        except NoHost:
            return None

    def hosts(self) -> list[IHost]:
        """Return the hosts that have data of their own, in an order that stays."""
        cluster = self.current()
        if cluster is None:
            return []
        hosts: Sequence[IHost] = cluster.hosts
        if cluster.redis_slots:
            hosts = [shard.primary for shard in cluster.shards]  # type: ignore[attr-defined]
        return sorted(hosts, key=lambda host: str(host.address))

    # Sending.

    def send(self, request: Request) -> None:
        """Send a request to the host of its key."""
        host = self.host_of(request.key, request.entry.reads)
        if host is None:
            request.failed(None, NO_HOST)
        else:
            self.send_to(host, request)

    def link_to(self, host: IHost, flavour: Flavour) -> Link | None:
        """Return the shared connection to a host, new if need be; None if there may be none."""
        link = self._links[flavour].get(host)
        if link is None:
            try:
                link = self._connect(host, flavour)
            except UpstreamError:
                return None
        return link

    def send_to(self, host: IHost, request: Request) -> None:
        """Send a request to a host."""
        link = self._links[request.client.flavour].get(host) or self.link_to(host, request.client.flavour)
        if link is None:
            request.failed(None)
            return
        request.host = host
        if self._breaks and not self._may_send(request):
            return
        if self.settings.command_stats:
            self.redis_stats.command(request.entry.name).total.value += 1
        link.send(request, request.raw)

    def observe(self, name: str, elapsed: float, answered: bool) -> None:
        """Count a command that is over, and its time in seconds."""
        stats = self.redis_stats.command(name)
        (stats.success if answered else stats.failure).value += 1
        took = elapsed * self.settings.latency_factor
        stats.latency.record(took)
        if self.redis_stats.time is not None:
            self.redis_stats.time.record(took)

    def _may_send(self, request: Request) -> bool:
        breaker = self.cluster.limits.requests
        if self.cluster.stats.upstream_rq_active.value < breaker.limit:
            return True
        self.count("upstream_rq_active_overflow")
        request.failed(None)
        return False

    @property
    def may_redirect(self) -> bool:
        """Whether MOVED and ASK are followed."""
        return self.settings.redirects or self.cluster.redis_slots

    @property
    def is_single(self) -> bool:
        """Whether all keys have one host, for there is but one."""
        return len(self.cluster.hosts) == 1 and not self.cluster.redis_slots

    @property
    def takes_trains(self) -> bool:
        """Whether many commands may go together."""
        return self.current() is not None and not self._breaks and not self.settings.command_stats

    def copy(self, request: Request) -> None:
        """Send the command of another request here too; the reply is dropped."""
        self.send(Copy(request.client, request.entry, request.raw, self, request.key))

    def _connect(self, host: IHost, flavour: Flavour) -> Link:
        link = self._links[flavour][host] = self.open(host, flavour)
        link.on_end = partial(self._forget, host, flavour, link)
        return link

    def open(self, host: IHost, flavour: Flavour) -> Link:
        """Make a connection; raise UpstreamError."""
        if self.settings.rate_limit and not self._take_token(host):
            self.redis_stats.rate_limited.inc()
            raise NoHost(self.name)
        link = flavour.make_link(self, host, self._greetings(host, flavour))
        link.connecting = self.cluster.connect_to(host, link, self._info)
        if self.cluster.redis_logins.iam is not None:
            self._renewals.add(link)
        return link

    def _take_token(self, host: IHost) -> bool:
        now, limit = self.seconds(), self.settings.rate_limit
        bucket = self._buckets.get(host)
        if bucket is None:
            bucket = self._buckets[host] = TokenBucket(limit, limit, 1.0, now)
        return bucket.take(now)

    def _greetings(self, host: IHost, flavour: Flavour) -> list[bytes]:
        auth = self.cluster.redis_logins.of(host.address)
        name, password = auth or (b"", b"")
        greetings = []
        if flavour.protocol == 3:
            # Unlike AUTH, HELLO wants a name.
            greetings.append(
                encode([b"HELLO", b"3", *([b"AUTH", name or b"default", password] if auth else [])])
            )
        elif auth:
            greetings.append(encode([b"AUTH", name, password] if name else [b"AUTH", password]))
        if flavour.database:
            greetings.append(encode([b"SELECT", b"%d" % flavour.database]))
        if self.cluster.redis_slots and self.settings.read_policy != "MASTER":
            greetings.append(encode([b"READONLY"]))
        return greetings

    def greeting_refused(self, link: Link, reply: bytes) -> None:
        """Count that a host did not accept what a connection begins with."""
        if reply.startswith(b"-NOPROTO"):
            self.redis_stats.hello_failure.inc()

    # Connections of one client's own.

    def borrow(self, host: IHost, flavour: Flavour) -> Link:
        """Return a connection that nobody else uses until it is given back; raise UpstreamError."""
        spares = self._spare[flavour, host]
        while spares:
            link = spares.pop()
            if not link.over:
                link.on_end = None
                return link
        return self.open(host, flavour)

    def give_back(self, link: Link, flavour: Flavour) -> None:
        """Take back a connection that has no state and waits for nothing."""
        spares = self._spare[flavour, link.host]
        if link.over:
            return
        if len(spares) >= _SPARES or link.busy or link.draining:
            link.close()
            return
        link.timeout = self.op_timeout
        spares.append(link)
        link.on_end = partial(self._spare_ended, spares, link)

    @staticmethod
    def _spare_ended(spares: list[Link], link: Link) -> None:
        if link in spares:
            spares.remove(link)

    def drop(self, flavour: Flavour) -> None:
        """Close the connections of a flavour that is no longer used."""
        for link in list(self._links.pop(flavour, {}).values()):
            link.fail("reset") if link.busy else link.close()
        for (its, _), spares in list(self._spare.items()):
            if its is flavour:
                for link in list(spares):
                    link.close()

    # What ends.

    def _forget(self, host: IHost, flavour: Flavour, link: Link) -> None:
        links = self._links.get(flavour)
        if links is not None and links.get(host) is link:
            del links[host]
            self._forget_places()

    def ended(self, link: Link) -> None:
        """A connection is over."""
        if self._unknown.get(link.host.address) is link.host:
            del self._unknown[link.host.address]

    def _removed(self, cluster: ICluster, hosts: Sequence[IHost]) -> None:
        if cluster is not self.cluster:
            return
        for host in hosts:
            self._buckets.pop(host, None)
            for links in self._links.values():
                link = links.pop(host, None)
                if link is not None:
                    self.redis_stats.drained.inc()
                    self._forget_places()
                    link.drain()
            for (_, whose), spares in list(self._spare.items()):
                if whose is host:
                    for link in list(spares):
                        link.close()

    # When it does not go well.

    def retry(self, request: Request) -> bool:
        """Send a request that only reads again, if it may be; return whether it will be."""
        return retry(self, request)

    def redirect(self, request: Request, reply: bytes) -> bool:
        """Follow MOVED or ASK; return whether the request is on its way."""
        if self.waits(request, reply, request.answered):
            return True
        host = self.redirected(request, reply)
        if host is None:
            return False
        if reply.startswith(b"-ASK"):
            self.send_to(host, Copy(request.client, request.entry, ASKING, self, None))
        self.send_to(host, request)
        return True

    def waits(self, request: Request, reply: bytes, then: Then) -> bool:
        """Let then be called with a MOVED or ASK once the name in it is looked up; return whether it is."""
        names = self.settings.names
        if names is None or not reply.startswith(_REDIRECTIONS) or request.client.gone:
            return False
        return self.may_redirect and request.redirects < _REDIRECTS and names.wait(request, reply, then)

    def redirected(self, request: Request, reply: bytes) -> IHost | None:
        """Return where the request is to go if reply is MOVED or ASK, and may be followed."""
        if not reply.startswith(_REDIRECTIONS) or request.client.gone:
            return None
        if self.cluster.redis_slots:
            self.cluster.note_redirect()  # type: ignore[attr-defined]
        if not self.may_redirect:
            return None
        host = self._named(reply, request) if request.redirects < _REDIRECTS else None
        if host is None:
            self._unfollowed.inc()
            return None
        self._followed.inc()
        request.redirects += 1
        return host

    def _named(self, reply: bytes, request: Request) -> IHost | None:
        """Return the host that a redirection names; None if it may not be connected to."""
        address = target(reply)
        if address is None:
            return None
        name, port = address
        if not name and request.host is not None:
            address = (request.host.address[0], port)
        elif not is_ip(name):
            return known_by_name(self.cluster, name, port)
        host = self._unknown.get(address) or self.cluster.host_at(address)
        if host in self.cluster.hosts or address in self._unknown:
            return host
        if len(self._unknown) >= self.settings.max_unknown:
            self.redis_stats.max_unknown.inc()
            return None
        self._unknown[address] = host
        return host
