"""Settings that keep CP-SAT from ending the process."""

from __future__ import annotations

import pytest

from talos_opt.solvers.cpsat import backend
from tests.builders import device, link, op, problem
from tests.solvers.running import in_own_process, run_solver


@pytest.mark.parametrize("weights", [3, 2])
@in_own_process
def test_presolve_does_not_abort(weights: int) -> None:
    """With CP-SAT's own settings, version 9.15 fails a check of its presolve on this problem."""
    given = problem(
        [
            op("op0", {"gpu": 0, "npu": 3, "cpu": 0}, weights=weights),
            op("op1", {"gpu": 0.5, "npu": 1.5, "cpu": 0.5, "npu0": 0}),
        ],
        [device("gpu0"), device("npu0", 3), device("cpu0", 3)],
        [
            link("gpu npu", 0, 4),
            link("gpu cpu", 0.5, 2),
            link("npu cpu", 0.5, 1),
        ],
        contention="serial",
    )
    run, _ = run_solver("cpsat", given)
    assert (run.value, run.lower_bound) == (0.0, 0.0)


def test_solvers_are_made_with_these_settings() -> None:
    made = backend.make_solver(backend.load())
    assert made.parameters.symmetry_level == 0
    assert not made.parameters.catch_sigint_signal
