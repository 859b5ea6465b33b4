"""How connections end: half-closes and resets are passed on, and nothing is left behind."""

import random
import threading
from pathlib import Path

import pytest

from tests.interop.case import Case
from tests.interop.oracle import Proxy
from tests.interop.peers import FIN, RST, Peer, ends_first, hangs, late_answer, resets, sink, wait_until
from tests.interop.yaml_parts import relay


def descriptors(proxy: Proxy) -> int:
    """Return how many descriptors the process has open."""
    return len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir()))


def idle(case: Case) -> None:
    """Wait until no connection is left in meshd."""
    for name in ("listener.front.downstream_cx_active", "cluster.c.upstream_cx_active"):
        case.proxy.await_stat(name, 0)


def test_client_half_closes(case: Case) -> None:
    """A client's FIN reaches the backend, whose late reply still comes, and then its FIN."""
    case.start(relay(case.backend(late_answer(b"late"))))
    client = case.client()
    client.send(b"hello")
    client.half_close()
    assert client.read_to_end() == (b"late", FIN)
    idle(case)


def test_backend_half_closes(case: Case) -> None:
    """A backend's FIN reaches the client, whose bytes still reach the backend."""
    backend = case.backend(ends_first(b"bye"))
    case.start(relay(backend))
    client = case.client()
    assert client.read_to_end() == (b"bye", FIN)
    client.send(b"one more")
    client.close()
    backend.finish()
    assert (bytes(backend.peer().received), backend.peer().ending) == (b"one more", FIN)
    idle(case)


def test_resets(case: Case) -> None:
    """A RST from either side reaches the other as RST."""
    backend = case.backend(resets(1))
    case.start(relay(backend))
    client = case.client()
    client.send(b"x")
    assert client.read_to_end()[1] == RST
    backend.script = sink
    client = case.client()
    client.send(b"x")
    wait_until(lambda: len(backend.peers) > 1 and backend.peers[1].received, "the byte to arrive")
    client.reset()
    backend.finish()
    assert backend.peer(1).ending == RST
    idle(case)


def test_reset_after_half_close(case: Case) -> None:
    """A client that half-closed and then resets does not leave the backend waiting."""
    backend = case.backend(hangs)
    case.start(relay(backend))
    client = case.client()
    client.half_close()
    wait_until(lambda: backend.peers and backend.peer().ending == FIN, "the FIN to arrive")
    client.reset()
    backend.peer().await_reset()
    idle(case)


class Ragged:
    """A backend script that does a random amount of everything and then ends in a random way."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lock = threading.Lock()

    def __call__(self, peer: Peer) -> None:
        with self.lock:
            chance = random.Random(self.random.random())
        cut(peer, chance)


def cut(peer: Peer, chance: random.Random) -> None:
    """Send and receive at random, then half-close, close or reset."""
    peer.sock.settimeout(0.05)
    try:
        for _ in range(chance.randrange(4)):
            if chance.random() < 0.6:
                peer.send(bytes(chance.randrange(20000)))
            else:
                try:
                    peer.some(chance.randrange(1, 20000))
                except TimeoutError:
                    pass
        ending = chance.random()
        if ending < 0.35:
            peer.reset()
        elif ending < 0.7:
            peer.close()
        else:
            peer.half_close()
            peer.sock.settimeout(5)
            peer.read_to_end()
            peer.close()
    except (OSError, TimeoutError):
        peer.sock.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cut_at_random(case: Case, seed: int) -> None:
    """A hundred connections cut anywhere, by either side: afterwards nothing is active, nothing lost."""
    backend = case.backend(Ragged(seed))
    proxy = case.start(relay(backend, access_log=[], idle_timeout="2s"))
    chance = random.Random(seed)
    case.client().reset()
    idle(case)
    before = descriptors(proxy)
    threads = []
    for _ in range(100):
        again = random.Random(chance.random())
        try:
            client = proxy.client()
        except ConnectionResetError:
            continue  # the backend was so quick with its reset that connect() told of it
        thread = threading.Thread(target=cut, args=(client, again))
        thread.start()
        threads.append(thread)
        if len(threads) % 20 == 0:
            threads[-20].join()
    for thread in threads:
        thread.join()
    backend.finish()
    idle(case)
    assert proxy.stat("tcp.t.downstream_cx_total") == 101
    stats = proxy.stats()
    assert stats["cluster.c.upstream_cx_total"] == stats["cluster.c.upstream_cx_destroy"]
    assert stats["listener.front.downstream_cx_total"] == stats["listener.front.downstream_cx_destroy"]
    assert not [name for name in stats if name.endswith("_buffered") and "admin" not in name and stats[name]]
    wait_until(lambda: descriptors(proxy) <= before, "all descriptors to be closed")
    assert "Traceback" not in proxy.said()
    case.clients.append(last := proxy.client())
    last.close()
