"""Tests for meshd.net.relay: that pipes are reused, and not leaked."""

import os
import socket

from meshd.net import relay
from tests.net.loop import fill, open_files, some_bytes
from tests.net.relayed import MEGABYTE, RelayCase, Relayed, drain, transfer


class PipeTests(RelayCase):
    """The pipes, which are not to be leaked."""

    def setUp(self) -> None:
        self.empty_spares()
        self.addCleanup(self.empty_spares)

    def empty_spares(self) -> None:
        """Close the pipes kept for reuse."""
        while relay._spare:
            relay._spare.pop().close()

    def bulk(self) -> Relayed:
        """Return a pair whose way to the server has a pipe."""
        it = self.make(MEGABYTE).join()
        transfer(it.loop, it.client, it.server, 2_000_000, 262144, 262144)
        assert it.to_server._pipe is not None
        return it

    def test_reused(self) -> None:
        """An empty pipe is kept, and is the next one's."""
        it = self.bulk()
        pipe = it.to_server._pipe
        it.close()
        self.assertEqual(relay._spare, [pipe])
        self.assertIs(self.bulk().to_server._pipe, pipe)

    def test_not_leaked(self) -> None:
        """After many bulk connections no more is open than the one pipe that is kept."""
        before = open_files()
        for _ in range(5):
            it = self.bulk()
            it.close()
        self.assertEqual(open_files(), before + 2)

    def test_full_pipe_is_closed(self) -> None:
        """A pipe that still has data is not for others."""
        before = open_files()
        it = self.make().join()
        self.stall(it)
        self.assertGreater(it.to_server._waiting, 0)
        it.close()
        self.assertEqual(relay._spare, [])
        self.assertEqual(open_files(), before)

    def test_no_more_than_some_are_kept(self) -> None:
        """Beyond SPARE_PIPES, pipes are closed."""
        it = self.bulk()
        before = open_files()
        self.patch(relay, "SPARE_PIPES", 0)
        it.leave()
        self.assertEqual((relay._spare, open_files()), ([], before - 2))

    def test_freed(self) -> None:
        """Those that are kept are given up where descriptors run out; one in use is not."""
        one, other = self.bulk(), self.bulk()
        one.leave()
        before = open_files()
        relay.free_spare_pipes()
        self.assertEqual((relay._spare, open_files()), ([], before - 2))
        transfer(other.loop, other.client, other.server, 2_000_000, 262144, 262144)

    def test_put_off_call(self) -> None:
        """A call from before the change-over, that comes after it, makes no second pipe."""
        it = self.bulk()
        pipe, files = it.to_server._pipe, open_files()
        data = some_bytes(MEGABYTE)
        count = fill(it.client, data)
        it.to_server.pump()
        self.assertIs(it.to_server._pipe, pipe)
        self.assertEqual(open_files(), files)
        it.client.shutdown(socket.SHUT_WR)
        self.assertEqual(drain(it, it.server)[0], data[:count])

    def test_no_descriptors(self) -> None:
        """Where no pipe can be had, copying goes on."""

        def none_left(flags: int) -> None:
            raise OSError(24, "Too many open files")

        self.patch(os, "pipe2", none_left)
        it = self.make(MEGABYTE).join()
        transfer(it.loop, it.client, it.server, 10_000_000, 262144, 262144)
        self.assertIs(it.to_server._pipe, None)
