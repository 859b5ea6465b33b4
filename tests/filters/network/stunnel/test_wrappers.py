"""Tests for meshd.filters.network.stunnel.wrappers, with the library and files of our own."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshd.filters.network.stunnel import wrappers
from meshd.filters.network.stunnel.wrappers import LIBRARY, Wrappers

LOCAL = ("127.0.0.1", 443)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    """A directory whose files allow and deny are read instead of those in /etc."""
    library = ctypes.CDLL(LIBRARY)
    tables = [ctypes.c_char_p.in_dll(library, f"hosts_{name}_table") for name in ("allow", "deny")]
    before = [table.value for table in tables]
    paths = [str(tmp_path / name).encode() for name in ("allow", "deny")]
    for table, path in zip(tables, paths, strict=True):
        table.value = path
    yield tmp_path
    for table, value in zip(tables, before, strict=True):
        table.value = value


@pytest.mark.parametrize(
    ("allow", "deny", "permitted"),
    [
        ("", "", True),
        ("", "ALL: ALL", False),
        ("", "s: 192.0.2.0/255.255.255.0", False),
        ("", "other: 192.0.2.0/255.255.255.0", True),
        ("s: 192.0.2.7", "ALL: ALL", True),
        ("s: 192.0.2.8", "ALL: ALL", False),
        ("s@127.0.0.1: ALL", "ALL: ALL", True),
        ("s@127.0.0.2: ALL", "ALL: ALL", False),
    ],
)
def test_rules(files: Path, allow: str, deny: str, permitted: bool) -> None:
    """The section's name is the daemon; addresses of both ends count."""
    (files / "allow").write_text(allow + "\n")
    (files / "deny").write_text(deny + "\n")
    assert Wrappers().permits("s", ("192.0.2.7", 4000), LOCAL) is permitted


def test_v6(files: Path) -> None:
    """IPv6 has addresses, too."""
    (files / "deny").write_text("s: [2001:db8::]/64\n")
    local = ("::1", 443)
    assert not Wrappers().permits("s", ("2001:db8::7", 4000), local)
    assert Wrappers().permits("s", ("2001:db9::7", 4000), local)


def test_changes(files: Path) -> None:
    """The files are read anew each time."""
    wrapped = Wrappers()
    assert wrapped.permits("s", ("192.0.2.7", 4000), LOCAL)
    (files / "deny").write_text("ALL: ALL\n")
    assert not wrapped.permits("s", ("192.0.2.7", 4000), LOCAL)


def test_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library there is an OSError."""
    monkeypatch.setattr(wrappers, "LIBRARY", "libnosuch.so.0")
    with pytest.raises(OSError, match="libnosuch"):
        Wrappers()
