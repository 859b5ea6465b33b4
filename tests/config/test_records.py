"""Tests for meshd.config.records."""

import enum
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

import attrs
from attrs import validators
from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.records import BadRecord, read_record
from meshd.plugin import ConfigError


class Colour(enum.Enum):
    """Some colours."""

    RED = "red"
    BLUE = 2


@attrs.frozen
class Inner:
    """A record in a record."""

    size: int = attrs.field(validator=validators.ge(1))


def _listed(value: Any) -> Any:
    return value and [value]


@attrs.frozen
class Record:
    """One attribute of each kind."""

    text: str = "t"
    whole: int = 0
    real: float = 0.0
    flag: bool = False
    time: timedelta = timedelta(0)
    data: bytes = b""
    free: Any = None
    colour: Colour = Colour.RED
    mode: Literal["a", "b", 3] = "a"
    maybe: int | None = None
    either: int | str = 0
    inner: Inner | None = None
    names: list[str] = attrs.Factory(list)
    some: Sequence[Inner] = ()
    pair: tuple[int, str] = (0, "")
    many: tuple[int, ...] = ()
    unique: frozenset[str] = frozenset()
    table: Mapping[str, int] = attrs.Factory(dict)
    marked: Annotated[int, "x"] = 0
    message: TransportSocket | None = None
    made: Any = attrs.field(default=None, converter=_listed)
    _private: int = 0


def errors(values: Mapping[str, Any], cls: type[Any] = Record) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the path and text of what is wrong."""
    try:
        read_record(cls, values)
    except BadRecord as error:
        return [(each.path, each.message) for each in error.errors]
    except ConfigError as error:
        return [(error.path, error.message)]
    return []


class RecordTests(SynchronousTestCase):
    """Reading attrs classes."""

    def test_kinds(self) -> None:
        """Each kind of annotation takes what it says; a Struct's numbers are doubles."""
        for name, given_value, wanted in (
            ("text", "x", "x"), ("whole", 5.0, 5), ("whole", "5", 5), ("real", "1.5", 1.5),
            ("real", 2.0, 2.0),
            ("flag", True, True), ("flag", "true", True), ("time", "0.25s", timedelta(milliseconds=250)),
            ("data", "x", b"x"), ("free", [1, {"a": None}], [1, {"a": None}]), ("colour", "red", Colour.RED),
            ("colour", "BLUE", Colour.BLUE), ("mode", "b", "b"), ("mode", "3", 3), ("maybe", None, None),
            ("maybe", 1.0, 1),
            ("either", 1.0, 1), ("either", "x", "x"), ("inner", {"size": 2.0}, Inner(2)),
            ("names", ["a"], ["a"]),
            ("names", "a", ["a"]), ("some", [{"size": 1}], [Inner(1)]), ("pair", [1.0, "a"], (1, "a")),
            ("many", [1, 2], (1, 2)),
            ("unique", ["a", "a"], frozenset("a")), ("table", {"a": 1.0}, {"a": 1}), ("marked", 1, 1),
            ("made", 5, [5]),
        ):  # fmt: skip
            self.assertEqual((name, getattr(read_record(Record, {name: given_value}), name)), (name, wanted))
        self.assertEqual(read_record(Record, {"private": 1})._private, 1)
        self.assertEqual(read_record(Record, {"whole": None}).whole, 0)

    def test_message(self) -> None:
        """A protobuf message is read as it is elsewhere, though a Struct has only real numbers."""
        tls = {
            "@type": "type.googleapis.com/" + UpstreamTlsContext.DESCRIPTOR.full_name,
            "sni": "here.example",
            "max_session_keys": 3.0,
        }
        message = read_record(Record, {"message": {"name": "tls", "typed_config": tls}}).message
        context = UpstreamTlsContext()
        self.assertTrue(message.typed_config.Unpack(context))
        self.assertEqual((context.sni, context.max_session_keys.value), ("here.example", 3))

    def test_bad_message(self) -> None:
        """What is wrong in a message is found at its path."""
        tls = {"@type": "type.googleapis.com/" + UpstreamTlsContext.DESCRIPTOR.full_name, "snj": 1}
        with self.assertRaises(BadRecord) as caught:
            read_record(Record, {"message": {"nam": "tls", "typed_config": tls}})
        paths = [error.path for error in caught.exception.errors]
        self.assertEqual(paths, [("message", "nam"), ("message", "typed_config", "snj")])

    def test_refused(self) -> None:
        """What an annotation does not take is an error at its path."""
        for name, value, path, text in (
            ("text", 5.0, (), "expected a string"), ("whole", 1.5, (), "expected a whole number"),
            ("whole", True, (), "expected"),
            ("flag", 1.0, (), "expected true or false"), ("time", 5.0, (), "expected a duration"),
            ("colour", "rod", (), "did you mean 'RED'"),
            ("mode", "c", (), "expected one of a, b, 3"), ("maybe", "x", (), "expected a whole number"),
            ("inner", 5, (), "expected an object"),
            ("inner", {"size": "x"}, ("size",), "expected a whole number"),
            ("names", ["a", 1.0], (1,), "expected a string"),
            ("some", [{"size": 0}], (0, "size"), "must be >= 1"), ("pair", [1], (), "expected a list of 2"),
            ("table", [], (), "expected an object"),
            ("table", {"a": "x"}, ("a",), "expected a whole number"),
        ):  # fmt: skip
            (found,) = errors({name: value})
            self.assertEqual(found[0], (name, *path))
            self.assertIn(text, found[1])

    def test_all_at_once(self) -> None:
        """Everything that is wrong is told at once, what is missing and unknown too."""
        found = errors({"sice": 1.0}, Inner)
        self.assertEqual([path for path, _ in found], [("sice",), ("size",)])
        self.assertIn("did you mean 'size'?", found[0][1])
        self.assertIn("is required", found[1][1])
        self.assertEqual(len(errors({"text": 1.0, "whole": "x", "inner": {"size": 0}})), 3)

    def test_under(self) -> None:
        """All of the errors move when one is seen from further out."""
        error = self.assertRaises(BadRecord, read_record, Record, {"text": 1.0, "whole": "x"})
        self.assertEqual(
            [each.path for each in error.under("a", 0).errors], [("a", 0, "text"), ("a", 0, "whole")]
        )

    def test_own_error(self) -> None:
        """A class may raise what it likes of its own: it is the error of the whole."""

        @attrs.frozen
        class Odd:
            low: int = 0
            high: int = 0

            def __attrs_post_init__(self) -> None:
                if self.low > self.high:
                    raise ValueError("low is above high")

        self.assertEqual(errors({"low": 2.0, "high": 1.0}, Odd), [((), "low is above high")])

    def test_unreadable(self) -> None:
        """An annotation that means nothing to a config is an error, not a crash."""

        @attrs.frozen
        class Strange:
            value: complex = 0j

        self.assertIn("cannot read a config field", errors({"value": 1}, Strange)[0][1])

    @given(
        st.dictionaries(
            st.sampled_from([each.alias for each in attrs.fields(Record)]) | st.text(),
            st.recursive(
                st.none() | st.booleans() | st.floats() | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=5,
            ),
        )
    )
    def test_rubbish(self, values: dict[str, Any]) -> None:
        """Any values make a record, or ConfigError."""
        errors(values)
