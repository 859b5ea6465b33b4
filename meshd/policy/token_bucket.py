"""
Token buckets: so many at once, so many per time on the long run.

Tokens come continuously, as in Envoy: with two per second, one comes every half
second.  Time is an argument, in seconds of whatever clock, that never goes back.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from meshd.interfaces import SocketAddress


class TokenBucket:
    """A bucket that is full at first."""

    __slots__ = ("__weakref__", "_rate", "_size", "_time", "_tokens")

    def __init__(self, size: int, per_fill: int, interval: float, now: float) -> None:
        """Hold up to size tokens; per_fill of them come in interval seconds."""
        self._size = self._tokens = float(size)
        self._rate = per_fill / interval
        self._time = now

    def take(self, now: float) -> bool:
        """Take a token; return whether there was one."""
        tokens = min(self._size, self._tokens + (now - self._time) * self._rate)
        self._time = now
        # What a float sum lacks of a whole token after exactly its time is rounding.
        if tokens < 1 - 1e-9:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1
        return True


class SourceBuckets:
    """
    A bucket for each source address, or for each block of addresses.

    At most limit buckets are kept.  When there are more sources, the bucket that
    was not asked for longest is forgotten, and is full when its source returns.
    v4_bits and v6_bits are the lengths of the prefixes that share a bucket.
    """

    def __init__(
        self, make: Callable[[float], TokenBucket], limit: int, v4_bits: int = 32, v6_bits: int = 64
    ) -> None:
        self._make = make
        self._limit = limit
        self._v4_shift = 32 - v4_bits
        self._v6_shift = 128 - v6_bits
        self._buckets: OrderedDict[object, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, source: SocketAddress, now: float) -> bool:
        """Take a token of that source; return whether there was one."""
        key = self._block(source)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = self._make(now)
            if len(self._buckets) > self._limit:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now)

    def _block(self, source: SocketAddress) -> object:
        """Return what all addresses of a block have in common; clients of unix sockets are one block."""
        if isinstance(source, str):
            return ""
        host = source[0]
        if ":" not in host:
            return host if self._v4_shift == 0 else int(ipaddress.IPv4Address(host)) >> self._v4_shift
        address = ipaddress.IPv6Address(host.partition("%")[0])
        if address.ipv4_mapped is not None:
            return self._block((str(address.ipv4_mapped), 0))
        return 6, int(address) >> self._v6_shift


class _Weak(Protocol):
    """What can be referred to weakly."""


T = TypeVar("T", bound=_Weak)


class Shared(Generic[T]):
    """
    Things that several filters of one server use, by their keys; kept as long as one of them does.

    The server is known by an object that all its filters are handed, such as the root of its statistics.
    """

    def __init__(self) -> None:
        self._servers: WeakKeyDictionary[object, WeakValueDictionary[object, T]] = WeakKeyDictionary()

    def get(self, server: object, key: object, make: Callable[[], T]) -> T:
        """Return the thing of that key, making it if there is none."""
        things = self._servers.setdefault(server, WeakValueDictionary())
        thing = things.get(key)
        if thing is None:
            thing = things[key] = make()
        return thing
