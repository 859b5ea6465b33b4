"""Tests for meshd.upstream.redis_topology."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.upstream.redis_topology import BadTopology, Node, Shard, read_shards, read_slots


def node(host: Any, port: Any, *more: Any) -> list[Any]:
    """Return a node as CLUSTER SLOTS writes it."""
    return [host, port, b"id", *more]


class TestSlots:
    """The answer to CLUSTER SLOTS."""

    def test_read(self) -> None:
        """The entries of one primary are one shard; shards are in the order of their slots."""
        answer = [
            [5, 9, node(b"10.0.0.2", 2)],
            [10, 10, node(b"10.0.0.1", 1), node(b"10.0.0.3", 3)],
            [0, 4, node(b"10.0.0.1", 1), node(b"10.0.0.3", 3)],
        ]
        assert read_slots(answer, "10.0.0.9") == (
            Shard(((0, 4), (10, 10)), Node("10.0.0.1", 1), (Node("10.0.0.3", 3),)),
            Shard(((5, 9),), Node("10.0.0.2", 2), ()),
        )

    @pytest.mark.parametrize("host", [None, b""])
    def test_no_host(self, host: bytes | None) -> None:
        """A node without a host is where we asked."""
        [shard] = read_slots([[0, 1, node(host, 7)]], "10.0.0.9")
        assert shard.primary == Node("10.0.0.9", 7)

    def test_unknown_name(self) -> None:
        """Where a name is preferred and there is none, the address is among what follows."""
        answer = [[0, 1, node(b"?", 7, [b"ip", b"10.0.0.1"]), node(b"?", 8, [])]]
        assert read_slots(answer, "10.0.0.9") == (Shard(((0, 1),), Node("10.0.0.1", 7), ()),)

    @pytest.mark.parametrize(
        "answer",
        [
            None, [], 1, b"x", [1], [[]], [[0, 1]], [[0, 1, []]], [[0, 1, 2]], [[0, b"1", node(b"a", 1)]],
            [[1, 0, node(b"a", 1)]], [[0, 16384, node(b"a", 1)]], [[-1, 0, node(b"a", 1)]],
            [[0, 1, node(b"a", 65536)]], [[0, 1, node(b"a", 0)]], [[0, 1, node(1, 1)]],
            [[0, 1, node(b"a", b"1")]], [[0, 1, node(b"?", 1)]], [[0, 1, node(b"a", 1), 5]],
        ],
    )  # fmt: skip
    def test_wrong(self, answer: Any) -> None:
        """An answer that is anything else is refused."""
        with pytest.raises(BadTopology):
            read_slots(answer, "10.0.0.9")


def shard(slots: Any, *nodes: list[Any]) -> list[Any]:
    """Return a shard as CLUSTER SHARDS writes it."""
    return [b"slots", slots, b"nodes", list(nodes)]


def member(role: bytes, host: bytes, port: int, **more: Any) -> list[Any]:
    """Return a node as CLUSTER SHARDS writes it."""
    facts = {b"id": b"x", b"port": port, b"endpoint": host, b"role": role, b"health": b"online"}
    facts |= {name.encode().replace(b"_", b"-"): value for name, value in more.items()}
    return [each for pair in facts.items() for each in pair]


class TestShards:
    """The answer to CLUSTER SHARDS."""

    def test_read(self) -> None:
        """Shards have their slots, primary and replicas; one without slots serves nothing."""
        answer = [
            shard([5, 9], member(b"replica", b"10.0.0.4", 4), member(b"master", b"10.0.0.2", 2)),
            shard([0, 4, 10, 10], member(b"master", b"10.0.0.1", 1)),
            shard([], member(b"master", b"10.0.0.3", 3)),
        ]
        assert read_shards(answer, "10.0.0.9") == (
            Shard(((0, 4), (10, 10)), Node("10.0.0.1", 1), ()),
            Shard(((5, 9),), Node("10.0.0.2", 2), (Node("10.0.0.4", 4),)),
        )

    def test_zone(self) -> None:
        """Valkey tells the zones of nodes that have one, here and in CLUSTER SLOTS."""
        [read] = read_shards(
            [
                shard(
                    [0, 1], member(b"master", b"a", 1, availability_zone=b"z-1"), member(b"replica", b"b", 2)
                )
            ],
            "10.0.0.9",
        )
        assert (read.primary, read.replicas) == (Node("a", 1, "z-1"), (Node("b", 2),))
        facts = [b"ip", b"10.0.0.1", b"availability-zone", b"z-2"]
        [read] = read_slots([[0, 1, node(b"a", 1, facts), node(b"?", 2, facts)]], "10.0.0.9")
        assert (read.primary, read.replicas) == (Node("a", 1, "z-2"), (Node("10.0.0.1", 2, "z-2"),))

    def test_failed(self) -> None:
        """A replica that failed is left out, as CLUSTER SLOTS does."""
        replicas = [
            member(b"replica", b"a", port, health=health)
            for port, health in ((2, b"failed"), (3, b"loading"))
        ]
        [found] = read_shards([shard([0, 1], member(b"master", b"a", 1), *replicas)], "10.0.0.9")
        assert found.replicas == (Node("a", 3),)

    def test_tls(self) -> None:
        """With TLS the ports are those for TLS."""
        answer = [shard([0, 1], member(b"master", b"a", 1, tls_port=2))]
        assert [read_shards(answer, "x", tls)[0].primary.port for tls in (False, True)] == [1, 2]

    def test_unknown_name(self) -> None:
        """Where a name is preferred and there is none, the address is taken."""
        [found] = read_shards([shard([0, 1], member(b"master", b"?", 1, ip=b"10.0.0.1"))], "10.0.0.9")
        assert found.primary == Node("10.0.0.1", 1)

    @pytest.mark.parametrize(
        "answer",
        [
            None, [], [1], [[1, 2]], [[b"slots", [0, 1]]], [shard([0, 1])],
            [shard([0], member(b"master", b"a", 1))],
            [shard([0, 1], member(b"replica", b"a", 1))], [shard([], member(b"master", b"a", 1))],
            [shard([0, 1], member(b"master", b"a", 70000))],
        ],
    )  # fmt: skip
    def test_wrong(self, answer: Any) -> None:
        """An answer that is anything else is refused."""
        with pytest.raises(BadTopology):
            read_shards(answer, "10.0.0.9")


VALUES = st.recursive(
    st.one_of(
        st.none(), st.integers(-2, 20000), st.sampled_from([b"slots", b"nodes", b"?", b"10.0.0.1", b""])
    ),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=30,
)


@given(VALUES)
def test_anything(answer: Any) -> None:
    """Whatever a node answers is a topology, or refused."""
    for read in (read_slots, read_shards):
        try:
            assert read(answer, "10.0.0.9")
        except BadTopology:
            pass
