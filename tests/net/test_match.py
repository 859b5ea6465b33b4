"""Tests for meshd.net.match."""

from typing import Any, NamedTuple

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.listener.v3.listener_components_pb2 import FilterChainMatch
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.interfaces import SocketAddress
from meshd.net.match import compile_matches, is_local
from meshd.observe.info import ConnectionInfo
from meshd.plugin import ConfigError
from tests.net.literal import literal

CLIENT = ("198.51.100.7", 40000)
SERVER = ("192.0.2.1", 443)


class Chain(NamedTuple):
    """A chain, as far as matching knows it."""

    name: str


def ranges(*texts: str) -> list[Any]:
    """Return CidrRange messages, in JSON's form."""
    found = []
    for text in texts:
        prefix, _, length = text.partition("/")
        found.append({"address_prefix": prefix, "prefix_len": int(length)})
    return found


def message(**fields: Any) -> Any:
    """Return a FilterChainMatch."""
    for name in ("prefix_ranges", "source_prefix_ranges", "direct_source_prefix_ranges"):
        if name in fields:
            fields[name] = ranges(*fields[name])
    return ParseDict(fields, FilterChainMatch())


def facts(remote: SocketAddress = CLIENT, local: SocketAddress = SERVER, **attributes: Any) -> ConnectionInfo:
    """Return the info of a connection."""
    info = ConnectionInfo(remote, local)
    for name, value in attributes.items():
        setattr(info, name, value)
    return info


class MatchCase(SynchronousTestCase):
    """Asks which of some chains serves a connection."""

    def chosen(self, chains: dict[str, dict[str, Any]], *args: Any, **attributes: Any) -> str | None:
        """Return the name of the chain that serves a connection, None if there is none."""
        find = compile_matches([(message(**fields), Chain(name)) for name, fields in chains.items()])
        chain = find(facts(*args, **attributes))
        return None if chain is None else str(chain.name)


