"""Tests for meshd.stunnel.extras."""

from __future__ import annotations

import pytest

from meshd.stunnel.extras import GLOBAL_EXTRAS, SERVICE_EXTRAS, protocols, where
from meshd.stunnel.values import Bad


class TestExtras:
    """What stunnel has not."""

    def test_where(self) -> None:
        """The admin page has a host and a port; the host is this machine if none is said."""
        assert where("9901") == ("127.0.0.1", 9901)
        assert where("::1:9901") == ("::1", 9901)
        with pytest.raises(Bad):
            where("/a/path")

    def test_protocols(self) -> None:
        """Names have commas between them, and none is empty."""
        assert protocols("h2, http/1.1") == ["h2", "http/1.1"]
        with pytest.raises(Bad):
            protocols("h2,")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("log", "xml"),
            ("max_clients", "0"),
            ("balance", "x"),
            ("dns", "x"),
            ("send_proxy", "v3"),
            ("watch", "x"),
        ],
    )
    def test_refused(self, name: str, value: str) -> None:
        """What cannot be read is refused."""
        with pytest.raises(Bad):
            {**GLOBAL_EXTRAS, **SERVICE_EXTRAS}[name](value)
