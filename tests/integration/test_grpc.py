"""meshd's gRPC client before real servers of grpcio."""

from __future__ import annotations

from functools import partial
from typing import Any

import grpc
import pytest
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from google.protobuf.json_format import ParseDict
from google.protobuf.wrappers_pb2 import BytesValue
from twisted.python.failure import Failure
from zope.interface import implementer

from meshd.codec.grpc import Status
from meshd.interfaces import CallError, IGrpcReceiver
from tests.grpc_servers import GrpcServer
from tests.interop.tls_parts import client_tls, trusting
from tests.interop.yaml_parts import Part, cluster
from tests.tls.authority import Authority
from tests.xds.running import Worker, static


class Raw:
    """Stands for a message class: the bytes themselves."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def SerializeToString(self) -> bytes:
        """Return the bytes."""
        return self.data

    @staticmethod
    def FromString(data: bytes) -> bytes:
        """Return the bytes."""
        return data


@implementer(IGrpcReceiver)
class Receiver:
    """Keeps what comes of a call."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.status: tuple[int, str] | None = None

    def message(self, data: bytes) -> None:
        self.messages.append(data)

    def closed(self, code: int, text: str) -> None:
        self.status = (code, text)


class Client:
    """A worker with one cluster c, and a channel to it."""

    def __init__(self, *servers: Any, fields: Part | None = None, **service: Any) -> None:
        self.worker = Worker()
        self.loop = self.worker.loop
        config = cluster(*servers, **(fields or {}))
        assert self.worker.resources.apply(static(clusters=[config])) == []
        self.worker.resources.start_clusters(lambda: None)
        target = {"cluster_name": "c", **service.pop("envoy_grpc", {})}
        message = ParseDict({"envoy_grpc": target, **service}, GrpcService())
        self.channel = self.worker.context.grpc_channel(message)

    def ask(self, method: str, data: bytes) -> Any:
        """Call a method with one message each way; return the answer, or the CallError."""
        found: list[Any] = []
        self.channel.unary(f"t.T/{method}", Raw(data), Raw).addBoth(found.append)
        self.loop.until(lambda: found)
        result = found[0]
        if isinstance(result, Failure):
            result.trap(CallError)
            return result.value
        return result

    def start(self, method: str) -> tuple[Any, Receiver]:
        """Begin a call."""
        receiver = Receiver()
        return self.channel.start(f"t.T/{method}", receiver), receiver

    def stat(self, name: str) -> int:
        """Return a counter or gauge of the cluster."""
        store: Any = self.worker.stats
        full = f"cluster.c.{name}"
        return int((store.counters if full in store.counters else store.gauges)[full].value)

    def stop(self) -> None:
        """Leave nothing behind."""
        self.worker.resources.stop()
        self.loop.until(lambda: self.stat("upstream_cx_active") == 0)
        self.loop.poller._epoll.close()
        self.worker.log_files.close()


@pytest.fixture
def server() -> Any:
    """A server."""
    made = GrpcServer()
    yield made
    made.stop()


@pytest.fixture
def client(server: GrpcServer) -> Any:
    """A client of the server."""
    made = Client(server)
    yield made
    made.stop()