class CriteriaTests(MatchCase):
    """Each criterion by itself."""

    def test_none(self) -> None:
        """Without chains none is found; a chain that asks for nothing serves all."""
        self.assertIsNone(self.chosen({}))
        self.assertEqual(self.chosen({"all": {}}), "all")
        self.assertEqual(self.chosen({"all": {}}, "/run/client", "/run/server"), "all")

    def test_destination_port(self) -> None:
        """The destination's port, if a chain has it, else the chain without."""
        chains: dict[str, Any] = {"web": {"destination_port": 443}, "rest": {}}
        self.assertEqual(self.chosen(chains), "web")
        self.assertEqual(self.chosen(chains, CLIENT, ("192.0.2.1", 80)), "rest")
        self.assertEqual(self.chosen(chains, CLIENT, "/run/server"), "rest")
        self.assertIsNone(self.chosen({"web": {"destination_port": 443}}, CLIENT, ("192.0.2.1", 80)))

    def test_prefix_ranges(self) -> None:
        """Of the ranges that the destination is in, the longest."""
        chains: dict[str, Any] = {
            "net": {"prefix_ranges": ["192.0.0.0/8"]},
            "host": {"prefix_ranges": ["192.0.2.1/32", "10.0.0.0/8"]},
            "all": {"prefix_ranges": ["0.0.0.0/0"]},
        }
        self.assertEqual(self.chosen(chains), "host")
        self.assertEqual(self.chosen(chains, CLIENT, ("10.9.8.7", 1)), "host")
        self.assertEqual(self.chosen(chains, CLIENT, ("192.0.2.2", 1)), "net")
        self.assertEqual(self.chosen(chains, CLIENT, ("9.9.9.9", 1)), "all")
        self.assertIsNone(self.chosen(chains, CLIENT, ("::1", 1)))

    def test_host_bits(self) -> None:
        """What lies behind the prefix of a range does not matter."""
        chains = {"net": {"prefix_ranges": ["192.0.2.77/24"]}}
        self.assertEqual(self.chosen(chains), "net")

    def test_ipv6(self) -> None:
        """IPv6 addresses are in IPv6 ranges only, with or without a scope."""
        chains: dict[str, Any] = {
            "six": {"prefix_ranges": ["fe80::/10"]},
            "one": {"prefix_ranges": ["::1/128"]},
            "any": {},
        }
        self.assertEqual(self.chosen(chains, CLIENT, ("fe80::1%eth0", 1)), "six")
        self.assertEqual(self.chosen(chains, CLIENT, ("::1", 1)), "one")
        self.assertEqual(self.chosen(chains, CLIENT, ("::2", 1)), "any")
        self.assertEqual(self.chosen(chains), "any")

    def test_same_number_other_family(self) -> None:
        """An IPv4 range is not taken for an IPv6 range of the same length."""
        chains = {"four": {"prefix_ranges": ["0.0.0.0/8"]}, "six": {"prefix_ranges": ["::/8"]}}
        self.assertEqual(self.chosen(chains, CLIENT, ("0.1.1.1", 1)), "four")
        self.assertEqual(self.chosen(chains, CLIENT, ("::1", 1)), "six")

    def test_server_names(self) -> None:
        """The name itself, then the longest wildcard, then no name; case does not matter."""
        chains: dict[str, Any] = {
            "exact": {"server_names": ["a.example.com"]},
            "deep": {"server_names": ["*.B.example.com"]},
            "wild": {"server_names": ["*.example.com"]},
            "rest": {},
        }
        for name, chain in (
            ("a.example.com", "exact"),
            ("A.Example.COM", "exact"),
            ("b.example.com", "wild"),
            ("x.b.example.com", "deep"),
            ("x.y.b.example.com", "deep"),
            ("x.a.example.com", "wild"),
            ("example.com", "rest"),
            ("com", "rest"),
            ("", "rest"),
        ):
            self.assertEqual(self.chosen(chains, server_name=name), chain, name)

    def test_transport_protocol(self) -> None:
        """What was found out; raw_buffer if nobody looked."""
        chains: dict[str, Any] = {
            "tls": {"transport_protocol": "tls"},
            "raw": {"transport_protocol": "raw_buffer"},
        }
        self.assertEqual(self.chosen(chains, transport_protocol="tls"), "tls")
        self.assertEqual(self.chosen(chains, transport_protocol="raw_buffer"), "raw")
        self.assertEqual(self.chosen(chains), "raw")
        self.assertIsNone(self.chosen({"tls": {"transport_protocol": "tls"}}))

    def test_application_protocols(self) -> None:
        """The first of the client's protocols that any chain has."""
        chains: dict[str, Any] = {
            "h2": {"application_protocols": ["h2"]},
            "h1": {"application_protocols": ["http/1.1", "http/1.0"]},
            "rest": {},
        }
        self.assertEqual(self.chosen(chains, application_protocols=["x", "http/1.1", "h2"]), "h1")
        self.assertEqual(self.chosen(chains, application_protocols=["h2", "http/1.1"]), "h2")
        self.assertEqual(self.chosen(chains, application_protocols=["x"]), "rest")
        self.assertEqual(self.chosen(chains), "rest")

    def test_direct_source(self) -> None:
        """The kernel's word counts for direct_source_prefix_ranges, the listener filters' for the other."""
        chains: dict[str, Any] = {
            "balancer": {"direct_source_prefix_ranges": ["10.0.0.0/8"]},
            "client": {"source_prefix_ranges": ["198.51.100.0/24"]},
        }
        self.assertEqual(self.chosen(chains), "client")
        self.assertEqual(self.chosen(chains, direct_remote=("10.1.2.3", 5)), "balancer")
        self.assertIsNone(self.chosen(chains, ("203.0.113.1", 5), direct_remote=("11.1.2.3", 5)))

    def test_source_type(self) -> None:
        """From this host, from elsewhere, or from wherever."""
        chains: dict[str, Any] = {
            "here": {"source_type": "SAME_IP_OR_LOOPBACK"},
            "there": {"source_type": "EXTERNAL"},
        }
        self.assertEqual(self.chosen(chains), "there")
        self.assertEqual(self.chosen(chains, ("127.0.0.9", 1)), "here")
        self.assertEqual(self.chosen(chains, ("192.0.2.1", 1)), "here")
        self.assertEqual(self.chosen(chains, "/run/x"), "here")
        chains = {"here": {"source_type": "SAME_IP_OR_LOOPBACK"}, "any": {}}
        self.assertEqual(self.chosen(chains), "any")
        self.assertIsNone(self.chosen({"there": {"source_type": "EXTERNAL"}}, ("::1", 1), ("::2", 1)))

    def test_source(self) -> None:
        """The source's range and then its port."""
        chains: dict[str, Any] = {
            "low": {"source_prefix_ranges": ["198.51.100.0/24"], "source_ports": [1, 2, 3]},
            "net": {"source_prefix_ranges": ["198.51.100.0/24"]},
            "port": {"source_ports": [40000]},
        }
        self.assertEqual(self.chosen(chains, ("198.51.100.1", 2)), "low")
        self.assertEqual(self.chosen(chains, ("198.51.100.1", 40000)), "net")
        self.assertEqual(self.chosen(chains, ("203.0.113.1", 40000)), "port")
        self.assertIsNone(self.chosen(chains, ("203.0.113.1", 2)))
        self.assertIsNone(self.chosen(chains, "/run/client"))

    def test_is_local(self) -> None:
        """Loopback of either family, the same IP, and unix sockets are this host."""
        for remote, local, expected in (
            (("127.3.2.1", 5), SERVER, True),
            (("::1", 5), ("::2", 6), True),
            (("fe80::1%eth0", 5), ("::2", 6), False),
            (SERVER, SERVER, True),
            (CLIENT, SERVER, False),
            (CLIENT, "/run/server", False),
            ("", "/run/server", True),
        ):
            self.assertIs(is_local(facts(remote, local)), expected, (remote, local))


