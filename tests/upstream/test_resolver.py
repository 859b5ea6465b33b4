"""Tests for meshd.upstream.resolver, against a real name server on the loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor  # noqa: TID251 - the sockets are real
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.names import dns, server
from twisted.names.error import DomainError
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from meshd.upstream.resolver import (
    Answer,
    Asking,
    Family,
    INameResolver,
    LookupFailed,
    Resolver,
    chosen,
    read_resolv_conf,
    system_asking,
)


class Zone:
    """What the name server knows: addresses by name, "fail" or "silent"; queries has what it was asked."""

    def __init__(self) -> None:
        self.names: dict[str, list[str] | str] = {}
        self.queries: list[tuple[str, int]] = []

    def query(self, query: dns.Query, timeout: Any = None) -> Deferred[Any]:
        """Answer, as twisted.names' server wants it."""
        name = query.name.name.decode()
        self.queries.append((name, query.type))
        known = self.names.get(name)
        if known is None:
            return fail(DomainError())
        if known == "fail":
            return fail(ValueError("the server is broken"))
        if known == "silent":
            return Deferred()
        kinds = {dns.A: dns.Record_A, dns.AAAA: dns.Record_AAAA}
        answers = [
            dns.RRHeader(name, query.type, ttl=60, payload=kinds[query.type](address, 60))
            for address in known
            if (":" in address) == (query.type == dns.AAAA)
        ]
        return succeed((answers, [], []))


class ServedTests(TestCase):
    """A name server of our own."""

    def setUp(self) -> None:
        self.zone = Zone()
        factory = server.DNSServerFactory()
        factory.resolver = self.zone  # type: ignore[assignment]
        self.tcp, self.udp = self._listen(factory)
        self.port = self.udp.getHost().port
        self.addCleanup(self.udp.stopListening)
        self.addCleanup(self.tcp.stopListening)

    def _listen(self, factory: Any) -> tuple[Any, Any]:
        """Listen on one port by TCP and UDP alike; somebody else may have one of the two."""
        tcp: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        protocol = dns.DNSDatagramProtocol(factory)
        try:
            return tcp, reactor.listenUDP(tcp.getHost().port, protocol, "127.0.0.1")  # type: ignore[attr-defined]
        except CannotListenError:
            tcp.stopListening()
            return self._listen(factory)

    def asking(self, **more: Any) -> Asking:
        """Return how to ask that server."""
        return Asking((("127.0.0.1", self.port),), timeout=1, tries=1, **more)

    async def lookup(self, name: str, family: Family = "V4_ONLY", **more: Any) -> Answer:
        """Look a name up."""
        return await Resolver(reactor, self.asking(**more), hosts="/nonexistent").lookup(name, family)

    async def test_addresses(self) -> None:
        """All addresses of the family come, with their TTL."""
        self.zone.names["a.test"] = ["10.0.0.1", "10.0.0.2", "fd00::1"]
        self.assertEqual(await self.lookup("a.test"), (["10.0.0.1", "10.0.0.2"], 60))
        self.assertEqual(await self.lookup("a.test", "V6_ONLY"), (["fd00::1"], 60))

    async def test_families(self) -> None:
        """AUTO prefers v6, V4_PREFERRED v4, ALL has both."""
        self.zone.names["a.test"] = ["10.0.0.1", "fd00::1"]
        self.zone.names["b.test"] = ["10.0.0.1"]
        self.assertEqual((await self.lookup("a.test", "AUTO"))[0], ["fd00::1"])
        self.assertEqual((await self.lookup("b.test", "AUTO"))[0], ["10.0.0.1"])
        self.assertEqual((await self.lookup("a.test", "V4_PREFERRED"))[0], ["10.0.0.1"])
        self.assertEqual((await self.lookup("a.test", "ALL"))[0], ["fd00::1", "10.0.0.1"])

    async def test_no_addresses(self) -> None:
        """A name without addresses, and one that does not exist, have an empty answer."""
        self.zone.names["a.test"] = []
        self.assertEqual(await self.lookup("a.test", "AUTO"), ([], 0))
        self.assertEqual(await self.lookup("nobody.test", "AUTO"), ([], 0))

    async def test_broken_server(self) -> None:
        """A server that fails is a failure."""
        self.zone.names["a.test"] = "fail"
        with self.assertRaises(LookupFailed):
            await self.lookup("a.test")
        self.flushLoggedErrors(ValueError)

    async def test_silent_server(self) -> None:
        """A server that does not answer is a failure, after all tries."""
        self.zone.names["a.test"] = "silent"
        with self.assertRaises(LookupFailed):
            await self.lookup("a.test")

    async def test_nobody_there(self) -> None:
        """Where nobody listens it does not wait for an answer."""
        await self.udp.stopListening()
        with self.assertRaises(LookupFailed) as caught:
            await self.lookup("a.test")
        self.assertIn("connection refused", str(caught.exception))

    async def test_next_server(self) -> None:
        """If a server fails, the next is asked."""
        self.zone.names["a.test"] = ["10.0.0.1"]
        asking = Asking((("127.0.0.1", 1), ("127.0.0.1", self.port)), timeout=1, tries=1)
        answer = await Resolver(reactor, asking, hosts="/nonexistent").lookup("a.test", "V4_ONLY")
        self.assertEqual(answer[0], ["10.0.0.1"])

    async def test_large(self) -> None:
        """An answer that does not fit a datagram comes by TCP."""
        self.zone.names["a.test"] = [f"10.0.0.{number}" for number in range(100)]
        self.assertEqual(len((await self.lookup("a.test"))[0]), 100)

    async def test_tcp(self) -> None:
        """It can ask by TCP alone."""
        self.zone.names["a.test"] = ["10.0.0.1"]
        await self.udp.stopListening()
        self.assertEqual((await self.lookup("a.test", tcp=True))[0], ["10.0.0.1"])

    async def test_search(self) -> None:
        """A short name is looked for in the domains first, one with dots there last."""
        self.zone.names["a.one.test"] = ["10.0.0.1"]
        self.assertEqual((await self.lookup("a", search=("two.test", "one.test")))[0], ["10.0.0.1"])
        self.assertEqual([name for name, _ in self.zone.queries], ["a.two.test", "a.one.test"])
        self.zone.queries.clear()
        await self.lookup("b.test", search=("one.test",))
        self.assertEqual([name for name, _ in self.zone.queries], ["b.test", "b.test.one.test"])
        self.zone.queries.clear()
        await self.lookup("a.", search=("one.test",))
        self.assertEqual([name for name, _ in self.zone.queries], ["a"])

    async def test_cancel(self) -> None:
        """A lookup that is cancelled leaves nothing behind."""
        self.zone.names["a.test"] = "silent"
        lookup = Resolver(reactor, self.asking(), hosts="/nonexistent").lookup("a.test", "V4_ONLY")
        await deferLater(reactor, 0.05, lambda: None)
        lookup.cancel()
        with self.assertRaises(CancelledError):
            await lookup


