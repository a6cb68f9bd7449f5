"""What is asked of every property test: examples that luck does not choose, an end that is reached.

A property test that has nothing to say of an example rejects it (`hypothesis.assume`,
`hypothesis.reject`) instead of returning, and fails where it rejects more than half of them:
`@pytest.mark.reaches(0.1)` says that a tenth is all that can be had. At random shares vary, and are
not looked at.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings
from hypothesis.internal.conjecture import providers

#: Share of the examples that a property test must see through to its end.
SHARE = 0.5
#: Of fewer examples no share is asked.
FEW = 8

_common = settings(
    deadline=None,  # brute force takes as long as it takes
    suppress_health_check=[HealthCheck.too_slow],  # the machine may be shared
)
settings.register_profile("default", _common, max_examples=60, derandomize=True)
settings.register_profile("fuzz", _common, max_examples=150, print_blob=True)


settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
if settings.default.derandomize:
    # Hypothesis also draws numbers that it finds in the sources of the modules loaded so far, and
    # which those are depends on the tests that this process has run before.
    providers._get_local_constants = lambda: providers._local_constants


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark of this module."""
    config.addinivalue_line(
        "markers",
        "reaches(share): least share of the examples that a property test must not reject",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave everything but property tests out while fuzzing."""
    if "FUZZ_UNTIL" not in os.environ:
        return
    left_out = [item for item in items if not is_property(item)]
    items[:] = [item for item in items if is_property(item)]
    config.hook.pytest_deselected(items=left_out)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start no more tests once the time for fuzzing is over."""
    if time.time() > float(os.environ.get("FUZZ_UNTIL", "inf")):
        pytest.skip("the time for fuzzing is over")


def is_property(item: pytest.Item) -> bool:
    """Tell whether Hypothesis makes the examples of a test."""
    return is_hypothesis_test(getattr(item, "obj", None))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Count the examples of a property test, and those that it sees through to its end."""
    if not is_property(item):
        return (yield)
    handle = item.obj.hypothesis  # type: ignore[attr-defined]
    inner, tried, ended = handle.inner_test, 0, 0

    @functools.wraps(inner)
    def counted(*args: Any, **kwargs: Any) -> None:
        nonlocal tried, ended
        tried += 1
        inner(*args, **kwargs)
        ended += 1

    handle.inner_test = counted
    try:
        result = yield
    finally:
        handle.inner_test = inner
    mark = item.get_closest_marker("reaches")
    share = SHARE if mark is None else mark.args[0]
    item.user_properties.append(("reached", (ended, tried)))
    if settings.default.derandomize and tried >= FEW and ended < share * tried:
        pytest.fail(
            f"only {ended} of {tried} examples reach the end of this test, expected {share:.0%}",
            pytrace=False,
        )
    return result
