"""Tests for meshd.xds.context."""

from pathlib import Path
from typing import Any

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from meshd.interfaces import IFactoryContext, IGrpcChannel
from meshd.plugin import ConfigError
from meshd.xds.context import Around
from tests.xds.running import ECHO, TYPE, Worker, file_log


class ContextTests(SynchronousTestCase):
    """What plugins are handed."""

    def setUp(self) -> None:
        self.worker = Worker()
        self.context = self.worker.context
        self.addCleanup(self.worker.loop.poller._epoll.close)
        self.addCleanup(self.worker.log_files.close)

    def test_provides(self) -> None:
        """It has all that the interface says."""
        verifyObject(IFactoryContext, self.context)

    def test_access_loggers(self) -> None:
        """Access loggers are made of their messages."""
        path = Path(self.mktemp())
        config = ParseDict(file_log(path, "x"), AccessLog())
        self.assertEqual(len(self.context.access_loggers([config, config])), 2)
        self.assertEqual(list(self.context.access_loggers([])), [])

    def test_log_file(self) -> None:
        """A log file is one for all who name it; one that cannot be opened is an error."""
        path = self.mktemp()
        self.context.log_file(path).write("line\n")
        self.assertIs(self.context.log_file(path), self.context.log_file(path))
        self.worker.log_files.flush()
        self.assertEqual(Path(path).read_text(), "line\n")
        self.assertRaises(ConfigError, self.context.log_file, "/no/such/directory/log")

    def test_dns_cache(self) -> None:
        """A DNS cache is one for all who name it, with the resolver of the worker."""
        config = DnsCacheConfig(name="d")
        cache = self.context.dns_cache(config)
        self.assertIs(
            self.context.within(Around("upstream", self.context.stats, "x")).dns_cache(config), cache
        )
        cache.find("a.test", 1)
        self.assertEqual([name for name, *_ in self.worker.resolver.lookups], ["a.test"])
        self.context.dns_caches.stop()

    def test_collect(self) -> None:
        """Who counts aside is asked before the statistics are read; nothing drains by itself."""
        counter = self.context.stats.counter("a")
        self.context.on_collect(counter.inc)
        store: Any = self.context.stats
        store.collect()
        self.assertEqual(counter.value, 1)
        self.assertFalse(self.context.draining())

    def test_grpc_channel(self) -> None:
        """Channels are made of their messages, and have the connections to a cluster in common."""
        service = ParseDict({"envoy_grpc": {"cluster_name": "c"}}, GrpcService())
        one, other = self.context.grpc_channel(service, 0.5), self.context.grpc_channel(service)
        verifyObject(IGrpcChannel, one)
        self.assertEqual((one.service.timeout, other.service.timeout), (0.5, 0.0))  # type: ignore[attr-defined]
        self.assertIs(one._pool, other._pool)  # type: ignore[attr-defined]
        self.assertRaises(ConfigError, self.context.grpc_channel, GrpcService())

    def test_no_transport_socket(self) -> None:
        """A transport socket that is not set has no links."""
        self.assertEqual(list(self.context.transport_socket(TransportSocket())), [])

    def test_transport_socket(self) -> None:
        """The links of a transport socket are made of its message, those within included."""
        raw = {
            "name": "envoy.transport_sockets.raw_buffer",
            "typed_config": {"@type": f"{TYPE}.transport_sockets.raw_buffer.v3.RawBuffer"},
        }
        header: dict[str, Any] = {
            "@type": f"{TYPE}.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
            "transport_socket": raw,
        }
        twice = {**header, "transport_socket": {"name": "outer", "typed_config": header}}
        for typed, number in ((header, 1), (twice, 2)):
            config = ParseDict({"name": "header", "typed_config": typed}, TransportSocket())
            self.assertEqual(len(self.context.transport_socket(config)), number)

    def test_unknown_transport_socket(self) -> None:
        """One that is not known is an error."""
        config = ParseDict({"name": "nothing", "typed_config": ECHO["typed_config"]}, TransportSocket())
        self.assertRaises(ConfigError, self.context.transport_socket, config)
