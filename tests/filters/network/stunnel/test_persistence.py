"""Tests for meshd.filters.network.stunnel.persistence."""

from __future__ import annotations

from twisted.internet.task import Clock

from meshd.filters.network.stunnel.persistence import Persistence

A, B = ("192.0.2.1", 80), ("192.0.2.2", 80)


class TestPersistence:
    """Where sessions went."""

    def setup_method(self) -> None:
        """Have a clock."""
        self.clock = Clock()

    def test_found(self) -> None:
        """A session is known by its id, with where it went last."""
        known = Persistence(0, 10, self.clock.seconds)
        assert known.find("a") is None
        known.keep("a", A)
        known.keep("a", B)
        assert known.find("a") == B
        assert known.find("b") is None

    def test_size(self) -> None:
        """Those that were not used for longest are forgotten."""
        known = Persistence(2, 10, self.clock.seconds)
        for session in ("a", "b", "a", "c"):
            known.keep(session, A)
        assert [known.find(each) for each in "abc"] == [A, None, A]

    def test_time(self) -> None:
        """After some time a session is forgotten."""
        known = Persistence(0, 10, self.clock.seconds)
        known.keep("a", A)
        self.clock.advance(6)
        known.keep("b", B)
        self.clock.advance(6)
        assert (known.find("a"), known.find("b")) == (None, B)
        known.keep("b", B)
        assert list(known._known) == ["b"]
