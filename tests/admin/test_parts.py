"""Tests for meshd.admin.parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.admin import parts
from meshd.admin.markup import Html
from tests.admin.fakes import FakeServer


def html(drawn: list[Html]) -> str:
    """Return what is drawn as HTML."""
    return "".join(drawn)


class PartsTests(SynchronousTestCase):
    """The parts of the page that change."""

    def setUp(self) -> None:
        self.server = FakeServer()

    def test_summary(self) -> None:
        """The summary adds up the connections of all listeners, and counts the hosts that are well."""
        for name in ("127.0.0.1_19902", "[__1]_19903"):
            self.server.stats.gauge(f"listener.{name}.downstream_cx_active").set(600)
            self.server.stats.counter(f"listener.{name}.downstream_cx_total").inc(1000)
        drawn = html(parts.summary(self.server))
        for text in ("1,200", "2,000 in all", "3 of 4", "in 2 clusters", "demo.yaml", "r / z"):
            self.assertIn(text, drawn)

    def test_listeners(self) -> None:
        """A listener is shown with its addresses, and its filters up to the cluster."""
        drawn = html(parts.listeners(self.server))
        self.assertIn("[::1]:19903", drawn)
        self.assertIn('<span class="mono">tcp_proxy</span><span class="dim">back</span>', drawn)

    def test_clusters(self) -> None:
        """A cluster is shown with its policy and its hosts, their health and their share."""
        first, second = self.server.clusters["back"].hosts[:2]
        first.cx_active, second.cx_active = 10, 5
        drawn = html(parts.clusters(self.server))
        for text in ("strict dns, least request", "[::1]:19912", ">failed_eds_health<", 'width="50%"'):
            self.assertIn(text, drawn)

    def test_many(self) -> None:
        """Of a cluster with very many hosts the page shows the first."""
        dns = self.server.clusters["dns"]
        dns.hosts = dns.hosts * (parts.SHOWN + 5)
        drawn = html(parts.clusters(self.server))
        self.assertEqual(drawn.count("127.0.0.1:19914"), parts.SHOWN)
        self.assertIn("and 5 hosts more", drawn)

    def test_none(self) -> None:
        """Without listeners or clusters the page says so; a cluster without hosts too."""
        self.server.clusters["back"].hosts = []
        self.assertIn("no hosts", html(parts.clusters(self.server)))
        self.server.listeners, self.server.clusters = {}, {}
        self.assertIn("No listener", html(parts.listeners(self.server)))
        self.assertIn("No cluster", html(parts.clusters(self.server)))

    def test_state(self) -> None:
        """A server that does not serve is in another colour."""
        self.assertIn("good", html([parts.state_pill(self.server)]))
        self.server.state = "DRAINING"
        self.assertIn("warn", html([parts.state_pill(self.server)]))

    @given(st.text(st.characters(exclude_categories=("Cs", "Cc"))))
    def test_escaped(self, name: str) -> None:
        """Whatever a host is called, no tag comes of it."""
        server = FakeServer()
        server.clusters["dns"].hosts[0].hostname = f"<script>{name}"
        self.assertNotIn("<script>", html(parts.clusters(server)))


class DurationTests(SynchronousTestCase):
    """Durations, for people."""

    def test_units(self) -> None:
        """The two largest units are shown."""
        cases = {0: "0s", 59: "59s", 60: "1m 0s", 3725: "1h 2m", 90000: "1d 1h"}
        self.assertEqual({seconds: parts.duration(seconds) for seconds in cases}, cases)
