"""
A connected socket on the poller, with the face of a Twisted transport.

Writes go out at once; what the kernel does not take is kept, up to a high
watermark beyond which the registered producer is paused until half of it has
gone.  Reads are pushed to the protocol until the socket is empty, within a
budget, so that one fast peer cannot starve the others.  Either direction ends
by itself (half-close); a reset ends both.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable
from errno import ECONNRESET, EPIPE, ETIMEDOUT
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.net.end import SocketEnd
from meshd.net.poller import ERROR, HANGUP, IN, OUT, Poller
from meshd.net.reasons import ABORTED, DONE, RESET

READ_SIZE = 65536
#: Reads in a row before the others get their turn.
BUDGET = 16
_LINGER_NONE = struct.pack("ii", 1, 0)


@implementer(ITCPTransport, IConsumer, IPushProducer)
class Stream(SocketEnd):
    """A connected, non-blocking stream socket."""

    __slots__ = tuple(
        """
        __weakref__ _out _out_size poller _producer _producer_paused _push_producer _reading _recv
        send buffered bytes_read bytes_written closed closed_by_peer disconnecting fd held hung_up
        last_active limit on_drained on_readable on_writable pausers protocol read_ended
        readable sock write_ended
        """.split()
    )

    def __init__(self, sock: socket.SocketType, poller: Poller, protocol: Any, limit: int) -> None:
        """limit is the high watermark of what waits to be written, in bytes."""
        self.sock = sock
        self.fd = sock.fileno()
        self.protocol = protocol
        self.limit = limit
        self._recv = sock.recv
        self.send = sock.send
        self.poller = poller
        self._out: list[bytes] = []
        self._out_size = 0
        self.pausers: set[object] | None = None
        self._producer: Any = None
        self._producer_paused = False
        self.readable = False
        self._reading = False
        self.hung_up = False
        self.held = b""
        #: What is called instead of read() while a relay reads this stream.
        self.on_readable: Callable[[], object] | None = None
        #: What waits for room in the kernel's buffer: our own flush, or a relay.
        self.on_writable: Callable[[], object] | None = None
        #: What is called once, when nothing waits to be written any more.
        self.on_drained: Callable[[], object] | None = None
        self.read_ended = False
        self.write_ended = False  # a FIN was asked for
        self.closed = False
        #: Whether what ended it last was the peer's FIN, or an error.
        self.closed_by_peer = False
        self.disconnecting = False
        self.bytes_read = 0
        self.bytes_written = 0
        self.last_active = poller.time()
        #: A gauge of bytes that wait to be written, or None.
        self.buffered: Any = None

    # Events.

    def handle(self, event: int) -> None:
        """Take an edge from the poller."""
        try:
            if event & OUT and self.on_writable is not None:
                self.on_writable()
            if event & (IN | HANGUP):
                self.readable = True
                if event & HANGUP:
                    self.hung_up = True
                    if event & ERROR and (self.pausers or self.read_ended) and not self.closed:
                        self.fail_if_broken()
                if self.on_readable is not None:
                    self.on_readable()
                elif self.held or self.hung_up or self._reading:
                    self.read()
                else:
                    self._read_once()
        except Exception:
            self.protocol_failed(Failure())

    def _read_once(self) -> None:
        """Do what read() does where the socket's buffer is emptied by one read: nearly always."""
        if self.closed or self.pausers or self.disconnecting or self.read_ended:
            return
        data = self._receive()
        if data is None:
            return
        self._reading = True
        try:
            self.protocol.dataReceived(data)
        finally:
            self._reading = False
        if self.readable or self.held:
            self.read()

    def _receive(self) -> bytes | None:
        """Read once; None if there is nothing for the protocol, which has been told of an end."""
        try:
            data = self._recv(READ_SIZE)
        except BlockingIOError:
            self.readable = False
            return None
        except OSError as error:
            self.failed(error)
            return None
        if not data:
            self.end_of_data()
            return None
        size = len(data)
        self.bytes_read += size
        self.last_active = self.poller.now
        if size < READ_SIZE and not self.hung_up:
            # Edge-triggered: less than was asked for means that there is no more, unless a FIN follows.
            self.readable = False
        return data

    def fail_if_broken(self) -> None:
        """Find out about a reset while nobody reads."""
        errno = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if errno:
            self.failed(OSError(errno, os.strerror(errno)))

    def read(self) -> None:
        """Push what there is to the protocol, until there is no more or somebody paused."""
        if self._reading or not self._may_read():
            return
        self._reading = True
        try:
            self._read_some()
        except Exception:
            self.protocol_failed(Failure())
        finally:
            self._reading = False

    def _may_read(self) -> bool:
        return not (self.closed or self.pausers or self.disconnecting or self.read_ended)

    def _read_some(self) -> None:
        for _ in range(BUDGET):
            if self.held and self._may_read():
                # Before all that is read, or its end: this was read first.
                data, self.held = self.held, b""
                self.protocol.dataReceived(data)
            if not self.readable or not self._may_read():
                return
            if self.on_readable is not None:
                self.poller.soon(self.on_readable)
                return
            received = self._receive()
            if received is None:
                return
            self.protocol.dataReceived(received)
        self.poller.soon(self.read)

    def end_of_data(self) -> None:
        """The peer will send no more."""
        self.read_ended = self.closed_by_peer = True
        self.readable = False
        try:
            self.protocol.readConnectionLost()
        except Exception:
            self.protocol_failed(Failure())
        self._end_if_both_ended()

    def failed(self, error: OSError) -> None:
        """The connection broke."""
        self.closed_by_peer = True
        reset = error.errno in (ECONNRESET, EPIPE, ETIMEDOUT)
        self.close(RESET if reset else Failure(ConnectionLost(str(error))))

    def protocol_failed(self, failure: Failure) -> None:
        """The protocol raised: tell it, or the log, and close."""
        tell = getattr(self.protocol, "protocol_failed", None)
        if tell is not None:
            tell(failure)
        self.abortConnection()

    # Reading.

    def watch(self) -> None:
        """Have the poller tell of events, from now on."""
        self.poller.add(self.fd, self.handle)

    def unread(self, data: bytes) -> None:
        """Put back what was read but is for whoever reads next."""
        self.held = data + self.held
        if data:
            self.poller.soon(self.read)

    def pause(self, who: object) -> None:
        """Read nothing until each who that paused has resumed."""
        if self.pausers is None:
            self.pausers = {who}
        else:
            self.pausers.add(who)

    def resume(self, who: object) -> None:
        """Take back who's pause; what came meanwhile is read in a moment."""
        if self.pausers:
            self.pausers.discard(who)
            if self.pausers:
                return
            if self.readable or self.held:
                self.poller.soon(self._resumed)

    def _resumed(self) -> None:
        if self.on_readable is not None and not self.held:
            self.on_readable()
        else:
            self.read()

    def pauseProducing(self) -> None:
        self.pause("producer")

    def resumeProducing(self) -> None:
        self.resume("producer")

    def stopProducing(self) -> None:
        self.loseConnection()

    # Writing.

    def write(self, data: bytes) -> None:
        if not data or self.write_ended or self.closed or self.disconnecting:
            return
        if not self._out and self.on_writable is None:
            size = len(data)
            try:
                sent = self.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._write_failed(error)
                return
            self.bytes_written += sent
            poller = self.poller
            self.last_active = poller.now if poller.in_batch else poller.time()
            if sent == size:
                if self._producer is not None and not self._push_producer:
                    self.soon(self._pull)
                return
            data = data[sent:]
        self.keep(data)

    def _write_failed(self, error: OSError) -> None:
        # The one who writes must not be told of the end before write() returns.
        self.disconnecting = True
        self.poller.soon(lambda: self.failed(error))

    def soon(self, call: Callable[[], object]) -> None:
        """Call after this batch of events."""
        self.poller.soon(call)

    def keep(self, data: bytes) -> None:
        """Keep what the kernel did not take, and pause the producer if it is too much."""
        if self.on_writable is None:
            self.on_writable = self._flush
        self._out.append(bytes(data))
        size = len(data)
        self._out_size += size
        if self.buffered is not None:
            self.buffered.inc(size)
        if self._out_size > self.limit and self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._tell(self._producer.pauseProducing)

    def _tell(self, call: Callable[[], object]) -> None:
        """Tell the producer; if it raises, that ends this connection, and not what called us."""
        try:
            call()
        except Exception:
            self.protocol_failed(Failure())

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    @property
    def waiting(self) -> int:
        """How many bytes wait to be written."""
        return self._out_size

    def _flush(self) -> None:
        """Send what was kept, as far as the kernel takes it."""
        out = self._out
        while out:
            data = out[0] if len(out) == 1 else b"".join(out)
            try:
                sent = self.send(data)
            except BlockingIOError:
                out[:] = [data]
                return
            except OSError as error:
                self.failed(error)
                return
            self.bytes_written += sent
            self.last_active = self.poller.now
            self._out_size -= sent
            if self.buffered is not None:
                self.buffered.dec(sent)
            out[:] = [data[sent:]] if sent < len(data) else []
            if self._producer_paused and self._out_size <= self.limit // 2:
                self._producer_paused = False
                self._tell(self._producer.resumeProducing)
        self.on_writable = None
        self.flushed()

    def flushed(self) -> None:
        """Nothing waits any more: go on with what waited for that."""
        if self.on_drained is not None:
            drained, self.on_drained = self.on_drained, None
            drained()
        if self._producer is not None and not self._push_producer and not self.disconnecting:
            self._pull()
        elif self.on_writable is not None:
            return
        elif self.disconnecting:
            self.close(DONE)
        elif self.write_ended:
            self._send_fin()

    def _pull(self) -> None:
        """Ask a pull producer for more."""
        if self._producer is not None and not self._push_producer and not self._out:
            self._tell(self._producer.resumeProducing)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer!r}: {self._producer!r} is registered")
        if self.closed:
            producer.stopProducing()
            return
        self._producer = producer
        self._push_producer = streaming
        if not streaming:
            producer.resumeProducing()
        elif self._out_size > self.limit:
            self._producer_paused = True
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None
        self._producer_paused = False

    # Ending.

    def loseWriteConnection(self) -> None:
        """Send a FIN once all that was written has gone; go on reading."""
        if self.write_ended or self.closed or self.disconnecting:
            return
        self.write_ended = True
        if self.on_writable is None:
            self._send_fin()

    def _send_fin(self) -> None:
        self.closed_by_peer = False
        if self.read_ended:  # closing sends the FIN
            self._end_if_both_ended()
            return
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._write_failed(error)

    def _end_if_both_ended(self) -> None:
        if self.read_ended and self.write_ended and self.on_writable is None and not self.closed:
            self._close_soon(DONE, self.closed_by_peer)

    def _close_soon(self, reason: Failure, by_peer: bool = False) -> None:
        # Not at once: nobody is told of the end from within what he calls.
        self.disconnecting = True
        self.closed_by_peer = by_peer
        self.poller.soon(lambda: self.close(reason))

    def loseConnection(self) -> None:
        """Close once all that was written has gone; read no more."""
        if self.closed or self.disconnecting:
            return
        if self.on_writable is None:
            self.close_now()
        else:
            self.disconnecting = True
            self.closed_by_peer = False

    def close_now(self) -> None:
        """Close at once with a FIN, dropping what waits to be written."""
        if not self.closed:
            self._close_soon(DONE)

    def abortConnection(self) -> None:
        """Close at once with a RST, dropping what waits to be written."""
        if self.closed:
            return
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        except OSError:
            pass  # it is broken already
        self._close_soon(ABORTED)

    def close(self, reason: Failure) -> None:
        """Let go of the socket, and tell the protocol, once."""
        if self.closed:
            return
        self.closed = True
        self.poller.discard(self.fd, self.sock)
        if self.buffered is not None and self._out_size:
            self.buffered.dec(self._out_size)
        self._out.clear()
        self.on_readable = self.on_writable = self.on_drained = None
        producer, self._producer = self._producer, None
        if producer is not None:
            self._tell(producer.stopProducing)
        protocol = self.protocol
        try:
            protocol.connectionLost(reason)
        finally:
            self.protocol = None
