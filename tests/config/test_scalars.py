"""Tests for meshd.config.scalars; what is accepted was tried on Envoy."""

import math
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.scalars import (
    BadValue,
    boolean,
    duration,
    enumeration,
    field_value,
    number,
    octets,
    text,
    whole,
)

TYPES = Cluster.DESCRIPTOR.enum_types_by_name["DiscoveryType"]
ANYTHING: Any = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.none()) | st.just({})


def refused(read: Any, *args: Any) -> str:
    """Return why read refuses args; empty if it does not."""
    try:
        read(*args)
    except BadValue as error:
        return str(error)
    return ""


class ScalarTests(SynchronousTestCase):
    """Values of single fields."""

    def test_whole(self) -> None:
        """Integers come as numbers, and as strings of any spelling that has no fraction."""
        for value in (80, "80", "80.0", "8e1", "+80", "0x50", "080"):
            self.assertEqual(whole(value, 0, 2**32 - 1), 80)
        for bad in (" 80", "80 ", "8_0", "8.5", "1e400", "0b11", "", True, None, [80], "1" * 100):
            self.assertIn("expected a whole number", refused(whole, bad, 0, 2**32 - 1))

    def test_range(self) -> None:
        """An integer has to fit."""
        self.assertEqual(whole(2**32 - 1, 0, 2**32 - 1), 2**32 - 1)
        for value in (-1, 2**32, "4294967296"):
            self.assertIn("0 to 4294967295", refused(whole, value, 0, 2**32 - 1))

    def test_number(self) -> None:
        """Floating-point numbers come as numbers or strings."""
        for value, wanted in ((5, 5.0), ("5.5", 5.5), ("0x10", 16.0), ("-.5", -0.5), ("1e3", 1000.0)):
            self.assertEqual(number(value), wanted)
        self.assertTrue(math.isnan(number("NaN")))
        for bad in (True, ".inf", "", None, "1_0"):
            self.assertIn("expected a number", refused(number, bad))

    def test_boolean(self) -> None:
        """Bools may be quoted; numbers are none."""
        for value in (True, "true", "True", "yes", "t", "1"):
            self.assertIs(boolean(value), True)
        self.assertIs(boolean("no"), False)
        for bad in (1, 0, "", "maybe", None):
            self.assertEqual(refused(boolean, bad), "expected true or false")

    def test_text(self) -> None:
        """Numbers and bools are no strings, and the error says what to do."""
        self.assertEqual(text("1.0"), "1.0")
        self.assertIn("quotes", refused(text, 5))
        self.assertIn("quotes", refused(text, True))
        self.assertTrue(refused(text, "\ud800"))

    def test_octets(self) -> None:
        """Bytes are base64 of both alphabets, with or without padding."""
        self.assertEqual(octets("aGk="), b"hi")
        self.assertEqual(octets("aGk"), b"hi")
        self.assertEqual(octets("_-8="), octets("/+8="))
        for value in ("!!", "a", 1234, None):
            self.assertIn("base64", refused(octets, value))

    def test_enumeration(self) -> None:
        """Enums come by name in any case, and by number, quoted or not."""
        for value in ("STRICT_DNS", "strict_dns", "StRict_Dns", 1, "1", "01"):
            self.assertEqual(enumeration(value, TYPES), Cluster.STRICT_DNS)
        self.assertIn("did you mean 'STRICT_DNS'", refused(enumeration, "strict-dns", TYPES))
        others: list[Any] = ["1.0", True, None, []]
        for bad in others:
            self.assertIn("expected one of STATIC, ", refused(enumeration, bad, TYPES))

    def test_duration(self) -> None:
        """Durations are seconds with an s, and nothing else."""
        for value, wanted in (
            ("1s", (1, 0)),
            ("0.25s", (0, 250_000_000)),
            ("-1.5s", (-1, -500_000_000)),
            ("01s", (1, 0)),
        ):
            self.assertEqual(duration(value), wanted)
        for bad in (
            "1",
            1,
            "1m",
            "1e0s",
            ".5s",
            "1.s",
            "+1s",
            "1 s",
            "1000ms",
            "0.1234567891s",
            None,
            ["1s"],
        ):
            self.assertIn("expected a duration", refused(duration, bad))
        self.assertIn("at most", refused(duration, "315576000001s"))

    @given(ANYTHING)
    def test_rubbish(self, value: Any) -> None:
        """Any value is read, or refused."""
        for field in Cluster.DESCRIPTOR.fields:
            if field.message_type is None:
                refused(field_value, value, field)
        refused(duration, value)
