"""Tests for meshd.filters.network.mongo_proxy.settings."""

from __future__ import annotations

import gc
from datetime import timedelta
from weakref import ref

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.mongo_proxy.config import Config, Delay, Log, Percentage, Refusal
from meshd.filters.network.mongo_proxy.settings import Settings
from meshd.testing import FakeContext


class SettingsTests(SynchronousTestCase):
    """What connections share."""

    def setUp(self) -> None:
        self.context = FakeContext()

    def settings(self, **fields: object) -> Settings:
        """Read a config."""
        return Settings(Config(stat_prefix="m", **fields), self.context)  # type: ignore[arg-type]

    def test_delay(self) -> None:
        """Runtime's percentage and duration go before those of the config."""
        made = self.settings(delay=Delay(timedelta(seconds=2), Percentage(10)))
        self.assertEqual(made.delay(), 2.0)
        self.context.runtime.dice = 0.5
        self.assertEqual(made.delay(), 0.0)
        self.context.runtime.values["mongo.fault.fixed_delay.percent"] = "60"
        self.context.runtime.values["mongo.fault.fixed_delay.duration_ms"] = "500"
        self.assertEqual(made.delay(), 0.5)
        self.assertEqual(self.settings().delay(), 0.0)

    def test_watching(self) -> None:
        """Bytes may go ahead where nothing depends on holding them up."""
        self.assertTrue(self.settings(logs=[Log("log")]).only_watches)
        for fields in (
            {"delay": Delay(timedelta(seconds=2), Percentage(1))},
            {"emit_dynamic_metadata": True},
            {"read_only": True},
            {"refuse": [Refusal(commands=["drop"])]},
            {"hosts": {"a:1": "b:1"}},
        ):
            self.assertFalse(self.settings(**fields).only_watches, fields)

    def test_quick(self) -> None:
        """The short way is open where only numbers are wanted, and runtime and drain have no say."""
        self.assertTrue(self.settings().quick)
        self.assertFalse(self.settings(logs=[Log("log")]).quick)
        self.assertFalse(self.settings(access_log="log").quick)
        made = self.settings()
        made.connected(object())
        self.context.runtime.values["mongo.proxy_enabled"] = "50"
        self.context.clock.advance(1)
        self.assertFalse(made.quick)

    def test_nothing_runs_idle(self) -> None:
        """Without connections no timer runs."""
        made = self.settings()
        link = object()
        made.connected(link)
        made.closed(link)
        self.context.clock.advance(1)
        self.assertEqual(self.context.clock.getDelayedCalls(), [])

    def test_is_not_kept(self) -> None:
        """Statistics do not keep the settings of a listener that is no more, and are read without them."""
        made = ref(self.settings())
        gc.collect()
        self.assertIsNone(made())
        self.assertEqual(self.context.stats["mongo.m.op_msg"], 0)

    def test_enabled(self) -> None:
        """A key is on unless its value, or the dice, say otherwise."""
        made = self.settings()
        self.assertTrue(made.enabled("k"))
        self.context.runtime.values["k"] = "0"
        self.assertFalse(made.enabled("k"))
        self.context.runtime.values["k"] = "100"
        self.assertTrue(made.enabled("k"))
