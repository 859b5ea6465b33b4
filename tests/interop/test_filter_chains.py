"""Which filter chain serves a connection: in meshd the one that does in Envoy, or none where none does."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.interop.case import Case
from tests.interop.oracle import try_config
from tests.interop.peers import FIN, RST
from tests.interop.yaml_parts import Part, access_log, bootstrap, chain, listener, listener_filter, says


def cidr(text: str) -> list[Part]:
    """Read "10.0.0.0/8" as a list of one CidrRange."""
    prefix, _, length = text.partition("/")
    return [{"address_prefix": prefix, "prefix_len": int(length)}]


def chains(**matches: Part | None) -> list[Part]:
    """Make chains that each say their own name."""
    return [chain(says(name), match=match, name=name) for name, match in matches.items()]


LOOPBACK = {"source_type": "SAME_IP_OR_LOOPBACK"}
EXTERNAL = {"source_type": "EXTERNAL"}

SOURCES: dict[str, tuple[dict[str, Part | None], str]] = {
    "no match at all": ({"any": None}, "any"),
    "empty match": ({"any": {}}, "any"),
    "prefix": ({"ours": {"prefix_ranges": cidr("127.0.0.0/8")}, "any": {}}, "ours"),
    "other prefix": ({"theirs": {"prefix_ranges": cidr("10.0.0.0/8")}, "any": {}}, "any"),
    "longest prefix": (
        {
            "wide": {"prefix_ranges": cidr("127.0.0.0/8")},
            "narrow": {"prefix_ranges": cidr("127.0.0.1/32")},
            "zero": {"prefix_ranges": cidr("0.0.0.0/0")},
        },
        "narrow",
    ),
    "loopback source": ({"local": LOOPBACK, "external": EXTERNAL}, "local"),
    "external only": ({"external": EXTERNAL}, ""),
    "source type and any": ({"external": EXTERNAL, "any": {}}, "any"),
    "source prefix": (
        {"ours": {"source_prefix_ranges": cidr("127.0.0.0/24")}, "any": {}},
        "ours",
    ),
    "source prefix elsewhere": (
        {"theirs": {"source_prefix_ranges": cidr("192.168.0.0/16")}, "any": {}},
        "any",
    ),
    "longest source prefix": (
        {
            "wide": {"source_prefix_ranges": cidr("127.0.0.0/8")},
            "narrow": {"source_prefix_ranges": cidr("127.0.0.1/32")},
        },
        "narrow",
    ),
    "direct source": (
        {"direct": {"direct_source_prefix_ranges": cidr("127.0.0.0/8")}, "any": {}},
        "direct",
    ),
    "direct source before source": (
        {
            "direct": {"direct_source_prefix_ranges": cidr("127.0.0.0/8")},
            "source": {"source_prefix_ranges": cidr("127.0.0.1/32")},
        },
        "direct",
    ),
    "transport raw": ({"raw": {"transport_protocol": "raw_buffer"}, "any": {}}, "raw"),
    "transport tls": ({"tls": {"transport_protocol": "tls"}, "any": {}}, "any"),
    "transport tls only": ({"tls": {"transport_protocol": "tls"}}, ""),
    "server names without TLS": ({"named": {"server_names": ["a.example.com"]}, "any": {}}, "any"),
    "server names only": ({"named": {"server_names": ["a.example.com"]}}, ""),
    "protocols unknown": ({"h": {"application_protocols": ["http/1.1"]}, "any": {}}, "any"),
    "no going back": (
        {
            "trap": {
                "prefix_ranges": cidr("127.0.0.1/32"),
                "source_prefix_ranges": cidr("192.168.0.0/16"),
            },
            "any": {},
        },
        "",
    ),
    "no going back from source type": (
        {"trap": {**LOOPBACK, "source_prefix_ranges": cidr("10.0.0.0/8")}, "any": {}},
        "",
    ),
    "two prefixes in one": (
        {"ours": {"prefix_ranges": [*cidr("10.0.0.0/8"), *cidr("127.0.0.0/8")]}},
        "ours",
    ),
    "IPv6 prefix for an IPv4 client": (
        {"six": {"prefix_ranges": cidr("::/0")}, "any": {}},
        "any",
    ),
}


def named(name: str) -> str:
    """Return the name of a row as a listener's name."""
    return name.replace(" ", "_")


def test_choice(case: Case) -> None:
    """A connection from 127.0.0.1 is served by the most specific chain, without going back."""
    log = access_log("LOG")
    rows = [listener(*chains(**m), name=named(name), access_log=log) for name, (m, _) in SOURCES.items()]
    case.start(bootstrap(*rows))
    for name, (_, expected) in SOURCES.items():
        said, _ = case.client(named(name)).read_to_end()
        assert said.decode() == expected, name
    chosen = {line["FILTER_CHAIN_NAME"] for line in case.log(len(SOURCES))}
    assert chosen == {expected or None for _, expected in SOURCES.values()}


