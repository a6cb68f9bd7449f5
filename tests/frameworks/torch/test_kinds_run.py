"""Models of awkward kinds run under placements, on inputs that they were not captured with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs talos-opt[torch]")

from talos_opt.core.result import Result, Status  # noqa: E402
from talos_opt.core.simulator import simulate  # noqa: E402
from talos_opt.frameworks.torch.capture import capture  # noqa: E402
from talos_opt.frameworks.torch.captured import Captured  # noqa: E402
from talos_opt.frameworks.torch.run import run_schedule  # noqa: E402
from talos_opt.frameworks.torch.timing import whole_time  # noqa: E402
from tests.frameworks.torch import kinds  # noqa: E402
from tests.frameworks.torch.synthetic import ON_CPU, problem_of, random_schedule  # noqa: E402

CASES: list[tuple[Callable[[], Any], Any, str]] = [
    (kinds.KeywordOnly, {"x": torch.ones(4, 8)}, "inference"),
    (kinds.Nested, kinds.given()[0], "training"),
    (kinds.Item, (torch.ones(4, 8),), "inference"),
]


def run(captured: Captured, inputs: Any) -> Any:
    document = random_schedule(problem_of(captured), 1)
    return run_schedule(captured, inputs, document, ON_CPU, repeats=1, warmup=0)


@pytest.mark.parametrize(("make", "inputs", "mode"), CASES)
def test_outputs_are_those_of_the_module(make: Callable[[], Any], inputs: Any, mode: str) -> None:
    captured = capture(make(), inputs, mode)
    assert captured.other is not None
    report = run(captured, captured.other)
    assert report.outputs_equal
    assert report.transfers > 0
    assert whole_time(captured.module, captured, captured.other, torch.device("cpu")) > 0


def test_outputs_that_differ_by_random_numbers_are_explained() -> None:
    class TwoDraws(kinds.Base):
        def forward(self, x: Any) -> Any:
            return torch.rand(8) - torch.rand(8) * 2 + self.a(x)

    captured = capture(TwoDraws(), (torch.ones(4, 8),))
    problem = problem_of(captured)
    alone = np.zeros(problem.arrays.op_count, dtype=np.int64)
    for last_first in (False, True):
        order = np.arange(problem.arrays.op_count) * (-1.0 if last_first else 1.0)
        made = Result(problem, Status.FEASIBLE, simulate(problem, alone, order), 0.0, "test")
        report = run_schedule(captured, (torch.ones(4, 8),), made.to_dict(), repeats=1)
        assert report.outputs_equal is not last_first
    assert "the outputs differ, since the model draws random numbers at op rand" in report.notes[-1]
