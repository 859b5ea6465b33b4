"""
Access logs: a line in a file for each connection that is over.

Serves envoy.extensions.access_loggers.file.v3.FileAccessLog and
envoy.extensions.access_loggers.stream.v3.StdoutAccessLog and StderrAccessLog, with
formats (format.py) and filters (log_filters.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from envoy.extensions.access_loggers.stream.v3.stream_pb2 import StderrAccessLog, StdoutAccessLog
from google.protobuf.json_format import MessageToDict
from zope.interface import implementer

from meshd.config.plain import data_source
from meshd.interfaces import IAccessLogger, IRuntime, IStreamInfo
from meshd.observe.files import LogFile, LogFiles
from meshd.observe.format import DEFAULT, Formatter, compile_json, compile_text
from meshd.observe.log_filters import Test, build_filter
from meshd.plugin import ConfigError

__all__ = ["FileLogger", "LogFile", "LogFiles", "build"]

# Formatters of Envoy that add what is always there here.
_BUILT_IN = frozenset({"envoy.extensions.formatter.metadata.v3.Metadata"})


@implementer(IAccessLogger)
class FileLogger:
    """Writes a line for each connection that passes its filter, if it has one."""

    def __init__(self, file: LogFile, write: Formatter, wanted: Test | None) -> None:
        self._file = file
        self._format = write
        self._wanted = wanted

    def log(self, info: IStreamInfo) -> None:
        wanted = self._wanted
        if wanted is None or wanted(info):
            self._file.write(self._format(info))


def build(configs: Sequence[Any], files: LogFiles, runtime: IRuntime) -> list[FileLogger]:
    """
    Return a logger for each envoy.config.accesslog.v3.AccessLog message.

    Raise ConfigError, whose path begins with the number of the message.
    """
    loggers = []
    for index, config in enumerate(configs):
        try:
            loggers.append(_logger(config, files, runtime))
        except ConfigError as error:
            raise error.under(index) from None
    return loggers


def _logger(config: Any, files: LogFiles, runtime: IRuntime) -> FileLogger:
    wanted = None
    if config.HasField("filter"):
        try:
            wanted = build_filter(config.filter, runtime)
        except ConfigError as error:
            raise error.under("filter") from None
    try:
        path, write = _sink(config)
        file = files.open(path)
    except ConfigError as error:
        raise error.under("typed_config") from None
    return FileLogger(file, write, wanted)


def _sink(config: Any) -> tuple[str, Formatter]:
    """Return where the lines go and what writes them."""
    packed = config.typed_config
    for cls, path in (
        (StdoutAccessLog, "/dev/stdout"),
        (StderrAccessLog, "/dev/stderr"),
        (FileAccessLog, ""),
    ):
        if packed.Is(cls.DESCRIPTOR):
            message = cls()
            packed.Unpack(message)
            return path or message.path, _format(message)
    kind = packed.type_url.rpartition("/")[2]
    raise ConfigError(
        f"Didn't find a registered implementation for '{config.name}' with type URL: '{kind}'; "
        "meshd serves FileAccessLog, StdoutAccessLog and StderrAccessLog"
    )


def _format(message: Any) -> Formatter:
    kind = message.WhichOneof("access_log_format")
    formats: dict[str | None, Callable[[Any], Formatter]] = {
        None: lambda value: compile_text(DEFAULT),
        "format": lambda value: compile_text(value or DEFAULT),
        "json_format": lambda value: compile_json(MessageToDict(value)),
        "typed_json_format": lambda value: compile_json(MessageToDict(value)),
        "log_format": substitution,
    }
    try:
        return formats[kind](getattr(message, kind) if kind else None)
    except ConfigError as error:
        raise error.under(*([kind] if kind else [])) from None


def substitution(message: Any) -> Formatter:
    """Return what writes as a SubstitutionFormatString (envoy.config.core.v3) says; raise ConfigError."""
    if message.content_type:
        raise ConfigError("meshd does not serve the field content_type", "content_type")
    for index, formatter in enumerate(message.formatters):
        if formatter.typed_config.type_url.rpartition("/")[2] not in _BUILT_IN:
            raise ConfigError("meshd does not serve this formatter", "formatters", index)
    kind = message.WhichOneof("format")
    omit = message.omit_empty_values
    try:
        if kind == "text_format":
            return compile_text(message.text_format, omit)
        if kind == "json_format":
            struct: Mapping[str, Any] = MessageToDict(message.json_format)
            return compile_json(struct, omit)
        if kind == "text_format_source":
            text = data_source(message.text_format_source).decode("utf-8", "replace")
            return compile_text(text, omit)
    except ConfigError as error:
        raise error.under(kind) from None
    raise ConfigError("a format is needed: text_format_source or json_format")
