"""Tests for meshd.admin.menu."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from meshd.admin.menu import MENU, help_text


class MenuTests(SynchronousTestCase):
    """The list of the commands."""

    def test_sorted(self) -> None:
        """The commands are in the order of their paths, as Envoy lists them."""
        paths = [command.path for command in MENU]
        self.assertEqual(paths, sorted(paths))

    def test_help(self) -> None:
        """The help says what to POST, and what a parameter may be."""
        lines = help_text().splitlines()
        self.assertEqual(lines[:2], ["admin commands are:", "  /: Admin home page"])
        self.assertIn("  /quitquitquit (POST): exit the server", lines)
        self.assertIn("      format: File format to use; One of (text, json)", lines)
