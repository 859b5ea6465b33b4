"""Tests for meshd.config.env."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.env import BadReference, escape, substitute

ENVIRON = {"HOST": "db", "EMPTY": "", "PORT": "80"}


class SubstituteTests(SynchronousTestCase):
    """Environment variables in a text."""

    def test_set(self) -> None:
        """A variable stands for its value, anywhere and more than once."""
        self.assertEqual(substitute("${HOST}:${PORT}${HOST}", ENVIRON), "db:80db")

    def test_default(self) -> None:
        """A default is taken if the variable is unset or empty."""
        self.assertEqual(substitute("${NONE:-a}${EMPTY:-b}${HOST:-c}${NONE:-}", ENVIRON), "abdb")

    def test_unset(self) -> None:
        """A variable that is unset and has no default is an error that names it."""
        error = self.assertRaises(BadReference, substitute, "${NONE}", ENVIRON)
        self.assertIn("NONE is not set", str(error))

    def test_empty(self) -> None:
        """A variable that is set to nothing is nothing."""
        self.assertEqual(substitute("a${EMPTY}b", ENVIRON), "ab")

    def test_escape(self) -> None:
        """Two dollars stand for one, before a brace only."""
        self.assertEqual(substitute("$${HOST} $$ $HOST", ENVIRON), "${HOST} $$ $HOST")

    def test_not_closed(self) -> None:
        """What is no reference is an error that says how to write it."""
        for text in ("${HOST", "${1}", "${}", "${A B}", "${A-b}"):
            error = self.assertRaises(BadReference, substitute, text, ENVIRON)
            self.assertIn("$${", str(error))

    def test_value_is_not_read_again(self) -> None:
        """A reference in a value stays as it is."""
        self.assertEqual(substitute("${A}", {"A": "${B}"}), "${B}")

    @given(st.text(alphabet="${}A:-b"))
    def test_round_trip(self, text: str) -> None:
        """Whatever is escaped comes back."""
        self.assertEqual(substitute(escape(text), {}), text)

    @given(st.text(alphabet="${}A:-b"))
    def test_rubbish(self, text: str) -> None:
        """Any text is replaced, or refused."""
        try:
            substitute(text, {"A": "x"})
        except BadReference:
            pass
