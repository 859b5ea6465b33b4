"""Tests for meshd.observe.operator."""

from typing import Any

import pytest

from meshd.observe.operator import (
    ALONE,
    FREE,
    NEEDED,
    OPTIONAL,
    REQUIRED,
    Operator,
    Syntax,
    constant,
    upstream,
)
from meshd.plugin import ConfigError


class TestOperator:
    """What an operator writes."""

    @pytest.mark.parametrize(
        ("value", "text", "json"),
        [
            (None, "-", "null"),
            ("a", "a", '"a"'),
            (3, "3", "3"),
            (1.5, "1.5", "1.5"),
            ({"b": 1, "a": []}, '{"a":[],"b":1}', '{"a":[],"b":1}'),
        ],
    )
    def test_forms(self, value: Any, text: str, json: str) -> None:
        """A value looks different in text and in JSON; a constant is known beforehand."""
        operator = Operator(lambda info: value)
        in_text, in_json = operator.text(), operator.json()
        assert callable(in_text)
        assert callable(in_json)
        assert (in_text(None), in_json(None)) == (text, json)
        assert (constant(value).text(), constant(value).json()) == (text, json)

    def test_omitted(self) -> None:
        """What is empty can be left out of text."""
        assert constant(None).text(omit_empty=True) == ""

    def test_quoted(self) -> None:
        """A string can look like JSON in text, too."""
        assert Operator(lambda info: 'a"', constant=True, quoted=True).text() == '"a\\""'


class TestSyntax:
    """What may follow a name."""

    @pytest.mark.parametrize(
        ("syntax", "allowed"),
        [
            (ALONE, ["X"]),
            (OPTIONAL, ["X", "X(a)"]),
            (FREE, ["X", "X(a)", "X:1", "X(a):1"]),
            (REQUIRED, ["X(a)"]),
            (NEEDED, ["X(a)", "X(a):1"]),
        ],
    )
    def test_allowed(self, syntax: Syntax, allowed: list[str]) -> None:
        """Each lets through what it says, and nothing else."""
        found = []
        for written, parameter, length in (
            ("X", "", None),
            ("X(a)", "a", None),
            ("X:1", "", 1),
            ("X(a):1", "a", 1),
        ):
            try:
                syntax.check("X", parameter, length)
            except ConfigError:
                continue
            found.append(written)
        assert found == allowed


def test_upstream() -> None:
    """Without an upstream there is what is said."""

    class Info:
        upstream: Any = None

    info = Info()
    assert upstream(lambda up: up + 1, 7)(info) == 7
    info.upstream = 1
    assert upstream(lambda up: up + 1, 7)(info) == 2
