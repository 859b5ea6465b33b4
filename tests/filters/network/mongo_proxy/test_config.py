"""Tests for meshd.filters.network.mongo_proxy.config."""

from datetime import timedelta
from typing import Any

from envoy.extensions.filters.network.mongo_proxy.v3.mongo_proxy_pb2 import MongoProxy
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.records import BadRecord, read_record
from meshd.filters.network.mongo_proxy.config import ALL, Config, Delay, Percentage, of_message
from meshd.plugin import ConfigError


class OfMessageTests(SynchronousTestCase):
    """Envoy's message."""

    def test_all(self) -> None:
        """Every field has its place."""
        percentage = {"numerator": 5, "denominator": "TEN_THOUSAND"}
        fields: dict[str, Any] = {
            "stat_prefix": "m",
            "access_log": "/dev/null",
            "delay": {"fixed_delay": "1.5s", "percentage": percentage},
            "emit_dynamic_metadata": True,
            "commands": ["count"],
        }
        config = of_message(ParseDict(fields, MongoProxy()))
        delay = Delay(timedelta(seconds=1.5), Percentage(5, "TEN_THOUSAND"))
        self.assertEqual(config, Config("m", "/dev/null", delay, True, ["count"]))

    def test_defaults(self) -> None:
        """Without them it counts Envoy's three commands, and does nothing else."""
        self.assertEqual(of_message(MongoProxy(stat_prefix="m")), Config("m"))

    def test_delay(self) -> None:
        """A delay without a time is an error."""
        with self.assertRaises(ConfigError):
            of_message(ParseDict({"stat_prefix": "m", "delay": {"percentage": {}}}, MongoProxy()))


class RecordTests(SynchronousTestCase):
    """meshd's own."""

    def test_read(self) -> None:
        """It is read from plain values, all of it."""
        found = read_record(
            Config,
            {
                "stat_prefix": "m",
                "logs": [{"path": "/dev/null", "slower_than": "0.1s"}],
                "refuse": [{"operators": ["$where"]}],
                "faults": [{"commands": ["find"], "delay": "1s", "percentage": {"numerator": 5}}],
                "rate_limits": [{"token_bucket": {"max_tokens": 5, "fill_interval": "1s"}}],
                "hosts": {"db1:27017": "127.0.0.1:1"},
                "bounds": {"collections": 5},
            },
        )
        self.assertEqual(found.logs[0].slower_than, timedelta(seconds=0.1))
        self.assertEqual(found.faults[0].percentage, Percentage(5))
        self.assertEqual(found.rate_limits[0].token_bucket.max_tokens, 5)
        self.assertEqual(found.refuse[0].code, 13)
        self.assertEqual(found.logs[0].sampling, ALL)

    def test_wrong(self) -> None:
        """What makes no sense is an error: a refusal of everything, a fault that does nothing."""
        wrong: list[dict[str, Any]] = [
            {"refuse": [{"code": 5}]},
            {"faults": [{"commands": ["find"]}]},
            {"max_held_bytes": 5},
            {"max_held_bytes": 1 << 40},
            {"logs": [{}]},
            {"no_such_field": 1},
        ]
        for fields in wrong:
            with self.assertRaises((BadRecord, ConfigError)):
                read_record(Config, {"stat_prefix": "m", **fields})
