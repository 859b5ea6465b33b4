"""Tests for meshd.config.lenient: each line was tried on Envoy."""

from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.core.v3.base_pb2 import Node as NodeMessage
from envoy.extensions.filters.network.echo.v3.echo_pb2 import Echo
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.errors import BadConfig, Report, Spot
from meshd.config.lenient import Reader, check_duration, read_plain
from meshd.config.nodes import Composer
from tests.config.doubles import TYPE, cluster

NAMES = st.sampled_from(
    [
        "static_resources",
        "listeners",
        "clusters",
        "name",
        "address",
        "socket_address",
        "port_value",
        "type",
        "connect_timeout",
        "node",
        "id",
        "metadata",
        "typed_config",
        "@type",
        "filters",
        "filter_chains",
        "layered_runtime",
        "layers",
        "static_layer",
        "value",
        "seconds",
    ]
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def read(text: str, message: Any = None, **options: bool) -> Any:
    """Read YAML into a message, a Bootstrap if none is given; raise BadConfig."""
    report = Report()
    node = Composer("f", {}, report).compose(text)
    message = Bootstrap() if message is None else message
    Reader(report, **options).message(node, message, Spot(node.place))
    if report.problems:
        raise BadConfig(report.problems)
    return message


def read_cluster(line: str) -> Any:
    """Read one line of a cluster."""
    return read(cluster(line)).static_resources.clusters[0]


class AcceptedTests(SynchronousTestCase):
    """What Envoy accepts."""

    def test_same_as_protobuf(self) -> None:
        """What protobuf's own parser reads is read to the same."""
        value = {
            "node": {"id": "a", "metadata": {"x": [1, {"y": None}]}, "locality": {"subZone": "z"}},
            "staticResources": {"clusters": [{"name": "a", "type": 1, "connect_timeout": "0.25s"}]},
            "stats_flush_interval": "5s",
        }
        report, message = Report(), Bootstrap()
        read_plain(value, message, report)
        self.assertEqual((message, report.problems), (ParseDict(value, Bootstrap()), []))

    def test_enums(self) -> None:
        """Enums in any case, as numbers and as quoted numbers."""
        for value in ("strict_dns", "StRict_Dns", "1", "'1'"):
            self.assertEqual(read_cluster(f"type: {value}").type, 1)

    def test_durations(self) -> None:
        """Durations as strings, and as objects."""
        for value in ("1.5s", "{seconds: 1, nanos: 500000000}", "{seconds: '1', nanos: 5e8}"):
            self.assertEqual(read_cluster(f"connect_timeout: {value}").connect_timeout.ToMilliseconds(), 1500)

    def test_wrappers(self) -> None:
        """Wrappers as plain values, and as objects."""
        for value in ("100", "{value: 100}", "'100'"):
            found = read_cluster(f"per_connection_buffer_limit_bytes: {value}")
            self.assertEqual(found.per_connection_buffer_limit_bytes.value, 100)
        self.assertTrue(
            read_cluster("per_connection_buffer_limit_bytes: {}").HasField(
                "per_connection_buffer_limit_bytes"
            )
        )

    def test_bools(self) -> None:
        """Bools in quotes, and as yes and on."""
        for value in ("true", "'true'", "yes", "on", "y", "'1'"):
            self.assertTrue(read_cluster(f"respect_dns_ttl: {value}").respect_dns_ttl)

    def test_one_for_a_list(self) -> None:
        """A single value for a list of one."""
        self.assertEqual(
            read("static_resources: {clusters: {name: a}}").static_resources.clusters[0].name, "a"
        )
        self.assertEqual(list(read("node: {client_features: a}").node.client_features), ["a"])

    def test_strings(self) -> None:
        """A number with a fraction, or too large for 32 bits, is a string."""
        self.assertEqual(read("node: {id: 1.50}").node.id, "1.50")
        self.assertEqual(read("node: {id: 5000000000}").node.id, "5000000000")

    def test_null(self) -> None:
        """Null is nothing; in a list it is an empty item."""
        message = read("node: null\nstatic_resources: {clusters: [null]}\nadmin:\n")
        self.assertFalse(message.HasField("node") or message.HasField("admin"))
        self.assertEqual(len(message.static_resources.clusters), 1)
        self.assertEqual(list(read("node: {client_features: [null]}").node.client_features), [""])

    def test_names(self) -> None:
        """Fields by both of their names."""
        self.assertEqual(
            read("staticResources: {clusters: [{altStatName: x}]}")
            .static_resources.clusters[0]
            .alt_stat_name,
            "x",
        )

    def test_struct(self) -> None:
        """A Struct is free; its numbers with a fraction are strings, as from Envoy's YAML."""
        layer = read(
            "layered_runtime: {layers: [{name: a, static_layer: {a: 1.5, b: {c: [2, null]}}}]}"
        ).layered_runtime.layers[0]
        self.assertEqual(layer.static_layer, ParseDict({"a": "1.5", "b": {"c": [2, None]}}, Struct()))

    def test_maps(self) -> None:
        """Maps of messages, whose values may be null."""
        metadata = read_cluster("metadata: {filter_metadata: {a: {b: c}, d: null}}").metadata.filter_metadata
        self.assertEqual((metadata["a"]["b"], len(metadata["d"])), ("c", 0))

    def test_any(self) -> None:
        """An Any is a message by its @type, wherever that stands; empty is nothing."""
        text = f"{{'@type': {TYPE}.echo.v3.Echo}}"
        message = read(text, AnyMessage())
        self.assertTrue(message.Is(Echo.DESCRIPTOR))
        special = read("{value: 1s, '@type': type.googleapis.com/google.protobuf.Duration}", AnyMessage())
        self.assertEqual(special.type_url, "type.googleapis.com/google.protobuf.Duration")
        self.assertEqual(read("{}", AnyMessage()).type_url, "")

    def test_timestamp(self) -> None:
        """A time as RFC 3339, or as an object."""
        self.assertEqual(read("1970-01-01T00:00:05Z", Timestamp()).seconds, 5)
        self.assertEqual(read("{seconds: 5}", Timestamp()).seconds, 5)

    def test_unknown_allowed(self) -> None:
        """With allow_unknown a field that no message has is a warning."""
        report = Report()
        node = Composer("f", {}, report).compose("node: {idd: x, id: z}")
        message = Bootstrap()
        Reader(report, allow_unknown=True).message(node, message, Spot(node.place))
        self.assertEqual((message.node.id, report.problems, len(report.warnings)), ("z", [], 1))


class RefusedTests(SynchronousTestCase):
    """What Envoy refuses."""

    def assert_bad(self, text: str, *expected: str, message: Any = None) -> None:
        """Text has just these problems: each with its place and path, and the beginning of the message."""
        error = self.assertRaises(BadConfig, read, text, message)
        lines = [str(each).removeprefix("f:") for each in error.problems]
        self.assertEqual(len(lines), len(expected), lines)
        for line, start in zip(lines, expected, strict=True):
            self.assertTrue(line.startswith(start), line)

    def test_all_at_once(self) -> None:
        """Everything that is wrong is told, each with its place."""
        self.assert_bad(
            "node: {idd: x, id: 5}\nstatic_resources:\n  clusters:\n  - typ: a\n    type: b\n    "
            "name: true\n",
            "1:8: node.idd: envoy.config.core.v3.Node has no field 'idd'; did you mean 'id'?",
            "1:20: node.id: expected a string (put it in quotes), not the number 5",
            "4:5: static_resources.clusters[0].typ: envoy.config.cluster.v3.Cluster has no field "
            "'typ'; did you mean 'type'?",
            "5:11: static_resources.clusters[0].type: expected one of STATIC, ",
            "6:11: static_resources.clusters[0].name: expected a string (put it in quotes), not true",
        )

    def test_shapes(self) -> None:
        """A list is no object, an object no list and no string, and a string no object."""
        self.assert_bad("[]", "1:1: expected an object, not a list")
        self.assert_bad("node: ab", "1:7: node: expected an object, not 'ab'")
        self.assert_bad("node: {id: {a: b}}", "1:12: node.id: expected a string, not an object")
        self.assert_bad("node: {client_features: [[a]]}", "1:26: node.client_features[0]: expected a string")
        self.assert_bad(
            "static_resources: {clusters: [a]}", "1:31: static_resources.clusters[0]: expected an object"
        )
        self.assert_bad(
            cluster("metadata: {filter_metadata: [a]}"), "4:33: static_resources.clusters[0].metadata.filter"
        )
        self.assert_bad(
            cluster("metadata: {filter_metadata: {a: x}}"),
            "4:37: static_resources.clusters[0].metadata.filter_metadata.a: expected an object",
        )

    def test_durations(self) -> None:
        """A duration has an s."""
        for value in ("1", "1m", "1e0s", "'1'"):
            self.assert_bad(
                cluster(f"connect_timeout: {value}"),
                "4:22: static_resources.clusters[0].connect_timeout: expected a dur",
            )
        self.assert_bad(
            cluster("connect_timeout: {second: 1}"),
            "4:23: static_resources.clusters[0].connect_timeout.second: google.protobuf.Duration has no",
        )

    def test_one_of(self) -> None:
        """Two members of a oneof, or a field by both of its names, are told at the second."""
        self.assert_bad(
            cluster("type: STATIC", "cluster_type: {name: x}"),
            "5:5: static_resources.clusters[0].cluster_type: 'type' is given too",
        )
        self.assert_bad(
            "static_resources: {}\nstaticResources: {}\n",
            "2:1: static_resources: 'static_resources' is given too",
        )

    def test_any(self) -> None:
        """An Any needs a type URL of a known message; what lies in it is checked."""
        for text, start in (
            ("{a: b}", "1:1: '@type' is missing"),
            ("{type: b}", "1:1: '@type' is missing, which says what message this is; did you mean 'type'?"),
            ("x", "1:1: expected an object"),
            ("{'@type': envoy.Foo}", "1:11: @type: expected 'type.googleapis.com/envoy.Foo'"),
            ("{'@type': /envoy.Foo}", "1:11: @type: expected 'type.googleapis.com/envoy.Foo'"),
            ("{'@type': 5}", "1:11: @type: expected 'type.googleapis.com/package.Message'"),
            ("{'@type': a/envoy.Foo}", "1:11: @type: no message type 'envoy.Foo' is known"),
            (
                f"{{'@type': {TYPE}.echo.v3.Eco}}",
                "1:11: @type: no message type 'envoy.extensions.filters.network.echo.v3.Eco' is "
                "known; did you mean",
            ),
            (
                f"{{'@type': {TYPE}.echo.v3.Echo, a: 1}}",
                "1:78: a: envoy.extensions.filters.network.echo.v3.Echo has no",
            ),
        ):
            self.assert_bad(text, start, message=AnyMessage())

    def test_typed_struct(self) -> None:
        """A TypedStruct that stands for a known message is checked as that."""
        text = (
            f"{{'@type': a/xds.type.v3.TypedStruct, type_url: {TYPE}.tcp_proxy.v3.TcpProxy, value: "
            f"{{clustr: b}}}}"
        )
        self.assert_bad(
            text,
            "1:132: value.clustr: envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy has no "
            "field 'clustr'; did",
            message=AnyMessage(),
        )

    def test_times(self) -> None:
        """A time is RFC 3339."""
        for text in ("yesterday", "5", "99999-01-01T00:00:00Z"):
            self.assert_bad(text, "1:1: expected a time", message=Timestamp())

    def test_durations_of_messages(self) -> None:
        """Envoy takes no negative duration, and none of more than 10,000 years."""
        self.assertIsNone(check_duration(1, 5))
        self.assertIsNotNone(check_duration(-1, 0))
        self.assertIsNotNone(check_duration(0, -1))
        self.assertIsNotNone(check_duration(10**12, 0))

    @given(JSON)
    def test_rubbish(self, value: Any) -> None:
        """Any value is read, or gives problems; never anything else."""
        for message in (Bootstrap(), NodeMessage(), AnyMessage()):
            read_plain(value, message, Report())
