"""Tests for meshd.upstream.redis_zones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from meshd.codec.resp import ProtocolError
from meshd.codec.resp_reply import Error, Simple, encode
from meshd.testing.codecs import split_anywhere
from meshd.upstream.host import Host, Locality
from meshd.upstream.redis_asking import AskFailed
from meshd.upstream.redis_zones import ZoneExchange, Zones
from tests.upstream.support import hosts

INFO = b"# Server\r\nredis_version:7.2.4\r\navailability_zone:us-east-1a\r\nuptime:1\r\n"


class TestExchange:
    """What is said with a node."""

    def test_zone(self) -> None:
        """INFO tells the zone, after AUTH if there is a password."""
        exchange = ZoneExchange((b"", b"secret"))
        assert exchange.begin() == (
            b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n"
        )
        assert exchange.receive(encode(Simple(b"OK"))) == b""
        assert exchange.result is None
        exchange.receive(encode(INFO))
        assert exchange.result == "us-east-1a"

    @pytest.mark.parametrize(
        "info", [b"", b"# Server\r\nredis_version:7.0.15\r\n", b"availability_zone:\r\n"]
    )
    def test_none(self, info: bytes) -> None:
        """Redis does not know zones, and Valkey has none if none is configured."""
        exchange = ZoneExchange()
        exchange.receive(encode(info))
        assert exchange.result == ""

    @pytest.mark.parametrize("answer", [Error(b"NOAUTH Authentication required."), 7, None])
    def test_refused(self, answer: object) -> None:
        """Anything but INFO's text is a failure."""
        with pytest.raises(AskFailed):
            ZoneExchange().receive(encode(answer))

    def test_unasked(self) -> None:
        """More than was asked for is an error."""
        with pytest.raises(ProtocolError):
            ZoneExchange().receive(encode(INFO) * 2)

    @given(st.data())
    def test_chunks(self, data: st.DataObject) -> None:
        """How the answer is cut does not matter."""
        exchange = ZoneExchange((b"me", b"secret"))
        for chunk in data.draw(split_anywhere(encode(Simple(b"OK")) + encode(INFO))):
            exchange.receive(chunk)
        assert exchange.result == "us-east-1a"

    @given(st.binary(max_size=60))
    def test_rubbish(self, rubbish: bytes) -> None:
        """Rubbish is an error, or not yet an answer."""
        try:
            ZoneExchange().receive(rubbish)
        except (ProtocolError, AskFailed):
            pass


class TestZones:
    """Asking three hosts, of which the first has a zone."""

    def setup_method(self) -> None:
        """Make them."""
        self.clock = Clock()
        self.asked: list[tuple[Host, Deferred[str]]] = []
        self.changes = 0
        self.fails = False
        self.hosts = hosts(1, 1, 1)
        self.hosts[0].locality = Locality("r", "a")
        self.zones = Zones(self.ask, self.changed, self.clock, 5.0)
        self.zones.use(self.hosts)

    def ask(self, host: Host) -> Deferred[str]:
        """Note that a host is asked."""
        asking: Deferred[str] = Deferred()
        self.asked.append((host, asking))
        if self.fails:
            asking.errback(AskFailed("no"))
        return asking

    def changed(self) -> None:
        """Count."""
        self.changes += 1

    def test_told(self) -> None:
        """Nobody is asked before it is wanted, nor who has a zone; it is told once, of all."""
        assert self.asked == []
        self.zones.start()
        assert [host for host, _ in self.asked] == self.hosts[1:]
        self.asked[0][1].callback("b")
        assert self.changes == 0
        self.asked[1][1].callback("")
        assert self.changes == 1
        assert [host.locality for host in self.hosts] == [("r", "a", ""), ("", "b", ""), ("", "", "")]
        self.zones.use(self.hosts)
        assert len(self.asked) == 2
        assert self.clock.getDelayedCalls() == []

    def test_again(self) -> None:
        """Who did not tell is asked again; who told is not."""
        self.zones.start()
        self.asked[0][1].callback("b")
        self.asked[1][1].errback(AskFailed("no"))
        assert self.changes == 1
        self.clock.advance(5)
        assert [host for host, _ in self.asked] == [*self.hosts[1:], self.hosts[2]]
        self.asked[2][1].callback("c")
        assert self.changes == 2

    def test_at_once(self) -> None:
        """A host that cannot be asked at all is asked again, too."""
        self.fails = True
        self.zones.start()
        assert len(self.asked) == 2
        self.clock.advance(5)
        assert len(self.asked) == 4

    def test_gone(self) -> None:
        """A host that is gone is asked no more."""
        self.zones.start()
        self.zones.use(self.hosts[:2])
        assert self.asked[1][1].called
        assert not self.asked[0][1].called

    def test_stop(self) -> None:
        """After stop() nothing is left."""
        self.zones.start()
        self.asked[0][1].errback(AskFailed("no"))
        self.asked[1][1].errback(AskFailed("no"))
        self.zones.stop()
        assert self.clock.getDelayedCalls() == []
        self.zones.start()
        self.zones.stop()
        assert all(asking.called for _, asking in self.asked)
        assert self.changes == 0
