"""
Just enough of DER (X.690) to take apart names and keys of certificates.

What cryptography does not tell: the encoded public key, values of unknown types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OBJECT = 1, 2, 3, 4, 5, 6
ENUMERATED, UTF8, NUMERIC, PRINTABLE, T61, IA5 = 10, 12, 18, 19, 20, 22
VISIBLE, UNIVERSAL, BMP = 26, 28, 30
#: VideotexString, UTCTime, GeneralizedTime, GraphicString, GeneralString.
OTHER_TEXT = (21, 23, 24, 25, 27)
SEQUENCE, SET = 0x30, 0x31
VERSION = 0xA0


class Element(NamedTuple):
    """One element: its tag with class and form bits, its content, and all of it encoded."""

    tag: int
    content: bytes
    encoded: bytes


def elements(data: bytes) -> Iterator[Element]:
    """Yield the elements in data, one after the other; raise ValueError where it is no DER."""
    at = 0
    while at < len(data):
        element = read(data, at)
        yield element
        at += len(element.encoded)


def read(data: bytes, at: int = 0) -> Element:
    """Return the element that begins there; raise ValueError if there is none."""
    if at + 2 > len(data) or data[at] & 0x1F == 0x1F:
        raise ValueError("not DER")
    length, begin = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, begin = int.from_bytes(data[begin : begin + count], "big"), begin + count
        if not 0 < count <= 4:
            raise ValueError("not DER")
    if begin + length > len(data):
        raise ValueError("not DER: too short")
    return Element(data[at], data[begin : begin + length], data[at : begin + length])


def dotted(content: bytes) -> str:
    """Return the content of an OBJECT IDENTIFIER as text: 2.5.4.3."""
    numbers, value = [], 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers:
        raise ValueError("not an object identifier")
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


class Parts(NamedTuple):
    """Parts of a certificate as they stand there, encoded (RFC 5280, 4.1)."""

    serial: int
    issuer: bytes
    subject: bytes
    public_key_info: bytes


def certificate_parts(certificate: bytes) -> Parts:
    """Take a certificate apart; raise ValueError if it is none."""
    body = read(read(certificate).content).content
    parts = [element for element in elements(body) if element.tag != VERSION]
    if len(parts) < 6:
        raise ValueError("not a certificate")
    serial, _, issuer, _, subject, key = parts[:6]
    return Parts(
        int.from_bytes(serial.content, "big", signed=True), issuer.encoded, subject.encoded, key.encoded
    )
