"""
What plugins count and log with: counters, gauges, histograms, texts, where they are made; log files.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface


class ICounter(Interface):
    """A number that only grows."""

    value: int = Attribute("The sum; the data plane adds to it directly.")

    def inc(amount: int = 1) -> None:
        """Add amount."""


class IGauge(Interface):
    """A number that goes up and down."""

    value: int = Attribute("The level.")

    def inc(amount: int = 1) -> None:
        """Add amount."""

    def dec(amount: int = 1) -> None:
        """Take amount away."""

    def set(value: int) -> None:
        """Put it at value."""


class IHistogram(Interface):
    """A distribution of numbers."""

    def record(value: float, count: int = 1) -> None:
        """Count one value, or several alike, in the unit that the histogram's name says (mostly ms)."""


class IText(Interface):
    """A text that is told among the statistics."""

    value: str = Attribute("The text.")

    def set(value: str) -> None:
        """Tell another."""


class IScope(Interface):
    """Where statistics are made: one of a name, however often it is asked for."""

    def counter(name: str) -> ICounter:
        """Return the counter of that name, making it if there is none."""

    def gauge(name: str) -> IGauge:
        """Return the gauge of that name, making it if there is none."""

    def histogram(name: str) -> IHistogram:
        """Return the histogram of that name, making it if there is none."""

    def text(name: str) -> IText:
        """Return the text readout of that name, making it if there is none."""

    def scope(prefix: str) -> IScope:
        """Return a scope all of whose names begin with prefix and a dot."""


class ILogFile(Interface):
    """A log file whose lines a filter makes itself."""

    def write(line: str) -> None:
        """Append line, newline included, sooner or later; never raises."""
