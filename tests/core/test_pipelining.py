"""Steps of pipelines against times by hand, and against a simulation written for itself."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.columns import BACKWARD
from talos_opt.core.errors import InputError
from talos_opt.core.pipelining.settings import PipelineSchedule
from talos_opt.core.pipelining.step import Pipeline, pipeline_steps
from talos_opt.core.problem import Problem
from talos_opt.testing.reference.steps import longest_path
from tests.builders import device, link, op, problem

SCHEDULES = list(PipelineSchedule)


def equal_stages(count: int, *, training: bool = True, latency: float = 0.0) -> Problem:
    """One forward op of 1 on each device, and a backward op of 2."""
    ops = [op(f"f{k}", 1, f"f{k - 1}:0" if k else "", output=8) for k in range(count)]
    for k in reversed(range(count if training else 0)):
        read = f"f{k}" if k == count - 1 else f"f{k} b{k + 1}:0"
        ops.append(op(f"b{k}", 2, read, phase="backward"))
    names = " ".join(f"gpu{k}" for k in range(count))
    return problem(ops, names, [link("gpu gpu", latency)], objective="makespan")


def in_order(count: int, *, training: bool = True) -> np.ndarray:
    return np.array([*range(count), *(reversed(range(count)) if training else ())])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("stages", "microbatches"), [(1, 1), (4, 1), (4, 4), (4, 32), (3, 2)])
def test_equal_stages(schedule: PipelineSchedule, stages: int, microbatches: int) -> None:
    step = Pipeline(equal_stages(stages), in_order(stages)).run(schedule, microbatches)
    assert step.time == 3 * (microbatches + stages - 1)
    assert step.bubble == pytest.approx((stages - 1) / (microbatches + stages - 1))


def test_inference_and_latency() -> None:
    given = equal_stages(4, training=False, latency=0.5)
    (step,) = pipeline_steps(given, in_order(4, training=False), ["gpipe"], [8])
    assert step.time == 8 + 3 * 1.5
    assert [block.microbatch for block in step.blocks if block.device == 3] == list(range(8))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_gradients_are_added_up(schedule: PipelineSchedule) -> None:
    ops = [op("f", 1, output=8), op("b", 2, "f", phase="backward", output=8)]
    given = problem([*ops, op("u", 0.5, "b", phase="update")], "gpu0")
    place = np.zeros(3, dtype=np.int64)
    assert Pipeline(given, place).run(schedule, 3).time == 3 * 3 + 0.5
    step = Pipeline(given, place, adds_gradients=True).run(schedule, 3)
    assert step.time == step.busy[0] == 3 * 3 + 2 * 0.5 + 0.5
    lengths = [block.end - block.start for block in step.blocks if block.phase == BACKWARD]
    assert lengths == [2, 2.5, 2.5]


def test_memory_in_flight() -> None:
    pipeline = Pipeline(equal_stages(4), in_order(4))
    assert pipeline.memory(PipelineSchedule.GPIPE, 6).tolist() == [48, 48, 48, 48]
    assert pipeline.memory(PipelineSchedule.ONE_F_ONE_B, 6).tolist() == [32, 24, 16, 8]
    assert pipeline.memory(PipelineSchedule.ONE_F_ONE_B, 2).tolist() == [16, 16, 16, 8]


def test_memory_of_what_no_backward_op_reads() -> None:
    # a and b make 12 bytes that are alive together, and d 6 that the update reads.
    ops = [op("a", 1, output=7), op("b", 1, "a", output=5, workspace=2), op("c", 1, "b", output=3)]
    ops += [op("d", 1, "c", phase="backward", output=6), op("u", 1, "d", phase="update")]
    given = problem(ops, "gpu0 gpu1", [link("gpu gpu", 0.0)])
    pipeline = Pipeline(given, np.array([0, 0, 1, 1, 1]))
    for schedule in SCHEDULES:
        assert pipeline.memory(schedule, 2).tolist()[0] == 7 + 5 + 2
    assert pipeline.memory(PipelineSchedule.GPIPE, 2).tolist()[1] == 2 * 3 + 6
    assert pipeline.memory(PipelineSchedule.ONE_F_ONE_B, 2).tolist()[1] == 3 + 6


def test_a_stage_without_blocks_in_turn_may_run_ahead() -> None:
    ops = [op("a", 1, output=7), op("b", 2, "a", phase="backward")]
    given = problem(ops, "gpu0 gpu1", [link("gpu gpu", 0.0)])
    step = Pipeline(given, np.array([0, 1])).run("1f1b", 4)
    # gpu0 is done after 4, when gpu1 has run one backward block.
    assert [block.end for block in step.blocks if block.device == 0] == [1, 2, 3, 4]
    assert step.memory.tolist() == [4 * 7, 4 * 7]


def test_a_link_that_carries_one_tensor_at_a_time() -> None:
    ops = [op("a", 1, output=8), op("b", 1, "a:8"), op("c", 1, output=8), op("d", 1, "c:8")]
    given = problem(ops, "gpu0 gpu1", [link("gpu gpu", 0.0, 4)], contention="serial")
    # 2 for each tensor, one after the other: the link is the narrowest part.
    step = Pipeline(given, np.array([0, 1, 0, 1])).run("gpipe", 3)
    assert step.time == 2 + 3 * 4 + 2
    free = problem(ops, "gpu0 gpu1", [link("gpu gpu", 0.0, 4)])
    assert Pipeline(free, np.array([0, 1, 0, 1])).run("gpipe", 3).time == 2 + 2 + 3 * 2


@st.composite
def trainings(draw: st.DrawFn) -> tuple[Problem, np.ndarray]:
    """A random step of training in stages, with updates, and its placement."""
    stages = draw(st.integers(1, 4))
    count = draw(st.integers(1, 6))
    where = sorted(draw(st.lists(st.integers(0, stages - 1), min_size=count, max_size=count)))
    time = st.integers(0, 6)
    ops, device_of = [], []
    readers: dict[int, list[int]] = {k: [] for k in range(count)}
    for k in range(count):
        read = sorted(draw(st.sets(st.integers(0, k - 1), max_size=2))) if k else []
        for source in read:
            readers[source].append(k)
        inputs = " ".join(f"f{source}:{draw(st.integers(0, 9))}" for source in read)
        ops.append(op(f"f{k}", draw(time), inputs, output=9))
        device_of.append(where[k])
    for k in reversed(range(count)):
        if draw(st.integers(0, 4)) == 0 and not readers[k]:
            continue
        made = [reader for reader in readers[k] if any(o.id == f"b{reader}" for o in ops)]
        read_text = [f"f{k}", *(f"b{reader}:{draw(st.integers(0, 9))}" for reader in made)]
        ops.append(op(f"b{k}", draw(time), " ".join(read_text), phase="backward", output=9))
        device_of.append(where[k])
    for k in range(count):
        if draw(st.booleans()) and any(o.id == f"b{k}" for o in ops):
            ops.append(op(f"u{k}", draw(time), f"b{k}", phase="update"))
            device_of.append(where[k])
    links = [link("gpu gpu", draw(st.integers(0, 3)), 2)]
    names = " ".join(f"gpu{k}" for k in range(stages))
    return problem(ops, names, links, objective="makespan"), np.array(device_of)


@given(trainings(), st.sampled_from(SCHEDULES), st.integers(1, 5))
def test_a_step_is_the_longest_path_through_its_blocks(
    case: tuple[Problem, np.ndarray], schedule: PipelineSchedule, microbatches: int
) -> None:
    given, place = case
    step = Pipeline(given, place).run(schedule, microbatches)
    assert step.time == pytest.approx(longest_path(given, place, str(schedule), microbatches))
    for d in step.stages:
        own = sorted(block for block in step.blocks if block.device == d)
        times = sorted((block.start, block.end) for block in own)
        assert all(a[1] <= b[0] for a, b in pairwise(times))
    assert step.busy.max() <= step.time + 1e-9


def test_what_is_no_pipeline() -> None:
    given = equal_stages(2)
    with pytest.raises(InputError, match="microbatches is 0, expected a whole number of 1"):
        pipeline_steps(given, in_order(2), ["gpipe"], [0])
    again = problem([op("a"), op("b", 1, "a"), op("c", 1, "b")], "gpu0 gpu1", [link("gpu gpu", 0)])
    with pytest.raises(InputError, match="enter a device again: gpu0 -> gpu1 -> gpu0"):
        Pipeline(again, np.array([0, 1, 0]))
    late = problem([op("b", phase="backward"), op("a", 1, "b")], "gpu0")
    with pytest.raises(InputError, match="m/a, of phase forward, reads m/b, of phase backward"):
        Pipeline(late, np.array([0, 0]))
    slow = problem(
        [op("a"), op("b", 1, "a")],
        [device("gpu0", copy_engine=False), device("gpu1")],
        [link("gpu gpu", 0)],
    )
    with pytest.raises(InputError, match="gpu0 has no copy engine"):
        Pipeline(slow, np.array([0, 1]))
    with pytest.raises(InputError, match=r"is 65537, expected at most 65536$"):
        pipeline_steps(given, in_order(2), ["gpipe"], [65_537])
    many = equal_stages(3)
    with pytest.raises(InputError, match=r"65000, expected at most 43690 on 3 device\(s\)"):
        pipeline_steps(many, in_order(3), ["gpipe"], [65_000])
    cold = problem([op("a"), op("b", {"cpu": 1}, "a")], "cpu0 gpu0")
    with pytest.raises(InputError, match="m/b cannot run on gpu0, where the schedule has it"):
        Pipeline(cold, np.array([0, 1]))


def test_backward_ops_that_enter_a_device_again() -> None:
    ops = [op("f", 1, output=1), op("g", 1, "f", output=1)]
    ops += [op("a", 1, "g", phase="backward"), op("b", 1, "a", phase="backward")]
    ops += [op("c", 1, "b", phase="backward")]
    given = problem(ops, "gpu0 gpu1", [link("gpu gpu", 0)])
    with pytest.raises(InputError, match=r"wait for each other for ever.*--granularity module"):
        Pipeline(given, np.array([0, 1, 1, 0, 1])).run("1f1b", 2)


def test_models_in_opposite_directions() -> None:
    ops = [op("a"), op("b", 1, "a")]
    given = problem({"one": ops, "two": ops}, "gpu0 gpu1", [link("gpu gpu", 0)])
    with pytest.raises(InputError, match=r"different directions: .*--stages ordered"):
        Pipeline(given, np.array([0, 1, 1, 0]))
    assert Pipeline(given, np.array([0, 1, 0, 1])).run("gpipe", 1).time == 4
