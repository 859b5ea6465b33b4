"""Tests for meshd.stunnel.main; test_command has it with a real socket."""

import subprocess
import sys

from meshd.stunnel.main import handed_over


class TestMain:
    """The beginning of the command."""

    def test_taken(self) -> None:
        """systemd's variables are taken, others stay."""
        environ = {"LISTEN_FDS": "1", "LISTEN_PID": "5", "PATH": "/bin"}
        assert handed_over(environ) == {"LISTEN_FDS": "1", "LISTEN_PID": "5"}
        assert environ == {"PATH": "/bin"}

    def test_early(self) -> None:
        """That is before Twisted is imported, which would take them."""
        code = "import meshd.stunnel.main, sys; sys.exit('twisted.internet.endpoints' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
