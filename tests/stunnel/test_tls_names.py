"""Tests for meshd.stunnel.tls_names."""

from meshd.stunnel.tls_names import OPTIONS, table
from meshd.tls.flags import OPTIONS as SERVED


class TestNames:
    """The names of OpenSSL's options."""

    def test_table(self) -> None:
        """They are printed one by one."""
        assert table().splitlines()[1] == "options = ALL"

    def test_served(self) -> None:
        """Those that TLS contexts cannot be given are refused there, by name, not passed over."""
        assert {"NO_TICKET", "NO_SSLv3", "CIPHER_SERVER_PREFERENCE", "NO_RENEGOTIATION"} <= set(SERVED)
        assert {"NO_TICKET", "NO_SSLv3"} <= set(OPTIONS.values())
