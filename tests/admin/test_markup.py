"""Tests for meshd.admin.markup."""

from __future__ import annotations

from html import unescape
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from meshd.admin.markup import Html, tag, tags

# A browser, and HTMLParser, reads these as others, or not at all: they are no way out of a tag.
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")))


class Read(HTMLParser):
    """Reads HTML back."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[object] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_entityref(self, name: str) -> None:
        self.text += unescape(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.text += unescape(f"&#{name};")


class MarkupTests(SynchronousTestCase):
    """Tags."""

    def test_nested(self) -> None:
        """Tags go into tags as they are, texts are escaped."""
        made = tags.p("a < b & ", tags.b("c"), class_="dim")
        self.assertEqual(made, '<p class="dim">a &lt; b &amp; <b>c</b></p>')

    def test_void(self) -> None:
        """Tags without content have no end."""
        self.assertEqual(
            tags.input(type="search", **{"aria-label": "x"}), '<input type="search" aria-label="x">'
        )

    def test_raw(self) -> None:
        """What is Html is not escaped: a style knows no escapes."""
        self.assertEqual(tags.style(Html("a > b {}")), "<style>a > b {}</style>")

    @given(TEXT, TEXT)
    def test_any(self, text: str, value: str) -> None:
        """Whatever texts there are, one tag comes of it, with these texts."""
        read = Read(tag("p", text, title=value))
        self.assertEqual(read.found, [("p", {"title": value})])
        self.assertEqual(read.text, text)
