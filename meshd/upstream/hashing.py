"""
The hash functions of Envoy's consistent hashing.

All return unsigned 64-bit integers.  A filter that picks hosts by hash (the
source address of tcp_proxy, a Redis key) must use xxhash64, as Envoy does.
"""

from __future__ import annotations

import xxhash

from meshd.codec.murmur import MASK, murmur2
from meshd.upstream.host import Host

__all__ = ["MASK", "host_key", "murmur2", "xxhash64"]


def xxhash64(data: bytes, seed: int = 0) -> int:
    """Return the xxHash64 of data."""
    return xxhash.xxh64_intdigest(data, seed)


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
