"""What one operator of an access log is: how its value is got, and what may follow its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshd.observe.values import Getter, json_text, text_of
from meshd.plugin import ConfigError


@dataclass(frozen=True)
class Operator:
    """
    One compiled operator.

    value gets the value from the info of a connection; constant says that it is
    the same for all; quoted that a string looks like JSON in text, too.
    """

    value: Getter
    constant: bool = False
    quoted: bool = False

    def text(self, omit_empty: bool = False) -> str | Callable[[Any], str]:
        """Return what writes the value into text, or the text of a constant."""
        value, empty = self.value, "" if omit_empty else "-"
        shown = json_text if self.quoted else text_of

        def write(info: Any) -> str:
            found = value(info)
            if found.__class__ is str and shown is text_of:
                return found
            return empty if found is None else shown(found)

        return write(None) if self.constant else write

    def json(self) -> str | Callable[[Any], str]:
        """Return what writes the value as JSON, or the JSON of a constant."""
        value = self.value
        if self.constant:
            return json_text(value(None))
        return lambda info: json_text(value(info))


# How an operator is made of its parameter and length.
Maker = Callable[[str, int | None], Operator]


@dataclass(frozen=True)
class Syntax:
    """What may follow the name of an operator."""

    parameter: bool = False
    required: bool = False
    length: bool = False

    def check(self, name: str, parameter: str, length: int | None) -> None:
        """Raise ConfigError, in Envoy's words, for what may not be."""
        if not self.parameter and (parameter or length is not None):
            raise ConfigError(f"{name} does not take any parameters or length")
        if self.required and not parameter:
            raise ConfigError(f"{name} requires parameters")
        if not self.length and length is not None:
            raise ConfigError(f"{name} does not allow length to be specified.")


#: Nothing may follow; a parameter may; parameter and length may; a parameter must; it must, and a length may.
ALONE = Syntax()
OPTIONAL = Syntax(parameter=True)
FREE = Syntax(parameter=True, length=True)
REQUIRED = Syntax(parameter=True, required=True)
NEEDED = Syntax(parameter=True, required=True, length=True)

#: What may follow the name of an operator, and what makes it.
Table = dict[str, tuple[Syntax, Maker]]


def constant(value: Any) -> Operator:
    """Return an operator whose value is the same for all connections."""
    return Operator(lambda info: value, constant=True)


def alone(value: Getter) -> tuple[Syntax, Maker]:
    """Return the entry of an operator that nothing may follow."""
    return ALONE, lambda parameter, length: Operator(value)


def upstream(value: Getter, otherwise: Any = None) -> Getter:
    """Return what applies value to info.upstream, if there is one."""
    return lambda info: otherwise if info.upstream is None else value(info.upstream)
