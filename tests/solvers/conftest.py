"""Fixtures of the solver tests."""

from __future__ import annotations

import pytest

from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready
from tests.builders import op, problem


@pytest.fixture(scope="session")
def compiled() -> None:
    """Compile kernels of solvers, so that no test pays for it within its time limit."""
    run = Run(problem([op("a"), op("b", 1, "a")]), time_limit=600.0)
    assert get_ready(run, "labels", "annealing", "reinsertion", "shops")