class OrderTests(MatchCase):
    """Several criteria at once."""

    def test_order(self) -> None:
        """Of two chains that differ in two criteria the earlier one decides, though both fit."""
        local = ("127.0.0.1", 443)
        each: list[tuple[str, Any]] = [
            ("destination_port", 443),
            ("prefix_ranges", ["127.0.0.0/8"]),
            ("server_names", ["a.example.com"]),
            ("transport_protocol", "tls"),
            ("application_protocols", ["h2"]),
            ("direct_source_prefix_ranges", ["198.51.100.0/24"]),
            ("source_type", "EXTERNAL"),
            ("source_prefix_ranges", ["198.51.100.0/24"]),
            ("source_ports", [40000]),
        ]
        facts_ = {
            "server_name": "a.example.com",
            "transport_protocol": "tls",
            "application_protocols": ["h2"],
        }
        for index, (name, value) in enumerate(each):
            for other, other_value in each[index + 1 :]:
                chains = {"later": {other: other_value}, "earlier": {name: value}}
                self.assertEqual(self.chosen(chains, CLIENT, local, **facts_), "earlier", (name, other))

    def test_no_way_back(self) -> None:
        """A chain that lost at a criterion is not asked again when the winner fails at a later one."""
        chains: dict[str, Any] = {
            "x": {"server_names": ["a.example.com"], "source_prefix_ranges": ["10.0.0.0/8"]},
            "y": {},
        }
        self.assertIsNone(self.chosen(chains, server_name="a.example.com"))
        self.assertEqual(self.chosen(chains, ("10.1.1.1", 1), server_name="a.example.com"), "x")
        self.assertEqual(self.chosen(chains, server_name="b.example.com"), "y")

    def test_no_way_back_to_a_shorter_prefix(self) -> None:
        """Nor is a shorter range, or a wildcard, when the longer one's chain fails later."""
        chains: dict[str, Any] = {
            "host": {"prefix_ranges": ["192.0.2.1/32"], "source_ports": [1]},
            "net": {"prefix_ranges": ["192.0.2.0/24"]},
        }
        self.assertIsNone(self.chosen(chains))
        chains = {
            "deep": {"server_names": ["*.b.example.com"], "source_ports": [1]},
            "wild": {"server_names": ["*.example.com"]},
        }
        self.assertIsNone(self.chosen(chains, server_name="a.b.example.com"))

    def test_more_is_more_specific(self) -> None:
        """TLS with h2 goes to the chain that asks for both, TLS without to that for TLS."""
        chains: dict[str, Any] = {
            "tls": {"transport_protocol": "tls"},
            "h2": {"transport_protocol": "tls", "application_protocols": ["h2"]},
            "raw": {"transport_protocol": "raw_buffer"},
        }
        self.assertEqual(self.chosen(chains, transport_protocol="tls", application_protocols=["h2"]), "h2")
        self.assertEqual(self.chosen(chains, transport_protocol="tls"), "tls")
        self.assertEqual(self.chosen(chains), "raw")


