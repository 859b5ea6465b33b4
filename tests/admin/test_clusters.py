"""Tests for meshd.admin.clusters."""

from __future__ import annotations

import json

from envoy.admin.v3.clusters_pb2 import Clusters
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase

from tests.admin.fakes import FakeServer, get

#: What Envoy 1.40 prints of a host that nobody has connected to.
HOST = """\
back::127.0.0.1:19913::cx_active::0
back::127.0.0.1:19913::cx_connect_fail::0
back::127.0.0.1:19913::cx_total::0
back::127.0.0.1:19913::rq_active::0
back::127.0.0.1:19913::rq_error::0
back::127.0.0.1:19913::rq_pending_active::0
back::127.0.0.1:19913::rq_success::0
back::127.0.0.1:19913::rq_timeout::0
back::127.0.0.1:19913::rq_total::0
back::127.0.0.1:19913::hostname::
back::127.0.0.1:19913::health_flags::healthy
back::127.0.0.1:19913::weight::3
back::127.0.0.1:19913::region::r1
back::127.0.0.1:19913::zone::z1
back::127.0.0.1:19913::sub_zone::
back::127.0.0.1:19913::canary::false
back::127.0.0.1:19913::priority::1
back::127.0.0.1:19913::success_rate::-1
back::127.0.0.1:19913::local_origin_success_rate::-1
"""

CLUSTER = """\
back::observability_name::back
back::default_priority::max_connections::7
back::default_priority::max_pending_requests::1024
back::default_priority::max_requests::1024
back::default_priority::max_retries::3
back::high_priority::max_connections::1024
back::high_priority::max_pending_requests::1024
back::high_priority::max_requests::1024
back::high_priority::max_retries::3
back::added_via_api::false
"""


class ClustersTextTests(SynchronousTestCase):
    """/clusters."""

    def setUp(self) -> None:
        self.server = FakeServer()

    def test_cluster(self) -> None:
        """A cluster begins with its limits, as in Envoy."""
        self.assertTrue(get(self.server, "/clusters").body.startswith(CLUSTER))

    def test_host(self) -> None:
        """A host has Envoy's lines."""
        self.assertIn(HOST, get(self.server, "/clusters").body)

    def test_live(self) -> None:
        """The numbers are those of now, and flags of ill health are shown."""
        host = self.server.clusters["dns"].hosts[0]
        host.cx_active = 3
        lines = get(self.server, "/clusters").body.splitlines()
        self.assertIn("dns::127.0.0.1:19914::cx_active::3", lines)
        self.assertIn("dns::127.0.0.1:19914::health_flags::/failed_eds_health", lines)

    def test_canary(self) -> None:
        """A host whose metadata says so is a canary."""
        self.server.clusters["dns"].hosts[0].metadata = {"envoy.lb": {"canary": True}}
        self.assertIn("dns::127.0.0.1:19914::canary::true\n", get(self.server, "/clusters").body)

    def test_priorities(self) -> None:
        """Hosts are listed by priority, whatever the order in which they came."""
        self.server.clusters["back"].hosts.reverse()
        lines = [line for line in get(self.server, "/clusters").body.splitlines() if "priority::" in line]
        self.assertEqual([line[-1] for line in lines if "::127" in line or "[" in line], ["0", "0", "1", "0"])

    def test_filter(self) -> None:
        """Only clusters in whose names the filter is found are shown."""
        body = get(self.server, "/clusters?filter=n.$").body
        self.assertEqual({line.partition("::")[0] for line in body.splitlines()}, {"dns"})

    def test_bad_filter(self) -> None:
        """A filter that is no regular expression is refused."""
        answer = get(self.server, "/clusters?filter=[")
        self.assertEqual(answer.status, 400)
        self.assertTrue(answer.body.startswith("Invalid re2 regex"))


class ClustersJsonTests(SynchronousTestCase):
    """/clusters?format=json."""

    def setUp(self) -> None:
        self.server = FakeServer()

    def test_host(self) -> None:
        """A host is printed as Envoy does: numbers that are 0 without a value, counters without a type."""
        data = json.loads(get(self.server, "/clusters?format=json").body)
        back = data["cluster_statuses"][0]
        host = back["host_statuses"][2]
        self.assertEqual(
            host,
            {
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 19913}},
                "stats": [
                    {"name": "cx_connect_fail"},
                    {"name": "cx_total"},
                    {"name": "rq_error"},
                    {"name": "rq_success"},
                    {"name": "rq_timeout"},
                    {"name": "rq_total"},
                    {"type": "GAUGE", "name": "cx_active"},
                    {"type": "GAUGE", "name": "rq_active"},
                    {"type": "GAUGE", "name": "rq_pending_active"},
                ],
                "health_status": {"eds_health_status": "HEALTHY"},
                "weight": 3,
                "priority": 1,
                "locality": {"region": "r1", "zone": "z1"},
            },
        )
        self.assertEqual(list(back), ["name", "host_statuses", "circuit_breakers", "observability_name"])
        self.assertEqual(back["circuit_breakers"]["thresholds"][1]["priority"], "HIGH")

    def test_health(self) -> None:
        """The flags of a host's health are told apart."""
        back = self.server.clusters["back"]
        back.hosts[0].health_flags = {"failed_active_hc", "degraded_eds_health"}
        back.hosts[1].health_flags = {"eds_status_draining"}
        data = json.loads(get(self.server, "/clusters?format=json").body)
        message = ParseDict(data, Clusters())
        first, second, _ = (each.health_status for each in message.cluster_statuses[0].host_statuses)
        [failed] = (each.health_status for each in message.cluster_statuses[1].host_statuses)
        self.assertTrue(first.failed_active_health_check)
        names = first.DESCRIPTOR.fields_by_name["eds_health_status"].enum_type
        found = [names.values_by_number[each.eds_health_status].name for each in (first, second, failed)]
        self.assertEqual(found, ["DEGRADED", "DRAINING", "UNHEALTHY"])


class ListenersTests(SynchronousTestCase):
    """/listeners."""

    def test_text(self) -> None:
        """Each address is a line."""
        body = get(FakeServer(), "/listeners").body
        self.assertEqual(body, "front::127.0.0.1:19902\nside::[::1]:19903\nside::/tmp/side.sock\n")

    def test_json(self) -> None:
        """The first address of a listener is its own, the others are additional."""
        data = json.loads(get(FakeServer(), "/listeners?format=json").body)
        self.assertEqual(
            data["listener_statuses"][1],
            {
                "name": "side",
                "local_address": {"socket_address": {"address": "::1", "port_value": 19903}},
                "additional_local_addresses": [{"pipe": {"path": "/tmp/side.sock"}}],
            },
        )
