"""Tests for meshd.config.nodes."""

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.config import nodes
from meshd.config.errors import BadConfig, Report
from meshd.config.nodes import Composer, Node, from_plain, plain, scalar


def compose(text: str, **environ: str) -> Node:
    """Compose text; raise BadConfig also for what is only noted."""
    report = Report()
    node = Composer("f", environ, report).compose(text)
    if report.problems:
        raise BadConfig(report.problems)
    return node


class ScalarTests(SynchronousTestCase):
    """What an unquoted scalar is, as Envoy's parser has it."""

    def test_table(self) -> None:
        """Bools are yaml-cpp's, numbers C's, and all else is a string."""
        for text, value in (
            ("true", True), ("Yes", True), ("y", True), ("off", False), ("N", False), ("yEs", "yEs"),
            ("null", None), ("~", None), ("", None), ("NULL", None), ("nUll", "nUll"),
            ("80", 80), ("0x50", 80), ("0120", 80), ("+80", 80), ("-1", -1), ("0", 0),
            ("08", "08"), ("8_0", "8_0"), ("1:30", "1:30"), ("1.0", "1.0"), ("1e3", "1e3"),
            ("0o17", "0o17"), ("0b11", "0b11"),
            ("2147483647", 2147483647), ("2147483648", "2147483648"), ("0xffffffff", "4294967295"),
            ("99999999999999999999", "99999999999999999999"), ("2026-01-01", "2026-01-01"), (".inf", ".inf"),
        ):  # fmt: skip
            self.assertEqual((text, scalar(text)), (text, value))
            self.assertIs(type(scalar(text)), type(value))


class ComposerTests(SynchronousTestCase):
    """Text to nodes."""

    def assert_bad(self, text: str, where: str, what: str, **environ: str) -> None:
        """Text has a problem there, that says so."""
        error = self.assertRaises(BadConfig, compose, text, **environ)
        self.assertTrue(str(error).startswith(f"f:{where}: "), str(error))
        self.assertIn(what, str(error))

    def test_values(self) -> None:
        """Lists, objects and scalars are what they seem; quotes and blocks make strings."""
        text = (
            "a: [1, 'x', \"2\", yes]\nb: {c: null, d: |\n    5\n}\n"
            if False
            else "a: [1, 'x', \"2\", yes]\nb:\n  c:\n  d: |\n    5\n"
        )
        self.assertEqual(plain(compose(text)), {"a": [1, "x", "2", True], "b": {"c": None, "d": "5\n"}})

    def test_places(self) -> None:
        """Keys and values know their lines and columns, from 1."""
        node = compose("a:\n  b: [x,\n    y]\n")
        inner = node.value["a"]
        self.assertEqual(inner.key_place("b")[1:3], (2, 3))
        self.assertEqual(inner.value["b"].value[1].place[1:3], (3, 5))

    def test_tags(self) -> None:
        """As in Envoy a lone ! makes a string, and any other tag undoes quotes."""
        self.assertEqual(plain(compose("[! 5, !!str 5, !!int '5', !x 'z', !x ~]")), ["5", 5, 5, "z", "~"])

    def test_ignored(self) -> None:
        """A key that is tagged !ignore is left out; its anchors are there."""
        self.assertEqual(plain(compose("!ignore x: &a {b: 1}\nc: *a\n")), {"c": {"b": 1}})

    def test_alias_of_key(self) -> None:
        """A key may have an anchor."""
        self.assertEqual(plain(compose("&k a: 1\nb: *k\n")), {"a": 1, "b": "a"})

    def test_merge_key(self) -> None:
        """Merge keys are refused, unless they are quoted."""
        self.assert_bad("!ignore x: &a {b: 1}\nc:\n  <<: *a\n", "3:3", "merge keys")
        self.assertEqual(plain(compose("'<<': 1")), {"<<": 1})

    def test_twice(self) -> None:
        """Of a key that is given twice the last counts, with a warning."""
        report = Report()
        node = Composer("f", {}, report).compose("a: 1\na: 2\n")
        self.assertEqual(plain(node), {"a": 2})
        self.assertEqual(str(report.warnings[0]), "f:2:1: a: given before; the last one counts")

    def test_second_document(self) -> None:
        """Only the first document is read, with a warning."""
        report = Report()
        self.assertEqual(plain(Composer("f", {}, report).compose("a: 1\n---\nb: 2\n")), {"a": 1})
        self.assertEqual(len(report.warnings), 1)

    def test_errors(self) -> None:
        """What is not YAML is told with its place."""
        self.assert_bad("a: [1\nb: 2\n", "2:2", "not YAML")
        self.assert_bad("a:\n\tb: 1\n", "2:1", "not YAML")
        self.assert_bad("a: [${B}]", "1:6", "needs quotes", B="x")
        self.assert_bad("a: \x01", "1:4", "not YAML")
        self.assert_bad("? [x]\n: 1\n", "1:3", "a key must be a string")
        self.assert_bad("a: *b\n", "1:4", "no anchor &b")
        self.assert_bad("a: &b [*b]\n", "1:8", "inside of what it names")

    def test_too_deep(self) -> None:
        """Nesting has a limit, and no depth crashes."""
        self.assert_bad("[" * 200 + "]" * 200, "1:101", "nested")
        error = self.assertRaises(BadConfig, compose, "[" * 100_000)
        self.assertIn("nest", str(error))  # where from, and in which words, the parser's version decides

    def test_too_many(self) -> None:
        """Aliases of aliases do not fill the memory."""
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
        error = self.assertRaises(BadConfig, compose, "\n".join(lines))
        self.assertIn("aliases expanded", str(error))

    def test_environment(self) -> None:
        """Variables are replaced in values and keys; what comes of them is a string."""
        node = compose("'${A}:80': {b: '${A}'}\nc: ${B}\n", A="h", B="5")
        self.assertEqual(plain(node), {"h:80": {"b": "h"}, "c": "5"})
        self.assert_bad("a:\n  b: ${NONE}\n", "2:6", "a.b: the environment variable NONE is not set")

    def test_without_the_c_loader(self) -> None:
        """The parser in Python gives the same."""
        text = "a: &x [1, 'b', ~]\nc: {d: *x, e: !!str 5, f: ! 5}\n"
        fast = compose(text)
        self.patch(nodes, "LOADER", yaml.SafeLoader)
        slow = compose(text)
        self.assertEqual(plain(fast), plain(slow))
        self.assertEqual(list(nodes.walk(fast)), list(nodes.walk(slow)))

    def test_from_plain(self) -> None:
        """Python values become nodes as YAML would."""
        place = compose("a").place
        value: Any = {"a": [1.5, 2.0, True, None, "x"]}
        self.assertEqual(plain(from_plain(value, place)), {"a": ["1.5", 2, True, None, "x"]})

    @given(st.text(max_size=60) | st.text(alphabet="ab:-[]{},&*!|>'\"\n #?~<5${}\t", max_size=60))
    def test_rubbish(self, text: str) -> None:
        """Any text gives nodes, or BadConfig."""
        try:
            compose(text)
        except BadConfig as error:
            self.assertTrue(error.problems)
