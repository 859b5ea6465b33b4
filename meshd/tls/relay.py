"""
Sends what one stream reads to another where TLS lies between: on one side, or on both.

The bytes go from socket to OpenSSL and on to the other socket through buffers
that all connections share; nothing is made for each message.  All that is not
data (handshakes that follow, close_notify, FIN, failures) goes through the links.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from meshd.filter import Flow
from meshd.net.relay import Relay, Watch, view
from meshd.net.stream import Stream
from meshd.tls.link import TLSLink
from meshd.tls.openssl import CHUNK, TLSError


class TLSRelay(Relay):
    """One direction: from source, by reader's TLS or as it is, to sink, by writer's TLS or as it is."""

    __slots__ = ("_read_wire", "_reader", "_sent_wire", "_watch", "_writer")

    def __init__(
        self,
        source: Stream,
        sink: Stream,
        flow: Flow,
        reader: TLSLink | None,
        writer: TLSLink | None,
        watch: Callable[[bytes], object] | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._watch = watch
        self._read_wire = 0  # bytes that are not in the streams' sums yet
        self._sent_wire = 0
        super().__init__(source, sink, flow)

    def handle(self, event: int) -> None:
        """Take an edge of the source's socket from the poller."""
        self._source.handle(event)

    def _is_bulk(self) -> bool:
        """Let OpenSSL keep its buffers if there is much to move; it never goes through a pipe."""
        if self._bulk:
            return False
        self._bulk = 1
        for link in (self._reader, self._writer):
            if link is not None and link.session is not None:
                link.session.ssl.keep_buffers()
        return False

    def _pass_on(self, size: int) -> bool:
        """Send what is in the buffer; False if no more is to be read for now."""
        self._source.last_active = self._poller.now
        self._read_wire += size
        data: Any = view[:size]
        reader = self._reader
        if reader is None:
            return self._send(data)
        session = reader.session
        if session is None:
            return False
        ssl = session.ssl
        ssl.feed(data)
        try:
            while data := ssl.read_view():
                if not self._send(data) and len(data) < CHUNK:
                    break
            else:
                reader.relayed()
                return not self._source.disconnecting
        except TLSError as error:
            reader.failed(error)
            return False
        reader.relayed()
        return False

    def _send(self, data: Any) -> bool:
        """Send plaintext; False if the sink did not take all, and the source has to wait."""
        self._moved += len(data)
        if self._watch is not None:
            # The buffer is everybody's: what is shown, and may be kept, is a copy.
            data = bytes(data)
            try:
                self._watch(data)
            except Exception:
                self._source.protocol_failed(Failure())
                return False
        writer, sink = self._writer, self._sink
        if writer is not None:
            data = self._seal(writer, data)
            if data is None:
                return False
        if sink.on_writable is not None:
            # The rest of one read, after what the sink did not take.
            self._sent_wire += len(data)
            sink.bytes_written -= len(data)
            sink.keep(bytes(data))
            return False
        try:
            sent = sink.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            sink.failed(error)
            return False
        self._sent_wire += len(data)
        if sent == len(data):
            return True
        # keep() counts these as written when they are.
        sink.bytes_written -= len(data) - sent
        sink.keep(bytes(data[sent:]))
        self._wait()
        return False

    def _seal(self, writer: TLSLink, data: Any) -> Any:
        """Return data encrypted; None if it cannot be now, or will never be."""
        session = writer.session
        if session is None:
            return None
        try:
            if not session.waits:
                sealed = session.ssl.seal(data)
                if sealed is not None:
                    return sealed
            session.send(data)
            return session.outgoing()
        except TLSError as error:
            writer.failed(error)
            return None

    def settle(self) -> None:
        """Add what was moved to the counters that it belongs to."""
        size, self._moved = self._moved, 0
        flow = self._flow
        flow.bytes += size
        flow.received.value += size
        flow.sent.value += size
        self._source.bytes_read += self._read_wire
        self._sink.bytes_written += self._sent_wire
        self._read_wire = self._sent_wire = 0


def relays(
    stream: Stream, link: Any, upstream: Any, received: Flow, sent: Flow, watch: Watch | None
) -> tuple[Relay, Relay] | None:
    """Return the relays between a client's stream, with the TLS link inside it if any, and an IConnecting."""
    if link is not None and not (isinstance(link, TLSLink) and link.open):
        return None
    secured = upstream.secured
    other = upstream.stream if secured is None else secured.connection.transport
    there, back = watch or (None, None)
    return (
        TLSRelay(stream, other, received, link, secured, there),
        TLSRelay(other, stream, sent, secured, link, back),
    )
