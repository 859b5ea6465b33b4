"""Tests for meshd.stunnel.building."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml

from meshd.config.errors import BadConfig, Problem
from meshd.stunnel.building import Source, configuration, expand, explain, options_for, tell, yaml_of
from meshd.stunnel.log import StunnelLog
from meshd.stunnel.syntax import Failure
from tests.stunnel.reading import SERVICE


class TestBuilding:
    """From a file to what a server is made of."""

    def test_source(self, tmp_path: Path) -> None:
        """A file is read anew each time, a descriptor was read once."""
        path = tmp_path / "x.conf"
        path.write_text(SERVICE)
        assert Source(str(path)).read() == SERVICE.encode()
        assert Source("5", b"data").read() == b"data"
        with pytest.raises(Failure, match="Cannot open configuration file"):
            Source("/nonexistent").read()

    def test_said(self) -> None:
        """It is told what is read."""
        stderr = io.StringIO()
        log = StunnelLog(stderr)
        configuration(Source("5", SERVICE.encode()), log)
        log.refuse()
        assert "[.] Reading configuration from descriptor 5\n" in stderr.getvalue()

    def test_dollars(self) -> None:
        """What looks like a variable of the environment is none."""
        text = SERVICE + "protocol = smtp\nprotocolPassword = ${HOME}$$\n"
        made = yaml_of(configuration(Source("5", text.encode()), StunnelLog()))
        assert "$${HOME}$$" in made
        assert options_for(made).config_yaml == made

    def test_explained(self) -> None:
        """What a server finds wrong is told of the section."""
        text = json.dumps(
            {"static_resources": {"listeners": [{"name": "a"}], "clusters": [{"name": "b redirect"}]}}
        )

        def because(path: str) -> tuple[str, tuple[str, ...]]:
            failure = explain(BadConfig([Problem("x", 1, 1, path, "why")]), text)
            return failure.text, failure.before

        assert because("static_resources.listeners[0].filter_chains[0].transport_socket") == (
            "Service [a]: Failed to initialize TLS context",
            ("why",),
        )
        assert because("static_resources.clusters[0].type") == ("Service [b]: why", ())
        assert because("admin") == ("why", ())

    def test_tell(self) -> None:
        """A failure is told after what comes before it."""
        stderr = io.StringIO()
        log = StunnelLog(stderr)
        tell(Failure("b", ("a",)), log)
        log.refuse()
        assert stderr.getvalue() == "[!] a\n[!] b\n"

    def test_expand(self, tmp_path: Path) -> None:
        """A file can be seen as Envoy would have it."""
        path = tmp_path / "x.conf"
        path.write_text(SERVICE)
        made = yaml.safe_load(expand(str(path)))
        assert made["static_resources"]["listeners"][0]["name"] == "s"
