"""
Differential tests of tls_inspector, and of the filter chains that are chosen by what it finds.

The ClientHellos are OpenSSL's own, or made byte by byte where they are to be strange.
"""

import re
import ssl
from typing import Any

import pytest

from tests.codec.hellos import (
    ALPN,
    CHROME_CIPHERS,
    CHROME_EXTENSIONS,
    ECH,
    ECH_GREASE,
    GROUPS,
    SIGNATURES,
    SNI,
    VERSIONS,
    alpn,
    body,
    counted,
    hello,
    listed,
    message,
    openssl_hello,
    points,
    records,
    sni,
    versions,
)
from tests.interop.case import Case
from tests.interop.peers import FIN, RST, wait_until
from tests.interop.test_listener_filters import GOOD, proxy_protocol
from tests.interop.yaml_parts import (
    Part,
    access_log,
    bootstrap,
    chain,
    cluster,
    listener,
    listener_filter,
    says,
    tcp_proxy,
)

METADATA = "%DYNAMIC_METADATA(envoy.filters.listener.tls_inspector:failure_reason)%"
TLS: Part = {"transport_protocol": "tls"}
RAW: Part = {"transport_protocol": "raw_buffer"}


def tls_inspector(**fields: Any) -> Part:
    """A tls_inspector with both fingerprints."""
    return listener_filter(
        "tls_inspector",
        "TlsInspector",
        enable_ja3_fingerprinting=True,
        enable_ja4_fingerprinting=True,
        **fields,
    )


def told() -> list[Part]:
    """An access log with the usual operators, and why the inspector failed."""
    made = access_log("LOG")
    made[0]["typed_config"]["log_format"]["json_format"]["FAILURE"] = METADATA
    return made


def told_apart(inspector: Part | None = None, name: str = "front", **fields: Any) -> Part:
    """A listener whose chains say tls, h2 or raw."""
    chains = [
        chain(says("tls"), match=TLS, name="tls"),
        chain(says("h2"), match={**TLS, "application_protocols": ["h2"]}, name="h2"),
        chain(says("raw"), match=RAW, name="raw"),
    ]
    filters = [inspector or tls_inspector()]
    return listener(*chains, name=name, access_log=told(), listener_filters=filters, **fields)


def answered(case: Case, sent: bytes, name: str = "front") -> tuple[bytes, str]:
    """Send the first bytes; return what the client hears, and how it ends."""
    client = case.client(name)
    client.try_send(sent)
    return client.read_to_end()


def numbers(case: Case) -> dict[str, int]:
    """What the filter has counted."""
    return {name: value for name, value in case.proxy.stats("^tls_inspector[.]").items() if value}


# GREASE in the groups is left out: see test_differences.py.
PLAIN_CHROME = [
    listed(GROUPS, 0x11EC, 29, 23, 24) if number == GROUPS else (number, value)
    for number, value in CHROME_EXTENSIONS
]
V13 = versions(0x0304)

