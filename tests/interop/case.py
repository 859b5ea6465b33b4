"""
A scenario, told once and played on both proxies.

A test that takes the fixture `case` is run for Envoy, so that the oracle itself
is held to what the scenario says, and for meshd.  Afterwards what happened must
agree: bytes and endings at every peer, the lines of the access log, and the
counters of both.  conftest.py sees to the repetition and the comparing.
"""

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tests.interop.oracle import Proxy
from tests.interop.peers import FIN, OPEN, Backend, Client, Peer, Script, echo, wait_until
from tests.interop.yaml_parts import Part

NOT_COMPARED = {
    r"_ms$|_time$": "histograms and timings",
    r"^listener\.admin\.": "how often the test asked",
    r"assignment_stale|assignment_timeout|update_duration": "of EDS, which a later issue brings",
    r"membership_change|\.version$": "counts how the config came, not what happened",
    r"_buffered$": "what was in a buffer at the moment of asking",
    r"\.upstream_flush_total$": "whether bytes were still unsent at the close is chance",
    r"connections_accepted_per_socket_event": "a histogram of how the kernel batched",
    r"[.]ssl[.]sigalgs[.]": "the binding to OpenSSL does not tell: see docs/tls.rst",
    r"[.]ssl[.]certificate[.]": "days to expiry, by names of which docs/differences.rst tells",
    r"paused_reading_total|resumed_reading_total|flow_control_(backed_up|drained)": "depends on chunk sizes",
}
"""Names, as regular expressions, of numbers that need not agree, each with the reason."""

COMPARED = re.compile(
    r"^(tcp|listener|cluster|proxy_proto|http_inspector|tls_inspector|connection_limit|local_rate_limit|mongo)[.]"
    r"|^downstream_cx_"
)


class Thing(Protocol):
    """Something with a port that a Case cleans up."""

    port: int

    def finish(self) -> None: ...

    def close(self) -> None: ...


Something = TypeVar("Something", bound=Thing)
Outcome = dict[str, Any]


class Case:
    """One scenario on one proxy: what it starts, who connects, and what came of it."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        self.directory = directory
        self.proxies: list[Proxy] = []
        self.things: list[Thing] = []
        self.clients: list[Client] = []
        self.lines: int | None = None
        self.notes: dict[str, Any] = {}
        self.ignored: dict[str, str] = {}
        self.unlogged: dict[str, str] = {}
        self.compare_log = True

    def backend(self, script: Script = echo, **options: Any) -> Backend:
        """Start a backend."""
        return self.have(Backend(script, **options))

    def have(self, thing: Something) -> Something:
        """Take charge of a thing with a port."""
        self.things.append(thing)
        return thing

    def start(self, config: Part, **options: Any) -> Proxy:
        """Start the proxy."""
        proxy = Proxy(self.kind, config, self.directory, **options)
        self.proxies.append(proxy)
        return proxy

    def client(self, name: str = "front", **options: Any) -> Client:
        """Connect to the (first) proxy's listener."""
        client = self.proxies[0].client(name, **options)
        self.clients.append(client)
        return client

    def converse(self, data: bytes = b"hello", **options: Any) -> Client:
        """Connect to an echoing proxy, say data, hear it, and end in an orderly way."""
        client = self.client(**options)
        client.send(data)
        assert client.read(len(data)) == data
        client.half_close()
        assert client.read_to_end() == (b"", FIN)
        return client

    def note(self, **values: Any) -> None:
        """Add to what must agree between the proxies."""
        self.notes.update(values)

    def ignore(self, pattern: str, reason: str) -> None:
        """Leave numbers out of the comparison for this scenario, for a reason."""
        self.ignored[pattern] = reason

    def unlog(self, operator: str, reason: str) -> None:
        """Leave an operator of the access log out of the comparison for this scenario, for a reason."""
        self.unlogged[operator] = reason

    @property
    def proxy(self) -> Proxy:
        """The (first) proxy."""
        return self.proxies[0]

    def log(self, count: int = 1) -> list[Any]:
        """Wait for exactly count lines of the access log so far; return them, read as JSON."""
        self.lines = count
        lines = self.proxy.logged(count)
        assert len(lines) == count, lines
        return lines

    def finish(self) -> Outcome:
        """End all connections, wait until the proxy has noticed, and return what came of it all."""
        told = [self._tell(client) for client in self.clients]
        for client in self.clients:
            if not client.closed:
                client.close()
        for thing in self.things:
            thing.finish()
        heard = [
            self._tell(peer)
            for thing in self.things
            if isinstance(thing, Backend)
            for peer in sorted(thing.peers, key=lambda peer: bytes(peer.received))
        ]
        failures = [error for thing in self.things for error in getattr(thing, "failures", ())]
        assert not failures, failures
        outcome: Outcome = {"clients": told, "backends": heard, "notes": self.notes}
        if self.proxies:
            wait_until(self.idle, "the proxy to have no connection left")
            if self.compare_log:
                lines = len(self.clients) if self.lines is None else self.lines
                outcome["log"] = [self._masked(line) for line in self.proxy.logged(lines)]
                outcome["log"].sort(key=json.dumps)
            outcome["numbers"] = self.numbers()
        return outcome

    @staticmethod
    def _tell(peer: Peer) -> tuple[str, str]:
        received = bytes(peer.received)
        text = repr(received) if len(received) < 500 else f"{len(received)} bytes"
        return text, ("closed" if peer.closed and peer.ending == OPEN else peer.ending)

    def idle(self) -> bool:
        """Whether the proxy has no connection but those of the admin page."""
        gauges = self.proxy.stats("^(listener|cluster).*(_pre)?_cx_active$")
        return not any(value for name, value in gauges.items() if "listener.admin" not in name)

    def numbers(self) -> dict[str, int]:
        """Return all counters and gauges that must agree and are not 0."""
        ignored = [*NOT_COMPARED, *self.ignored]
        return {
            name: value
            for name, value in self.proxy.stats().items()
            if value and COMPARED.match(name) and not any(re.search(pattern, name) for pattern in ignored)
        }

    def _masked(self, line: dict[str, Any]) -> dict[str, Any]:
        """Replace addresses, which are chance, by what they are the address of."""
        names = {str(thing.port): f"host{number}" for number, thing in enumerate(self.things)}
        for status in self.proxy.get("/listeners?format=json").json["listener_statuses"]:
            where = status["local_address"].get("socket_address", {})
            # With the address: a client at another may have been given the same port.
            names[f"{where.get('address')}:{where.get('port_value')}"] = status["name"]

        def mask(found: re.Match[str]) -> str:
            place = f"{found[1].strip('[]')}:{found[2]}"
            return f"{found[1]}:<{names.get(found[2]) or names.get(place, 'port')}>"

        text = re.sub(r"(127\.\d+\.\d+\.\d+|\[::1\]):(\d+)", mask, json.dumps(line))
        text = text.replace(str(self.directory), "<directory>")
        text = masked_reasons(text)
        masked: dict[str, Any] = json.loads(text)
        if masked["ACCESS_LOG_TYPE"] == "NotSet":  # a listener's log: see docs/differences.rst
            masked = {name: value for name, value in masked.items() if "DOWNSTREAM_WIRE" not in name}
        unlogged = {*self.unlogged, *self._of_tls(masked)}
        return {name: value for name, value in masked.items() if name not in unlogged}

    def _of_tls(self, line: dict[str, Any]) -> Iterator[str]:
        """Yield what differs where there is TLS: see docs/differences.rst."""
        for side in ("DOWNSTREAM", "UPSTREAM"):
            failed = line.get(f"{side}_TRANSPORT_FAILURE_REASON")
            if failed:
                yield from (f"{side}_TLS_VERSION", f"{side}_TLS_CIPHER", f"{side}_LOCAL_SUBJECT")
            if failed or line.get(f"{side}_TLS_VERSION"):
                yield from (f"{side}_WIRE_BYTES_RECEIVED", f"{side}_WIRE_BYTES_SENT")

    def close(self) -> None:
        """Leave nothing behind."""
        for proxy in self.proxies:
            proxy.stop()
        for thing in self.things:
            thing.close()
        for client in self.clients:
            client.close()


