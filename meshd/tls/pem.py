"""PEM (RFC 7468): the blocks in a file, by their labels, with whatever text lies between."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

from meshd.tls import der

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----[ \t]*\r?\n?", re.DOTALL)

#: The labels of certificates; a trusted one has OpenSSL's own notes behind it.
CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
CRL = "X509 CRL"


class Block(NamedTuple):
    """One block: its label, what is between the lines, and all of it."""

    label: str
    content: bytes
    encoded: bytes

    @property
    def der(self) -> bytes:
        """What is encoded, the first element of it; raise ValueError if it is damaged."""
        try:
            return der.read(binascii.a2b_base64(self.content)).encoded
        except binascii.Error as error:
            raise ValueError(f"not base64: {error}") from None


def blocks(data: bytes) -> Iterator[Block]:
    """Yield the blocks in data, in their order."""
    for found in _BLOCK.finditer(data):
        yield Block(found[1].decode("ascii"), found[2], found[0])
