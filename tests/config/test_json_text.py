"""Tests for meshd.config.json_text."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.config.errors import BadConfig, Report
from meshd.config.json_text import JsonReader
from meshd.config.nodes import Node, plain

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.text().filter(lambda text: "${" not in text),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda text: "${" not in text), inner),
)


def read(text: str) -> Node:
    """Read text; raise BadConfig."""
    report = Report()
    node = JsonReader(text, "f", {"A": "b"}, report).read()
    if report.problems:
        raise BadConfig(report.problems)
    return node


class JsonTests(SynchronousTestCase):
    """JSON that is not YAML."""

    def test_values(self) -> None:
        """Tabs, escapes and surrogate pairs are read; fractions stay text, as in YAML."""
        text = '{\t"a":\t[1, 1.5, true, null, "\\/\\ud83d\\ude00\\t"],\n"c": {}, "${A}": "${A}"}'
        self.assertEqual(plain(read(text)), {"a": [1, "1.5", True, None, "/\U0001f600\t"], "c": {}, "b": "b"})

    def test_places(self) -> None:
        """Keys and values know where they stand."""
        node = read('{\n\t"a": [\n\t\t"x"]}')
        self.assertEqual(node.key_place("a")[1:3], (2, 2))
        self.assertEqual(node.value["a"].value[0].place[1:3], (3, 3))

    def test_errors(self) -> None:
        """What is not JSON is told with its place."""
        for text, where, what in (
            ('{"a" 1}', "1:6", "':'"), ('{"a": 1 "b": 2}', "1:9", "','"), ("[1\n2]", "2:1", "','"),
            ("{a: 1}", "1:2", "quotes"), ('["x]', "1:2", "Unterminated"), ("[tru]", "1:2", "value"),
            ("[] x", "1:4", "end"),
            ('["\\ud800"]', "1:2", "surrogate"), ('{"a": "${NONE}"}', "1:7", "not set"),
        ):  # fmt: skip
            error = self.assertRaises(BadConfig, read, text)
            self.assertTrue(str(error).startswith(f"f:{where}: "), f"{text} {error}")
            self.assertIn(what, str(error))

    def test_too_deep(self) -> None:
        """Nesting has a limit."""
        self.assertRaises(BadConfig, read, "[" * 100_000)

    @given(VALUES)
    def test_round_trip(self, value: Any) -> None:
        """What json writes is read back."""
        self.assertEqual(plain(read(json.dumps(value))), value)

    @given(st.text(alphabet='{}[]",:\\u0d8 12tnf\n', max_size=60))
    def test_rubbish(self, text: str) -> None:
        """Any text gives nodes, or BadConfig."""
        try:
            read(text)
        except BadConfig as error:
            self.assertTrue(error.problems)
