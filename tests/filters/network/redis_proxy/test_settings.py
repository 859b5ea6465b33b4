"""Tests for meshd.filters.network.redis_proxy.settings."""

from twisted.trial.unittest import SynchronousTestCase

from meshd.plugin import ConfigError
from tests.filters.network.redis_proxy.talk import Talk


class SettingsTests(SynchronousTestCase):
    """The config."""

    def test_defaults(self) -> None:
        """Envoy's defaults hold."""
        shared = Talk().shared
        self.assertEqual((shared.flush_size, shared.flush_timeout, shared.max_unknown), (0, 0.003, 100))
        self.assertEqual((shared.read_policy, shared.rate_limit), ("MASTER", 0))
        self.assertEqual((shared.passwords, shared.username), ((), b""))

    def test_no_time(self) -> None:
        """An op_timeout of nothing is an error, with its place."""
        with self.assertRaises(ConfigError) as caught:
            Talk(settings={"op_timeout": "0s"})
        self.assertEqual(caught.exception.path, ("settings", "op_timeout"))

    def test_password_of_before(self) -> None:
        """The deprecated field for one password is served too."""
        talk = Talk(downstream_auth_password={"inline_string": "x"})
        self.assertEqual(talk.say(talk.client(), "AUTH x"), b"+OK\r\n")

    def test_routes(self) -> None:
        """An error in a route has its whole path."""
        with self.assertRaises(ConfigError) as caught:
            Talk(prefix_routes={"catch_all_route": {"cluster": "c", "key_formatter": "x"}})
        self.assertEqual(caught.exception.path, ("prefix_routes", "catch_all_route", "key_formatter"))
