"""Tests for meshd.config.rules: the texts are those of protoc-gen-validate."""

import itertools
import re
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.json_format import ParseDict
from twisted.trial.unittest import SynchronousTestCase
from validate import validate_pb2

from meshd.config.rules import broken, rules_of
from meshd.config.types import _all_names, message_class
from tests.config.doubles import cluster, filters, listener, problems, tcp

SERIAL = itertools.count()


def field_of(kind: str, rules: dict[str, Any], repeated: bool = False) -> Any:
    """Make a message class whose field x of that kind (a scalar type, or a message) has rules."""
    package = f"test{next(SERIAL)}"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    file.dependency.extend(("validate/validate.proto", "google/protobuf/wrappers.proto"))
    file.dependency.extend(("google/protobuf/duration.proto", "google/protobuf/timestamp.proto"))
    file.dependency.append("google/protobuf/any.proto")
    field: Any = file.message_type.add(name="M").field.add(name="x", number=1, label=3 if repeated else 1)
    if kind.startswith("google"):
        field.type, field.type_name = 11, f".{kind}"
    else:
        field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    ParseDict(rules, field.options.Extensions[validate_pb2.rules])
    pool: Any = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.M"))


def wrong(cls: Any, value: Any) -> list[str]:
    """Return what is wrong with a message whose x is value; not given if value is None."""
    message = cls() if value is None else ParseDict({"x": value}, cls())
    return [text for _, text, _ in broken(message)]


