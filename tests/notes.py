"""No test passes with a note that nobody expects."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from talos_opt.testing.expected_notes import unexpected


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark of this module."""
    config.addinivalue_line("markers", "notes(pattern, ...): what may be noted in this test's runs")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail where a run of this process noted what the test's marks do not expect."""
    from talos_opt.solvers.engine.run import Run

    taken: list[str] = []
    note = Run.note

    def noted(run: Run, text: str) -> None:
        taken.append(text)
        note(run, text)

    Run.note = noted  # type: ignore[method-assign]
    try:
        result = yield
    finally:
        Run.note = note  # type: ignore[method-assign]
    patterns = tuple(p for mark in item.iter_markers("notes") for p in mark.args)
    strange = unexpected(taken, patterns)
    if strange:
        pytest.fail("unexpected notes: " + "; ".join(sorted(set(strange))), pytrace=False)
    return result
