"""Tests for meshd.upstream.program."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor  # noqa: TID251 - the programs are real, and this one reaps them
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from meshd.net.poller import Poller
from meshd.net.program import Exec
from meshd.net.timers import Timers
from meshd.observe.info import ConnectionInfo
from meshd.testing import CLIENT, SERVER
from meshd.upstream.connect import Connector
from meshd.upstream.program import GRACE, NAME, ProgramCluster, environment
from tests.net.reaping import ReapingCase
from tests.tls.authority import Authority, subject_of
from tests.upstream.dialling import Caller
from tests.upstream.support import Surrounding, message


class ProgramClusterTests(ReapingCase):
    """A cluster that is a program."""

    def prepare(self) -> None:
        self.poller = Poller(reactor)
        self.poller.start()
        self.timers = Timers(reactor)
        self.around = Surrounding()
        context = self.around.context
        context.reactor = reactor
        context.timers = self.timers
        context.connector = Connector(self.poller, self.timers)
        self.caller = Caller()
        self.addCleanup(self.timers.stop)
        self.addCleanup(self.poller.stop)

    def cluster(self, script: str, **more: Any) -> ProgramCluster:
        """Return a cluster that is a shell script."""
        settings = Exec("/bin/sh", ("sh", "-c", script), **more)
        config = message(cluster_type={"name": NAME}, connect_timeout="1s")
        made = ProgramCluster(settings, config, self.around.context)
        made.start()
        self.addCleanup(self.stop, made)
        return made

    async def stop(self, cluster: ProgramCluster) -> None:
        """End the cluster and its programs, and let the time pass that their connections have."""
        cluster.stop()
        await self.until(lambda: not cluster.running)
        await deferLater(reactor, GRACE + 0.05, lambda: None)

    async def test_conversation(self) -> None:
        """What is written is the program's input, what it says is received; each end is told."""
        cluster = self.cluster("read line; echo $REMOTE_HOST:$REMOTE_PORT $line; cat; echo over")
        cluster.connect(self.caller, ConnectionInfo(CLIENT, SERVER))
        self.assertEqual(self.caller.events, [])
        await self.until(lambda: self.caller.events)
        self.caller.transport.write(b"one\ntwo\n")
        await self.until(lambda: b"two" in self.caller.data)
        self.caller.transport.loseWriteConnection()
        await self.until(lambda: "lost" in self.caller.events)
        self.assertEqual(self.caller.data, b"192.0.2.1:40000 one\ntwo\nover\n")
        self.assertEqual(self.caller.events, ["made", "fin", "lost"])
        self.assertEqual(self.around.value("upstream_cx_active"), 0)

    async def test_ends_by_itself(self) -> None:
        """When the program has ended, and all it said was passed on, the connection ends."""
        self.cluster("echo bye").connect(self.caller, ConnectionInfo(CLIENT, SERVER))
        await self.until(lambda: "lost" in self.caller.events)
        self.assertEqual(self.caller.data, b"bye\n")
        self.assertEqual(self.caller.events, ["made", "fin", "lost"])

    async def test_missing(self) -> None:
        """A program that is not there is a host that cannot be connected to."""
        settings = Exec("/nonexistent/program")
        cluster = ProgramCluster(settings, message(cluster_type={"name": NAME}), self.around.context)
        cluster.connect(self.caller, ConnectionInfo(CLIENT, SERVER))
        self.assertEqual(self.caller.events, [])
        await self.until(lambda: self.caller.events)
        self.assertEqual(self.caller.events, ["failed"])
        self.assertIn("/nonexistent/program cannot be run: No such file", str(self.caller.error))

    async def test_stopped(self) -> None:
        """Programs that still run when all ends are ended."""
        cluster = self.cluster("echo $$; exec sleep 60")
        cluster.connect(self.caller, ConnectionInfo(CLIENT, SERVER))
        await self.until(lambda: self.caller.data)
        cluster.stop()
        await self.until(lambda: "lost" in self.caller.events)

    async def test_full(self) -> None:
        """A program that does not read is not written to without end: the producer is paused."""
        paused: Deferred[None] = Deferred()

        class Producer:
            def pauseProducing(self) -> None:
                paused.callback(None)

            def resumeProducing(self) -> None:
                pass

            def stopProducing(self) -> None:
                pass

        cluster = self.cluster("echo ready; exec sleep 60")
        cluster.connect(self.caller, ConnectionInfo(CLIENT, SERVER))
        await self.until(lambda: self.caller.data)
        self.caller.transport.registerProducer(Producer(), True)
        self.caller.transport.write(b"x" * (8 << 20))
        await paused
        self.caller.transport.abortConnection()
        await self.until(lambda: "lost" in self.caller.events)


class EnvironmentTests(SynchronousTestCase):
    """What a program is told of the client."""

    def test_plain(self) -> None:
        """Without TLS it is the address; of a unix socket, nothing."""
        self.assertEqual(
            environment(ConnectionInfo(CLIENT, SERVER)),
            {"REMOTE_HOST": "192.0.2.1", "REMOTE_PORT": "40000"},
        )
        self.assertEqual(environment(ConnectionInfo("", "/run/front")), {})

    def test_certificate(self) -> None:
        """With a certificate it is the names of its subject and issuer, too."""
        authority = Authority("Root")
        leaf = authority.issue(subject=subject_of("Zoë", "Here / there"))
        info = ConnectionInfo(CLIENT, SERVER)
        info.tls = SimpleNamespace(peer=SimpleNamespace(der=leaf.der))
        found = environment(info)
        self.assertEqual(found["SSL_CLIENT_DN"], "/O=Here / there/CN=Zo\\xC3\\xAB")
        self.assertEqual(found["SSL_CLIENT_I_DN"], "/CN=Root")

    def test_no_certificate(self) -> None:
        """TLS without a client's certificate tells nothing."""
        info = ConnectionInfo(CLIENT, SERVER)
        info.tls = SimpleNamespace(peer=None)
        self.assertNotIn("SSL_CLIENT_DN", environment(info))
