"""Tests for meshd.stunnel.banner."""

import re

from meshd.stunnel import banner
from meshd.stunnel.service_options import SERVICE


class TestBanner:
    """What the command says of itself."""

    def test_lines(self) -> None:
        """Programs look for the version and for OpenSSL's, and never find FORK."""
        first, second, third = banner.lines()
        assert re.match(r"stunnel 5\.\d+ on \S+ platform$", first)
        assert re.match(r"Compiled/running with OpenSSL \d", second)
        assert "FORK" not in third

    def test_help(self) -> None:
        """Every option is named."""
        text = banner.help_text()
        assert all(f"    {name}\n" in text for name, _ in SERVICE.values())

    def test_defaults(self) -> None:
        """The defaults are named."""
        assert "TIMEOUTidle            = 43200 seconds" in banner.defaults_text()
