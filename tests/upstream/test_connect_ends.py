"""Tests for meshd.upstream.connect: a connection's ends, its transport socket, and hosts that go."""

import socket
from typing import Any

from envoy.extensions.transport_sockets.proxy_protocol.v3.upstream_proxy_protocol_pb2 import (
    ProxyProtocolUpstreamTransport,
)
from google.protobuf.json_format import ParseDict

from meshd.testing import FakeContext
from meshd.upstream.proxy_protocol import upstream_proxy_protocol
from tests.net.loop import ending, reset
from tests.upstream.dialling import Caller, DiallingCase, Handshake, Raises

ESTABLISHED = {
    "cx_total": 1,
    "cx_destroy": 1,
    "cx_destroy_with_active_rq": 1,
    "rq_total": 1,
    "rq_pending_total": 1,
}
BY_US = {**ESTABLISHED, "cx_destroy_local": 1, "cx_destroy_local_with_active_rq": 1}
BY_HOST = {**ESTABLISHED, "cx_destroy_remote": 1, "cx_destroy_remote_with_active_rq": 1}


class EndTests(DiallingCase):
    """Who ended it, and how."""

    def setUp(self) -> None:
        super().setUp()
        self.connecting, self.host = self.stand(self.cluster())

    def test_host_ends_first(self) -> None:
        """The host's FIN, then ours: ended by us."""
        self.host.shutdown(socket.SHUT_WR)
        self.until("made", "fin")
        self.caller.transport.loseWriteConnection()
        self.until("made", "fin", "lost")
        self.assertEqual(ending(self.host), (b"", "FIN"))
        self.assertEqual(self.counted(), BY_US)
        self.assertFalse(self.connecting.was_reset)

    def test_we_end_first(self) -> None:
        """Our FIN, then the host's, with what it had to say: ended by the host."""
        self.caller.transport.loseWriteConnection()
        self.assertEqual(ending(self.host), (b"", "FIN"))
        self.host.sendall(b"late")
        self.host.close()
        self.until("made", "fin", "lost")
        self.assertEqual(self.caller.data, b"late")
        self.assertEqual(self.counted(), BY_HOST)

    def test_host_resets(self) -> None:
        """A reset of the host's is known as one."""
        reset(self.host)
        self.until("made", "lost")
        self.assertTrue(self.connecting.was_reset)
        self.assertEqual(self.counted(), BY_HOST)

    def test_we_close(self) -> None:
        """We close, and the host sees a FIN after all that was written."""
        self.caller.transport.write(b"bye")
        self.caller.transport.loseConnection()
        self.until("made", "lost")
        self.assertEqual(ending(self.host), (b"bye", "FIN"))
        self.assertEqual(self.counted(), BY_US)

    def test_we_abort(self) -> None:
        """abort() resets."""
        self.connecting.abort()
        self.until("made", "lost")
        self.assertEqual(ending(self.host), (b"", "RST"))
        self.assertFalse(self.connecting.was_reset)
        self.assertEqual(self.counted(), BY_US)

    def test_close_now(self) -> None:
        """close_now() does not wait for what waits, of which the gauge is told."""
        self.caller.transport.write(b"x" * 10_000_000)
        self.assertGreater(self.connecting.waiting, 0)
        gauge = self.connecting.cluster.stats.upstream_cx_tx_bytes_buffered
        self.assertEqual(gauge.value, self.connecting.waiting)
        self.connecting.close_now()
        self.until("made", "lost")
        self.assertEqual(gauge.value, 0)
        self.assertLess(len(ending(self.host)[0]), 10_000_000)

    def test_on_close(self) -> None:
        """Who asked is told once that it is over, before the caller."""
        self.connecting.on_close(lambda: self.caller.events.append("first"))
        self.connecting.on_close(lambda: self.caller.events.append("second"))
        self.connecting.close_now()
        self.until("made", "first", "second", "lost")

    def test_paused(self) -> None:
        """Nothing is read while anybody pauses."""
        self.connecting.pause("one")
        self.connecting.pause("two")
        self.host.sendall(b"hello")
        self.loop.turn()
        self.connecting.resume("one")
        self.loop.turn()
        self.assertEqual(self.caller.data, b"")
        self.connecting.resume("two")
        self.loop.until(lambda: self.caller.data == b"hello")
        self.connecting.close_now()
        self.until("made", "lost")


class BuggyCaller(Caller):
    """A caller that raises when it is told of the connection."""

    def connectionMade(self) -> None:
        super().connectionMade()
        raise ZeroDivisionError("a bug")

    def protocol_failed(self, failure: Any) -> None:
        """Note that the bug was told of."""
        self.events.append(failure.type.__name__)


