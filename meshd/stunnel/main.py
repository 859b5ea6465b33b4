"""
Where the ``meshd-stunnel`` command begins.

Nothing is imported before the variables by which systemd hands sockets over are
out of the way: Twisted takes them for its own endpoints as soon as it is imported.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

NAMES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


def handed_over(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Take systemd's variables out of the environment."""
    return {name: environ.pop(name) for name in NAMES if name in environ}


def main() -> int:
    """Do what the command line says; return the exit status."""
    systemd = handed_over(os.environ)

    from meshd.stunnel.command import main as run

    return run(systemd=systemd)
