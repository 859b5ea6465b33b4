"""Tests for meshd.admin.query."""

from __future__ import annotations

import json
from urllib.parse import quote

from envoy.admin.v3.memory_pb2 import Memory
from envoy.admin.v3.server_info_pb2 import ServerInfo
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.admin.query import PATTERN_LIMIT, BadRequest, Query, as_json, plain


class ParseTests(SynchronousTestCase):
    """Parameters, as they are in a path or a form."""

    def test_order(self) -> None:
        """All pairs are there in order, and the first of a name counts."""
        query = Query.parse("a=1&b=2", "a=3")
        self.assertEqual(list(query.pairs), [("a", "1"), ("b", "2"), ("a", "3")])
        self.assertEqual(query.get("a"), "1")

    def test_flag(self) -> None:
        """A name without a value is there."""
        query = Query.parse("usedonly")
        self.assertTrue(query.has("usedonly"))
        self.assertFalse(query.has("filter"))

    def test_plus(self) -> None:
        """A plus sign stays one: regular expressions have them."""
        self.assertEqual(Query.parse("filter=a%20+").get("filter"), "a +")

    @given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=5))
    def test_any_text(self, pairs: list[tuple[str, str]]) -> None:
        """What is quoted comes back."""
        text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
        self.assertEqual(list(Query.parse(text).pairs), pairs)

    @given(st.text())
    def test_rubbish(self, text: str) -> None:
        """Whatever is asked, it is read, and a pattern in it is one or is refused."""
        try:
            Query.parse(text, f"filter={text}").pattern()
        except BadRequest as error:
            self.assertEqual(error.answer.status, 400)


class PatternTests(SynchronousTestCase):
    """Regular expressions."""

    def test_bad(self) -> None:
        """A bad pattern is refused with the reason."""
        with self.assertRaises(BadRequest) as raised:
            Query.parse("filter=[").pattern()
        self.assertTrue(str(raised.exception).startswith("Invalid re2 regex: "))

    def test_long(self) -> None:
        """A pattern longer than the limit is refused."""
        with self.assertRaises(BadRequest):
            Query.parse(f"filter={'a' * (PATTERN_LIMIT + 1)}").pattern()

    def test_choice(self) -> None:
        """A value that is not among the choices is refused with the text given."""
        query = Query.parse("format=xml")
        with self.assertRaises(BadRequest) as raised:
            query.choice("format", ("text", "json"), "no such format")
        self.assertEqual(raised.exception.answer.body, "no such format")
        self.assertEqual(Query.parse("").choice("format", ("text", "json"), ""), "text")


class JsonTests(SynchronousTestCase):
    """Messages as JSON."""

    def test_defaults_in_place(self) -> None:
        """Fields without a value are printed where their numbers put them, inside of messages too."""
        info = ServerInfo(state="DRAINING")
        info.node.locality.zone = "z"
        data = plain(info, defaults=True)
        self.assertEqual(list(data)[:2], ["version", "state"])
        self.assertEqual(data["node"]["locality"], {"region": "", "zone": "z", "sub_zone": ""})
        self.assertEqual(list(data["node"]["locality"]), ["region", "zone", "sub_zone"])

    def test_indented(self) -> None:
        """JSON is indented by one, and ends with a newline."""
        answer = as_json(Memory(allocated=5))
        self.assertEqual(answer.body, '{\n "allocated": "5"\n}\n')
        assert isinstance(answer.body, str)
        self.assertEqual(json.loads(answer.body), {"allocated": "5"})
