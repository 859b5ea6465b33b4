"""Tests for meshd.upstream.failover."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from meshd.interfaces import NoHost
from meshd.plugin import ConfigError
from meshd.upstream.failover import FAILOVER, FIRST_KEY, Failover
from tests.upstream.support import Surrounding, assignment


def host(name: str, healthy: bool = True) -> Any:
    """Return a host."""
    return SimpleNamespace(name=name, healthy=healthy, address=(name, 80))


def info(*tried: Any, **state: Any) -> Any:
    """Return the info of a connection that has tried these hosts, with its filter state."""
    return SimpleNamespace(
        upstream=SimpleNamespace(tried=[SimpleNamespace(host=each) for each in tried]),
        has_filter_state=bool(state),
        filter_state={FIRST_KEY: state.get("first")},
    )


class TestFailover:
    """One host after the other."""

    def setup_method(self) -> None:
        """Have three hosts."""
        self.hosts = self.a, self.b, self.c = host("a"), host("b"), host("c")

    def order(self, failover: Failover, **state: Any) -> list[str]:
        """Return the hosts that a connection tries, in order, until there are no more."""
        tried: list[Any] = []
        while True:
            try:
                tried.append(failover.next(self.hosts, info(*tried, **state), "x"))
            except NoHost:
                return [each.name for each in tried]

    def test_priority(self) -> None:
        """Each connection begins with the first, and tries all once."""
        failover = Failover()
        assert [self.order(failover) for _ in range(2)] == [["a", "b", "c"]] * 2

    def test_rotation(self) -> None:
        """With rotate each begins one further on, and goes round."""
        failover = Failover(rotate=True)
        assert [self.order(failover) for _ in range(4)] == [
            ["a", "b", "c"],
            ["b", "c", "a"],
            ["c", "a", "b"],
            ["a", "b", "c"],
        ]

    def test_first(self) -> None:
        """A filter may say where a connection begins to go round, if there is such a host."""
        for rotate in (False, True):
            assert self.order(Failover(rotate), first=("b", 80)) == ["b", "c", "a"]
        assert self.order(Failover(), first=("x", 80)) == ["a", "b", "c"]

    def test_unwell(self) -> None:
        """Hosts that are known to be unwell come last."""
        self.a.healthy = False
        assert self.order(Failover()) == ["b", "c", "a"]

    def test_none(self) -> None:
        """Without hosts there is nowhere to go."""
        with pytest.raises(NoHost):
            Failover().next((), info(), "x")

    def test_no_upstream(self) -> None:
        """Who keeps no record of attempts gets the first."""
        nothing: Any = SimpleNamespace(upstream=None, has_filter_state=False)
        assert Failover().next(self.hosts, nothing, "x") is self.a


class TestConfig:
    """The policy in a Cluster message."""

    def cluster(self, around: Surrounding, **fields: Any) -> Any:
        """Return a cluster with the policy."""
        kind = "type.googleapis.com/xds.type.v3.TypedStruct"
        struct = {"@type": kind, "type_url": f"a/{FAILOVER}", "value": fields}
        policy = {"typed_extension_config": {"name": FAILOVER, "typed_config": struct}}
        return around.cluster(
            load_assignment=assignment([1, 2]), load_balancing_policy={"policies": [policy]}
        )

    def test_served(self) -> None:
        """A cluster goes through its hosts in order, an attempt each."""
        around = Surrounding()
        cluster = self.cluster(around, rotate=False)
        seen: list[Any] = []
        for _ in range(2):
            seen.append(cluster.connect(object(), info(*seen)))
        assert [each.address[1] for each in seen] == [1, 2]
        with pytest.raises(NoHost):
            cluster.connect(object(), info(*seen))

    @pytest.mark.parametrize("fields", [{"rotate": "x"}, {"other": True}])
    def test_refused(self, fields: dict[str, Any]) -> None:
        """A field that it has not, or a wrong value, is an error."""
        with pytest.raises(ConfigError):
            self.cluster(Surrounding(), **fields)
