"""Tests for meshd.filters.network.redis_proxy.watch."""

from datetime import timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from meshd.observe.format import compile_text
from tests.filters.network.redis_proxy.talk import Talk

KIND = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
LOG = {"name": "x", "typed_config": {"@type": KIND, "path": "/dev/null"}}


def noted(name: str, **options: Any) -> Any:
    """Have a conversation with those options, of GET a:1 and one that takes 0.5 s."""
    talk = Talk(options=options)
    client = talk.client()
    for command, seconds in (("GET a:1", 0.0), ("MGET a:1 a:2", 0.5)):
        talk.say(client, command)
        talk.settle(seconds)
        talk.answer(talk.links()[0], b"*1\r\n:1\r\n")
    return talk


class CommandLogTests(SynchronousTestCase):
    """command_log."""

    def lines(self, talk: Talk) -> list[str]:
        """Return what would be logged."""
        write = compile_text(
            "%REDIS_COMMAND% %REDIS_KEY% %UPSTREAM_HOST% %UPSTREAM_CLUSTER% %DURATION% %BYTES_SENT%"
        )
        return [write(info) for info in talk.context.loggers[0].logged]

    def test_all(self) -> None:
        """Each command has a line: what, which key, which host, how long."""
        talk = noted("x", command_log=[LOG])
        self.assertEqual(
            self.lines(talk), ["get a:1 198.51.100.1:6379 c 0 8", "mget a:1 198.51.100.1:6379 c 500 8"]
        )

    def test_slow_only(self) -> None:
        """Only slow ones, if the options say so."""
        talk = noted("x", command_log=[LOG], command_log_slower_than=timedelta(seconds=0.4))
        self.assertEqual([line.split()[0] for line in self.lines(talk)], ["mget"])

    def test_sampled(self) -> None:
        """A share of none logs none."""
        self.assertEqual(self.lines(noted("x", command_log=[LOG], command_log_sample=0.0)), [])

    def test_other_logs(self) -> None:
        """A connection's log has no command."""
        talk = Talk()
        self.assertEqual(compile_text("%REDIS_COMMAND% %REDIS_KEY%")(talk.client().info), "- -")


class NotedTests(SynchronousTestCase):
    """Hot keys and metadata."""

    def test_hot_keys(self) -> None:
        """Keys are counted, and told on a page of the admin interface."""
        talk = noted("x", hot_keys=5)
        self.assertEqual(talk.context.admin_pages["/redis_hot_keys"](), "2 'a:1'\n")

    def test_metadata(self) -> None:
        """The command last done is in the connection's dynamic metadata."""
        talk = Talk(
            options={"dynamic_metadata": True}, prefix_routes={"routes": [{"prefix": "a:", "cluster": "c"}]}
        )
        client = talk.client()
        talk.say(client, "GET a:1")
        talk.answer(talk.links()[0], b":1\r\n")
        self.assertEqual(
            client.info.metadata["envoy.filters.network.redis_proxy"],
            {"command": "get", "key": "a:1", "key_prefix": "a:"},
        )
