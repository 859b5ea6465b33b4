"""Tests for meshd.testing.context."""

from envoy.config.core.v3.base_pb2 import RuntimeFeatureFlag, RuntimeFractionalPercent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.interfaces import (
    IAccessLogger,
    ICounter,
    IFactoryContext,
    IGauge,
    IHistogram,
    ILogFile,
    IRuntime,
    IScope,
    ITimer,
    ITimers,
)
from meshd.testing import FakeAccessLogger, FakeCluster, FakeContext


class FakeContextTests(SynchronousTestCase):
    """A context with a cluster."""

    def setUp(self) -> None:
        self.context = FakeContext(FakeCluster("db"))

    def test_interfaces(self) -> None:
        """All its parts provide what they stand for."""
        context, scope = self.context, self.context.stats
        verifyObject(IFactoryContext, context)
        verifyObject(IScope, scope)
        verifyObject(ICounter, scope.counter("c"))
        verifyObject(IGauge, scope.gauge("g"))
        verifyObject(IHistogram, scope.histogram("h"))
        verifyObject(IRuntime, context.runtime)
        verifyObject(ITimers, context.timers)
        verifyObject(ITimer, context.timers.call_later(1, list))
        verifyObject(IAccessLogger, FakeAccessLogger())

    def test_log_files(self) -> None:
        """A file is one for all who name it, and keeps its lines."""
        file = self.context.log_file("a")
        verifyObject(ILogFile, file)
        file.write("x\n")
        self.assertEqual(self.context.log_files["a"].lines, ["x\n"])
        self.assertIs(self.context.log_file("a"), file)

    def test_collected(self) -> None:
        """What was counted aside is added before a test reads it."""
        stats = self.context.stats
        self.context.on_collect(stats.counter("a").inc)
        self.context.on_collect(lambda: stats.histogram("h").record(3, 2))
        self.assertEqual(stats["a"], 1)
        self.assertEqual(stats.histograms["h"].values, [3, 3, 3, 3])

    def test_draining(self) -> None:
        """It drains when the test says so."""
        self.assertFalse(self.context.draining())
        self.context.is_draining = True
        self.assertTrue(self.context.draining())

    def test_clusters(self) -> None:
        """Clusters are found by their names."""
        self.assertEqual(self.context.clusters["db"].name, "db")

    def test_scope(self) -> None:
        """A scope's statistics are found by their full names, whoever made them."""
        inner = self.context.stats.scope("a").scope("b")
        inner.counter("c").inc(2)
        self.context.stats.counter("a.b.c").inc()
        inner.gauge("g").set(5)
        inner.histogram("h").record(7)
        self.assertEqual(self.context.stats["a.b.c"], 3)
        self.assertEqual(inner["g"], 5)
        self.assertEqual(self.context.stats["nothing"], 0)
        self.assertEqual(self.context.stats.histograms["a.b.h"].values, [7])

    def test_timers(self) -> None:
        """A timer goes off when the test moves the clock; a cancelled one never."""
        rung: list[str] = []
        self.context.timers.call_later(1, lambda: rung.append("a"))
        timer = self.context.timers.call_later(1, lambda: rung.append("b"))
        timer.cancel()
        timer.cancel()
        self.context.clock.advance(1)
        self.assertEqual(rung, ["a"])

    def test_runtime(self) -> None:
        """A runtime flag has its default until the test sets it."""
        runtime, flag = self.context.runtime, RuntimeFeatureFlag(runtime_key="k")
        self.assertTrue(runtime.enabled(flag))
        flag.default_value.value = False
        self.assertFalse(runtime.enabled(flag))
        runtime.values["k"] = "true"
        self.assertTrue(runtime.enabled(flag))

    def test_dice(self) -> None:
        """A share of connections is hit by the dice that the test sets."""
        half = RuntimeFractionalPercent(runtime_key="k")
        half.default_value.numerator = 50
        self.assertTrue(self.context.runtime.sampled(half))
        self.context.runtime.dice = 0.5
        self.assertFalse(self.context.runtime.sampled(half))

    def test_loggers(self) -> None:
        """The loggers that were asked for are kept, and keep what they log."""
        (logger,) = self.context.access_loggers(["config"])
        logger.log("info")  # type: ignore[arg-type]
        self.assertEqual(self.context.loggers, [logger])
        self.assertEqual(logger.logged, ["info"])
