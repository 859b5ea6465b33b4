"""Tests for meshd.observe.stats."""

from zope.interface.verify import verifyObject

from meshd.interfaces import ICounter, IGauge, IHistogram, IScope
from meshd.observe.stats import Store, TextReadout


class TestStore:
    """A store that is asked for statistics."""

    def test_interfaces(self) -> None:
        """It provides what filters are promised."""
        store = Store()
        verifyObject(IScope, store)
        verifyObject(IScope, store.scope("a"))
        verifyObject(ICounter, store.counter("a"))
        verifyObject(IGauge, store.gauge("a"))
        verifyObject(IHistogram, store.histogram("a"))

    def test_same(self) -> None:
        """There is one of a name, however it is asked for."""
        store = Store()
        scope = store.scope("tcp").scope("db")
        assert scope.counter("total") is store.counter("tcp.db.total")
        assert scope.gauge("active") is store.gauge("tcp.db.active")
        assert scope.histogram("ms") is store.histogram("tcp.db.ms")
        assert scope.text("version") is store.text("tcp.db.version")

    def test_colons(self) -> None:
        """A name has no colon, and no dot at its ends."""
        store = Store()
        assert store.scope("cluster.a:80.").counter("x").name == "cluster.a_80.x"
        assert store.counter("http://x:/y").name == "http_x_y"
        assert store.counter("http://x:/y") is store.counter("http_x_y")

    def test_used(self) -> None:
        """What came back to 0 is used all the same."""
        store = Store()
        counter, gauge = store.counter("c"), store.gauge("g")
        assert not counter.used
        assert not gauge.used
        counter.value += 1
        gauge.inc()
        gauge.dec()
        store.reset_counters()
        assert (counter.value, gauge.value) == (0, 0)
        assert counter.used
        assert gauge.used

    def test_gauge_direct(self) -> None:
        """A gauge whose value the data plane changes by itself is used once it was seen so."""
        store = Store()
        gauge = store.gauge("g")
        gauge.value += 1
        store.flush()
        gauge.value -= 1
        assert gauge.used

    def test_remove(self) -> None:
        """What is removed is gone, and its neighbours are not."""
        store = Store()
        store.counter("cluster.a.x")
        store.gauge("cluster.a.y")
        store.histogram("cluster.a.z")
        store.counter("cluster.ab.x")
        store.remove("cluster.a")
        assert [stat.name for stat in store] == ["cluster.ab.x"]

    def test_unwanted(self) -> None:
        """What is not wanted counts, but is not shown."""
        store = Store()
        store.wanted = lambda name: not name.startswith("no.")
        counter = store.counter("no.x")
        counter.inc()
        assert store.counter("no.x") is counter
        assert store.gauge("no.x").value == 0
        assert list(store) == []

    def test_collect(self) -> None:
        """Numbers kept lazily are brought up to date before they are read."""
        store = Store()
        uptime = store.gauge("server.uptime")
        store.on_collect(lambda: uptime.set(5))
        store.flush()
        assert uptime.value == 5

    def test_order(self) -> None:
        """They come kind by kind, sorted by name."""
        store = Store()
        for name in "ba":
            store.counter(name)
            store.gauge(f"{name}.g")
            store.text(f"{name}.t")
        assert [stat.name for stat in store] == ["a.t", "b.t", "a", "b", "a.g", "b.g"]


class TestTextReadout:
    """A text readout."""

    def test_set(self) -> None:
        """It is used once it was set."""
        readout = TextReadout("version")
        assert not readout.used
        readout.set("7")
        assert readout.used
        assert readout.value == "7"
