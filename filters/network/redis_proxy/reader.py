"""A client as the reader of its replies: one that does not read is paused, then cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshd.interfaces import ITimer

if TYPE_CHECKING:
    from meshd.filters.network.redis_proxy.client import Client


class Reader:
    """The producer of what is sent to a client: it stops what makes for more."""

    #: Whether more waits to be sent than the connection's buffer should hold.
    stalled = False
    _unsent = 0
    _timer: ITimer | None = None

    def __init__(self, client: Client) -> None:
        self._client = client

    def unsent(self, size: int) -> None:
        """Count bytes that were added to those that wait."""
        self._unsent += size
        if self._unsent > self._client.options.max_unsent:
            self._too_slow()

    def pauseProducing(self) -> None:
        self.stalled = True
        self._unsent = 0
        client = self._client
        client.connection.pause("stalled")
        if self._timer is None:
            self._timer = client.shared.timers.call_later(client.options.slow_client, self._too_slow)

    def resumeProducing(self) -> None:
        self.stalled = False
        self.end()
        self._client.connection.resume("stalled")

    def stopProducing(self) -> None:
        pass

    def end(self) -> None:
        """Wait for nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        client = self._client
        if not client.gone:
            client.shared.stats.slow_client.inc()
            client.connection.info.local_close_reason = "redis_slow_client"
            client.finish()
            client.gone = True
            client.connection.abort()