TLS_HELLOS = {
    "OpenSSL": openssl_hello("Foo.Example.com", ["h2", "http/1.1"]),
    "OpenSSL, TLS 1.2": openssl_hello("a.b", highest=ssl.TLSVersion.TLSv1_2),
    "Chrome": hello(PLAIN_CHROME, ciphers=CHROME_CIPHERS),
    "Chrome in records of 1": hello(PLAIN_CHROME, 1, ciphers=CHROME_CIPHERS),
    "Chrome in records of 100": hello(PLAIN_CHROME, 100, ciphers=CHROME_CIPHERS),
    "nothing": hello(),
    "no extensions": hello(None),
    "TLS 1.0": hello(version=0x0301),
    "legacy version 1.3": hello(version=0x0304),
    "capitals": hello([sni(b"A.ExAmple.COM")]),
    "an address": hello([sni(b"127.0.0.1")]),
    "a dot": hello([sni(b"a.b.")]),
    "an underscore": hello([sni(b"a_b")]),
    "no ASCII": hello([sni(b"\xc3\x84.x")]),
    "no UTF-8": hello([sni(b"\xff.x")]),
    "control characters": hello([sni(b'a\nb "')]),
    "the longest name": hello([sni(b"a" * 255)]),
    "versions unknown": hello([versions(0x0305)]),
    "versions empty": hello([(VERSIONS, b"\0")]),
    "versions cut short": hello([(VERSIONS, b"\6\3\4")]),
    "versions and more": hello([(VERSIONS, b"\2\3\3\3\4")]),
    "a fallback": hello(ciphers=(0xC02F, 0x5600)),
    "another compression": hello(compressions=b"\1"),
    "groups odd": hello([(GROUPS, b"\0\3\0\1\2")]),
    "points": hello([points(1, 0)]),
    "signatures": hello([V13, listed(SIGNATURES, 0x0A0A, 0x0403)]),
    "signatures cut short": hello([(SIGNATURES, b"\0\2\4")]),
    "ALPN empty": hello([(ALPN, b"\0\0")]),
    "ALPN with an empty name": hello([(ALPN, b"\0\4\2h2\0")]),
    "ALPN cut short": hello([(ALPN, b"\0\5\2h2\5a")]),
    "ALPN of bytes": hello([alpn(b"\xab\xcd", b"h2")]),
    "ALPN in capitals": hello([alpn(b"H2")]),
    "ALPN of a letter": hello([alpn(b"h")]),
    "ECH": hello([V13, (ECH, ECH_GREASE)]),
    "ECH unknown": hello([V13, (ECH, b"xx")]),
    "other extensions malformed": hello([V13, (23, b"x"), (51, b"abc"), (45, b"\0"), (0xFF01, b"\1x")]),
    "many": hello([(1000 + n, b"") for n in range(120)], ciphers=tuple(range(1, 131))),
    "more behind it": hello() + b"\x14\x03\x03\x00\x01\x01",
    "record version 3.255": records(message(body()), version=0x03FF),
    "a warning first": records(b"\1\x5a", kind=21) + hello(),
    "32 empty records": records(b"") * 32 + hello(),
    "large": hello([(21, bytes(15000))]),
    "the largest": hello([(21, bytes(16384 - 58))]),
}

NOT_TLS = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "POST": b"POST /",
    "POSTS": b"POSTS /",
    "CONNECT": b"CONNECT a:1",
    "text": b"hello",
    "much text": b"x" * 20000,
    "a name with a zero": hello([sni(b"a\0b")]),
    "an empty name": hello([sni(b"")]),
    "a name of another kind": hello([sni(b"a", 1)]),
    "two names": hello([(SNI, counted(2, b"\0\0\1a\0\0\1b"))]),
    "a name too long": hello([sni(b"a" * 256)]),
    "no cipher suites": hello(ciphers=()),
    "an extension twice": hello([(23, b""), (23, b"")]),
    "no compression": hello(compressions=b""),
    "a long session id": hello(session_id=bytes(33)),
    "ECH malformed": hello([V13, (ECH, bytes(11)), sni(b"")]),
    "more in the message": hello(tail=b"x"),
    "more in the record": records(message(body()) + b"x"),
    "more in the record, and no name": records(message(body([sni(b"")])) + b"x"),
    "more in the record, and malformed": records(message(body(ciphers=())) + b"x"),
    "another message": records(message(body(), 2)),
    "a message too long": records(b"\1\0\x40\1"),
    "record version 2": records(message(body()), version=0x0200),
    "a record too long": b"\x16\x03\x01\x41\x41",
    "application data": records(b"abc", kind=23),
    "33 empty records": records(b"") * 33 + hello(),
    "5 warnings": records(b"\1\x5a", kind=21) * 5 + hello(),
    "an alert cut short": records(b"\2", kind=21),
    "an alert of an unknown level": records(b"\3\x28", kind=21),
    "an alert of an unknown kind": records(b"\2\xc8", kind=21),
}

