"""What holds for all tests: how far hypothesis looks, and where trial's tests write."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from twisted.trial.unittest import SynchronousTestCase

# A little in each run, far with --hypothesis-profile=deep (tox -e fuzz).
settings.register_profile("fast", max_examples=60, deadline=None)
settings.register_profile(
    "deep", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fast")


@pytest.fixture(scope="session", autouse=True)
def trial_writes_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let trial's mktemp() give paths below pytest's directory: its own are in the current one."""

    def mktemp(case: SynchronousTestCase) -> str:
        return str(tmp_path_factory.mktemp("trial") / "temp")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SynchronousTestCase, "mktemp", mktemp)
        yield
