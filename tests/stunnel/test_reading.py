"""Tests for meshd.stunnel.reading."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from meshd.stunnel.reading import Reader
from meshd.stunnel.syntax import Failure
from tests.stunnel.reading import SERVICE, read, refused


class TestReading:
    """Sections and their defaults."""

    def test_defaults(self) -> None:
        """What stands before the first section is in all of them, and their own lines win."""
        found, _ = read(
            "TIMEOUTidle = 7\nreset = no\n" + SERVICE + "reset = yes\n" + SERVICE.replace("[s]", "[t]")
        )
        assert [(each.name, each.timeout_idle, each.reset) for each in found.services] == [
            ("s", 7, True),
            ("t", 7, False),
        ]

    def test_lists(self) -> None:
        """Addresses gather, beginning with those of the defaults, and sections do not share them."""
        found, _ = read("connect = 1\n" + SERVICE + SERVICE.replace("[s]", "[t]") + "connect = 3\n")
        assert [each.connect_names for each in found.services] == [
            ["1", "127.0.0.1:8002"],
            ["1", "127.0.0.1:8002", "3"],
        ]

    def test_last_wins(self) -> None:
        """Of other options the last line counts; names are of any case."""
        found, _ = read(SERVICE + "timeoutIDLE = 1\nTIMEOUTidle = 2\n")
        assert found.services[0].timeout_idle == 2

    def test_globals_after_sections(self) -> None:
        """Options of the process come before the first section only."""
        assert "Specified option name is not valid here" in refused(SERVICE + "pid = /x\n")

    def test_idle(self) -> None:
        """What has no effect is warned of."""
        _, said = read("RNDbytes = 5\nEGD = x\n" + SERVICE + "stack = 1000\n")
        warned = [line for level, line in said if level == 4]
        assert warned[:2] == ['The option "RNDbytes" has no effect', 'The option "EGD" has no effect']
        assert 'Service [s]: the option "stack" has no effect' in warned

    def test_mark(self) -> None:
        """A byte order mark is no part of the first line."""
        said: list[str] = []
        Reader(lambda level, line: said.append(line)).configuration(b"\xef\xbb\xbf" + SERVICE.encode(), "x")
        assert "UTF-8 byte order mark detected" in said

    def test_include(self, tmp_path: Path) -> None:
        """Sections may be in files of their own."""
        (tmp_path / "1").write_text(SERVICE)
        (tmp_path / "2").write_text(SERVICE.replace("[s]", "[t]"))
        found, _ = read(f"include = {tmp_path}\n")
        assert [each.name for each in found.services] == ["s", "t"]

    def test_endless_include(self, tmp_path: Path) -> None:
        """Files that include themselves are refused."""
        (tmp_path / "1").write_text(f"include = {tmp_path}\n")
        assert "Failed to include" in refused(f"include = {tmp_path}\n")

    def test_extras(self) -> None:
        """Options in comments are of the process or of a section; those that are not known are refused."""
        found, _ = read("; meshd: admin = 9901\n; meshd: watch = yes\n" + SERVICE + "; meshd: alpn = h2\n")
        assert found.extras == {"admin": "9901"}
        assert found.services[0].extras == {"watch": "yes", "alpn": "h2"}
        assert "no extra option" in refused("; meshd: nonsense = 1\n" + SERVICE)
        assert "no extra option" in refused(SERVICE + "; meshd: admin = 1\n")
        assert "needs to be" in refused("; meshd: log = x\n" + SERVICE)

    def test_command_line(self) -> None:
        """Extras of the command line are as if they stood first."""
        found, _ = read(SERVICE, extras={"admin": "1", "balance": "random"})
        assert (found.extras, found.services[0].extras) == ({"admin": "1"}, {"balance": "random"})

    @given(st.text(alphabet="\n=[];#: yesnoacptclk0159/.", max_size=300))
    def test_anything(self, text: str) -> None:
        """Any text is a configuration or is refused."""
        try:
            read(text)
        except Failure as failure:
            assert failure.text

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    [
                        "accept",
                        "connect",
                        "debug",
                        "sni",
                        "socket",
                        "verify",
                        "protocol",
                        "options",
                        "session",
                        "exec",
                        "redirect",
                        "curves",
                        "logId",
                        "transparent",
                        "checkIP",
                        "retry",
                        "PSKidentity",
                    ]
                ),
                st.text(alphabet=st.characters(blacklist_characters="\n", codec="utf-8"), max_size=20),
            )
        )
    )
    def test_any_values(self, options: list[tuple[str, str]]) -> None:
        """Any values of known options are taken or refused."""
        try:
            read("[s]\nclient = yes\n" + "".join(f"{name} = {value}\n" for name, value in options))
        except Failure as failure:
            assert failure.text