UNFINISHED = {
    "nothing": b"",
    "a letter": b"x",
    "4 letters": b"GET ",
    "half a header": b"\x16\x03",
    "half a hello": hello()[:30],
    "the longest record": b"\x16\x03\x01\x41\x40",
    "the longest message": records(b"\1\0\x40\0"),
}

REJECTED = {
    "SSL 3": hello(version=0x0300),
    "a version to come": hello([sni(b"a.b"), alpn(b"h2")], version=0x0305),
    "DTLS": hello(version=0xFEFD),
    "close_notify": records(b"\1\0", kind=21),
    "too large": hello([(21, bytes(16385 - 58))]),
    "too large, small records": hello([(21, bytes(16000))], size=9),
}


def test_tls(case: Case) -> None:
    """Any ClientHello that is well-formed where it matters is TLS, with name, protocols and fingerprints."""
    case.start(bootstrap(told_apart()))
    for name, sent in TLS_HELLOS.items():
        said, ending = answered(case, sent)
        assert said in (b"tls", b"h2"), name
        case.note(**{name: (said, ending, numbers(case))})
    case.log(len(TLS_HELLOS))


def test_not_tls(case: Case) -> None:
    """What is no TLS, or malformed, goes to raw_buffer, and the log says why."""
    case.start(bootstrap(told_apart()))
    for name, sent in NOT_TLS.items():
        said, ending = answered(case, sent)
        assert said == b"raw", name
        case.note(**{name: (ending, numbers(case))})
    case.log(len(NOT_TLS))


@pytest.mark.parametrize("sent", REJECTED.values(), ids=REJECTED)
def test_rejected(case: Case, sent: bytes) -> None:
    """Some are reset, whatever the config says."""
    case.start(bootstrap(told_apart()))
    assert answered(case, sent) == (b"", RST)
    case.note(counted=numbers(case))
    case.log()


def test_alerts(case: Case) -> None:
    """A fatal alert instead of a ClientHello is no TLS; the log names it."""
    case.start(bootstrap(told_apart()))
    for number in (*range(11), *range(20, 23), 30, *range(39, 52), 60, *range(70, 122), 255):
        assert answered(case, records(bytes([2, number]), kind=21))[0] == b"raw"
    case.log(len(case.clients))


def test_close_on_errors(case: Case) -> None:
    """If it is wished, everything that is not TLS is reset; much of it at once counts as too large."""
    case.start(bootstrap(told_apart(tls_inspector(close_connection_on_client_hello_parsing_errors=True))))
    assert answered(case, TLS_HELLOS["OpenSSL"])[0] == b"h2"
    sent = [*NOT_TLS, *REJECTED]
    for name in sent:
        if name != "much text":  # how much of it is there when it is read is chance
            assert answered(case, (NOT_TLS | REJECTED)[name]) == (b"", RST), name
            case.note(**{name: numbers(case)})
    case.log(len(sent))


def test_max_client_hello_size(case: Case) -> None:
    """max_client_hello_size is the limit to the byte; text may be longer."""
    small = tls_inspector(max_client_hello_size=300, initial_read_buffer_size=256)
    case.start(bootstrap(told_apart(small)))
    for size in (290, 299, 300):
        assert answered(case, hello([(21, bytes(size - 58))])) == (b"tls", FIN)
    for size in (301, 400):
        assert answered(case, hello([(21, bytes(size - 58))])) == (b"", RST)
    assert answered(case, b"x" * 1000)[0] == b"raw"
    case.note(counted=numbers(case))
    case.log(6)


@pytest.mark.parametrize("goes_on", [False, True], ids=["closes", "goes on"])
def test_unfinished(case: Case, goes_on: bool) -> None:
    """A client that is silent, or stops half-way, is waited for until the time-out."""
    waiting: Part = {"listener_filters_timeout": "0.2s", "continue_on_listener_filters_timeout": goes_on}
    case.start(bootstrap(told_apart(**waiting)))
    for name, sent in UNFINISHED.items():
        said, ending = answered(case, sent)
        assert said == (b"raw" if goes_on else b""), name
        case.note(**{name: (said, ending, numbers(case))})
    assert case.proxy.stat("listener.front.downstream_pre_cx_timeout") == len(UNFINISHED)
    case.log(len(UNFINISHED))