class TestUnary:
    """One message each way."""

    def test_answer(self, server: GrpcServer, client: Client) -> None:
        """A call has its answer; all calls share one connection."""
        assert [client.ask("Echo", b"%d" % number) for number in range(20)] == [b"%d" % n for n in range(20)]
        assert len(set(server.peers)) == 1
        assert client.stat("upstream_cx_total") == client.stat("upstream_cx_http2_total") == 1
        assert client.stat("upstream_rq_total") == client.stat("upstream_rq_200") == 20
        assert client.stat("upstream_rq_active") == 0

    def test_message(self, client: Client) -> None:
        """The message that came is of the class that was asked for."""
        found: list[Any] = []
        client.channel.unary("t.T/Echo", BytesValue(value=b"x"), BytesValue).addBoth(found.append)
        client.loop.until(lambda: found)
        assert found == [BytesValue(value=b"x")]

    @pytest.mark.parametrize("size", [0, 1, 16384, 70_000, 3_000_000])
    def test_sizes(self, client: Client, size: int) -> None:
        """Messages of any size go both ways, whatever the windows."""
        data = b"x" * size
        assert client.ask("Echo", data) == data

    def test_many(self, client: Client) -> None:
        """Many calls at a time are told apart."""
        found: dict[int, Any] = {}
        for number in range(200):
            call = client.channel.unary("t.T/Echo", Raw(b"%d" % number), Raw)
            call.addBoth(partial(found.__setitem__, number))
        client.loop.until(lambda: len(found) == 200)
        assert found == {number: b"%d" % number for number in range(200)}
        assert client.stat("upstream_cx_total") == 1

    @pytest.mark.parametrize("status", [each for each in Status if each is not Status.OK])
    def test_status(self, client: Client, status: Status) -> None:
        """A status that is not OK is a CallError, with the text that the server gave."""
        error = client.ask("Fail", f"{status.name} grüße 100%\n".encode())
        assert (error.code, error.text) == (status, "grüße 100%\n")

    def test_unknown(self, client: Client) -> None:
        """So it is of a method that there is not."""
        assert client.ask("Nothing", b"").code == Status.UNIMPLEMENTED

    def test_cancel(self, client: Client) -> None:
        """A call that is given up is reset; the connection goes on."""
        call = client.channel.unary("t.T/Slow", Raw(b""), Raw)
        call.addErrback(lambda failure: None)
        client.loop.until(lambda: client.stat("upstream_rq_active") == 1)
        call.cancel()
        assert client.stat("upstream_rq_active") == 0
        assert client.ask("Echo", b"x") == b"x"
        assert client.stat("upstream_rq_tx_reset") == client.stat("upstream_cx_total") == 1


class TestStreams:
    """Several messages, either way."""

    def test_from_server(self, client: Client) -> None:
        """Messages of the server's come one by one."""
        call, receiver = client.start("Each")
        call.send(b"500", last=True)
        client.loop.until(lambda: receiver.status)
        assert receiver.status == (0, "")
        assert receiver.messages == [bytes(number) for number in range(500)]

    def test_to_server(self, client: Client) -> None:
        """Messages of ours are sent one by one."""
        call, receiver = client.start("Join")
        for part in (b"a", b"", b"c" * 100_000):
            call.send(part)
            client.loop.turn()
        call.send(None, last=True)
        client.loop.until(lambda: receiver.status)
        assert receiver.messages == [b"a" + b"c" * 100_000]

    def test_both(self, client: Client) -> None:
        """A conversation goes to and fro."""
        call, receiver = client.start("Chat")
        for number in range(10):
            call.send(b"%d" % number)
            client.loop.until(lambda: len(receiver.messages) == number + 1)  # noqa: B023
        call.send(None, last=True)
        client.loop.until(lambda: receiver.status)
        assert receiver.messages == [b"%d" % number for number in range(10)]
        assert receiver.status == (0, "")


class TestConfig:
    """What the GrpcService message says."""

    def test_metadata(self, server: GrpcServer) -> None:
        """The metadata goes with each call; what need not be text arrives as it is."""
        metadata = [{"key": "x-a", "value": "100%%"}, {"key": "x-b-bin", "raw_value": "AAH/"}]
        client = Client(server, initial_metadata=metadata, timeout="7s")
        assert client.ask("Echo", b"x") == b"x"
        assert server.metadata[0]["x-a"] == "100%"
        assert server.metadata[0]["x-b-bin"] == b"\x00\x01\xff"
        assert server.remaining[0] is not None and 6 < server.remaining[0] <= 7
        client.stop()

    def test_longest(self, server: GrpcServer) -> None:
        """A message that is too long is RESOURCE_EXHAUSTED."""
        client = Client(server, envoy_grpc={"max_receive_message_length": 1000})
        assert client.ask("Echo", b"x" * 1000) == b"x" * 1000
        assert client.ask("Echo", b"x" * 1001).code == Status.RESOURCE_EXHAUSTED
        client.stop()

    def test_deadline(self, server: GrpcServer) -> None:
        """A call that takes too long is over, at the server too."""
        client = Client(server, timeout="0.05s")
        found: list[Any] = []
        client.channel.unary("t.T/Slow", Raw(b""), Raw).addBoth(found.append)
        client.loop.until(lambda: server.peers or found)
        client.loop.clock.advance(0.2)
        client.loop.until(lambda: found)
        assert found[0].value.code == Status.DEADLINE_EXCEEDED
        client.stop()


