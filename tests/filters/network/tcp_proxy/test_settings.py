"""Tests for meshd.filters.network.tcp_proxy.settings."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.filters.network.tcp_proxy.settings import Settings, filter_state_hash, source_ip_hash
from meshd.observe.info import ConnectionInfo
from meshd.plugin import ConfigError
from meshd.testing import FakeContext
from tests.filters.network.tcp_proxy.conversation import LOG, message


def settings(**config: Any) -> Settings:
    """Return what a config is read into."""
    return Settings(message(**config), FakeContext())


class SettingsTests(SynchronousTestCase):
    """What the fields become."""

    def test_defaults(self) -> None:
        """With a cluster only, the rest is as Envoy has it."""
        read = settings()
        self.assertEqual((read.idle, read.max_duration, read.max_attempts), (3600.0, None, 1))
        self.assertEqual((read.hash, read.backoff, read.on_data), (None, None, False))
        self.assertEqual((read.log_on_connected, read.log_interval, list(read.loggers)), (False, None, []))
        self.assertEqual(read.choose(), "c")

    def test_times(self) -> None:
        """Durations are seconds; jitter is a part of one."""
        read = settings(
            idle_timeout="0.25s",
            max_downstream_connection_duration="90s",
            max_downstream_connection_duration_jitter_percentage={"value": 25},
        )
        self.assertEqual((read.idle, read.max_duration, read.jitter), (0.25, 90.0, 0.25))

    def test_no_idle_timeout(self) -> None:
        """0 is none."""
        self.assertFalse(settings(idle_timeout="0s").idle)

    def test_backoff(self) -> None:
        """The longest interval is ten times the first one, unless it is set."""
        self.assertEqual(settings(backoff_options={"base_interval": "2s"}).backoff, (2.0, 20.0))
        both = {"base_interval": "2s", "max_interval": "3s"}
        self.assertEqual(settings(backoff_options=both).backoff, (2.0, 3.0))

    def test_log_options(self) -> None:
        """The access log's options go before the older fields."""
        read = settings(
            access_log=LOG,
            access_log_options={"access_log_flush_interval": "2s", "flush_access_log_on_connected": True},
            access_log_flush_interval="9s",
        )
        self.assertEqual((read.log_interval, read.log_on_connected), (2.0, True))
        self.assertEqual(len(read.loggers), 1)

    def test_tls_handshake(self) -> None:
        """Waiting for the client's TLS handshake is not waiting for data."""
        read = settings(upstream_connect_mode="ON_DOWNSTREAM_TLS_HANDSHAKE", max_early_data_bytes=1)
        self.assertFalse(read.on_data)

    def test_weights(self) -> None:
        """A cluster is chosen as often as its weight says, and one of no weight never."""
        clusters = [{"name": "a", "weight": 1}, {"name": "b", "weight": 3}, {"name": "none", "weight": 0}]
        read = settings(weighted_clusters={"clusters": clusters})
        chosen = Counter(read.choose() for _ in range(4000))
        self.assertEqual(set(chosen), {"a", "b"})
        self.assertTrue(2.4 < chosen["b"] / chosen["a"] < 3.8, chosen)

    def test_statistics_are_there(self) -> None:
        """All of Envoy's statistics are there from the start."""
        context = FakeContext()
        Settings(message(), context)
        self.assertEqual(
            {name.removeprefix("tcp.t.") for name in context.stats.numbers},
            {
                "downstream_cx_drain_close",
                "downstream_cx_no_route",
                "downstream_cx_overload_close",
                "downstream_cx_rx_bytes_buffered",
                "downstream_cx_rx_bytes_total",
                "downstream_cx_total",
                "downstream_cx_tx_bytes_buffered",
                "downstream_cx_tx_bytes_total",
                "downstream_flow_control_paused_reading_total",
                "downstream_flow_control_resumed_reading_total",
                "early_data_received_count_total",
                "idle_timeout",
                "max_downstream_connection_duration",
                "route_delayed_total",
                "upstream_flush_active",
                "upstream_flush_total",
            },
        )


class RefusedTests(SynchronousTestCase):
    """What is refused."""

    def refused(self, **config: Any) -> Any:
        """Return the error of a config."""
        return self.assertRaises(ConfigError, settings, **config)

    def test_early_data(self) -> None:
        """Waiting needs a limit of the data that comes meanwhile."""
        for mode in ("ON_DOWNSTREAM_DATA", "ON_DOWNSTREAM_TLS_HANDSHAKE"):
            error = self.refused(upstream_connect_mode=mode)
            self.assertIn("max_early_data_bytes must be set", error.message)
            self.assertEqual(error.path, ("upstream_connect_mode",))

    def test_access_log(self) -> None:
        """An access log that cannot be had is found below its field."""

        class Context(FakeContext):
            """A context that can make no access logger."""

            def access_loggers(self, configs: Sequence[Any]) -> Any:
                """Refuse."""
                raise ConfigError("no", 0, "name")

        error = self.assertRaises(ConfigError, Settings, message(access_log=LOG), Context())
        self.assertEqual(error.path, ("access_log", 0, "name"))


class HashTests(SynchronousTestCase):
    """What connections are hashed by."""

    def test_source(self) -> None:
        """The address counts, not the port; a unix socket has none."""
        one, same, other, unix = (
            source_ip_hash(ConnectionInfo(remote, ""))
            for remote in (("10.0.0.1", 1), ("10.0.0.1", 2), ("10.0.0.2", 1), "/run/client")
        )
        self.assertEqual(one, same)
        self.assertNotEqual(one, other)
        self.assertIsNone(unix)

    def test_state(self) -> None:
        """Equal states have equal hashes; no state has none."""
        info, hash_it = ConnectionInfo("", ""), filter_state_hash("user")
        self.assertIsNone(hash_it(info))
        info.filter_state["user"] = "ann"
        first = hash_it(info)
        info.filter_state["user"] = "bob"
        self.assertNotEqual(first, hash_it(info))
        self.assertIsInstance(first, int)
