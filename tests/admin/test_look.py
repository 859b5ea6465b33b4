"""Tests for meshd.admin.look."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from meshd.admin.look import SCRIPT, STYLE
from tests.admin.fakes import FakeServer, get


class LookTests(SynchronousTestCase):
    """The style and the script in the page."""

    def test_allowed(self) -> None:
        """They are in the page as the policy's hashes have them, to the byte."""
        answer = get(FakeServer(), "/")
        for kind, tag, text in (("style", "style", STYLE), ("script", "script", SCRIPT)):
            between = answer.body.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
            self.assertEqual(between, text)
            digest = b64encode(sha256(between.encode()).digest()).decode()
            self.assertIn(f"{kind}-src 'sha256-{digest}'", answer.headers["content-security-policy"])

    def test_both_themes(self) -> None:
        """Each colour has its dark counterpart."""
        light, _, dark = STYLE.partition("@media (prefers-color-scheme: dark)")
        names = {word for word in light.replace(":", " ").split() if word.startswith("--")}
        self.assertTrue(names)
        self.assertEqual({name for name in names if f"{name}:" not in dark.partition("* {")[0]}, set())
