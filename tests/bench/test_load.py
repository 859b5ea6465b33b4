"""
What the clients read, and what they do over loopback.
"""

from __future__ import annotations

import socket
import threading
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.codec.mongo import wire
from tests.bench import load, mongo
from tests.bench.openloop import OpenLoop, arrivals, summary
from tests.bench.programs import Failed
from tests.ports import free_port

WRK = """\
Running 5s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.95ms  391.42us   9.21ms   85.51%
    Req/Sec    32.86k     1.53k   35.31k    68.00%
  163500 requests in 5.00s, 26.51MB read
{errors}Requests/sec:  32690.96
Transfer/sec:      5.30MB
"""


class TestWrk:
    """The summary of wrk."""

    def test_requests(self) -> None:
        """Count and rate are read."""
        assert load.parse_wrk(WRK.format(errors="")) == load.Requests(163500, 32690.96, 0)

    def test_errors(self) -> None:
        """Errors of sockets and answers other than 2xx and 3xx are added up."""
        errors = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 90\n"
        assert load.parse_wrk(WRK.format(errors=errors)).errors == 100

    @given(st.text())
    def test_rubbish(self, text: str) -> None:
        """What is no summary raises ValueError."""
        with pytest.raises(ValueError, match="not a summary"):
            load.parse_wrk(text)


def serve(answer: bytes) -> int:
    """Answer one connection, close it, and return the port."""
    server = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        with server, server.accept()[0] as sock:
            sock.recv(4096)
            sock.sendall(answer)

    threading.Thread(target=work, daemon=True).start()
    port: int = server.getsockname()[1]
    return port


class TestDownload:
    """Downloads."""

    def test_bytes(self) -> None:
        """All that came is counted."""
        assert load.download(serve(b"x" * 70000), 60000, 0) == 70000

    def test_short(self) -> None:
        """A download that is cut short is no measurement."""
        with pytest.raises(Failed, match="after 10 of 60000"):
            load.download(serve(b"x" * 10), 60000, 0)


class TestIdle:
    """Idle connections."""

    def test_closed(self) -> None:
        """A connection that gets no answer is named."""
        with pytest.raises(Failed, match="connection 0"), load.idle_connections(serve(b""), 2):
            raise AssertionError("not reached")


class TestOpenLoop:
    """The open-loop client."""

    def test_arrivals(self) -> None:
        """The same times each time, at the rate in the long run."""
        times = list(islice(arrivals(100.0), 2000))
        assert times == sorted(times) == list(islice(arrivals(100.0), 2000))
        assert 18 < times[-1] < 22

    def test_summary(self) -> None:
        """Seconds become microseconds."""
        seen = summary([0.003, 0.001, 0.002], [], 1.5, 7.0)
        assert (seen.count, seen.rate, seen.late, seen.cost) == (3, 2.0, 0.0, 7.0)
        assert (round(seen.p50), round(seen.most)) == (2000, 3000)

    def test_run(self) -> None:
        """All that was due is answered, and only what was due after the warm-up counts."""
        port = free_port()
        seen = OpenLoop(port, port, 4).run(500.0, 0.1, 0.2)
        due = [time for time in islice(arrivals(500.0), 1000) if 0.1 <= time < 0.3]
        assert abs(seen.count - len(due)) <= 1
        assert 0 < seen.p50 <= seen.p99 <= seen.p999 <= seen.most


class TestMongo:
    """The load of MongoDB's protocol."""

    @pytest.mark.parametrize(("kind", "opcodes"), [("msg", (2013, 2013)), ("query", (2004, 1))])
    def test_messages(self, kind: str, opcodes: tuple[int, int]) -> None:
        """A request and its answer are well-formed, and the document has 1 KiB."""
        sizes = []
        for data, opcode in zip(mongo.wire(kind), opcodes, strict=True):
            size, _, _, found = wire.header(bytes(data))
            assert (size, found) == (len(data), opcode)
            assert not isinstance(wire.read(bytes(data)), wire.Skipped)
            sizes.append(size)
        assert 1024 <= sizes[1] < 1200

    def test_run(self) -> None:
        """Clients that connect to the server itself are answered."""
        port = free_port()
        with load.mongo("msg", port, port, 0.2) as run:
            assert run() > 100

    def test_does_not_start(self) -> None:
        """Where nobody accepts it fails."""
        with pytest.raises(Failed), load.mongo("msg", 1, free_port(), 0.2):
            pass
