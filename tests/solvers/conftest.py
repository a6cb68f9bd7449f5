"""Fixtures of the solver tests."""

from __future__ import annotations

import pytest

from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from tests.builders import op, problem


@pytest.fixture(scope="session")
def compiled() -> None:
    """Compile the kernels of `dp` and `fast`, so that no test pays for it within its time limit."""
    tiny = problem([op("a"), op("b", 1, "a")])
    for name, options in (("dp", {}), ("fast", {"moves": 1})):
        run = Run(tiny, time_limit=300.0)
        registry.create(name, options).solve(tiny, run)
        assert run.best is not None
        assert not any("not compiled" in note for note in run.notes)
