"""
HTTP's CONNECT (RFC 9110 section 9.3.6), through a proxy and as one.

A proxy may want Basic (RFC 7617) or NTLM authentication.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Generator, Sequence
from typing import Any

from meshd.codec.dialogue import ntlm
from meshd.codec.dialogue.script import (
    CLIENT,
    LINE_LIMIT,
    LINES_LIMIT,
    SERVER,
    Exactly,
    Failed,
    Line,
    Outcome,
    Resolve,
    Script,
    Side,
    Target,
    Want,
    say,
    starts,
)


def client(
    target: str,
    username: str = "",
    password: str = "",
    method: str = "basic",
    domain: str = "",
    headers: Sequence[str] = (),
) -> Script:
    """
    Ask a proxy for a connection to target (host:port).

    With username and password it authenticates; method is basic or ntlm, which
    may take a domain.  headers are lines that are added to the request.
    """
    request = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if username and password:
        if method == "ntlm":
            yield say(SERVER, *request, "Proxy-Connection: keep-alive", _header("NTLM", ntlm.NEGOTIATE), "")
            challenge = yield from _challenge()
            answer = ntlm.authenticate(challenge, domain, username, password)
            request.append(_header("NTLM", answer))
        else:
            request.append(_header("basic", b64encode(f"{username}:{password}".encode())))
    yield say(SERVER, *request, *headers, "")
    code = yield from _status()
    yield from _headers(SERVER)
    if not 200 <= code < 300:
        raise Failed(
            f"the proxy refuses to connect: HTTP status {code}" if code else "the proxy speaks no HTTP/1"
        )
    return Outcome.START_TLS


def _header(scheme: str, value: bytes) -> str:
    return f"Proxy-Authorization: {scheme} {value.decode()}"


def _status() -> Generator[Want, Any, int]:
    """Read a status line; return its code, 0 if it is none of HTTP/1."""
    line: bytes = yield Line(SERVER)
    words = line.split(None, 2)
    if len(words) < 2 or not starts(line, b"HTTP/1.") or not (words[1].isdigit() and len(words[1]) == 3):
        return 0
    return int(words[1])


def _headers(side: Side) -> Generator[Want, Any, list[bytes]]:
    """Read the header lines, and the empty one; all of them may have as many bytes as one line."""
    lines: list[bytes] = []
    size = 0
    while line := (yield Line(side)):
        lines.append(line)
        size += len(line)
        if len(lines) > LINES_LIMIT or size > LINE_LIMIT:
            raise Failed(f"the {side} sends too many headers")
    return lines


def _challenge() -> Generator[Want, Any, bytes]:
    """Read the answer to the first request of NTLM, its body included; return the challenge."""
    code = yield from _status()
    if code != 407:
        raise Failed("the proxy does not answer NTLM with a challenge")
    lines = yield from _headers(SERVER)
    size, challenge = 0, b""
    for line in lines:
        name, _, value = line.partition(b":")
        if starts(name, b"PROXY-AUTHENTICATE") and starts(value.strip(), b"NTLM "):
            challenge = value.strip()[5:].strip()
        if name.upper() == b"CONTENT-LENGTH" and value.strip().isdigit():
            size = int(value)
    if not challenge:
        raise Failed("the proxy does not do NTLM")
    if size > LINE_LIMIT:
        raise Failed("the proxy's answer is too long")
    yield Exactly(SERVER, size)
    return challenge


def server(product: str = "meshd") -> Script:
    """Be the proxy: find out where the client wants to go.  product: what the Server header says."""
    line: bytes = yield Line(CLIENT)
    yield from _headers(CLIENT)
    method, _, rest = line.partition(b" ")
    target, _, version = rest.partition(b" ")
    tail = (f"Server: {product}", "")
    if method.upper() != b"CONNECT":
        yield say(CLIENT, "HTTP/1.0 400 Bad Request Method", *tail)
        raise Failed("the client does not send CONNECT")
    if not starts(version, b"HTTP/"):
        yield say(CLIENT, "HTTP/1.0 400 Bad Request Protocol", *tail)
        raise Failed("the client does not speak HTTP")
    host, _, port = target.rpartition(b":")
    found: list[str] = []
    if host and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 0xFFFF:
        found = yield Resolve(host.strip(b"[]").decode("ascii", "replace"))
    if not found:
        yield say(CLIENT, "HTTP/1.0 404 Not Found", *tail)
        raise Failed(f"there is no {target.decode('ascii', 'replace')}")
    yield Target(tuple(found), int(port))
    yield say(CLIENT, "HTTP/1.0 200 OK", *tail)
    return Outcome.START_TLS