def masked_reasons(text: str) -> str:
    """Replace what differs in the reasons of failures of TLS: see docs/differences.rst."""
    text = re.sub(r"\|[0-9]+:(SSL.routines|X.509)", r"|<number>:\1", text)
    # BoringSSL's second thought about an alert that came.
    return re.sub(r"\|<number>:SSL.routines:OPENSSL_internal:HANDSHAKE_FAILURE_ON_CLIENT_HELLO", "", text)


def _apart(name: str, envoy: Any, meshd: Any) -> list[str]:
    """Return how two notes of one name differ: texts and lists line by line."""
    if envoy == meshd:
        return []
    if not (isinstance(envoy, (str, list)) and type(envoy) is type(meshd)):
        return [f"{name}: Envoy {envoy!r}, meshd {meshd!r}"]
    one, other = (text.splitlines() if isinstance(text, str) else map(str, text) for text in (envoy, meshd))
    lines = difflib.unified_diff(list(one), list(other), "Envoy", "meshd", lineterm="", n=0)
    return [f"{name}:", *(f"  {line}" for line in lines)]


def differences(envoy: Outcome, meshd: Outcome) -> list[str]:
    """Return, in words, every way in which two outcomes of a scenario differ."""
    found = []
    for what in ("clients", "backends"):
        if envoy[what] != meshd[what]:
            found.append(f"{what}: Envoy {envoy[what]}, meshd {meshd[what]}")
    for name in sorted({*envoy["notes"], *meshd["notes"]}):
        found += _apart(name, envoy["notes"].get(name), meshd["notes"].get(name))
    theirs, ours = envoy.get("log", []), meshd.get("log", [])
    if len(theirs) != len(ours):
        found.append(f"access log: Envoy has {len(theirs)} lines, meshd {len(ours)}: {ours}")
    pairs = [*zip(theirs, ours, strict=False), (envoy.get("numbers", {}), meshd.get("numbers", {}))]
    for one, other in pairs:
        absent = "nothing" if "ACCESS_LOG_TYPE" in one else 0
        for name in sorted({*one, *other}):
            if one.get(name, absent) != other.get(name, absent):
                found.append(f"{name}: Envoy {one.get(name, absent)!r}, meshd {other.get(name, absent)!r}")
    return found
