"""Tests for meshd.observe.meanings."""

from meshd.observe.meanings import meaning


def test_known() -> None:
    """A well-known statistic has a text of its own."""
    assert meaning("server.uptime", "gauge") == "Seconds since the start"


def test_derived() -> None:
    """Others have one made of their name."""
    assert meaning("tcp.db.odd_size_bytes", "gauge") == "The gauge odd size bytes of tcp.db, in bytes"
