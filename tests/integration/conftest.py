"""Fixtures of the integration tests: the real meshd process, alone, on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.case import Case


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """What one meshd process stands among: backends and clients."""
    made = Case("meshd", tmp_path)
    try:
        yield made
    finally:
        made.close()
