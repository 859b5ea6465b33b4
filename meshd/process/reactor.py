"""The reactor, for commands that run a process by themselves."""

from __future__ import annotations

from typing import Any


def the_reactor() -> Any:
    """Return Twisted's reactor; asking for it makes it, so that it is asked for late."""
    from twisted.internet import reactor

    return reactor