def test_default_chain(case: Case) -> None:
    """default_filter_chain serves what no chain matches, dead ends included."""
    default = chain(says("default"))
    names = ("external only", "no going back")
    rows = [
        listener(*chains(**SOURCES[name][0]), name=named(name), default_filter_chain=default)
        for name in names
    ]
    case.start(bootstrap(*rows))
    for name in names:
        assert case.client(named(name)).read_to_end() == (b"default", FIN)
    case.lines = 0


def test_no_match(case: Case) -> None:
    """What no chain matches is closed, counted, and logged as NR."""
    matches: dict[str, Part | None] = {"external": EXTERNAL}
    case.start(bootstrap(listener(*chains(**matches), access_log=access_log("LOG"))))
    client = case.client()
    client.read_to_end()
    (line,) = case.log()
    assert line["RESPONSE_CODE_DETAILS"] == "filter_chain_not_found"
    assert case.proxy.stat("listener.front.no_filter_chain_match") == 1


def test_destination_port(case: Case, ports: list[int]) -> None:
    """destination_port is looked at first, even before the longest prefix."""
    matches: dict[str, Part | None] = {
        "port": {"destination_port": ports[0]},
        "other": {"destination_port": ports[1]},
        "prefix": {"prefix_ranges": cidr("127.0.0.1/32")},
    }
    case.start(bootstrap(listener(*chains(**matches), port=ports[0])))
    assert case.client().read_to_end() == (b"port", FIN)
    case.lines = 0


def test_source_ports(case: Case, ports: list[int]) -> None:
    """source_ports is the last criterion: the listed port gets its chain, others the rest."""
    matches: dict[str, Part | None] = {"listed": {"source_ports": ports[:2]}, "any": {}}
    case.start(bootstrap(listener(*chains(**matches))))
    assert case.client(source=("127.0.0.1", ports[0])).read_to_end() == (b"listed", FIN)
    assert case.client().read_to_end() == (b"any", FIN)
    case.lines = 0


def test_source_addresses(case: Case) -> None:
    """Clients from different loopback addresses get the chains of their source prefixes."""
    matches: dict[str, Part | None] = {
        "two": {"source_prefix_ranges": cidr("127.0.0.2/32")},
        "three": {"source_prefix_ranges": cidr("127.0.0.3/32")},
        "rest": {"source_prefix_ranges": cidr("127.0.0.0/8")},
    }
    case.start(bootstrap(listener(*chains(**matches))))
    for number, name in [(2, b"two"), (3, b"three"), (4, b"rest")]:
        assert case.client(source=(f"127.0.0.{number}", 0)).read_to_end() == (name, FIN)
    case.lines = 0


PROTOCOLS = {
    b"GET / HTTP/1.1\r\nhost: a\r\n\r\n": b"eleven",
    b"GET / HTTP/1.0\r\n\r\n": b"ten",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": b"two",
    b"*1\r\n$4\r\nPING\r\n": b"any",
    b"EHLO there\r\n": b"any",
}


def test_application_protocols(case: Case) -> None:
    """http_inspector tells the protocol by which the chain is chosen."""
    matches: dict[str, Part | None] = {
        "eleven": {"application_protocols": ["http/1.1"]},
        "ten": {"application_protocols": ["http/1.0"]},
        "two": {"application_protocols": ["h2c"]},
        "any": {},
    }
    inspector = listener_filter("http_inspector", "HttpInspector")
    case.start(bootstrap(listener(*chains(**matches), listener_filters=[inspector])))
    for sent, expected in PROTOCOLS.items():
        client = case.client()
        client.send(sent)
        assert client.read(len(expected)) == expected
        client.read_to_end()
        client.ending = f"{FIN} or {RST}"  # direct_response closes with our bytes unread or read, by chance
    case.lines = 0


def test_empty_chain(case: Case) -> None:
    """A chain without filters accepts and closes at once."""
    case.start(bootstrap(listener(chain())))
    assert case.client().read_to_end() == (b"", FIN)
    case.lines = 0


ERRORS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "no chains": (lambda: [], "no filter chains specified", "no filter chains"),
    "the same match twice": (
        lambda: chains(wild={}, exact={}),
        "has the same matching rules defined as",
        "wild",
    ),
    "overlapping": (
        lambda: chains(
            one={"source_ports": [1, 2]},
            other={"source_ports": [2, 3]},
        ),
        "multiple filter chains with overlapping matching rules are defined",
        "overlap",
    ),
    "partial wildcard": (
        lambda: chains(one={"server_names": ["*a.com"]}),
        'partial wildcards are not supported in "server_names"',
        "partial wildcards",
    ),
    "suffix": (
        lambda: chains(one={"address_suffix": "127.0.0.1", "suffix_len": 8}),
        "contains unimplemented fields",
        "address_suffix",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(kind: str, name: str, tmp_path: Any) -> None:
    """Chains that cannot be told apart are refused at load, by meshd with a line number."""
    make, envoy_says, meshd_says = ERRORS[name]
    status, said = try_config(kind, bootstrap(listener(*make())), tmp_path)
    assert status == 1
    assert (envoy_says if kind == "envoy" else meshd_says) in said, said
    if kind == "meshd":
        assert "config.yaml:" in said
