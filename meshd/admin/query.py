"""What a request to the admin page asks, and what it is answered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

from google.protobuf.json_format import MessageToDict

from meshd.observe.log import Levels

TEXT = "text/plain; charset=UTF-8"
#: What Envoy says with the errors of /config_dump.
PLAIN = "text/plain"
HTML = "text/html; charset=UTF-8"
JSON = "application/json"

#: How long a regular expression may be: Python's, unlike RE2, can take long.
PATTERN_LIMIT = 512


class Server(Protocol):
    """What the admin page needs of a server; meshd.process.worker has it."""

    state: str
    #: Seconds since the epoch.
    started: float

    @property
    def stats(self) -> Any:
        """The meshd.observe.stats.Store."""

    @property
    def runtime(self) -> Any:
        """The meshd.config.runtime.Runtime."""

    @property
    def bootstrap(self) -> Any:
        """The Bootstrap message."""

    @property
    def options(self) -> Any:
        """The command line: attributes named as the options, with underscores."""

    @property
    def clusters(self) -> Mapping[str, Any]:
        """The clusters by name."""

    @property
    def listeners(self) -> Mapping[str, Any]:
        """The listeners by name."""

    @property
    def pages(self) -> Mapping[str, Callable[[], str]]:
        """Pages of plain text that plugins add, by path."""

    @property
    def plugins(self) -> Any:
        """The meshd.discover.Plugins."""

    @property
    def tls(self) -> Any:
        """The meshd.tls.shared.Shared."""

    @property
    def levels(self) -> Levels:
        """The levels of meshd's own log."""

    def drain_listeners(self, graceful: bool, inbound_only: bool, skip_exit: bool) -> object:
        """Stop listening: at once, or after the drain time."""

    def fail_health_checks(self) -> object:
        """Be DRAINING."""

    def pass_health_checks(self) -> object:
        """Be LIVE again."""

    def quit(self) -> object:
        """Exit."""

    def reopen_logs(self) -> object:
        """Open the log files anew."""


class BadRequest(Exception):
    """A request that cannot be answered as asked; its text is the answer."""

    def __init__(self, text: str, status: int = 400, content_type: str = TEXT) -> None:
        super().__init__(text)
        self.answer = Answer(text, status, content_type)


@dataclass(frozen=True)
class Answer:
    """
    A response: after is called when the client has it, and the connection is closed.

    A body that takes long to make is an iterator of its parts; it is made bit by bit.
    """

    body: str | bytes | Iterator[str]
    status: int = 200
    content_type: str = TEXT
    after: Callable[[], object] | None = None
    headers: Sequence[tuple[str, str]] = ()


OK = Answer("OK\n")


class Query:
    """The parameters of a request, from its path and from a form in its body, in order."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = pairs

    @classmethod
    def parse(cls, *texts: str) -> Query:
        """
        Read "a=1&b" texts.

        As in Envoy a plus sign stays one, so that a regular expression needs no escape.
        """
        pairs = []
        for part in "&".join(texts).split("&"):
            name, _, value = part.partition("=")
            if name:
                pairs.append((unquote(name), unquote(value)))
        return cls(pairs)

    def get(self, name: str) -> str | None:
        """Return the first value of name; "" if it has none, None if name is not there."""
        return next((value for key, value in self.pairs if key == name), None)

    def has(self, name: str) -> bool:
        """Return whether name is there, whatever its value is."""
        return self.get(name) is not None

    def choice(self, name: str, choices: Sequence[str], refusal: str) -> str:
        """Return the value of name, choices[0] if there is none; others raise BadRequest(refusal)."""
        value = self.get(name) or choices[0]
        if value not in choices:
            raise BadRequest(refusal)
        return value

    def pattern(self, name: str = "filter", refusal: str = "Invalid re2 regex") -> re.Pattern[str] | None:
        """Return the regular expression that name gives, None for none; a bad one raises BadRequest."""
        value = self.get(name)
        if not value:
            return None
        if len(value) > PATTERN_LIMIT:
            raise BadRequest(f"{refusal}: longer than {PATTERN_LIMIT} characters")
        try:
            return re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise BadRequest(f"{refusal}: {error}: {value}") from error


def plain(message: Any, defaults: bool = False) -> Any:
    """
    Return a protobuf message as what json.dumps takes, under the names of the .proto file.

    With defaults, fields that are not set are there too.
    """
    data = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=defaults
    )
    return _by_number(data, message.DESCRIPTOR) if defaults else data


def _by_number(data: Any, descriptor: Any) -> Any:
    """Put the fields in the order of their numbers, as Envoy prints them: json_format has defaults last."""
    if not isinstance(data, dict) or descriptor.full_name.startswith("google.protobuf."):
        return data
    ordered = {}
    for field in sorted(descriptor.fields, key=lambda field: field.number):
        if field.name not in data:
            continue
        value = data[field.name]
        inner = field.message_type
        if inner is not None and not inner.GetOptions().map_entry:
            if isinstance(value, list):
                value = [_by_number(each, inner) for each in value]
            else:
                value = _by_number(value, inner)
        ordered[field.name] = value
    return ordered


def as_json(data: Any) -> Answer:
    """Answer with JSON as Envoy indents it; data is a protobuf message, or what json.dumps takes."""
    if hasattr(data, "DESCRIPTOR"):
        data = plain(data)
    return Answer(json.dumps(data, indent=1, ensure_ascii=False) + "\n", content_type=JSON)
