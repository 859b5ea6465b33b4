"""Tests for meshd.stunnel.syntax."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshd.stunnel.syntax import Failure, decode, included, lines


def kinds(text: str) -> list[tuple[int, str, str, str]]:
    """Return number, kind, name and value of each line."""
    return [(each.number, each.kind, each.name, each.value) for each in lines(text, "x.conf")]


class TestLines:
    """The lines of a file."""

    def test_kinds(self) -> None:
        """There are sections, options, comments and blanks; blanks around names and values do not count."""
        text = "; comment\n# another\n\n [ s ] \n\tName = a value = with more \nbare\n"
        assert kinds(text) == [
            (4, "section", " s ", ""),
            (5, "option", "Name", "a value = with more"),
            (6, "broken", "bare", ""),
        ]

    def test_no_inline_comments(self) -> None:
        """What looks like a comment behind a value is part of it."""
        assert kinds("a = b ; c\r\n") == [(1, "option", "a", "b ; c")]

    def test_extras(self) -> None:
        """Options of meshd's own stand in comments."""
        assert kinds("; meshd: admin = 1\n#meshd:x\n;meshd is good") == [
            (1, "extra", "admin", "1"),
            (2, "extra", "x", ""),
        ]

    def test_unclosed_section(self) -> None:
        """A section without its bracket is a line without an equals sign."""
        assert kinds("[s") == [(1, "broken", "[s", "")]

    def test_failure(self) -> None:
        """What is wrong is told with the line as it was written."""
        (line,) = lines("  foo = bar ", "/x.conf")
        assert line.failure("why").text == '/x.conf:1: "  foo = bar ": why'

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """Any text is some lines; none is lost that says something."""
        found = list(lines(text, "x"))
        said = [
            each
            for each in text.split("\n")
            if each.strip(" \t\n\v\f\r") and each.strip(" \t\n\v\f\r")[0] not in ";#"
        ]
        assert len([each for each in found if each.kind != "extra"]) == len(said)

    @given(st.binary())
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes are text, and none is lost."""
        text, mark = decode(data)
        assert text.encode("utf-8", "surrogateescape") == (data[3:] if mark else data)


class TestInclude:
    """Directories of files."""

    def test_order(self, tmp_path: Path) -> None:
        """Files come by name, directories not at all."""
        for name in ("b", "a", ".c"):
            (tmp_path / name).write_text(name)
        (tmp_path / "d").mkdir()
        (line,) = lines(f"include = {tmp_path}", "x")
        assert [text for _, text in included(line, lambda path: Path(path).read_bytes())] == [".c", "a", "b"]

    def test_missing(self) -> None:
        """A directory that is not there is told."""
        (line,) = lines("include = /nonexistent", "x")
        with pytest.raises(Failure) as failure:
            list(included(line, lambda path: b""))
        assert failure.value.before == ("scandir: No such file or directory (2)",)
        assert "Failed to include directory" in failure.value.text
