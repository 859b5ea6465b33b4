"""Whatever servers do, and in which order: each call ends once, and nothing that was counted stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.grpc import Status, frame
from meshd.testing import FakeConnecting
from tests.grpc.server import Peer, Receiver, Scene

ACTIONS = st.tuples(
    st.sampled_from(
        """
        start start start stream cancel accept accept refuse answer answer head trailers fail rst
        refuse_stream goaway last lost fin rubbish time remove replaced
        """.split()
    ),
    st.integers(0, 7),
)


class Play:
    """A client and its servers, and what can happen to them; number says to which of several."""

    def __init__(self) -> None:
        self.scene = Scene(hosts=2, timeout="10s")
        self.calls: list[tuple[object, Receiver]] = []
        self.cancelled: set[int] = set()
        self.peers: list[Peer] = []
        self.settled: set[int] = set()

    def wanted(self) -> list[FakeConnecting]:
        """Return the connections that are neither accepted nor refused nor given up."""
        return [
            each
            for each in self.scene.cluster.connects
            if id(each) not in self.settled and not each.cancelled
        ]

    def peer(self, number: int) -> Peer | None:
        """Return a server whose connection stands."""
        standing = [each for each in self.peers if not each.connecting.wire.closed]
        return standing[number % len(standing)] if standing else None

    def do(self, action: str, number: int) -> None:
        """Let one thing happen."""
        getattr(self, action, self.at_server)(*((number,) if hasattr(self, action) else (action, number)))
        self.scene.settle()
        for each in self.peers:
            if not each.connecting.wire.closed:
                try:
                    each.hear()
                except Exception as error:  # of h2, at the server: it was told nonsense
                    raise AssertionError("the client does not speak HTTP/2") from error

    def start(self, number: int) -> None:
        """Begin a call with one message."""
        self.calls.append(self.scene.start())

    def stream(self, number: int) -> None:
        """Begin a call that does not end by itself."""
        call, receiver = self.scene.start(request=None)
        call.send(b"part")
        self.calls.append((call, receiver))

    def cancel(self, number: int) -> None:
        """Give a call up."""
        if self.calls:
            index = number % len(self.calls)
            if not self.calls[index][1].ends:
                self.cancelled.add(index)
            self.calls[index][0].cancel()  # type: ignore[attr-defined]

    def accept(self, number: int) -> None:
        """Let a connection stand."""
        wanted = self.wanted()
        if wanted:
            connecting = wanted[number % len(wanted)]
            self.settled.add(id(connecting))
            settings = {"MAX_CONCURRENT_STREAMS": 2} if number % 2 else {}
            self.peers.append(Peer(connecting.accept(), **settings))

    def refuse(self, number: int) -> None:
        """Refuse a connection."""
        wanted = self.wanted()
        if wanted:
            self.settled.add(id(wanted[0]))
            wanted[0].refuse()

    def time(self, number: int) -> None:
        """Let time pass."""
        self.scene.settle(number)

    def remove(self, number: int) -> None:
        """Remove a host."""
        if len(self.scene.cluster.hosts) > 1:
            self.scene.cluster.remove(self.scene.cluster.hosts[number % 2])

    def replaced(self, number: int) -> None:
        """Let the configuration be replaced."""
        if number == 0:
            self.scene.pools.leave()

    def at_server(self, action: str, number: int) -> None:
        """Let a server do something."""
        peer = self.peer(number)
        if peer is None:
            return
        streams = [each for each in peer.requests if each not in peer.resets and each not in peer.done]
        stream = streams[number % len(streams)] if streams else 0
        if action == "goaway":
            peer.leave(number)
        elif action == "last":
            peer.leave(max(streams, default=0))
        elif action in ("lost", "fin", "rubbish"):
            self.end(peer, action)
        elif stream:
            self.on_stream(peer, action, stream)

    def end(self, peer: Peer, action: str) -> None:
        """Let a connection end."""
        if action == "rubbish":
            peer.connecting.upstream.dataReceived(b"\0\0\1\0\0\0\0\0\1x")
        elif action == "fin":
            peer.connecting.half_close()
        else:
            peer.connecting.wire.closed = True
            peer.connecting.reset()

    def on_stream(self, peer: Peer, action: str, stream: int) -> None:
        """Let a server answer a call, in whole or in part."""
        if action in ("rst", "refuse_stream"):
            peer.reset(stream, 8 if action == "rst" else 7)
            peer.done.add(stream)
            return
        if stream not in peer.begun:
            peer.head(stream)
            peer.begun.add(stream)
        if action in ("answer", "trailers", "fail"):
            if action == "answer":
                peer.data(stream, frame(b"x"))
            peer.trailers(stream, 13 if action == "fail" else 0)
            peer.done.add(stream)

    def finish(self) -> None:
        """Let all end, and check that it has."""
        for _ in range(4):
            self.do("time", 11)
        for index, (_, receiver) in enumerate(self.calls):
            assert len(receiver.ends) == (index not in self.cancelled), (index, receiver.ends)
        cluster = self.scene.cluster
        assert cluster.stats.upstream_rq_active.value == cluster.stats.upstream_rq_pending_active.value == 0
        assert cluster.limits.requests.count == cluster.limits.pending.count == 0
        assert all(host.rq_active == 0 for host in self.scene.hosts)
        assert not any(connecting.upstream.busy for connecting in cluster.connects)


@given(st.lists(ACTIONS, max_size=40))
def test_ends_once(actions: list[tuple[str, int]]) -> None:
    """Each call that is not given up is told once that it is over, and no count stays."""
    play = Play()
    for action, number in actions:
        play.do(action, number)
    play.finish()


@given(st.lists(st.binary(max_size=60), max_size=5), st.booleans())
def test_rubbish(chunks: list[bytes], settings: bool) -> None:
    """Whatever bytes a host sends, nothing raises, and its calls end."""
    scene = Scene(timeout="1s")
    calls = [scene.start() for _ in range(2)]
    connecting = scene.cluster.connects[0].accept()
    for chunk in [b"\0\0\0\4\0\0\0\0\0"] * settings + chunks:
        if not connecting.wire.closed:
            connecting.upstream.dataReceived(chunk)
    scene.settle(2)
    scene.settle(2)
    for _, receiver in calls:
        assert receiver.code in list(Status)
