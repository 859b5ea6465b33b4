"""
Fingerprints of TLS clients: JA3 and JA4, made of what a ClientHello offers.

JA3 is github.com/salesforce/ja3, JA4 is technical_details/JA4.md of
github.com/FoxIO-LLC/ja4.  Both leave out GREASE (RFC 8701), which clients
choose by chance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from meshd.codec.client_hello import ALPN, SERVER_NAME, ClientHello, plain

_VERSIONS = {0x0301: "10", 0x0302: "11", 0x0303: "12", 0x0304: "13"}
_NO_HASH = "0" * 12


def ja3_text(hello: ClientHello) -> str:
    """Return what is hashed for JA3: version, cipher suites, extensions, groups and point formats."""
    lists = (plain(hello.cipher_suites), plain(hello.bodies), plain(hello.groups), hello.point_formats)
    return ",".join((str(hello.legacy_version), *("-".join(map(str, each)) for each in lists)))


def ja3(hello: ClientHello) -> str:
    """Return the JA3 fingerprint: 32 lower-case hex digits."""
    return hashlib.md5(ja3_text(hello).encode(), usedforsecurity=False).hexdigest()


def ja4(hello: ClientHello) -> str:
    """
    Return the JA4 fingerprint, such as t13d1516h2_8daaf6152771_d8a2da3f94cd.

    A version that is none of TLS 1.0 to 1.3 is 00, as Envoy has it.
    """
    suites, extensions = sorted(plain(hello.cipher_suites)), sorted(plain(hello.bodies))
    version = _VERSIONS.get(hello.max_version, "00")
    name = "d" if SERVER_NAME in hello.bodies else "i"
    counts = f"{min(len(suites), 99):02}{min(len(extensions), 99):02}"
    hashed = _hexes([each for each in extensions if each not in (SERVER_NAME, ALPN)])
    schemes = _hexes(hello.signature_algorithms)
    if schemes:
        hashed += "_" + schemes
    return f"t{version}{name}{counts}{_alpn_letters(hello)}_{_hash(_hexes(suites))}_{_hash(hashed)}"


def _alpn_letters(hello: ClientHello) -> str:
    """Return the first and last letter of the first protocol; of its hex digits if one is no letter."""
    body = hello.bodies.get(ALPN, b"")
    if len(body) < 4 or not 0 < body[2] <= len(body) - 3:
        return "00"
    protocol = body[3 : 3 + body[2]]
    ends = protocol[:1] + protocol[-1:]
    if ends.isalnum():
        return ends.decode("ascii")
    digits = protocol.hex()
    return digits[0] + digits[-1]


def _hexes(numbers: Sequence[int]) -> str:
    return ",".join([f"{each:04x}" for each in numbers])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else _NO_HASH
