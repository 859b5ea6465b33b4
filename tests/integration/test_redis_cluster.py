"""Clusters of type envoy.clusters.redis beside real ones: slots, failover, resharding, passwords."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from meshd.codec.redis_slot import slot
from meshd.upstream.clusters import make_cluster
from meshd.upstream.connect import Connector
from meshd.upstream.host import Host
from meshd.upstream.redis_cluster import RedisCluster as Discovered
from meshd.upstream.resolver import Resolver
from tests.net.loop import Loop
from tests.redis_servers import RedisCluster
from tests.upstream.redis_nodes import TYPE, ports_of
from tests.upstream.support import Surrounding, assignment, message

AUTH = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions"


class Watching:
    """A cluster of meshd that is told of one node, and finds the others."""

    def __init__(self, seed: int, **config: Any) -> None:
        self.loop = Loop()
        self.around = Surrounding()
        context = self.around.context
        context.clock = self.loop.clock
        context.connector = Connector(self.loop.poller, self.loop.timers)
        context.resolver = Resolver(None)
        kind = {"@type": TYPE, "cluster_refresh_rate": "0.5s", "redirect_refresh_threshold": 1}
        kind |= config.pop("redis", {})
        made = make_cluster(
            message(
                lb_policy="CLUSTER_PROVIDED",
                cluster_type={
                    "name": "envoy.clusters.redis",
                    "typed_config": {**kind, **config.pop("redis", {})},
                },
                load_assignment=assignment([seed]),
                **config,
            ),
            context,
        )
        assert isinstance(made, Discovered)
        self.cluster = made
        self.gone: list[int] = []
        made.on_removed(lambda hosts: self.gone.extend(ports_of(hosts)))
        made.start()

    def until(self, true: Callable[[], object], what: str) -> None:
        """Let real time pass until true() holds."""
        end = time.monotonic() + 30
        while not true():
            assert time.monotonic() < end, f"waited in vain for {what}"
            self.loop.turn(1)
            time.sleep(0.01)
            self.loop.clock.advance(0.01)

    def slots(self) -> list[tuple[int, int, int, list[int]]]:
        """Return the first and last slot, the port of the primary and those of the replicas, by slot."""
        return sorted(
            (first, last, port(shard.primary), sorted(map(port, shard.replicas)))
            for shard in self.cluster.shards
            for first, last in shard.slots
        )

    def stop(self) -> None:
        """Stop it, and close what is open."""
        self.cluster.stop()
        self.loop.turn()
        self.loop.poller._epoll.close()


def port(host: Host) -> int:
    """Return the port of a host."""
    return ports_of([host])[0]


def said(cluster: RedisCluster, at: int | None = None) -> list[tuple[int, int, int, list[int]]]:
    """Return what the nodes say, as Watching.slots does."""
    return sorted((first, last, ports[0], sorted(ports[1:])) for first, last, ports in cluster.slots(at))


class ClusterTests(SynchronousTestCase):
    """Three primaries and three replicas."""

    redis: ClassVar[RedisCluster]

    @classmethod
    def setUpClass(cls) -> None:
        cls.redis = RedisCluster()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.redis.stop()

    def watch(self, seed: int | None = None, **config: Any) -> Watching:
        """Have meshd's cluster find the nodes."""
        watching = Watching(seed or self.redis.servers[0].port, **config)
        self.addCleanup(watching.stop)
        watching.until(lambda: watching.slots() == said(self.redis), "the topology")
        return watching

    def alive(self) -> int:
        """Return the port of a server that runs."""
        return next(server.port for server in self.redis.servers if server.running)

    def test_slots(self) -> None:
        """Told of any one node, meshd finds the topology that the nodes tell, and all of them as hosts."""
        for server in (self.redis.servers[0], self.redis.servers[-1]):
            watching = self.watch(server.port)
            self.assertEqual({port(host) for host in watching.cluster.hosts}, {
                each.port for each in self.redis.servers
            })  # fmt: skip

    def test_keys(self) -> None:
        """Keys are where meshd says: the node that it picks takes the key, and another does not."""
        watching = self.watch()
        for number in range(60):
            key = (f"k{number}", f"{{tag{number}}}x", f"a{{}}{number}")[number % 3].encode()
            self.assertEqual(self.redis.ask(self.alive(), "CLUSTER", "KEYSLOT", key), slot(key))
            picked = port(watching.cluster.pick(slot(key)))
            self.assertEqual(self.redis.ask(picked, "SET", key, "v"), b"OK")

    def test_reads(self) -> None:
        """Reads of replicas go to replicas of the right primary, which know the key."""
        watching = self.watch()
        key = b"read-me"
        self.redis.ask(port(watching.cluster.pick(slot(key))), "SET", key, "v")
        replica = port(watching.cluster.pick_read(slot(key), "REPLICA"))
        self.assertIn(b"role:slave", self.redis.ask(replica, "INFO", "replication"))
        self.redis.wait(lambda: self.redis.ask(replica, "GET", key) is not None, "the replica to answer")
        self.assertTrue(str(self.redis.ask(replica, "GET", key)).startswith("MOVED"))

    def test_resharding(self) -> None:
        """A slot that moves is picked at its new primary; a redirect makes that known before the time."""
        watching = self.watch(redis={"cluster_refresh_rate": "3600s"})
        key = b"moving"
        primaries = [port(shard.primary) for shard in watching.cluster.shards]
        before = port(watching.cluster.pick(slot(key)))
        after = next(each for each in primaries if each != before)
        self.redis.ask(before, "SET", key, "v")
        self.redis.move_slot(slot(key), after)
        self.assertEqual(port(watching.cluster.pick(slot(key))), before)
        self.redis.await_ok(6)
        watching.cluster.note_redirect()
        watching.until(lambda: port(watching.cluster.pick(slot(key))) == after, "the slot at its new place")
        self.assertEqual(self.redis.ask(after, "GET", key), b"v")
        self.assertEqual(watching.gone, [])
        self.redis.move_slot(slot(key), before)
        self.redis.await_ok(6)

    def test_failover(self) -> None:
        """When a primary dies its replica is picked; the dead one is reported, and returns as a replica."""
        watching = self.watch()
        first = watching.cluster.shards[0]
        dead, heir, where = port(first.primary), port(first.replicas[0]), first.slots[0][0]
        server = self.redis.server_at(dead)
        server.kill()
        try:
            watching.until(lambda: port(watching.cluster.pick(where)) == heir, "the replica to take over")
            watching.until(lambda: watching.gone == [dead], "the report of the dead one")
        finally:
            server.start()
        self.redis.await_ok(6)
        watching.until(lambda: watching.slots() == said(self.redis), "the old primary to be a replica")
        self.assertEqual([port(host) for host in watching.cluster.shards[0].replicas], [dead])
        self.assertEqual(port(watching.cluster.pick_read(where, "REPLICA")), dead)

    def test_hung(self) -> None:
        """A node that hangs holds the refresh up for no longer than its timeout."""
        watching = self.watch(redis={"cluster_refresh_timeout": "0.2s"})
        failures = watching.around.value("update_failure")
        asked = watching.around.value("update_attempt")
        victim = self.redis.server_at(port(watching.cluster.shards[1].replicas[0]))
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            watching.until(
                lambda: watching.around.value("update_failure") > failures, "the hung one to be asked"
            )
            watching.until(lambda: watching.around.value("update_attempt") > asked + 3, "more refreshes")
        finally:
            os.kill(victim.pid, signal.SIGCONT)
        self.redis.await_ok(6)


class PasswordTests(SynchronousTestCase):
    """Nodes that want a password."""

    def test_password(self) -> None:
        """With the password of the protocol options the topology is told; without it is not."""
        redis = RedisCluster(password="secret", replicas=0)
        self.addCleanup(redis.stop)
        options = {"@type": AUTH, "auth_password": {"inline_string": "secret"}}
        seed = redis.servers[0].port
        knows = Watching(
            seed, typed_extension_protocol_options={"envoy.filters.network.redis_proxy": options}
        )
        self.addCleanup(knows.stop)
        knows.until(lambda: len(knows.cluster.hosts) == 3, "the topology")
        does_not = Watching(seed)
        self.addCleanup(does_not.stop)
        does_not.until(lambda: does_not.around.value("update_failure"), "the refusal")
        self.assertEqual(does_not.cluster.hosts, [])