class TransportSocketTests(DiallingCase):
    """Links between the caller and the socket."""

    def test_handshake(self) -> None:
        """The caller is told once the handshake is over; then bytes go through."""
        cluster = self.cluster(links=[Handshake])
        self.connect(cluster)
        host = self.keep(self.listening.accept()[0])
        self.loop.turn()
        self.assertEqual(host.recv(100), b"hello?")
        self.assertEqual(self.caller.events, [])
        self.assertEqual(cluster.stats.upstream_rq_pending_active.value, 1)
        host.sendall(b"hello")
        self.until("made")
        self.caller.transport.write(b"question")
        self.assertEqual(host.recv(100), b"question")
        host.sendall(b"answer")
        host.close()
        self.until("made", "fin")
        self.assertEqual(self.caller.data, b"answer")
        self.caller.transport.loseConnection()
        self.until("made", "fin", "lost")
        self.assertEqual(self.counted()["rq_total"], 1)

    def test_handshake_fails(self) -> None:
        """A handshake that fails is a connect that failed, with the link's reason."""
        self.connect(self.cluster(links=[Handshake]))
        host = self.keep(self.listening.accept()[0])
        host.sendall(b"nonsense")
        self.until("failed")
        self.assertEqual(str(self.caller.error), "it said something else")
        counted = self.counted()
        self.assertNotIn("rq_total", counted)
        self.assertEqual((counted["cx_connect_fail"], counted["cx_destroy_local"]), (1, 1))

    def test_host_closes_in_handshake(self) -> None:
        """A host that resets in the handshake refuses."""
        self.connect(self.cluster(links=[Handshake]))
        host = self.listening.accept()[0]
        self.loop.turn()
        reset(host)
        self.until("failed")
        self.assertTrue(str(self.caller.error))
        self.assertEqual(self.counted()["cx_destroy_remote"], 1)

    def test_handshake_takes_too_long(self) -> None:
        """The connect time-out holds for the handshake, too, and ends with a FIN as in Envoy."""
        self.connect(self.cluster(links=[Handshake]))
        host = self.keep(self.listening.accept()[0])
        self.loop.turn()
        self.loop.clock.advance(1.1)
        self.until("failed")
        self.assertEqual(self.counted()["cx_connect_timeout"], 1)
        self.assertEqual(ending(host)[1], "FIN")

    def test_cancelled_in_handshake(self) -> None:
        """Who gives up in the handshake is told nothing more."""
        connecting = self.connect(self.cluster(links=[Handshake]))
        host = self.keep(self.listening.accept()[0])
        self.loop.turn()
        connecting.cancel()
        self.loop.turn()
        self.assertEqual(ending(host)[1], "RST")
        self.assertEqual(self.caller.events, [])
        self.assertNotIn("cx_connect_fail", self.counted())

    def test_link_raises(self) -> None:
        """A link with a bug ends the attempt."""
        self.connect(self.cluster(links=[Raises]))
        self.until("failed")
        self.assertEqual(self.counted()["cx_connect_fail"], 1)

    def test_caller_raises(self) -> None:
        """A caller with a bug loses its connection, and is told of both."""
        self.caller = BuggyCaller()
        self.connect(self.cluster())
        host = self.keep(self.listening.accept()[0])
        self.until("made", "ZeroDivisionError", "lost")
        self.assertEqual(ending(host)[1], "RST")

    def test_proxy_header(self) -> None:
        """The PROXY header goes first, then what the caller says; it is told at once."""
        for version, header in (
            ("V1", b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n"),
            ("V2", b"\r\n\r\n\0\r\nQUIT\n"),
        ):
            self.caller = Caller()
            config = ParseDict(
                {
                    "config": {"version": version},
                    "transport_socket": {"name": "envoy.transport_sockets.raw_buffer"},
                },
                ProxyProtocolUpstreamTransport(),
            )
            links = upstream_proxy_protocol.configure(config, FakeContext())
            connecting, host = self.stand(self.cluster(links=links))
            self.caller.transport.write(b"question")
            self.caller.transport.loseWriteConnection()
            sent = ending(host)[0]
            self.assertTrue(sent.startswith(header), sent)
            self.assertTrue(sent.endswith(b"question"), sent)
            connecting.close_now()
            self.until("made", "lost")


class RemovedHostTests(DiallingCase):
    """A cluster whose hosts come and go."""

    def setUp(self) -> None:
        super().setUp()
        endpoint = {"address": {"socket_address": {"address": "name", "port_value": self.port}}}
        self.changing = self.cluster(
            type="STRICT_DNS",
            dns_refresh_rate="5s",
            load_assignment={"cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        )
        self.around.resolver.answer("127.0.0.1")

    @property
    def port(self) -> int:
        """Where the host listens."""
        return int(self.listening.getsockname()[1])

    def look_up_again(self, *addresses: str) -> None:
        """Let the name have other addresses."""
        self.around.reactor.advance(6)
        self.around.resolver.answer(*addresses)

    def test_host_goes(self) -> None:
        """The connections to a host that is gone go on."""
        connecting, host = self.stand(self.changing)
        self.look_up_again("127.0.0.2")
        self.caller.transport.write(b"still here")
        self.assertEqual(host.recv(100), b"still here")
        connecting.close_now()
        self.until("made", "lost")
        self.assertEqual(self.counted(), BY_US)

    def test_while_connecting(self) -> None:
        """A connection that is being made may still come to be."""
        connecting = self.connect(self.changing)
        self.look_up_again("127.0.0.2")
        self.until("made")
        connecting.close_now()
        self.until("made", "lost")
