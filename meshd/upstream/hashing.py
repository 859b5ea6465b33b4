"""
The hash functions of Envoy's consistent hashing.

All return unsigned 64-bit integers.  A filter that picks hosts by hash (the
source address of tcp_proxy, a Redis key) must use xxhash64, as Envoy does.
"""

from __future__ import annotations

import xxhash

from meshd.upstream.host import Host

MASK = (1 << 64) - 1

#: The multiplier of MurmurHash2-64A, and the seed that libstdc++ and so Envoy use.
MURMUR_MULTIPLIER = 0xC6A4A7935BD1E995
MURMUR_SEED = 0xC70F6907


def xxhash64(data: bytes, seed: int = 0) -> int:
    """Return the xxHash64 of data."""
    return xxhash.xxh64_intdigest(data, seed)


def murmur2(data: bytes, seed: int = MURMUR_SEED) -> int:
    """Return the MurmurHash2-64A of data, as std::hash of libstdc++ computes it."""
    whole = len(data) & ~7
    hashed = seed ^ (len(data) * MURMUR_MULTIPLIER & MASK)
    for start in range(0, whole, 8):
        block = _stir(int.from_bytes(data[start : start + 8], "little") * MURMUR_MULTIPLIER & MASK)
        hashed = (hashed ^ (block * MURMUR_MULTIPLIER & MASK)) * MURMUR_MULTIPLIER & MASK
    if len(data) > whole:
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * MURMUR_MULTIPLIER & MASK
    return _stir(_stir(hashed) * MURMUR_MULTIPLIER & MASK)


def _stir(value: int) -> int:
    return value ^ value >> 47


def host_key(host: Host, by_hostname: bool) -> bytes:
    """
    Return what stands for host in rings and tables.

    That is envoy.lb.hash_key of its metadata, else its address; or its
    hostname, if by_hostname.
    """
    key = host.metadata.get("envoy.lb", {}).get("hash_key")
    if isinstance(key, str) and key:
        return key.encode()
    return (host.hostname if by_hostname else host.text).encode()
