"""A Redis Cluster that is asked, and used, over TLS."""

from __future__ import annotations

from pathlib import Path

from tests.integration.test_redis_property import endpoints, proxied
from tests.interop.oracle import Proxy
from tests.interop.tls_parts import client_tls, trusting
from tests.ports import free_port
from tests.redis_servers import RedisCluster, RedisServer, Talk
from tests.tls.authority import Authority

CONFIG = "type.googleapis.com/envoy.extensions.clusters.redis.v3.RedisClusterConfig"


def test_tls(tmp_path: Path) -> None:
    """The topology is asked for over TLS, and tells the ports for TLS, which the commands then go to."""
    authority = Authority()
    chain, key = authority.issue(ip=["127.0.0.1"]).write(tmp_path, "server")
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(authority.alone)
    port = free_port()
    server = RedisServer(
        "--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--tls-port", str(port),
        "--tls-cert-file", chain, "--tls-key-file", key, "--tls-ca-cert-file", str(trusted),
        "--tls-auth-clients", "no", "--tls-cluster", "yes",
    )  # fmt: skip
    cluster = {
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.redis", "typed_config": {"@type": CONFIG}},
        "load_assignment": endpoints([port]),
        "transport_socket": client_tls(common=trusting(authority)),
    }
    try:
        direct = server.talk()
        assert direct.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == b"OK"
        RedisCluster.wait(
            lambda: b"cluster_state:ok" in direct.ask("CLUSTER", "INFO"), "the cluster to be ready"
        )
        proxy = Proxy("meshd", proxied(cluster), tmp_path)
        try:
            proxy.await_stat("cluster.c.membership_total", 1)
            assert f"127.0.0.1:{port}::" in proxy.get("/clusters").text
            where = proxy.address()
            assert isinstance(where, tuple)
            through = Talk(where[1])
            assert through.ask("SET", "k", "over tls") == b"OK"
            assert direct.ask("GET", "k") == b"over tls"
            through.close()
        finally:
            proxy.stop()
        direct.close()
    finally:
        server.stop()
