"""Speedups of a graph's models: by hand on Fig. 1, and where they are undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given

from talos_opt.analysis.model_speedups import model_speedups
from talos_opt.analysis.model_summary import QUANTILES, summarise_model
from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from tests import builders, strategies
from tests.builders import op


def test_fig1_by_hand() -> None:
    first, second = model_speedups(builders.fig1())
    assert (first.model, first.reference, first.other) == ("m1", "cpu", "gpu")
    assert first.names == ("op1", "op2", "op3")
    assert second.ops.tolist() == [3, 4, 5]
    assert first.speedup.tolist() == [5, 1 / 3, 1.5]
    assert second.speedup.tolist() == [1, 3, 0.5]
    told = summarise_model(first)
    assert (told.reference_total, told.other_total, told.speedup) == (9, 6, 1.5)
    # op2 alone is faster on the CPU: 1 of 9 there, 3 of 6 on the GPU.
    assert told.slower_ops == pytest.approx(1 / 3)
    assert told.slower_reference == pytest.approx(1 / 9)
    assert told.slower_other == pytest.approx(3 / 6)
    assert told.costliest == (0, 2, 1)
    assert told.speedups[0.5] == 1.5
    assert list(told.reference_times) == list(QUANTILES)


def test_what_is_undefined_is_left_out() -> None:
    problem = builders.problem(
        [
            op("both", {"cpu": 4, "gpu": 2}),
            op("here", {"cpu": 100}),
            op("there", {"gpu": 7}),
            op("free", {"cpu": 1, "gpu": 0}),
            op("nothing", {"cpu": 0, "gpu": 0}),
        ]
    )
    (found,) = model_speedups(problem)
    assert found.speedup[0] == 2
    assert np.isnan(found.speedup[1:]).all()
    assert found.reference_time[2] == found.other_time[1] == math.inf
    assert found.timed.tolist() == [True, False, False, True, True]
    told = summarise_model(found)
    assert (told.ops, told.timed, told.op_types) == (5, 3, 0)
    assert (told.reference_total, told.other_total) == (5, 2)
    assert told.slower_ops == 0
    assert told.costliest == (1, 2, 0, 3, 4)


def test_no_op_has_a_time_on_both() -> None:
    (found,) = model_speedups(builders.problem([op("a", {"cpu": 1}), op("b", {"gpu": 1})]))
    told = summarise_model(found)
    assert (told.speedup, told.slower_ops, told.slower_other) == (None, None, None)
    assert told.speedups == told.other_times == {}


def test_devices_are_named_by_kind_or_id() -> None:
    ops = [op("a", {"cpu": 6, "gpu": 3, "gpu1": 2})]
    problem = builders.problem(ops, "cpu0 gpu0 gpu1")

    def speedup(**names: str) -> float:
        return float(model_speedups(problem, **names)[0].speedup[0])

    assert speedup() == speedup(other="gpu") == speedup(other="gpu0") == 2
    assert speedup(other="gpu1") == 3
    assert speedup(reference="gpu0", other="gpu1") == 1.5
    assert speedup(reference="gpu") == 0.5
    with pytest.raises(InputError, match=r"other is 'tpu', expected a device kind or id of cpu, "):
        speedup(other="tpu")
    with pytest.raises(InputError, match="'cpu' and other 'cpu0' are the same device"):
        speedup(other="cpu0")
    with pytest.raises(InputError, match="all devices of the cluster are of kind 'cpu'"):
        model_speedups(builders.problem([op("a")], "cpu0 cpu1"))


def test_pins_and_memory_are_left_aside() -> None:
    ops = [op("a", {"cpu": 6, "gpu": 3}, devices="cpu", weights=9)]
    limited = [builders.device("cpu0"), builders.device("gpu0", 5)]
    assert model_speedups(builders.problem(ops, limited))[0].speedup.tolist() == [2]


@given(strategies.problems(max_ops=8))
def test_any_problem_with_two_kinds(problem: Problem) -> None:
    assume(len(problem.cluster.kinds) >= 2)
    found = model_speedups(problem)
    swapped = model_speedups(problem, reference=found[0].other, other=found[0].reference)
    assert [name for model in found for name in model.names] == [item.id for item in problem.ops]
    for there, back in zip(found, swapped, strict=True):
        defined = ~np.isnan(there.speedup) & ~np.isnan(back.speedup) & (there.speedup > 0)
        assert np.allclose(there.speedup[defined] * back.speedup[defined], 1)
        told = summarise_model(there)
        assert len(told.costliest) == min(10, len(there.ops))
        assert told.slower_ops is None or 0 <= told.slower_ops <= 1
        # Where every op has a speedup, the average lies between the extremes.
        if told.speedup and told.speedups and np.isfinite(there.speedup[there.timed]).all():
            low, high = told.speedups[0.0], told.speedups[1.0]
            assert low * (1 - 1e-9) <= told.speedup <= high * (1 + 1e-9)