class UnservedTests(SynchronousTestCase):
    """What no name server is asked for."""

    def lookup(self, name: str, family: Family = "AUTO", hosts: str = "") -> Answer:
        """Look a name up, with such a hosts file."""
        path = Path(self.mktemp())
        path.write_text(hosts)
        asking = Asking((("127.0.0.1", 1),))
        return self.successResultOf(Resolver(None, asking, hosts=str(path)).lookup(name, family))

    def test_interface(self) -> None:
        """A Resolver is an INameResolver."""
        verifyObject(INameResolver, Resolver(None))

    def test_literal(self) -> None:
        """An IP address is its own answer, if the family fits."""
        self.assertEqual(self.lookup("127.0.0.9"), (["127.0.0.9"], 0))
        self.assertEqual(self.lookup("::1"), (["::1"], 0))
        self.assertEqual(self.lookup("127.0.0.9", "V6_ONLY"), ([], 0))

    def test_hosts_file(self) -> None:
        """The hosts file goes first."""
        hosts = "10.0.0.1 x a.test\n10.0.0.2 A.test # b.test\nfd00::1 c.test\n10.0.0.3 c.test\n"
        self.assertEqual(self.lookup("a.test", hosts=hosts)[0], ["10.0.0.1", "10.0.0.2"])
        self.assertEqual(self.lookup("c.test", hosts=hosts)[0], ["fd00::1"])
        self.assertEqual(self.lookup("c.test", "V4_PREFERRED", hosts=hosts)[0], ["10.0.0.3"])

    def test_no_name(self) -> None:
        """What can be no name is a failure, and no name server is asked."""
        for name in ("a..b", "", "x" * 64):
            lookup = Resolver(None, Asking((("127.0.0.1", 1),)), hosts="/nonexistent").lookup(name, "AUTO")
            self.failureResultOf(lookup, LookupFailed)

    def test_localhost(self) -> None:
        """The loopback has its name, even without a hosts file."""
        self.assertEqual(self.lookup("localhost", "ALL"), (["::1", "127.0.0.1"], 0))
        self.assertEqual(self.lookup("x.localhost", "V4_ONLY"), (["127.0.0.1"], 0))


class ResolvConfTests(SynchronousTestCase):
    """resolv.conf(5)."""

    def test_file(self) -> None:
        """Servers, domains and options are read; comments and nonsense are not."""
        text = (
            "# comment\nnameserver 10.0.0.1\nnameserver fd00::1 ; why\nnameserver no\n"
            "search a.test b.test\noptions ndots:5 timeout:2 attempts:x rotate\nnameserver\n"
        )
        asking = read_resolv_conf(text)
        self.assertEqual(asking.servers, (("10.0.0.1", 53), ("fd00::1", 53)))
        self.assertEqual((asking.search, asking.dots), (("a.test", "b.test"), 5))
        self.assertEqual((asking.timeout, asking.tries), (2, 4))

    def test_missing(self) -> None:
        """Without a file it is the server on this machine."""
        self.assertEqual(system_asking("/nonexistent").servers, (("127.0.0.1", 53),))

    @given(st.text())
    def test_rubbish(self, text: str) -> None:
        """Whatever it says, there is somebody to ask."""
        assert read_resolv_conf(text).servers


class ChosenTests(SynchronousTestCase):
    """Which addresses a family means."""

    def test_order(self) -> None:
        """ALL has v6 first; the others have one family only."""
        both = ["10.0.0.1", "fd00::1", "10.0.0.2"]
        self.assertEqual(chosen(both, "ALL"), ["fd00::1", "10.0.0.1", "10.0.0.2"])
        self.assertEqual(chosen(both, "AUTO"), ["fd00::1"])
        self.assertEqual(chosen(both, "V4_ONLY"), ["10.0.0.1", "10.0.0.2"])
        self.assertEqual(chosen(["10.0.0.1"], "V6_ONLY"), [])
