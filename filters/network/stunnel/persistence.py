"""Which backend the clients of TLS sessions had, so that they get it again when they resume."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from meshd.interfaces import SocketAddress


class Persistence:
    """
    Keeps so many sessions (0: any number), those that were used last.

    timeout is in seconds from when a session was last used.
    """

    def __init__(self, size: int, timeout: float, seconds: Callable[[], float]) -> None:
        self._size = size
        self._timeout = timeout
        self._seconds = seconds
        #: By session id: where it went, and until when that is known.
        self._known: OrderedDict[str, tuple[SocketAddress, float]] = OrderedDict()

    def find(self, session: str) -> SocketAddress | None:
        """Return where a session went; None if that is not known."""
        address, until = self._known.get(session, (None, 0.0))
        return address if until > self._seconds() else None

    def keep(self, session: str, address: SocketAddress) -> None:
        """Note where a session goes."""
        known, now = self._known, self._seconds()
        known[session] = (address, now + self._timeout)
        known.move_to_end(session)
        # All are kept for as long, so that the first ones are over first.
        while known and ((self._size and len(known) > self._size) or next(iter(known.values()))[1] <= now):
            known.popitem(last=False)