def test_goes_away(case: Case) -> None:
    """A client that ends within its ClientHello is counted."""
    case.start(bootstrap(told_apart()))
    client = case.client()
    client.send(hello()[:30])
    client.half_close()
    client.read_to_end()
    case.proxy.await_stat("listener.front.downstream_listener_filter_remote_close", 1)
    case.log()


def test_pieces(case: Case) -> None:
    """A ClientHello that comes in pieces, and the bytes behind it, are passed on as they were sent."""
    backend = case.backend()
    fronted = listener(chain(tcp_proxy(), match=TLS), listener_filters=[tls_inspector()])
    case.start(bootstrap(fronted, clusters=[cluster(backend)]))
    for size in (1, 7, 100):
        client = case.client()
        sent = hello([sni(b"a.example.com"), alpn(b"h2")], 30) + b"and more"
        for start in range(0, len(sent), size):
            client.send(sent[start : start + size])
        assert client.read(len(sent)) == sent
        client.half_close()
        client.read_to_end()
    case.log(3)


def test_bytes_processed(case: Case) -> None:
    """The histogram bytes_processed has how many bytes of each connection it took to tell."""
    proxy = case.start(bootstrap(told_apart(), stats_flush_interval="0.02s"))
    sent = [TLS_HELLOS["OpenSSL"], NOT_TLS["HTTP"], REJECTED["too large"], NOT_TLS["another message"]]
    for each in sent:
        answered(case, each)
    page = "/stats/prometheus?filter=tls_inspector"

    def buckets() -> list[str]:
        return re.findall(r"tls_inspector_bytes_processed_bucket\S+ \d+", proxy.get(page).text)

    wait_until(lambda: buckets()[-1:] and buckets()[-1].endswith(" 4"), "4 values")
    case.note(buckets=buckets())
    case.log(len(sent))


# Filter chains.

MATCHES: dict[str, Part] = {
    "exact": {"server_names": ["a.example.com"]},
    "exact h2": {"server_names": ["a.example.com"], "application_protocols": ["h2"]},
    "deep": {"server_names": ["*.b.example.com"]},
    "wild": {"server_names": ["*.example.com", "other.org"]},
    "wild raw": {"server_names": ["*.example.com"], "transport_protocol": "raw_buffer"},
    "tls": TLS,
    "tls http/1.1": {**TLS, "application_protocols": ["http/1.1", "spdy/3"]},
    "h2": {"application_protocols": ["h2"]},
    "raw": RAW,
}

CHOSEN: list[tuple[str | None, list[str], str]] = [
    ("a.example.com", [], "exact"),
    ("A.EXAMPLE.COM", [], "exact"),
    ("a.example.com", ["http/1.1"], "exact"),
    ("a.example.com", ["h2", "http/1.1"], "exact h2"),
    ("a.example.com", ["http/1.1", "h2"], "exact h2"),
    ("x.example.com", ["h2"], "wild"),
    ("x.y.example.com", [], "wild"),
    ("b.example.com", [], "wild"),
    ("x.b.example.com", [], "deep"),
    ("x.y.b.example.com", [], "deep"),
    ("other.org", [], "wild"),
    ("x.other.org", [], "tls"),
    ("example.com", [], "tls"),
    (None, [], "tls"),
    (None, ["h2"], "tls"),
    (None, ["spdy/3", "http/1.1"], "tls http/1.1"),
    ("elsewhere.net", ["http/1.1", "h2"], "tls http/1.1"),
]


def test_chains(case: Case) -> None:
    """Server names come first, the most specific wins; then tls or not, then ALPN in its order."""
    chains = [chain(says(name), match=match, name=name) for name, match in MATCHES.items()]
    case.start(bootstrap(listener(*chains, access_log=access_log("LOG"), listener_filters=[tls_inspector()])))
    for name, protocols, chosen in CHOSEN:
        said, _ = answered(case, openssl_hello(name, protocols))
        assert said.decode() == chosen, (name, protocols)
    assert answered(case, b"hello")[0] == b"raw"
    case.log(len(CHOSEN) + 1)


