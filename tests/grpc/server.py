"""The other end of a gRPC client's connections, for its tests: h2's server, played by the test."""

from __future__ import annotations

from typing import Any

import h2.events
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from google.protobuf.json_format import ParseDict
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from zope.interface import implementer

from meshd.codec.grpc import frame
from meshd.grpc.channel import Channel, Pools
from meshd.interfaces import IGrpcReceiver
from meshd.testing import FakeCluster, FakeConnecting, FakeContext, FakeHost

HEADERS = ((":status", "200"), ("content-type", "application/grpc"))


@implementer(IGrpcReceiver)
class Receiver:
    """Keeps what comes of a call."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        #: What closed() was called with, each time.
        self.ends: list[tuple[int, str]] = []

    def message(self, data: bytes) -> None:
        self.messages.append(data)

    def closed(self, code: int, text: str) -> None:
        self.ends.append((code, text))

    @property
    def code(self) -> int | None:
        """The status of a call that is over."""
        return self.ends[0][0] if self.ends else None


class Peer:
    """The server's end of a connection; requests has the headers of each stream, bodies what came."""

    def __init__(self, connecting: FakeConnecting, **settings: int) -> None:
        self.connecting = connecting
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings({SettingCodes[name]: value for name, value in settings.items()})
        self._seen = 0
        self.requests: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        #: Streams whose client has sent its last byte, and those that it has reset, with the code.
        self.ended: list[int] = []
        self.resets: dict[int, int] = {}
        self.left = False
        #: Streams whose answer has begun, and those whose answer has ended; for tests that want to know.
        self.begun: set[int] = set()
        self.done: set[int] = set()

    def hear(self) -> Peer:
        """Read what has come, and send what is to be sent."""
        data = self.connecting.received[self._seen :]
        self._seen += len(data)
        for event in self.h2.receive_data(data):
            self._note(event)
        self.flush()
        return self

    def _note(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            pairs = [(bytes(name).decode(), bytes(value).decode()) for name, value in event.headers or ()]
            self.requests[event.stream_id] = dict(pairs)
            self.bodies[event.stream_id] = b""
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.append(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id] = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.left = True

    def flush(self) -> None:
        """Send what is to be sent."""
        data = self.h2.data_to_send()
        if data and not self.connecting.wire.closed:
            self.connecting.upstream.dataReceived(data)

    def head(self, stream: int, *pairs: tuple[str, str], ended: bool = False) -> None:
        """Send headers."""
        self.h2.send_headers(stream, pairs or HEADERS, end_stream=ended)
        self.flush()

    def data(self, stream: int, data: bytes, ended: bool = False) -> None:
        """Send a part of a body."""
        self.h2.send_data(stream, data, end_stream=ended)
        self.flush()

    def answer(self, stream: int, *messages: bytes, status: int = 0, text: str = "") -> None:
        """Answer a call with messages and a status."""
        self.head(stream)
        for message in messages:
            self.data(stream, frame(message))
        self.trailers(stream, status, text)

    def trailers(self, stream: int, status: int = 0, text: str = "") -> None:
        """End a call."""
        self.head(stream, ("grpc-status", str(status)), ("grpc-message", text), ended=True)

    def reset(self, stream: int, code: int) -> None:
        """Give a stream up."""
        self.h2.reset_stream(stream, code)
        self.flush()

    def leave(self, last: int, code: int = 0) -> None:
        """Send a GOAWAY; h2 itself would end the connection."""
        body = last.to_bytes(4, "big") + code.to_bytes(4, "big")
        self.connecting.send(len(body).to_bytes(3, "big") + b"\7\0\0\0\0\0" + body)


class Scene:
    """A gRPC client, and the cluster c that its channel's calls go to."""

    def __init__(self, hosts: int = 1, **service: Any) -> None:
        self.hosts = [FakeHost((f"198.51.100.{number}", 80)) for number in range(1, hosts + 1)]
        self.cluster = FakeCluster("c", *self.hosts)
        self.context = FakeContext(self.cluster)
        self.pools = Pools()
        self.channel = self.make(**service)

    def make(self, **service: Any) -> Channel:
        """Return a channel of a GrpcService with these fields."""
        target = {"cluster_name": "c", **service.pop("envoy_grpc", {})}
        message = ParseDict({"envoy_grpc": target, **service}, GrpcService())
        return self.pools.channel(message, 0.0, self.context)

    def settle(self, seconds: float = 0.0) -> None:
        """Let time pass, and what is to be done soon be done."""
        self.context.clock.advance(seconds)
        self.context.clock.advance(0)

    def start(self, method: str = "p.S/M", request: bytes | None = b"request") -> tuple[Any, Receiver]:
        """Begin a call with one message."""
        receiver = Receiver()
        call = self.channel.start(method, receiver)
        if request is not None:
            call.send(request, last=True)
        self.settle()
        return call, receiver

    def accept(self, index: int = -1, **settings: int) -> Peer:
        """Let a connection that is wanted stand; return its server's end."""
        peer = Peer(self.cluster.connects[index].accept(), **settings)
        peer.hear()
        self.settle()
        return peer.hear()

    def stat(self, name: str) -> int:
        """Return a statistic of the cluster, be it counted by the cluster or by the client."""
        own = getattr(self.cluster.stats, name, None)
        return self.context.stats[f"cluster.c.{name}"] if own is None else int(own.value)