class RuleTests(SynchronousTestCase):
    """Each kind of rule, with what keeps it and what breaks it."""

    def check(
        self, kind: str, rules: dict[str, Any], good: list[Any], bad: dict[Any, str] | list[Any], **more: bool
    ) -> None:
        """Good values keep the rules, bad ones do not, and say what the dict says."""
        cls = field_of(kind, rules, **more)
        for value in good:
            self.assertEqual((value, wrong(cls, value)), (value, []))
        for value in bad:
            found = wrong(cls, value)
            self.assertEqual(len(found), 1, value)
            if isinstance(bad, dict):
                self.assertEqual(found[0], bad[value])

    def test_ranges(self) -> None:
        """Numbers lie within their bounds."""
        self.check("uint32", {"uint32": {"lte": 5}}, [0, 5], {6: "value must be less than or equal to 5"})
        self.check("int32", {"int32": {"lt": 5}}, [-1, 4], {5: "value must be less than 5"})
        self.check("uint64", {"uint64": {"gt": "5"}}, [6], {5: "value must be greater than 5"})
        self.check(
            "double", {"double": {"gte": 0.5}}, [0.5], {0.4: "value must be greater than or equal to 0.5"}
        )
        self.check(
            "uint32",
            {"uint32": {"gte": 1, "lte": 3}},
            [1, 3],
            {0: "value must be inside range [1, 3]", 4: "value must be inside range [1, 3]"},
        )
        self.check(
            "uint32", {"uint32": {"gt": 3, "lt": 1}}, [0, 4], {2: "value must be outside range (3, 1)"}
        )

    def test_lists_of_values(self) -> None:
        """Values are in, or not in, a list; or one value."""
        self.check("uint32", {"uint32": {"in": [1, 2]}}, [1, 2], {3: "value must be in list [1, 2]"})
        self.check("string", {"string": {"not_in": ["a"]}}, ["b"], {"a": "value must not be in list [a]"})
        self.check("bool", {"bool": {"const": True}}, [True], {False: "value must equal true"})
        self.check("uint32", {"uint32": {"const": 4}}, [4], [5])
        self.check("string", {"string": {"const": "a"}}, ["a"], ["b"])

    def test_ignore_empty(self) -> None:
        """A rule may leave out what is not given."""
        self.check("uint32", {"uint32": {"gte": 5, "ignore_empty": True}}, [0, 5], [4])
        self.check("string", {"string": {"min_len": 2, "ignore_empty": True}}, ["", "ab"], ["a"])

    def test_lengths(self) -> None:
        """Strings have lengths in characters and bytes."""
        self.check(
            "string", {"string": {"min_len": "1"}}, ["a"], {"": "value length must be at least 1 characters"}
        )
        self.check(
            "string",
            {"string": {"max_len": "1"}},
            ["\u00e4"],
            {"ab": "value length must be at most 1 characters"},
        )
        self.check(
            "string",
            {"string": {"max_bytes": "1"}},
            ["a"],
            {"\u00e4": "value length must be at most 1 bytes"},
        )
        self.check(
            "string",
            {"string": {"min_bytes": "2"}},
            ["\u00e4"],
            {"a": "value length must be at least 2 bytes"},
        )
        self.check("string", {"string": {"len": "1"}}, ["a"], {"ab": "value length must be 1 characters"})
        self.check("string", {"string": {"len_bytes": "1"}}, ["a"], {"ab": "value length must be 1 bytes"})
        self.check("bytes", {"bytes": {"min_len": "2", "max_len": "3"}}, ["aGk="], ["aA==", "AAAAAAAA"])

    def test_parts(self) -> None:
        """Strings begin, end, contain and match."""
        self.check("string", {"string": {"prefix": "a"}}, ["ab"], {"b": "value does not have prefix 'a'"})
        self.check("string", {"string": {"suffix": "b"}}, ["ab"], ["a"])
        self.check("string", {"string": {"contains": "b"}}, ["abc"], ["a"])
        self.check("string", {"string": {"not_contains": "b"}}, ["a"], ["abc"])
        self.check(
            "string",
            {"string": {"pattern": "^a+$"}},
            ["aa"],
            {"b": 'value does not match regex pattern "^a+$"'},
        )

    def test_well_known(self) -> None:
        """Strings are addresses, names and the like."""
        self.check("string", {"string": {"ip": True}}, ["1.2.3.4", "::1"], ["x", "1.2.3"])
        self.check("string", {"string": {"ipv4": True}}, ["1.2.3.4"], ["::1"])
        self.check("string", {"string": {"ipv6": True}}, ["::1"], ["1.2.3.4"])
        self.check("string", {"string": {"hostname": True}}, ["a.b-c.", "a"], ["-a", "a_b", "a" * 64])
        self.check("string", {"string": {"address": True}}, ["a.b", "::1"], ["a b"])
        self.check("string", {"string": {"uri": True}}, ["http://a/b?c"], ["/b", "http://a b"])
        self.check("string", {"string": {"uri_ref": True}}, ["/b", "http://a"], ["a b"])
        self.check("string", {"string": {"email": True}}, ["a@b.c"], ["a", "@b"])
        self.check(
            "string", {"string": {"uuid": True}}, ["01234567-89ab-cdef-0123-456789abcdef"], ["01234567"]
        )

    def test_headers(self) -> None:
        """Strings are names or values of headers."""
        name = {"well_known_regex": "HTTP_HEADER_NAME"}
        self.check(
            "string", {"string": name}, ["x-a", ":path"], {"a b": "value is not a valid HTTP header name"}
        )
        self.check("string", {"string": {**name, "strict": False}}, ["a b"], ["a\nb"])
        value = {"well_known_regex": "HTTP_HEADER_VALUE"}
        self.check(
            "string", {"string": value}, ["a b\t"], {"a\x01": "value is not a valid HTTP header value"}
        )

    def test_durations(self) -> None:
        """Durations lie within bounds, and may be required."""
        kind = "google.protobuf.Duration"
        self.check(kind, {"duration": {"gt": "0s"}}, [None, "0.1s"], {"0s": "value must be greater than 0s"})
        self.check(
            kind,
            {"duration": {"required": True, "lte": "1s"}},
            ["1s"],
            {None: "value is required", "1.000000001s": "value must be less than or equal to 1s"},
        )
        self.check(kind, {"duration": {"in": ["1s"]}}, ["1s"], ["2s"])

    def test_times(self) -> None:
        """Times lie within bounds."""
        kind = "google.protobuf.Timestamp"
        self.check(
            kind,
            {"timestamp": {"lt": "2026-01-01T00:00:00Z"}},
            [None, "2025-01-01T00:00:00Z"],
            ["2026-01-01T00:00:00Z"],
        )
        self.check(kind, {"timestamp": {"required": True}}, ["2025-01-01T00:00:00Z"], [None])

    def test_wrappers(self) -> None:
        """The rules of a number hold for a wrapper of one, if it is given."""
        self.check(
            "google.protobuf.UInt32Value",
            {"uint32": {"lte": 5}},
            [None, 5],
            {6: "value must be less than or equal to 5"},
        )

    def test_messages(self) -> None:
        """A message may be required; an Any also to be of certain types."""
        self.check(
            "google.protobuf.Duration", {"message": {"required": True}}, ["1s"], {None: "value is required"}
        )
        self.check("google.protobuf.Any", {"any": {"required": True}}, [{}], {None: "value is required"})
        allowed = {"any": {"in": ["a/google.protobuf.Duration"]}}
        self.check(
            "google.protobuf.Any", allowed, [None, {"@type": "a/google.protobuf.Duration", "value": "1s"}], []
        )
        self.assertEqual(
            len(
                wrong(
                    field_of("google.protobuf.Any", allowed),
                    {"@type": "b/google.protobuf.Duration", "value": "1s"},
                )
            ),
            1,
        )

    def test_repeated(self) -> None:
        """Lists have sizes, and items that keep rules of their own."""
        self.check(
            "string",
            {"repeated": {"min_items": "1"}},
            [["a"]],
            {None: "value must contain at least 1 item(s)"},
            repeated=True,
        )
        cls = field_of(
            "string",
            {"repeated": {"max_items": "2", "unique": True, "items": {"string": {"min_len": 1}}}},
            repeated=True,
        )
        self.assertEqual(wrong(cls, ["a", "b"]), [])
        self.assertEqual(wrong(cls, ["a", "b", "c"]), ["value must contain no more than 2 item(s)"])
        self.assertEqual(wrong(cls, ["a", "a"]), ["repeated value must contain unique items"])
        self.assertEqual([path for path, _, _ in broken(cls(x=["a", ""]))], [("x", 1)])
        empty = field_of("string", {"repeated": {"min_items": "2", "ignore_empty": True}}, repeated=True)
        self.assertEqual((wrong(empty, None), len(wrong(empty, ["a"]))), ([], 1))

    def test_enums(self) -> None:
        """Enums are of the defined values."""
        self.assertEqual(
            [text for path, text, _ in broken(Cluster(name="a", type=99)) if path == ("type",)],
            ["value must be one of the defined enum values"],
        )

    def test_every_message(self) -> None:
        """The rules of all messages of xds-protos can be read, and an empty message be checked."""
        for name in _all_names():
            cls = message_class(name)
            rules_of(cls.DESCRIPTOR)
            list(broken(cls()))


