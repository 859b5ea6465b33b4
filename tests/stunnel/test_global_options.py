"""Tests for meshd.stunnel.global_options."""

from __future__ import annotations

import os

import pytest

from tests.stunnel.reading import SERVICE, read, refused


class TestGlobals:
    """Options of the whole process."""

    def test_values(self) -> None:
        """They are read to plain values."""
        text = (
            "foreground = quiet\nlog = overwrite\noutput = /o\npid = /p\nsyslog = no\nchroot = /c\n"
            f"setuid = {os.getuid()}\nsetgid = root\ndebug = local1.6\nservice = me\nsetEnv = A=b=c\n"
        )
        found, _ = read(text + SERVICE)
        options = found.globals
        assert (options.foreground, options.overwrite_log, options.output) == ("quiet", True, "/o")
        assert (options.pid, options.syslog, options.chroot) == ("/p", False, "/c")
        assert (options.setuid, options.setgid, options.facility) == (os.getuid(), 0, "local1")
        assert (options.environment, found.defaults.name) == ({"A": "b=c"}, "me")
        assert found.services[0].level == 6

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("fips = yes", "FIPS provider is not available"),
            ("provider = x", '"provider" is not supported'),
            ("providerParameter = x", '"providerParameter" is not supported'),
            ("compression = x", "Specified compression type is not available"),
            ("setEnv = x", "NAME=VALUE"),
            ("foreground = x", "either 'yes', 'quiet' or 'no'"),
        ],
    )
    def test_refused(self, text: str, why: str) -> None:
        """What cannot be done is refused, by name."""
        assert why in refused(text + "\n" + SERVICE)
