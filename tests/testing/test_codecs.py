"""Tests for meshd.testing.codecs."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.testing import check_chunks, check_round_trip, check_rubbish, cut, events_of, split_anywhere


class Lines:
    """A codec of lines; an empty one is an error."""

    def __init__(self) -> None:
        self.rest = b""

    def receive(self, data: bytes) -> list[bytes]:
        *lines, self.rest = (self.rest + data).split(b"\n")
        if b"" in lines:
            raise ValueError("an empty line")
        return lines


class Forgetful(Lines):
    """A codec that is confused by chunks."""

    def receive(self, data: bytes) -> list[bytes]:
        return data.splitlines()


class PropertyTests(SynchronousTestCase):
    """A good codec and a bad one."""

    @given(st.data(), st.binary())
    def test_split_anywhere(self, data: st.DataObject, wire: bytes) -> None:
        """The pieces together are the whole, and none is empty."""
        pieces = data.draw(split_anywhere(wire))
        self.assertEqual(b"".join(pieces), wire)
        self.assertNotIn(b"", pieces[1:])

    def test_chunks(self) -> None:
        """A codec that depends on chunks is found out."""
        check_chunks(Lines, [b"a\nb", b"c\n"], ValueError)
        self.assertRaises(AssertionError, check_chunks, Forgetful, [b"a\nb", b"c\n"], ValueError)

    def test_error(self) -> None:
        """The events before an error, and the error, are told."""
        self.assertEqual(events_of(Lines, [b"a\n", b"\n"], ValueError), ([b"a"], "an empty line"))

    def test_round_trip(self) -> None:
        """What does not decode to itself is found out."""
        check_round_trip(int, lambda value: str(value).encode(), 5)
        self.assertRaises(AssertionError, check_round_trip, bytes, str.encode, "x")

    def test_rubbish(self) -> None:
        """The codec's own error is fine, any other is not."""
        check_rubbish(Lines().receive, b"\n", ValueError)
        self.assertRaises(ValueError, check_rubbish, Lines().receive, b"\n", KeyError)

    def test_cut(self) -> None:
        """Points outside of the data cut nothing."""
        self.assertEqual(cut(b"abc", [0, 1, 3, 9]), [b"a", b"bc"])

    def test_no_hypothesis(self) -> None:
        """meshd.testing can be imported where there is no hypothesis."""
        code = "import sys, meshd.testing; sys.exit('hypothesis' in sys.modules)"
        self.assertEqual(subprocess.call([sys.executable, "-c", code]), 0)