class PlaceTests(SynchronousTestCase):
    """What is wrong in a config, as Envoy finds it, and where."""

    def test_scalar(self) -> None:
        """The value is what is wrong."""
        text = listener("filter_chains: [{}]").replace("port_value: 1", "port_value: 70000")
        self.assertEqual(
            problems(text),
            [
                "4:64: static_resources.listeners[0].address.socket_address.port_value: value must "
                "be less than or equal to 65535"
            ],
        )

    def test_missing(self) -> None:
        """What is missing is told of what it is missing from."""
        self.assertEqual(
            problems("static_resources: {clusters: [{}]}"),
            ["1:31: static_resources.clusters[0].name: value length must be at least 1 characters"],
        )

    def test_one_of(self) -> None:
        """One of several fields is required."""
        (line,) = problems(filters(tcp("stat_prefix: a")))
        self.assertTrue(
            re.match(r"7:\d+: .*typed_config: one of cluster, weighted_clusters is required", line), line
        )

    def test_duration(self) -> None:
        """A time-out is above 0."""
        self.assertIn("value must be greater than 0s", problems(cluster("connect_timeout: 0s"))[0])
        self.assertIn(
            "must not be negative",
            problems(
                "stats_config: {}\nlayered_runtime: {}\nadmin: {}\n"
                + cluster(
                    "dns_jitter: 1s", "dns_failure_refresh_rate: {base_interval: 1s, max_interval: -1s}"
                )
            )[0]
            + " must not be negative",
        )

    def test_not_said_twice(self) -> None:
        """A field that could not be read is not said to be missing as well."""
        self.assertEqual(len(problems(cluster("connect_timeout: 5").replace("name: a", "nam: a"))), 2)
        self.assertEqual(len(problems(filters(tcp("stat_prefix: a, clustr: b")))), 1)
