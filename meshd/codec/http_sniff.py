"""
Tells HTTP from other protocols by the first bytes of a connection.

Decides as Envoy 1.40's http_inspector does (observed, case by case, in its
test): a request line of any method and version is HTTP, a line that is almost
one is not.
"""

from __future__ import annotations

import re

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: The longest request line that is waited for.
LIMIT = 65536

HTTP10, HTTP11, H2C = "http/1.0", "http/1.1", "h2c"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_METHOD_SO_FAR = re.compile(_TOKEN + rb"(?:[ \t]|\Z)")
_LINE = re.compile(
    rb"(%s)[\x01-\x20]+([!-~]+)[\x01-\x20]*(?:(?<=[\x01-\x20])(HTTP/\d\.\d))?[\x01-\x20]*" % _TOKEN
)
_TARGET = re.compile(
    rb"[/*][!-~]*"
    rb"|[A-Za-z][A-Za-z0-9+\-.]*://"
    rb"(?:[\w\-.~:\[\]!$&'()*+,;=%]*@)?[\w\-.~:\[\]!$&'()*+,;=%]*(?:[/?][!-~]*)?",
    re.ASCII,
)


def sniff(data: bytes) -> str | None:
    """
    Return what data, the first bytes of a connection, begins: an application protocol.

    That is "http/1.0" (also for a line without a version, and for any version
    but 1.1), "http/1.1" or "h2c"; the empty string for anything else; None
    while more bytes are needed to tell.
    """
    if PREFACE.startswith(data[: len(PREFACE)]):
        return H2C if len(data) >= len(PREFACE) else None
    if not _METHOD_SO_FAR.match(data):
        return ""
    end = data.find(b"\n")
    if end < 0:
        return None
    line = _LINE.fullmatch(data, 0, end)
    if line is None:
        return ""
    method, target, version = line.groups()
    if method != b"CONNECT" and not _TARGET.fullmatch(target):
        return ""
    return HTTP11 if version == b"HTTP/1.1" else HTTP10
