"""
A command on its way to a host and back.

What a client is owed stands in its queue, in order: a Slot each.  A Request is
a slot that one host fills; a Gather is one that several Parts fill.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from meshd.codec.resp import encode
from meshd.interfaces import IHost, Result

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client
    from meshd.filters.network.redis_proxy.pool import Pool
    from meshd.filters.network.redis_proxy.table import Entry

#: Envoy's words for each way in which a host can fail, and those of its own.
UPSTREAM_FAILURE = b"-upstream failure\r\n"
NO_HOST = b"-no upstream host\r\n"


#: What has to be said before a command that a host sent elsewhere with ASK.
ASKING = encode([b"ASKING"])


class Slot:
    """A reply that a client is owed; None until it is there."""

    __slots__ = ("reply",)
    reply: bytes | None
    #: How many replies it stands for.
    owed = 1

    def __init__(self, reply: bytes | None = None) -> None:
        self.reply = reply

    def abandon(self) -> None:
        """The client is gone."""


class Barrier(Slot):
    """Stands in the queue for a command that waits for all before it; it is nobody's reply."""

    __slots__ = ("call",)
    owed = 0

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(None)
        self.call = call


class Acknowledgement(Slot):
    """What tells of a subscription: it counts as a message, which CLIENT REPLY OFF does not hold back."""

    __slots__ = ()


class Request(Slot):
    """One command for one host."""

    __slots__ = ("attempts", "client", "entry", "host", "key", "pool", "raw", "redirects", "start")

    #: Whether no host but that which was asked first can answer.
    fixed = False

    def __init__(self, client: Client, entry: Entry, raw: bytes, pool: Pool, key: bytes | None) -> None:
        self.reply = None
        self.client = client
        self.entry = entry
        #: Its bytes, as they go to the host.
        self.raw = raw
        self.pool = pool
        #: Which host it is for; None: any.
        self.key = key
        self.start = client.now
        self.attempts = 0
        self.redirects = 0
        self.host: IHost | None = None

    def answered(self, reply: bytes) -> Client | None:
        """Take the reply; return the client whose queue has changed."""
        if reply[0] == 45 and self.pool.redirect(self, reply):
            return None
        self.reply = reply
        client = self.client
        entry = self.entry
        entry.stats.success.value += 1
        elapsed = client.seconds() - self.start
        entry.stats.latency.record(elapsed * client.factor)
        if self.attempts:
            client.shared.stats.retry_success.value += 1
        if client.watches:
            client.finished(self, elapsed)
        return client

    def failed(self, result: Result | None, why: bytes = UPSTREAM_FAILURE) -> None:
        """There will be no reply; try again if that is allowed."""
        if result is not None and self.entry.reads and self.pool.retry(self):
            return
        self.give_up(why)
        self.client.flush()

    def give_up(self, why: bytes) -> None:
        """Answer why there is no reply."""
        self.reply = why
        client = self.client
        self.entry.stats.error.value += 1
        elapsed = client.seconds() - self.start
        self.entry.stats.latency.record(elapsed * client.factor)
        if client.watches:
            client.finished(self, elapsed, answered=False)


class Gather(Slot):
    """A reply that is put together from several; merge, set by who makes it, gets theirs in order."""

    __slots__ = ("_left", "client", "entry", "host", "key", "merge", "parts", "start")

    merge: Callable[[Sequence[bytes]], bytes]

    def __init__(self, client: Client, entry: Entry) -> None:
        self.reply = None
        self.client = client
        self.entry = entry
        self.start = client.now
        self.key: bytes | None = None
        self.host: IHost | None = None
        self.parts: list[Part] = []
        self._left = 0

    def add(self, part: Part) -> None:
        """Wait for one more."""
        self.parts.append(part)
        self._left += 1

    def done(self) -> Client | None:
        """One more has its reply."""
        self._left -= 1
        if self._left:
            return None
        client = self.client
        self.reply = self.merge([part.reply or UPSTREAM_FAILURE for part in self.parts])
        stats = self.entry.stats
        broken = any(part.broken for part in self.parts)
        (stats.error if broken else stats.success).value += 1
        elapsed = client.seconds() - self.start
        stats.latency.record(elapsed * client.factor)
        if client.watches:
            client.finished(self, elapsed)
        self.parts = []  # there are cycles, which cost more to collect than the command did
        del self.merge
        return client


class Part(Request):
    """What one host adds to a Gather; what is the arguments' own share in it is in keys."""

    __slots__ = ("broken", "gather", "keys")

    def __init__(self, gather: Gather, raw: bytes, pool: Pool, key: bytes | None, keys: Any = ()) -> None:
        super().__init__(gather.client, gather.entry, raw, pool, key)
        self.gather = gather
        self.keys = keys
        self.broken = False
        gather.add(self)

    def answered(self, reply: bytes) -> Client | None:
        if reply[0] == 45 and self.pool.redirect(self, reply):
            return None
        self.reply = reply
        self._tell(True)
        return self.gather.done()

    def _tell(self, answered: bool) -> None:
        client = self.client
        if client.shared.command_stats:
            self.pool.observe(self.entry.name, client.seconds() - self.start, answered)

    def give_up(self, why: bytes) -> None:
        self.reply = why
        self.broken = True
        self._tell(False)
        client = self.gather.done()
        if client is not None:
            client.flush()


class Copy(Request):
    """A command for a mirror: nobody waits for the reply."""

    __slots__ = ()

    def answered(self, reply: bytes) -> Client | None:
        return None

    def failed(self, result: Result | None, why: bytes = UPSTREAM_FAILURE) -> None:
        pass


class Once(Request):
    """A command of the proxy's own, or one whose reply tells it something: then is called with it."""

    __slots__ = ("then",)

    def __init__(
        self, client: Client, entry: Entry, raw: bytes, pool: Pool, then: Callable[[bytes], object]
    ) -> None:
        super().__init__(client, entry, raw, pool, None)
        self.then = then

    def answered(self, reply: bytes) -> Client | None:
        self.then(reply)
        return self.client

    def failed(self, result: Result | None, why: bytes = UPSTREAM_FAILURE) -> None:
        self.then(why)
        self.client.flush()