@pytest.mark.parametrize("default", [False, True], ids=["none", "default"])
def test_no_backtracking(case: Case, default: bool) -> None:
    """A chain chosen by its server name and lost by its source is not made up for by a less specific one."""
    ten = [{"address_prefix": "10.0.0.0", "prefix_len": 8}]
    chains = [
        chain(says("X"), match={"server_names": ["a.example.com"], "source_prefix_ranges": ten}),
        chain(says("Y"), match={}),
    ]
    fields: Part = {"default_filter_chain": chain(says("default"))} if default else {}
    fronted = listener(*chains, access_log=access_log("LOG"), listener_filters=[tls_inspector()], **fields)
    case.start(bootstrap(fronted))
    said = answered(case, openssl_hello("a.example.com"))
    assert said[0] == (b"default" if default else b"")
    assert answered(case, openssl_hello("b.example.com")) == (b"Y", FIN)
    case.note(unmatched=case.proxy.stat("listener.front.no_filter_chain_match"))
    case.log(2)


def test_only_tls(case: Case) -> None:
    """Where all chains want TLS or a name, others find none."""
    chains = [
        chain(says("tls"), match={**TLS, "server_names": ["a.example.com"]}),
        chain(says("h2"), match={"application_protocols": ["h2"]}),
    ]
    case.start(bootstrap(listener(*chains, access_log=access_log("LOG"), listener_filters=[tls_inspector()])))
    for sent, wanted in (
        (openssl_hello("a.example.com"), b"tls"),
        (openssl_hello("b.example.com"), b""),
        (openssl_hello("b.example.com", ["h2"]), b"h2"),
        (b"hello", b""),
    ):
        assert answered(case, sent)[0] == wanted
    case.log(4)


# With others.


def test_after_proxy_protocol(case: Case) -> None:
    """A PROXY header is off before the ClientHello is looked at; both choose."""
    ten = [{"address_prefix": "10.0.0.0", "prefix_len": 8}]
    chains = [
        chain(says("both"), match={"server_names": ["a.example.com"], "source_prefix_ranges": ten}),
        chain(says("other"), match={}),
    ]
    filters = [proxy_protocol(), tls_inspector()]
    case.start(bootstrap(listener(*chains, access_log=access_log("LOG"), listener_filters=filters)))
    assert answered(case, GOOD["v1 TCP4"] + openssl_hello("a.example.com")) == (b"both", FIN)
    assert answered(case, GOOD["v2 TCP4"] + openssl_hello("a.example.com", ["h2"])) == (b"both", FIN)
    assert answered(case, GOOD["v1 TCP4"] + openssl_hello("b.example.com")) == (b"other", FIN)
    case.note(counted=numbers(case))
    case.log(3)


@pytest.mark.parametrize("first", ["tls", "http"])
def test_with_http_inspector(case: Case, first: str) -> None:
    """With http_inspector, in whichever order, TLS is told by ALPN and clear text by its request line."""
    filters = [tls_inspector(), listener_filter("http_inspector", "HttpInspector")]
    chains = [
        chain(says("TLS and h2"), match={**TLS, "application_protocols": ["h2"]}),
        chain(says("HTTP/1.1"), match={**RAW, "application_protocols": ["http/1.1"]}),
        chain(says("TLS"), match=TLS),
        chain(says("neither"), match={}),
    ]
    filters = filters if first == "tls" else filters[::-1]
    case.start(bootstrap(listener(*chains, access_log=access_log("LOG"), listener_filters=filters)))
    for sent, wanted in (
        (openssl_hello("a.example.com", ["h2"]), b"TLS and h2"),
        (openssl_hello("a.example.com", ["http/1.1"]), b"TLS"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"HTTP/1.1"),
        (b"hello world\r\n", b""),  # raw_buffer wants HTTP, and there is no way back
    ):
        assert answered(case, sent)[0] == wanted
    case.log(4)
