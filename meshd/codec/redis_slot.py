"""
The slot of a Redis Cluster that a key belongs to.

That is the CRC-16 (XMODEM) of the key, or of the part in its first braces, modulo
16384 (Redis cluster specification, "Key distribution model" and "Hash tags").
"""

from __future__ import annotations

from binascii import crc_hqx

SLOTS = 16384


def hash_tag(key: bytes) -> bytes:
    """Return what of a key is hashed: what is between its first { and the next }, if that is anything."""
    start = key.find(b"{")
    if start < 0:
        return key
    end = key.find(b"}", start + 1)
    return key[start + 1 : end] if end > start + 1 else key


def slot(key: bytes) -> int:
    """Return the slot of a key, 0 to 16383."""
    return crc_hqx(hash_tag(key), 0) % SLOTS
