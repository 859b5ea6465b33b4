"""Reads texts as a stunnel.conf, for tests."""

from __future__ import annotations

from typing import Any

import pytest

from meshd.stunnel.model import Configuration, Service
from meshd.stunnel.reading import Reader
from meshd.stunnel.syntax import Failure

#: A section that is complete.
SERVICE = "[s]\nclient = yes\naccept = 127.0.0.1:8001\nconnect = 127.0.0.1:8002\n"


def read(text: str, **options: Any) -> tuple[Configuration, list[tuple[int, str]]]:
    """Return the configuration, and what was said."""
    said: list[tuple[int, str]] = []
    reader = Reader(lambda level, line: said.append((level, line)), **options)
    return reader.configuration(text.encode("utf-8", "surrogateescape"), "x.conf"), said


def service(text: str) -> Service:
    """Return the one service, of SERVICE and what is behind it."""
    return read(SERVICE + text)[0].services[0]


def refused(text: str) -> str:
    """Return why a file is refused."""
    with pytest.raises(Failure) as failure:
        read(text)
    return failure.value.text
