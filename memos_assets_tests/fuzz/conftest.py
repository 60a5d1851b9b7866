"""How long the fuzzers search: a fixed, short way in the tests, another one each time elsewhere."""

import os

from hypothesis import HealthCheck, settings

#: Examples per fuzzer, set by ``make fuzz``.
EXAMPLES = os.environ.get("FUZZ_EXAMPLES")

settings.register_profile(
    "fuzz",
    max_examples=int(EXAMPLES or 8),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def pytest_runtest_setup() -> None:
    """Leave the tests of other folders with hypothesis's own profile."""
    settings.load_profile("fuzz")


def pytest_runtest_teardown() -> None:
    settings.load_profile("default")
