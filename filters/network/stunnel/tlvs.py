"""
What a PROXY header of version 2 says of the client's TLS.

The types are those of HAProxy's document "The PROXY protocol", section 2.2.
"""

from __future__ import annotations

import re
import struct
from typing import Any

ALPN, AUTHORITY, SSL = 0x01, 0x02, 0x20
SSL_VERSION, SSL_CN, SSL_CIPHER = 0x21, 0x22, 0x23
#: Bits of the first byte of SSL: TLS is spoken; a certificate was shown, now or when the session began.
CLIENT_SSL, CLIENT_CERT_CONN, CLIENT_CERT_SESS = 0x01, 0x02, 0x04

_CN = re.compile(r"(?:^|,)CN=((?:\\.|[^,\\])*)")


def tlvs_of(tls: Any) -> tuple[tuple[int, bytes], ...]:
    """Return the TLVs (type, value) for what is known of a finished handshake (meshd.tls.facts.TlsFacts)."""
    found: list[tuple[int, bytes]] = []
    if tls.alpn:
        found.append((ALPN, tls.alpn.encode("latin-1")))
    if tls.server_name:
        found.append((AUTHORITY, tls.server_name.encode("latin-1", "replace")))
    found.append((SSL, _ssl(tls)))
    return tuple(found)


def _ssl(tls: Any) -> bytes:
    client = CLIENT_SSL
    inner = [(SSL_VERSION, tls.version.encode()), (SSL_CIPHER, tls.cipher.encode())]
    if tls.peer is not None:
        client |= CLIENT_CERT_SESS if tls.resumed else CLIENT_CERT_SESS | CLIENT_CERT_CONN
        name = _CN.search(tls.peer.subject)
        if name:
            inner.append((SSL_CN, re.sub(r"\\(.)", r"\1", name[1]).encode()))
    verify = 0 if tls.peer is not None and tls.verified else 1
    return struct.pack("!BI", client, verify) + b"".join(
        struct.pack("!BH", kind, len(value)) + value for kind, value in inner
    )
