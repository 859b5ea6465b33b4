"""Fixtures of the interop tests: see case.py for what a scenario is."""

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.case import Case, Outcome, differences
from tests.interop.oracle import KINDS
from tests.ports import free_port

LEDGER = pytest.StashKey[dict[str, Outcome]]()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which proxy the test is played on."""
    return str(request.param)


@pytest.fixture(scope="session")
def ports() -> list[int]:
    """Some ports that are the same for both proxies, for what depends on their numbers."""
    return [free_port() for _ in range(8)]


@pytest.fixture
def case(kind: str, tmp_path: Path) -> Iterator[Case]:
    """A scenario to be played on both proxies, and compared."""
    made = Case(kind, tmp_path)
    try:
        yield made
    finally:
        made.close()


def play_on_envoy(item: pytest.Function, directory: Path) -> Outcome:
    """Play a scenario on Envoy, for comparison, when only meshd was asked for."""
    directory.mkdir()
    case = Case("envoy", directory)
    try:
        wanted = {name: item.funcargs[name] for name in item._fixtureinfo.argnames}
        item.obj(**{**wanted, "case": case, **({"kind": "envoy"} if "kind" in wanted else {})})
        return case.finish()
    finally:
        case.close()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """After a scenario: keep Envoy's outcome, hold meshd's against it."""
    result = yield
    case = pyfuncitem.funcargs.get("case")
    if not isinstance(case, Case):
        return result
    outcome = case.finish()
    if os.environ.get("MESHD_SHOW_OUTCOMES"):
        print(f"\n== {pyfuncitem.name}", json.dumps(outcome, indent=1), sep="\n")
    ledger = pyfuncitem.config.stash.setdefault(LEDGER, {})
    callspec = getattr(pyfuncitem, "callspec", None)
    params = {name: value for name, value in (callspec.params if callspec else {}).items() if name != "kind"}
    name = f"{pyfuncitem.path}:{pyfuncitem.originalname}:{params!r}"
    if case.kind == "envoy":
        ledger[name] = outcome
        return result
    if name not in ledger:
        case.close()  # Envoy may need the same ports
        ledger[name] = play_on_envoy(pyfuncitem, case.directory / "envoy")
    found = differences(ledger[name], outcome)
    assert not found, "meshd differs from Envoy:\n" + "\n".join(found)
    return result
