"""Tests for meshd.admin.pages."""

from __future__ import annotations

from html.parser import HTMLParser

from twisted.trial.unittest import SynchronousTestCase

from meshd.admin.menu import MENU
from tests.admin.fakes import FakeServer, get

VOID = {"meta", "link", "input", "br"}


class Checked(HTMLParser):
    """Reads a page, and notes what is amiss: tags not closed, and addresses elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: set[str] = set()
        self.targets: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            if name in ("href", "src", "action"):
                self.targets.add((value or "").partition("?")[0])
            if name == "style" or name.startswith("on"):
                self.wrong.append(f"{tag} {name}")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.wrong.append(f"/{tag}")


class HomeTests(SynchronousTestCase):
    """The home page."""

    def setUp(self) -> None:
        self.server = FakeServer()

    def test_well_formed(self) -> None:
        """Each tag is closed, and there is no style or script but the two that the policy allows."""
        page = Checked(get(self.server, "/").body)
        self.assertEqual((page.open, page.wrong), ([], []))

    def test_commands(self) -> None:
        """Each command can be reached, and nothing is loaded from elsewhere."""
        targets = Checked(get(self.server, "/").body).targets
        self.assertLessEqual({command.path for command in MENU}, targets)
        elsewhere = [each for each in targets if not each.startswith(("/", "#", "data:"))]
        self.assertEqual(elsewhere, [])

    def test_policy(self) -> None:
        """The browser is told to run nothing else, and to show the page in no frame."""
        headers = get(self.server, "/").headers
        self.assertIn("default-src 'none'", headers["content-security-policy"])
        self.assertEqual(headers["x-frame-options"], "DENY")
        self.assertNotIn("content-security-policy", get(self.server, "/ready").headers)

    def test_escaped(self) -> None:
        """What a config says is shown, and is no HTML."""
        self.server.listeners["front"].name = "<script>alert(1)</script>"
        self.server.options.config_path = '"><img src=x>'
        self.server.bootstrap.node.id = "</title><script>"
        body = get(self.server, "/").body
        self.assertNotIn("<script>alert", body)
        self.assertNotIn("<img", body)
        self.assertIn("&lt;script&gt;alert(1)&lt;/script&gt;", body)
        self.assertEqual(Checked(body).wrong, [])

    def test_live(self) -> None:
        """The parts that change can be had alone, under the ids that they have in the page."""
        whole, part = Checked(get(self.server, "/").body), Checked(get(self.server, "/?part=live").body)
        self.assertEqual(part.ids, {"state", "summary", "listeners", "clusters"})
        self.assertLessEqual(part.ids, whole.ids)
