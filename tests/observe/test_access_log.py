"""Tests for meshd.observe.access_log."""

from pathlib import Path
from typing import Any

import pytest
from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.extensions.access_loggers.file.v3 import file_pb2  # noqa: F401  registers the messages
from envoy.extensions.access_loggers.stream.v3 import stream_pb2  # noqa: F401
from google.protobuf.json_format import ParseDict
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from meshd.config.runtime import Runtime
from meshd.interfaces import IAccessLogger
from meshd.net.timers import Timers
from meshd.observe.access_log import LogFiles, build
from meshd.observe.stats import Store
from meshd.plugin import ConfigError
from tests.observe.connections import refused, relayed

FILE = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
STDOUT = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
STDERR = "envoy.extensions.access_loggers.stream.v3.StderrAccessLog"


def config(type_name: str, filter: dict[str, Any] | None = None, **fields: Any) -> Any:
    """Return an AccessLog message."""
    packed = {"@type": f"type.googleapis.com/{type_name}", **fields}
    message = {"name": "x", "typed_config": packed, **({"filter": filter} if filter else {})}
    return ParseDict(message, AccessLog())


def logged(*configs: Any) -> None:
    """Log the relayed connection and the refused one as the messages say, and be done."""
    files = LogFiles(Store(), Timers(Clock()))
    try:
        for logger in build(configs, files, Runtime(None, Store())):
            verifyObject(IAccessLogger, logger)
            logger.log(relayed())
            logger.log(refused())
    finally:
        files.close()


class TestFile:
    """A log in a file."""

    @pytest.mark.parametrize(
        ("fields", "lines"),
        [
            ({"format": "A %START_TIME(%Y)% %PROTOCOL%;"}, "A 2026 -;A 2026 -;"),
            (
                {"json_format": {"b": "%PROTOCOL%", "a": "%BYTES_SENT%"}},
                '{"a":25,"b":null}\n{"a":0,"b":null}\n',
            ),
            ({"typed_json_format": {"a": "%BYTES_SENT%"}}, '{"a":25}\n{"a":0}\n'),
            ({"log_format": {"text_format": "%BYTES_SENT%,"}}, "25,0,"),
            ({"log_format": {"text_format_source": {"inline_string": "%BYTES_SENT%,"}}}, "25,0,"),
            (
                {
                    "log_format": {
                        "text_format_source": {"inline_string": "<%UPSTREAM_HOST%>"},
                        "omit_empty_values": True,
                    }
                },
                "<127.0.0.1:24903><>",
            ),
            (
                {"log_format": {"json_format": {"h": "%UPSTREAM_HOST%"}, "omit_empty_values": True}},
                '{"h":"127.0.0.1:24903"}\n{}\n',
            ),
        ],
    )
    def test_formats(self, tmp_path: Path, fields: dict[str, Any], lines: str) -> None:
        """Each way to say a format is understood."""
        path = tmp_path / "log"
        logged(config(FILE, path=str(path), **fields))
        assert path.read_text() == lines

    @pytest.mark.parametrize("fields", [{}, {"format": ""}])
    def test_default(self, tmp_path: Path, fields: dict[str, Any]) -> None:
        """Without a format there is Envoy's."""
        path = tmp_path / "log"
        logged(config(FILE, path=str(path), **fields))
        assert path.read_text().splitlines()[0] == (
            '[2026-11-23T06:34:10.128Z] "- - -" 0 - 25 25 71 - "-" "-" "-" "-" "127.0.0.1:24903"'
        )

    def test_filter(self, tmp_path: Path) -> None:
        """Only what passes the filter is logged."""
        path = tmp_path / "log"
        logged(config(FILE, {"response_flag_filter": {}}, path=str(path), format="%RESPONSE_FLAGS%\n"))
        assert path.read_text() == "NC\n"

    def test_shared(self, tmp_path: Path) -> None:
        """Two logs may go to one file."""
        path = tmp_path / "log"
        logged(config(FILE, path=str(path), format="a"), config(FILE, path=str(path), format="b"))
        assert path.read_text() == "aabb"


class TestStreams:
    """Logs to the standard streams."""

    def test_both(self, capfd: pytest.CaptureFixture[str]) -> None:
        """There is one for each."""
        line = {"text_format_source": {"inline_string": "%BYTES_SENT%\n"}}
        logged(config(STDOUT, log_format=line), config(STDERR, log_format=line))
        assert capfd.readouterr() == ("25\n0\n", "25\n0\n")


class TestErrors:
    """What cannot be served."""

    @pytest.mark.parametrize(
        ("message", "path", "words"),
        [
            (
                config(FILE, path="/dev/null", log_format={"json_format": {"a": ["%NOPE%"]}}),
                (0, "typed_config", "log_format", "json_format", "a", 0),
                "Not supported field in StreamInfo: NOPE",
            ),
            (
                config(FILE, path="/dev/null", format="%"),
                (0, "typed_config", "format"),
                "Couldn't find valid command",
            ),
            (
                config(FILE, path="/nonexistent/log"),
                (0, "typed_config"),
                "unable to open file '/nonexistent/log'",
            ),
            (
                config(FILE, {"extension_filter": {"name": "x"}}, path="/dev/null"),
                (0, "filter", "extension_filter"),
                "does not serve",
            ),
            (
                config(FILE, path="/dev/null", log_format={"text_format": "a", "content_type": "b"}),
                (0, "typed_config", "log_format", "content_type"),
                "does not serve",
            ),
            (AccessLog(name="envoy.foo"), (0, "typed_config"), "Didn't find a registered implementation"),
            (
                config("google.protobuf.Duration", value="1s"),
                (0, "typed_config"),
                "with type URL: 'google.protobuf.Duration'",
            ),
        ],
    )
    def test_error(self, message: Any, path: tuple[Any, ...], words: str) -> None:
        """It is said what, and where."""
        with pytest.raises(ConfigError, match=words) as raised:
            logged(message)
        assert raised.value.path == path
