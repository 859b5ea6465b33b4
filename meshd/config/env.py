"""
Environment variables in a config: ${NAME}, and ${NAME:-default}.

The default is taken where the variable is unset or empty, as in a shell.
``$${`` stands for the two characters ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(\$\{)|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?(\})?)?")


class BadReference(Exception):
    """A ${...} that cannot be replaced; the text says why."""


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """Replace the references in text; raise BadReference for a variable that is unset and has no default."""

    def value(match: re.Match[str]) -> str:
        escaped, name, default, end = match.groups()
        if escaped:
            return "${"
        if not end:
            raise BadReference(
                "'${' begins no ${NAME} or ${NAME:-default}; write '$${' for the two characters"
            )
        found = environ.get(name)
        if default is not None:
            return found or default
        if found is None:
            raise BadReference(
                f"the environment variable {name} is not set; ${{{name}:-...}} would give it a default"
            )
        return found

    return _REFERENCE.sub(value, text)


def escape(text: str) -> str:
    """Write text so that substitute() gives it back."""
    return text.replace("${", "$${")
