"""
Looking up names: addresses and how long they hold.

An ordinary IP address needs no question, the hosts file goes first, then the
name servers are asked, through twisted.names.  What an outcome means is what
c-ares makes of it in Envoy: a name that does not exist, or has no addresses,
is an empty answer; a server that fails or does not answer is a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, Literal

from twisted.internet.abstract import isIPv6Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.names import dns
from twisted.names.hosts import searchFileForAll
from twisted.python.filepath import FilePath
from zope.interface import Interface, implementer

from meshd.upstream.endpoints import is_ip

#: Which addresses are wanted: the values of Envoy's DnsLookupFamily.
Family = Literal["AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"]

#: The addresses of a name, and for how many seconds they hold (0: nobody said).
Answer = tuple[list[str], int]

_RECORDS: dict[int, int] = {4: dns.A, 6: dns.AAAA}


class LookupFailed(Exception):
    """No server could say whether there are addresses."""


class INameResolver(Interface):
    """Finds the addresses of names."""

    def lookup(name: str, family: Family) -> Deferred[Answer]:
        """Return the addresses, none if the name has none; fail with LookupFailed."""


@dataclass(frozen=True)
class Asking:
    """Whom to ask and how: servers are (address, port); timeout is in seconds, for each of tries."""

    servers: tuple[tuple[str, int], ...]
    #: Domains to append to names with fewer dots than dots.
    search: tuple[str, ...] = ()
    dots: int = 1
    tcp: bool = False
    timeout: int = 5
    tries: int = 4


def read_resolv_conf(text: str) -> Asking:
    """Read the text of a resolv.conf(5)."""
    servers: list[tuple[str, int]] = []
    search: tuple[str, ...] = ()
    options = {"ndots": 1, "timeout": 5, "attempts": 4}
    for line in text.splitlines():
        word, *values = line.split("#")[0].split(";")[0].split() or [""]
        if word == "nameserver" and values and is_ip(values[0].split("%")[0]):
            servers.append((values[0], dns.PORT))
        elif word in ("search", "domain"):
            search = tuple(values)
        elif word == "options":
            for name, _, value in (each.partition(":") for each in values):
                if name in options and value.isdecimal():
                    options[name] = int(value)
    return Asking(
        tuple(servers) or (("127.0.0.1", dns.PORT),),
        search=search,
        dots=options["ndots"],
        timeout=max(1, options["timeout"]),
        tries=max(1, options["attempts"]),
    )


def system_asking(path: str = "/etc/resolv.conf") -> Asking:
    """Return how this machine asks."""
    try:
        return read_resolv_conf(Path(path).read_text(errors="replace"))
    except OSError:
        return read_resolv_conf("")


@implementer(INameResolver)
class Resolver:
    """Asks the hosts file, then the name servers."""

    def __init__(self, reactor: Any, asking: Asking | None = None, hosts: str = "/etc/hosts") -> None:
        self._reactor = reactor
        self._asking = asking or system_asking()
        self._hosts = FilePath(hosts)

    def lookup(self, name: str, family: Family) -> Deferred[Answer]:
        if is_ip(name):
            return succeed((chosen([name], family), 0))
        try:
            # From here on it is in the form of the wire: ASCII.
            name = name.encode("idna").decode()
        except UnicodeError:
            return fail(LookupFailed(f"{name!r} is no domain name"))
        known = self._from_file(name)
        if known:
            return succeed((chosen(known, family), 0))
        return Deferred.fromCoroutine(self._ask(name, family))

    def _from_file(self, name: str) -> list[str]:
        found: list[str] = searchFileForAll(self._hosts, name.encode())
        if not found and (name == "localhost" or name.endswith(".localhost")):
            return ["127.0.0.1", "::1"]
        return list(dict.fromkeys(found))

    async def _ask(self, name: str, family: Family) -> Answer:
        for candidate in self._candidates(name):
            addresses, ttl = await self._ask_families(candidate, family)
            if addresses:
                return addresses, ttl
        return [], 0

    def _candidates(self, name: str) -> list[str]:
        """Return the names to try, as resolv.conf(5) says."""
        if name.endswith("."):
            return [name[:-1]]
        longer = [f"{name}.{domain}" for domain in self._asking.search]
        return [name, *longer] if name.count(".") >= self._asking.dots else [*longer, name]

    async def _ask_families(self, name: str, family: Family) -> Answer:
        """Ask for one family after the other, until one has addresses (ALL: for both)."""
        addresses: list[str] = []
        ttls: list[int] = []
        failure: LookupFailed | None = None
        for version in _ORDER[family]:
            try:
                more, ttl = await self._ask_version(name, version)
            except LookupFailed as error:
                failure = error
                continue
            if more:
                addresses += more
                ttls.append(ttl)
            if addresses and family != "ALL":
                break
        # Half an answer says nothing if the other half could not be had.
        if failure is not None and not addresses:
            raise failure
        return addresses, min(ttls, default=0)

    async def _ask_version(self, name: str, version: int) -> Answer:
        query = dns.Query(name.encode(), _RECORDS[version], dns.IN)
        message = await self._ask_servers(query)
        answers = [each for each in message.answers if each.type in (query.type, dns.CNAME)]
        family = AF_INET6 if version == 6 else AF_INET
        payloads: list[Any] = [each.payload for each in answers if each.type == query.type]
        found = [inet_ntop(family, each.address) for each in payloads]
        return list(dict.fromkeys(found)), min((each.ttl for each in answers), default=0)

    async def _ask_servers(self, query: dns.Query) -> dns.Message:
        """Ask one server after the other until one knows, or knows that there is nothing."""
        problem = "no server"
        for _ in range(self._asking.tries):
            for server in self._asking.servers:
                try:
                    message = await self._ask_server(server, query)
                except CancelledError:
                    raise
                except Exception as error:
                    problem = f"{server[0]}:{server[1]}: {str(error) or type(error).__name__}"
                    continue
                if message.rCode in (dns.OK, dns.ENAME):
                    return message
                problem = f"{server[0]}:{server[1]}: answers with the error {message.rCode}"
        raise LookupFailed(f"{query.name}: {problem}")

    async def _ask_server(self, server: tuple[str, int], query: dns.Query) -> dns.Message:
        if not self._asking.tcp:
            message = await self._by_udp(server, query)
            if not message.trunc:
                return message
        return await self._by_tcp(server, query)

    async def _by_udp(self, server: tuple[str, int], query: dns.Query) -> dns.Message:
        protocol = _Datagrams(self, self._reactor)
        interface = "::" if isIPv6Address(server[0]) else ""
        port = self._reactor.listenUDP(0, protocol, interface)
        # A socket that is connected hears of it if nobody listens there, and of no strangers.
        port.connect(*server)
        try:
            message: dns.Message = await protocol.query(server, [query], self._asking.timeout)
            return message
        finally:
            protocol.drop(CancelledError())
            port.stopListening()

    async def _by_tcp(self, server: tuple[str, int], query: dns.Query) -> dns.Message:
        timeout = self._asking.timeout
        endpoint = HostnameEndpoint(self._reactor, server[0], server[1], timeout)
        protocol = await connectProtocol(endpoint, dns.DNSProtocol(self, self._reactor))
        try:
            message: dns.Message = await protocol.query([query], timeout)
            return message
        finally:
            protocol.transport.loseConnection()

    # What twisted.names' protocols want of their controller.

    def connectionMade(self, protocol: Any) -> None:
        """Note nothing: whoever connected knows."""

    def connectionLost(self, protocol: Any) -> None:
        """Note nothing: whoever waits has a time-out."""

    def messageReceived(self, message: Any, protocol: Any, address: Any = None) -> None:
        """Ignore an answer to what nobody asked, or asks any more."""


class _Datagrams(dns.DNSDatagramProtocol):
    """DNS over UDP that does not wait for an answer where nobody listens."""

    def connectionRefused(self) -> None:
        self.drop(LookupFailed("connection refused"))

    def stopProtocol(self) -> None:
        # epoll reports the refusal as an error of the socket, which Twisted's reactor then simply closes.
        self.connectionRefused()
        super().stopProtocol()

    def drop(self, reason: Exception) -> None:
        """Wait for no answer any more."""
        for key in tuple(self.liveMessages):
            waiting, timer = self.liveMessages.pop(key)
            timer.cancel()
            waiting.errback(reason)


_ORDER: dict[str, Sequence[int]] = {
    "AUTO": (6, 4),
    "V4_ONLY": (4,),
    "V6_ONLY": (6,),
    "V4_PREFERRED": (4, 6),
    "ALL": (6, 4),
}


def chosen(addresses: Sequence[str], family: Family) -> list[str]:
    """Return those of the addresses that the family means, in its order."""
    parts = [
        [each for each in addresses if isIPv6Address(each) == (version == 6)] for version in _ORDER[family]
    ]
    found = [part for part in parts if part]
    return [each for part in (found if family == "ALL" else found[:1]) for each in part]
