"""
Loads a config: file and --config-yaml to one checked Bootstrap message.

    text -> nodes (places, environment) -> short form to v3 -> message -> checks

What is wrong is gathered on the way and raised at the end, all of it at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap

from meshd.config.advice import advise
from meshd.config.check import Checker, Where
from meshd.config.errors import BadConfig, Place, Problem, Report, Spot, locate
from meshd.config.json_text import JsonReader
from meshd.config.lenient import Reader
from meshd.config.nodes import Composer, Node
from meshd.config.references import check_references
from meshd.config.short import Expander, dump, is_short

#: What errors call the text of --config-yaml.
YAML_OPTION = "--config-yaml"


@dataclass
class Document:
    """A config that was loaded, and where its parts stand."""

    bootstrap: Any
    warnings: list[Problem]
    _spots: Spot
    _report: Report

    def problem(self, message: str, *path: str | int) -> Problem:
        """Make a problem of what lies, or is missing, at path: ("static_resources", "listeners", 0)."""
        spot, rest = locate(self._spots, path)
        return self._report.at(spot, message, *rest)


def load(
    path: str | None,
    yaml_text: str | None,
    plugins: Any,
    *,
    allow_unserved: bool = False,
    allow_unknown_static: bool = False,
    environ: Mapping[str, str],
) -> Document:
    """
    Load the file at path, with yaml_text merged over it as protobuf merges messages.

    allow_unserved: what meshd does not serve is a warning.  allow_unknown_static:
    so is a field that no message has.  Raise BadConfig with all that is wrong.
    """
    report = Report()
    bootstrap, spots = Bootstrap(), Spot(Place(path or YAML_OPTION, 1, 1))
    sources = [(path, read_file(path))] if path is not None else []
    if yaml_text is not None:
        sources.append((YAML_OPTION, yaml_text))
    if not sources:
        raise BadConfig([Problem("", 0, 0, "", "no config: a file, or --config-yaml, is needed")])
    for number, (file, text) in enumerate(sources):
        node = compose(text, file, environ, report)
        if is_short(node):
            node = Expander(plugins, report).expand(node)
        root = Spot(node.place)
        message = Bootstrap()
        Reader(report, allow_unknown_static).message(node, message, root)
        bootstrap.MergeFrom(message)
        if number:
            spots.merge(root)
        else:
            spots = root
    checker = Checker(plugins, report, allow_unserved)
    checker.message(bootstrap, Where(spots))
    check_references(bootstrap, plugins, Where(spots), checker.error)
    if report.problems:
        raise BadConfig(report.problems)
    advise(bootstrap, plugins, Where(spots), checker.warn)
    warnings = BadConfig(report.warnings).problems
    return Document(bootstrap, warnings, spots, report)


def expand(path: str, plugins: Any, environ: Mapping[str, str]) -> str:
    """
    Return the v3 YAML of the file at path, which may be of either form.

    Environment variables are replaced.  Raise BadConfig for what cannot be
    read; whether the config could be served is not checked.
    """
    report = Report()
    node = compose(read_file(path), path, environ, report)
    if is_short(node):
        node = Expander(plugins, report).expand(node)
    if report.problems:
        raise BadConfig(report.problems)
    return dump(node)


def read_file(path: str) -> str:
    """Return the text of a config file; raise BadConfig if it cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadConfig([Problem(path, 0, 0, "", f"cannot be read: {reason}")]) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = len(before) - (before.rfind(b"\n") + 1) + 1
        raise BadConfig([Problem(path, before.count(b"\n") + 1, column, "", "this is not UTF-8")]) from None


def compose(text: str, file: str, environ: Mapping[str, str], report: Report) -> Node:
    """Return the nodes of YAML or JSON text; raise BadConfig."""
    before = len(report.problems), len(report.warnings)
    try:
        return Composer(file, environ, report).compose(text)
    except BadConfig:
        if text.lstrip()[:1] not in ("{", "["):
            raise
        # Perhaps it is of the JSON that is not YAML; if it is neither, the JSON reader says it better.
        del report.problems[before[0] :], report.warnings[before[1] :]
        return JsonReader(text, file, environ, report).read()
