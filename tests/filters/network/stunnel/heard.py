"""Listens to what tunnels say, for tests."""

from __future__ import annotations

from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer


@implementer(ILogObserver)
class Heard:
    """Keeps level and text of each line."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []

    def __call__(self, event: LogEvent) -> None:
        if "stunnel" in event:
            self.lines.append((event["stunnel"][0], event["text"]))
