"""Tests for meshd.admin.control."""

from __future__ import annotations

import json
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import LayeredRuntime
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase

from meshd.admin.control import LOGGING_USAGE, RUNTIME_USAGE
from meshd.config.runtime import Runtime
from tests.admin.fakes import FakeServer, get, post


class CommandTests(SynchronousTestCase):
    """The commands that only tell the server."""

    def setUp(self) -> None:
        self.server = FakeServer()

    def test_drain(self) -> None:
        """How to drain is passed on; a parameter is a flag, whatever its value."""
        for query in ("", "?graceful", "?inboundonly&skip_exit", "?graceful=1"):
            self.assertEqual(post(self.server, f"/drain_listeners{query}").body, "OK\n")
        flags = [call[1:] for call in self.server.calls]
        self.assertEqual(
            flags, [(False, False, False), (True, False, False), (False, True, True), (True, False, False)]
        )

    def test_reopen(self) -> None:
        """The logs are opened anew."""
        self.assertEqual(post(self.server, "/reopen_logs").body, "OK\n")
        self.assertEqual(self.server.calls, ["reopen_logs"])

    def test_reset(self) -> None:
        """Counters begin again at 0, gauges stay."""
        counter, gauge = self.server.stats.counter("a"), self.server.stats.gauge("b")
        counter.inc(3)
        gauge.set(4)
        self.assertEqual(post(self.server, "/reset_counters").body, "OK\n")
        self.assertEqual((counter.value, gauge.value), (0, 4))


class LoggingTests(SynchronousTestCase):
    """/logging."""

    def setUp(self) -> None:
        self.server = FakeServer()

    def ask(self, query: str) -> dict[str, str]:
        """Ask, and return the levels that the answer lists."""
        answer = post(self.server, f"/logging{query}")
        first, *lines = answer.body.splitlines()
        self.assertEqual((answer.status, first), (200, "active loggers:"))
        return dict(line.removeprefix("  ").split(": ") for line in lines)

    def refused(self, query: str, reason: str) -> None:
        """Ask for what is refused: the answer has the reason, the usage, and the levels as they were."""
        answer = post(self.server, f"/logging?{query}")
        self.assertEqual(answer.status, 400)
        self.assertTrue(answer.body.startswith(f"error: {reason}\n\n{LOGGING_USAGE}active loggers:\n"))
        self.assertEqual(set(self.ask("").values()), {"info"})

    def test_list(self) -> None:
        """Without a parameter, or with an empty one, the levels are listed."""
        for query in ("", "?level=", "?level=&paths="):
            self.assertEqual(self.ask(query)["net"], "info")

    def test_all(self) -> None:
        """?level= changes all."""
        self.assertEqual(set(self.ask("?level=warning").values()), {"warning"})

    def test_one(self) -> None:
        """?NAME= changes one."""
        levels = self.ask("?net=trace")
        self.assertEqual((levels.pop("net"), set(levels.values())), ("trace", {"info"}))

    def test_several(self) -> None:
        """?paths= changes several, namespaces too."""
        levels = self.ask("?paths=net:off,admin:debug,meshd.net.listener:error")
        self.assertEqual(
            [levels[name] for name in ("net", "admin", "meshd.net.listener")], ["off", "debug", "error"]
        )

    def test_refused(self) -> None:
        """What is wrong is told in Envoy's words, and nothing changes."""
        self.refused("level=warn", "unknown logger level")
        self.refused("net=loud", "unknown logger level")
        self.refused("zzz=debug", "unknown logger name")
        self.refused("paths=net:debug,zzz:info", "unknown logger name")
        self.refused("paths=net:debug,admin", "empty logger name or empty logger level")
        self.refused("level=info&paths=net:debug", "invalid number of parameters")
        self.refused("group=a:debug", "group parameter requires fine-grain logging to be enabled")


class RuntimeTests(SynchronousTestCase):
    """/runtime and /runtime_modify, with a static and an admin layer."""

    def setUp(self) -> None:
        self.server = FakeServer()
        layers = [
            {"name": "base", "static_layer": {"foo": "bar", "num": 3}},
            {"name": "admin", "admin_layer": {}},
        ]
        self.server.runtime = Runtime(ParseDict({"layers": layers}, LayeredRuntime()), self.server.stats)

    def entry(self, key: str) -> Any:
        """Return what /runtime says of key."""
        data = json.loads(get(self.server, "/runtime").body)
        self.assertEqual(data["layers"], ["base", "admin"])
        return data["entries"].get(key)

    def test_list(self) -> None:
        """Each key has a value for each layer, empty where the layer has none."""
        self.assertEqual(self.entry("num"), {"layer_values": ["3", ""], "final_value": "3"})

    def test_modify(self) -> None:
        """Values go into the admin layer, from the path and from a form alike; an empty one takes it back."""
        self.assertEqual(post(self.server, "/runtime_modify?foo=x", "new=1").body, "OK\n")
        self.assertEqual(self.entry("foo"), {"layer_values": ["bar", "x"], "final_value": "x"})
        self.assertEqual(self.entry("new")["final_value"], "1")
        post(self.server, "/runtime_modify?foo=&new=")
        self.assertEqual(self.entry("foo")["final_value"], "bar")
        self.assertIsNone(self.entry("new"))

    def test_usage(self) -> None:
        """Without a parameter the answer is how to use it."""
        answer = post(self.server, "/runtime_modify")
        self.assertEqual((answer.status, answer.body), (400, RUNTIME_USAGE))

    def test_no_admin_layer(self) -> None:
        """Without an admin layer nothing can be changed."""
        self.server.runtime = Runtime(None, self.server.stats)
        answer = post(self.server, "/runtime_modify?a=b")
        self.assertEqual((answer.status, answer.body), (503, "No admin layer specified"))