class TestTrouble:
    """Servers that leave, and none at all."""

    def test_graceful(self, server: GrpcServer) -> None:
        """A server that stops lets the calls that it has end; others go to a new connection."""
        other = GrpcServer()
        client = Client(server, other)
        assert {client.ask("Echo", b"x") for _ in range(4)} == {b"x"}
        calls = [client.start("Chat") for _ in range(2)]
        for call, _ in calls:
            call.send(b"one")
        client.loop.until(lambda: all(receiver.messages for _, receiver in calls))
        stopping = server.stop(grace=10)
        client.loop.until(lambda: client.stat("upstream_cx_close_notify") == 1)
        for call, _ in calls:
            call.send(b"two", last=True)
        client.loop.until(lambda: all(receiver.status for _, receiver in calls))
        assert [receiver.messages for _, receiver in calls] == [[b"one", b"two"]] * 2
        assert [receiver.status for _, receiver in calls] == [(0, "")] * 2
        client.loop.until(lambda: client.stat("upstream_cx_active") == 1)
        assert stopping.wait(10)
        other.stop()
        client.stop()

    def test_gone(self, server: GrpcServer) -> None:
        """A server that is gone is UNAVAILABLE."""
        client = Client(server)
        call, receiver = client.start("Chat")
        call.send(b"one")
        client.loop.until(lambda: receiver.messages)
        server.stop().wait()
        client.loop.until(lambda: receiver.status)
        assert receiver.status is not None and receiver.status[0] in (Status.UNAVAILABLE, Status.CANCELLED)
        client.loop.until(lambda: client.stat("upstream_cx_active") == 0)
        assert client.ask("Echo", b"x").code == Status.UNAVAILABLE
        client.stop()

    def test_streams(self) -> None:
        """Calls beyond what the server allows at a time wait for others to end."""
        server = GrpcServer(options=[("grpc.max_concurrent_streams", 3)])
        client = Client(server)
        assert client.ask("Echo", b"x") == b"x"  # the limit is known then
        calls = [client.start("Chat") for _ in range(5)]
        for call, _ in calls:
            call.send(b"x")
        client.loop.until(lambda: sum(bool(receiver.messages) for _, receiver in calls) == 3)
        assert client.stat("upstream_rq_pending_active") == 2
        for call, _ in calls:
            call.send(None, last=True)
        client.loop.until(lambda: all(receiver.status for _, receiver in calls))
        assert [receiver.messages for _, receiver in calls] == [[b"x"]] * 5
        assert client.stat("upstream_rq_pending_active") == 0
        server.stop()
        client.stop()


@pytest.mark.parametrize("alpn", [[], ["h2"]])
def test_tls(alpn: list[str]) -> None:
    """Over TLS too; h2 is offered whether the config says so or not, for grpcio wants it."""
    authority = Authority()
    leaf = authority.issue(ip=["127.0.0.1"])
    server = GrpcServer(grpc.ssl_server_credentials([(leaf.key_pem, leaf.pem)]))
    common = trusting(authority)
    if alpn:
        common["alpn_protocols"] = alpn
    client = Client(server, fields={"transport_socket": client_tls(common=common)})
    assert client.ask("Echo", b"x") == b"x"
    client.stop()
    server.stop()