class ErrorTests(SynchronousTestCase):
    """What cannot be compiled."""

    def refused(self, *matches: Any) -> ConfigError:
        """Return the error that the matches of chains named a, b, ... give."""
        chains = [(each, Chain("abc"[index])) for index, each in enumerate(matches)]
        return self.assertRaises(ConfigError, compile_matches, chains)  # type: ignore[no-any-return]

    def test_same_twice(self) -> None:
        """Two chains with one match are refused in Envoy's words."""
        error = self.refused(message(), message())
        self.assertEqual(
            error.message,
            "filter chain 'b' has the same matching rules defined as 'a'. duplicate matcher is: {}",
        )
        self.assertEqual(error.path, (1,))
        error = self.refused(message(source_ports=[7]), message(), message(source_ports=[7]))
        self.assertIn("duplicate matcher is: {source_ports: 7}", error.message)
        error = self.refused(message(source_ports=[7, 8]), message(source_ports=[7, 8]))
        self.assertIn("duplicate matcher is: {source_ports: 7 source_ports: 8}", error.message)

    def test_overlap(self) -> None:
        """Two chains that a connection would fit equally well are refused in Envoy's words."""
        for matches in (
            (message(server_names=["a.com", "b.com"]), message(server_names=["b.com", "c.com"])),
            (message(server_names=["a.com"]), message(server_names=["A.com"])),
            (message(prefix_ranges=["10.1.0.0/16"]), message(prefix_ranges=["10.1.2.3/16"])),
            (message(source_ports=[1, 2]), message(source_ports=[2, 1])),
        ):
            error = self.refused(*matches)
            self.assertEqual(
                error.message, "multiple filter chains with overlapping matching rules are defined"
            )

    def test_partial_wildcard(self) -> None:
        """A wildcard stands for whole labels, at the start."""
        for name in ("*a.com", "a.*.com", "*", "*.a*.com"):
            error = self.refused(message(), message(server_names=["ok.com", name]))
            self.assertEqual(error.message, 'partial wildcards are not supported in "server_names"')
            self.assertEqual(error.path, (1, "filter_chain_match", "server_names", 1))

    def test_no_address(self) -> None:
        """A range needs an IP address; the path says which range."""
        for field in ("prefix_ranges", "direct_source_prefix_ranges", "source_prefix_ranges"):
            match = message(**{field: ["10.0.0.0/8", "host/24"]})
            error = self.refused(match)
            self.assertEqual(error.message, "invalid ip/mask combo 'host/24'")
            self.assertEqual(error.path, (0, "filter_chain_match", field, 1))

    def test_suffix(self) -> None:
        """What Envoy has fields for, but does not do, is not ignored."""
        for match in (message(address_suffix="10.0.0.1"), message(suffix_len=8)):
            self.assertIn("suffix", self.refused(match).message)

    def test_twice_in_one(self) -> None:
        """One chain may say a thing twice."""
        find = compile_matches([(message(source_ports=[1, 1]), Chain("a"))])
        self.assertEqual(find(facts(("10.0.0.1", 1))), Chain("a"))

    def test_no_length(self) -> None:
        """A range without a length is everything of its family."""
        match = FilterChainMatch(prefix_ranges=[CidrRange(address_prefix="10.0.0.0")])
        find = compile_matches([(match, Chain("a"))])
        self.assertEqual(find(facts()), Chain("a"))
        self.assertIsNone(find(facts(CLIENT, ("::1", 1))))


IPS = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.1.0.1", "127.0.0.1", "::1", "2001:db8::1", "2001:db8::2"])
PORTS = st.integers(1, 3)
ADDRESSES = st.one_of(st.tuples(IPS, PORTS), st.just("/run/socket"))
RANGES = st.lists(
    st.sampled_from(
        ["10.0.0.0/8", "10.0.0.0/24", "10.0.0.1/32", "0.0.0.0/0", "::/0", "2001:db8::/32", "2001:db8::1/128"]
    ),
    max_size=2,
    unique=True,
)
NAMES = ["a.com", "b.a.com", "c.b.a.com", "*.a.com", "*.b.a.com", "*.com"]
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "destination_port": PORTS,
        "prefix_ranges": RANGES,
        "server_names": st.lists(st.sampled_from(NAMES), max_size=3, unique=True),
        "transport_protocol": st.sampled_from(["tls", "raw_buffer"]),
        "application_protocols": st.lists(st.sampled_from(["h2", "http/1.1"]), max_size=2, unique=True),
        "direct_source_prefix_ranges": RANGES,
        "source_type": st.sampled_from(["SAME_IP_OR_LOOPBACK", "EXTERNAL"]),
        "source_prefix_ranges": RANGES,
        "source_ports": st.lists(PORTS, max_size=2, unique=True),
    },
)
INFOS = st.builds(
    facts,
    ADDRESSES,
    ADDRESSES,
    direct_remote=ADDRESSES,
    server_name=st.sampled_from(["", "a.com", "b.a.com", "c.b.a.com", "d.c.b.a.com", "org"]),
    transport_protocol=st.sampled_from(["", "tls", "raw_buffer"]),
    application_protocols=st.lists(st.sampled_from(["h2", "http/1.1", "x"]), unique=True),
)


class LiteralTests(SynchronousTestCase):
    """The compiled matcher against a slow one."""

    @given(st.lists(MATCHES, min_size=1, max_size=6), st.lists(INFOS, min_size=1, max_size=10))
    def test_agrees(self, matches: list[dict[str, Any]], infos: list[ConnectionInfo]) -> None:
        """Of chains that are accepted one after the other, both choose the same."""
        chains: list[tuple[Any, Chain]] = []
        for index, fields in enumerate(matches):
            more = [*chains, (message(**fields), Chain(str(index)))]
            try:
                find = compile_matches(more)
            except ConfigError:
                continue
            chains = more
        find = compile_matches(chains)
        for info in infos:
            chosen = find(info)
            expected = literal([(match, chain.name) for match, chain in chains], info)
            self.assertEqual(chosen and chosen.name, expected)
