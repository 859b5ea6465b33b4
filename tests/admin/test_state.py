"""Tests for meshd.admin.state."""

from __future__ import annotations

import json
from types import SimpleNamespace

from envoy.admin.v3.server_info_pb2 import ServerInfo
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.admin.state import build_version, memory_of, node, uptime
from meshd.filters.network.connection_limit import connection_limit
from tests.admin.fakes import FakeServer, get, post

STATUS = """\
Name:	python
VmRSS:	   20480 kB
RssAnon:	   10240 kB
VmData:	   30720 kB
Threads:	1
"""


class ReadyTests(SynchronousTestCase):
    """/ready and the health checks."""

    def test_live(self) -> None:
        """A server that is LIVE is ready."""
        answer = get(FakeServer(), "/ready")
        self.assertEqual((answer.status, answer.body), (200, "LIVE\n"))

    def test_failed(self) -> None:
        """A server that is told to fail its health checks is not, until it is told to pass them."""
        server = FakeServer()
        self.assertEqual(post(server, "/healthcheck/fail").body, "OK\n")
        answer = get(server, "/ready")
        self.assertEqual((answer.status, answer.body), (503, "DRAINING\n"))
        post(server, "/healthcheck/ok")
        self.assertEqual(get(server, "/ready").status, 200)


class ServerInfoTests(SynchronousTestCase):
    """/server_info."""

    def test_message(self) -> None:
        """The answer is a ServerInfo, with all fields."""
        server = FakeServer()
        data = json.loads(get(server, "/server_info").body)
        self.assertIs(data.pop("hot_restart_initializing"), False)  # newer than xds-protos
        info = ParseDict(data, ServerInfo())
        self.assertEqual(info.command_line_options.config_path, "demo.yaml")
        self.assertEqual(info.command_line_options.drain_time.seconds, 600)
        self.assertEqual(info.node.id, "n1")
        self.assertGreaterEqual(info.uptime_current_epoch.seconds, 5)
        self.assertEqual(data["command_line_options"]["restart_epoch"], 0)

    def test_version(self) -> None:
        """The version has Envoy's five parts, for those who take it apart."""
        self.assertEqual(len(build_version().split("/")), 5)

    def test_node(self) -> None:
        """The command line goes before the bootstrap, and the plugins are the extensions."""
        server = FakeServer()
        server.options.service_zone = "other"
        server.plugins = SimpleNamespace(
            network={connection_limit.name: connection_limit}, listener={}, transport_socket={}
        )
        made = node(server)
        self.assertEqual((made.locality.region, made.locality.zone), ("r", "other"))
        [extension] = made.extensions
        self.assertEqual(extension.name, "envoy.filters.network.connection_limit")
        self.assertEqual(extension.category, "envoy.filters.network")

    def test_uptime(self) -> None:
        """Uptime counts whole seconds, and never less than none."""
        server = FakeServer(started=100.0)
        self.assertEqual([uptime(server, now) for now in (100.9, 103.0, 99.0)], [0, 3, 0])


class MemoryTests(SynchronousTestCase):
    """/memory."""

    def test_numbers(self) -> None:
        """What the kernel says is given in bytes."""
        self.assertEqual(
            memory_of(STATUS),
            {
                "allocated": 10 * 2**20,
                "heap_size": 30 * 2**20,
                "pageheap_unmapped": 20 * 2**20,
                "total_physical_bytes": 20 * 2**20,
            },
        )

    @given(st.text())
    def test_rubbish(self, text: str) -> None:
        """What is not known counts as 0."""
        self.assertEqual(memory_of(text.replace("kB", ""))["allocated"], 0)

    def test_answer(self) -> None:
        """The answer has all fields of the message."""
        data = json.loads(get(FakeServer(), "/memory").body)
        self.assertEqual(list(data)[:2], ["allocated", "heap_size"])
        self.assertEqual(data["total_thread_cache"], "0")
        self.assertGreater(int(data["total_physical_bytes"]), 2**20)


class OtherTests(SynchronousTestCase):
    """What there is little of."""

    def test_hot_restart(self) -> None:
        """Hot restart is disabled, as Envoy says it."""
        self.assertEqual(get(FakeServer(), "/hot_restart_version").body, "disabled")

    def test_contention(self) -> None:
        """There are no mutexes."""
        self.assertIn("not enabled", get(FakeServer(), "/contention").body)

    def test_init_dump(self) -> None:
        """Clusters that are not warm are listed, until they are."""
        server = FakeServer()
        self.assertEqual(get(server, "/init_dump").body, "{}\n")
        server.clusters["dns"].warmed = False
        [dump] = json.loads(get(server, "/init_dump").body)["unready_targets_dumps"]
        self.assertEqual(dump["target_names"], ["cluster dns"])
        self.assertEqual(get(server, "/init_dump?mask=listener").body, "{}\n")
