"""Tests for meshd.config.spellings."""

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.config import spellings
from meshd.config.errors import Place
from meshd.config.nodes import Node, from_plain, plain
from meshd.config.spellings import BadSpelling, split_address
from tests.config.doubles import PLUGINS

PLACE = Place("f", 1, 1)
WORDS = st.sampled_from(
    [
        "hosts",
        "address",
        "filters",
        "match",
        "path",
        "format",
        "json",
        "name",
        "priority",
        "weight",
        "endpoint",
        "echo",
    ]
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


def spell(spelling: Callable[..., Node], value: Any, **options: Any) -> Any:
    """Return what a value is in the long form."""
    return plain(spelling(from_plain(value, PLACE), **options))


class SpellingCase(SynchronousTestCase):
    """Long and bad values."""

    spelling: Callable[..., Node]
    options: dict[str, Any] = {}

    def assert_long(self, value: Any, wanted: Any) -> None:
        """A value has this long form, which stays as it is."""
        self.assertEqual(spell(type(self).spelling, value, **self.options), wanted)
        self.assertEqual(spell(type(self).spelling, wanted, **self.options), wanted)

    def assert_bad(self, value: Any, text: str) -> None:
        """A value is refused with this text."""
        error = self.assertRaises(BadSpelling, spell, type(self).spelling, value, **self.options)
        self.assertIn(text, error.message)


class AddressTests(SpellingCase):
    """An Address."""

    spelling = spellings.address

    def test_sockets(self) -> None:
        """IPv4, IPv6 in brackets, and names."""
        for text, host, port in (
            ("10.0.0.1:80", "10.0.0.1", 80),
            ("[::1]:0", "::1", 0),
            ("db.example:5", "db.example", 5),
        ):
            self.assert_long(text, {"socket_address": {"address": host, "port_value": port}})

    def test_pipes(self) -> None:
        """Paths, and names of Linux's abstract sockets."""
        for text, path in (("/run/x", "/run/x"), ("unix:/run/x", "/run/x"), ("@x", "@x"), ("unix:@x", "@x")):
            self.assert_long(text, {"pipe": {"path": path}})

    def test_bad(self) -> None:
        """An address needs a port; IPv6 needs brackets."""
        for text in ("10.0.0.1", "::1:80", "[::1]", "[::1]80", "a:b", ":80", "a:", "", "a:123456"):
            self.assert_bad(text, "expected ADDRESS:PORT")

    def test_parts(self) -> None:
        """Host and port are told apart; what is no port belongs to the host."""
        self.assertEqual(split_address("[::1]:80"), ("::1", 80))
        self.assertEqual(split_address("[::1]"), ("::1", None))
        self.assertEqual(split_address("::1"), ("::1", None))


class SocketAddressTests(SpellingCase):
    """A SocketAddress, as that to bind to."""

    spelling = spellings.socket_address

    def test_without_port(self) -> None:
        """The port may be left out."""
        self.assert_long("127.0.0.2", {"address": "127.0.0.2", "port_value": 0})
        self.assert_long("::1", {"address": "::1", "port_value": 0})
        self.assert_long("127.0.0.2:5", {"address": "127.0.0.2", "port_value": 5})


class RangeTests(SpellingCase):
    """A CidrRange."""

    spelling = spellings.cidr_range

    def test_ranges(self) -> None:
        """A prefix with its length, or one address."""
        self.assert_long("10.0.0.0/8", {"address_prefix": "10.0.0.0", "prefix_len": 8})
        self.assert_long("::/0", {"address_prefix": "::", "prefix_len": 0})
        self.assert_long("10.0.0.1", {"address_prefix": "10.0.0.1", "prefix_len": 32})

    def test_bad(self) -> None:
        """The length has to fit the address."""
        for text in ("10.0.0.0/33", "10.0.0/8", "x", "10.0.0.0/", "10.0.0.0/-1", "::/129"):
            self.assert_bad(text, "expected ADDRESS/BITS")


class ExtensionTests(SpellingCase):
    """A network filter."""

    spelling = spellings.extension
    options = {"kind": "network", "plugins": PLUGINS}
    TYPE = "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"

    def test_names(self) -> None:
        """The last part of a name is enough; the whole name will do."""
        long = {"name": "envoy.filters.network.echo", "typed_config": {"@type": self.TYPE}}
        for name in ("echo", "envoy.filters.network.echo"):
            shorts: list[Any] = [name, {name: {}}, {name: None}]
            for short in shorts:
                self.assert_long(short, long)

    def test_config(self) -> None:
        """The config goes into typed_config, a @type of its own stays."""
        found = spell(spellings.extension, {"tcp_proxy": {"cluster": "a"}}, **self.options)
        self.assertEqual(found["typed_config"]["cluster"], "a")
        self.assert_long(
            {"echo": {"@type": "a/b.C"}},
            {"name": "envoy.filters.network.echo", "typed_config": {"@type": "a/b.C"}},
        )

    def test_attrs(self) -> None:
        """The config of an attrs class becomes a TypedStruct."""
        found = spell(spellings.extension, {"greeting": {"text": "hi"}}, **self.options)
        self.assertEqual(found["name"], "acme.filters.greeting")
        self.assertEqual(
            found["typed_config"],
            {
                "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
                "type_url": "type.googleapis.com/acme.filters.greeting",
                "value": {"text": "hi"},
            },
        )

    def test_bad(self) -> None:
        """A name that is not known has suggestions; two filters are not one."""
        self.assert_bad("eco", "meshd has no network filter 'eco'; did you mean 'echo'?")
        self.assert_bad({"echo": {}, "tcp_proxy": {}}, "expected one network filter, not 2")
        self.assert_bad({"echo": 5}, "expected the config of envoy.filters.network.echo, an object")


class AccessLogTests(SpellingCase):
    """An AccessLog."""

    spelling = spellings.access_log
    FILE = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"

    def test_path(self) -> None:
        """A path is a file, stdout and stderr are streams."""
        self.assert_long(
            "/x", {"name": "envoy.access_loggers.file", "typed_config": {"@type": self.FILE, "path": "/x"}}
        )
        stream = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
        self.assert_long("stdout", {"name": "envoy.access_loggers.stdout", "typed_config": {"@type": stream}})

    def test_format(self) -> None:
        """A format is a line; json is an object; a filter is v3."""
        found = spell(spellings.access_log, {"path": "/x", "format": "%DURATION%", "filter": {"a": 1}})
        self.assertEqual(
            found["typed_config"]["log_format"], {"text_format_source": {"inline_string": "%DURATION%\n"}}
        )
        self.assertEqual(found["filter"], {"a": 1})
        found = spell(spellings.access_log, {"path": "stderr", "json": {"a": "b"}})
        self.assertEqual(found["typed_config"]["log_format"], {"json_format": {"a": "b"}})

    def test_bad(self) -> None:
        """A path there must be, one format, and nothing else."""
        self.assert_bad({"format": "x"}, "needs a path")
        self.assert_bad({"path": "/x", "format": "x", "json": {}}, "give one")
        self.assert_bad({"path": "/x", "fromat": "x"}, "did you mean 'format'?")
        self.assert_bad({"path": "/x", "format": 5}, "expected a format")


class ListenerTests(SpellingCase):
    """A Listener."""

    spelling = spellings.listener

    def test_chain(self) -> None:
        """A list of filters is one chain."""
        self.assertEqual(spell(spellings.listener, ["echo"]), {"filter_chains": [{"filters": ["echo"]}]})
        self.assertEqual(
            spell(spellings.listener, {"name": "a", "filters": ["echo"]}),
            {"filter_chains": [{"filters": ["echo"]}], "name": "a"},
        )

    def test_addresses(self) -> None:
        """Several addresses, as a list or with commas."""
        long = {"address": "a:1", "additional_addresses": [{"address": "b:2"}]}
        self.assertEqual(spell(spellings.listener, {"address": "a:1, b:2"}), long)
        self.assertEqual(spell(spellings.listener, {"address": ["a:1", "b:2"]}), long)

    def test_bad(self) -> None:
        """What is said twice is refused."""
        self.assert_bad({"filters": [], "filter_chains": []}, "cannot both be given")
        self.assert_bad({"address": "a:1,b:2", "additional_addresses": []}, "at one place")


class ChainTests(SpellingCase):
    """A FilterChain."""

    spelling = spellings.filter_chain

    def test_chain(self) -> None:
        """A list is its filters; match is filter_chain_match."""
        self.assert_long(["echo"], {"filters": ["echo"]})
        self.assert_long({"match": {}, "filters": []}, {"filter_chain_match": {}, "filters": []})
        self.assert_bad({"match": {}, "filter_chain_match": {}}, "one and the same")


class ClusterTests(SpellingCase):
    """A Cluster."""

    spelling = spellings.cluster
    options = {"plugins": PLUGINS}

    def hosts(self, *hosts: Any, **more: Any) -> Any:
        """Return the long form of a cluster with these hosts."""
        return spell(spellings.cluster, {"hosts": list(hosts), **more}, plugins=PLUGINS)

    def test_hosts(self) -> None:
        """Hosts become a load_assignment of the cluster's name."""
        found = self.hosts("10.0.0.1:80", "/x", name="a")
        endpoints = [
            {"lb_endpoints": [{"endpoint": {"address": "10.0.0.1:80"}}, {"endpoint": {"address": "/x"}}]}
        ]
        self.assertEqual(
            found, {"load_assignment": {"endpoints": endpoints, "cluster_name": "a"}, "name": "a"}
        )

    def test_one(self) -> None:
        """A list, or one host, is a cluster."""
        self.assertEqual(spell(spellings.cluster, ["1.2.3.4:5"], **self.options), self.hosts("1.2.3.4:5"))
        self.assertEqual(spell(spellings.cluster, "1.2.3.4:5", **self.options), self.hosts("1.2.3.4:5"))

    def test_names(self) -> None:
        """If a host has a name it is looked up, unless the type says otherwise."""
        self.assertEqual(self.hosts("db:80")["type"], "STRICT_DNS")
        self.assertEqual(self.hosts({"address": "db:80"}, type="LOGICAL_DNS")["type"], "LOGICAL_DNS")
        self.assertNotIn("type", self.hosts("[::1]:80", "/x"))

    def test_options(self) -> None:
        """A host may have a weight, a hostname, a priority and a locality."""
        found = self.hosts(
            {"address": "1.2.3.4:5", "weight": 3, "hostname": "h", "metadata": {}},
            {"address": "1.2.3.4:6", "priority": 1, "locality": {"zone": "z"}},
        )
        first, second = found["load_assignment"]["endpoints"]
        self.assertEqual(
            first["lb_endpoints"][0],
            {
                "endpoint": {"address": "1.2.3.4:5", "hostname": "h"},
                "load_balancing_weight": 3,
                "metadata": {},
            },
        )
        self.assertEqual((second["priority"], second["locality"]), (1, {"zone": "z"}))

    def test_groups(self) -> None:
        """Hosts of one priority and locality are together."""
        found = self.hosts({"address": "a:1", "priority": 1}, "b:2", {"address": "c:3", "priority": 1})
        self.assertEqual(
            [len(each["lb_endpoints"]) for each in found["load_assignment"]["endpoints"]], [2, 1]
        )

    def test_v3(self) -> None:
        """A host in the v3 form stays as it is."""
        self.assertEqual(
            self.hosts({"endpoint": {"address": "a:1"}})["load_assignment"]["endpoints"][0]["lb_endpoints"],
            [{"endpoint": {"address": "a:1"}}],
        )

    def test_bad(self) -> None:
        """Hosts need addresses, and are said once."""
        self.assert_bad({"hosts": [{}]}, "needs an address")
        self.assert_bad({"hosts": [5]}, "expected a host")
        self.assert_bad({"hosts": [], "load_assignment": {}}, "give one")
        self.assert_bad({"hosts": [{"endpoint": {}, "hostname": "a"}]}, "belongs inside of endpoint")


class OtherTests(SynchronousTestCase):
    """The smaller ones."""

    def test_strings(self) -> None:
        """A string is the content of a DataSource, and the address of an AdditionalAddress."""
        self.assertEqual(spell(spellings.data_source, "hi"), {"inline_string": "hi"})
        self.assertEqual(spell(spellings.data_source, {"filename": "x"}), {"filename": "x"})
        self.assertEqual(spell(spellings.additional_address, "a:1"), {"address": "a:1"})

    @given(ANYTHING)
    def test_rubbish(self, value: Any) -> None:
        """Any value has a long form, or is a BadSpelling."""
        for spelling in (
            spellings.address,
            spellings.cidr_range,
            spellings.access_log,
            spellings.listener,
            spellings.filter_chain,
            partial(spellings.cluster, plugins=PLUGINS),
        ):
            try:
                spell(spelling, value)
            except BadSpelling:
                pass
        for kind in ("network", "listener", "transport_socket", "upstream_transport_socket"):
            try:
                spell(spellings.extension, value, kind=kind, plugins=PLUGINS)
            except BadSpelling:
                pass
