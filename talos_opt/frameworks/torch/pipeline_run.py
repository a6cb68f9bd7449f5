"""Run a model as a pipeline of processes; hold it against the plain model and the prediction."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from talos_opt.core import units
from talos_opt.core.columns import BACKWARD
from talos_opt.core.errors import InputError
from talos_opt.core.module_paths import module_of
from talos_opt.core.pipelining.records import Block, Step
from talos_opt.core.pipelining.settings import PipelineSchedule
from talos_opt.core.pipelining.step import Pipeline
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.stage_split import split_points
from talos_opt.frameworks.common.disturbance import Others
from talos_opt.frameworks.common.pipelined import PipelineReport, StageTimes, stage_times
from talos_opt.frameworks.common.running import other_inputs
from talos_opt.frameworks.common.statistics import summarise
from talos_opt.frameworks.common.threads import require_threads
from talos_opt.frameworks.torch.arguments import Arguments
from talos_opt.frameworks.torch.devices import torch_devices
from talos_opt.frameworks.torch.microbatches import (
    Expected,
    draw_microbatches,
    expect,
    time_plain,
)
from talos_opt.frameworks.torch.peers import open_store
from talos_opt.frameworks.torch.reasons import plain_module
from talos_opt.frameworks.torch.stage_processes import Found, run_stages
from talos_opt.frameworks.torch.stage_worker import Job, Lap, state_of
from talos_opt.frameworks.torch.threads import threads_set
from talos_opt.frameworks.torch.training import set_mode

#: Share of its blocks' time for which a process has a core of its own where nobody else wants it.
_OWN_CORE = 0.93

#: Share of a step that hand-overs may take beyond what was predicted before it is worth a note.
_LATE = 0.02
#: How far the work is when it comes to this.
_SHARES = {"starting processes": 0.3, "first step": 0.6, "timing": 0.8}


def run_pipeline(
    make: Callable[[], nn.Module],
    inputs: Arguments,
    problem: Problem,
    schedule: Schedule,
    device_map: Mapping[str, str] | None = None,
    *,
    order: PipelineSchedule | str = PipelineSchedule.GPIPE,
    microbatches: int = 4,
    mode: str = "inference",
    repeats: int = 5,
    warmup: int = 2,
    threads: int = 1,
    port: int | None = None,
    timeout_s: float = 60.0,
    progress: Callable[[float, str], None] | None = None,
) -> PipelineReport:
    """Run a model as a pipeline: a process for each stage, by ``torch.distributed.pipelining``.

    Parameters
    ----------
    make : callable
        Makes the model, without arguments. Every process calls it: it can be pickled.
    inputs : Arguments
        Of one micro-batch, as the graph was profiled with.
    problem : Problem
        The model's graph, whose op times are those of one micro-batch.
    schedule : Schedule
        Its stages have to be contiguous: see `formats.stage_split.split_points`.
    device_map : mapping of str to str, optional
        Torch device of each device of the schedule: see `devices.torch_devices`.
    order : PipelineSchedule or str
        Of blocks; both are the same in inference.
    microbatches : int
        Of a step.
    mode : {'inference', 'training'}
        What was profiled.
    repeats, warmup : int
        Steps that count, and steps before them.
    threads : int
        Intra-op threads of each process.
    port : int, optional
        By which the processes find each other; default: a free one.
    timeout_s : float
        Seconds that a stage waits for another one.
    progress : callable, optional
        Is told the share that is done, and what is being done.

    Raises
    ------
    InputError
        If the placement forms no pipeline that torch can run, or is of another model; if there
        are fewer micro-batches than 1F1B needs; if the model does not run; or if the port is in
        use.
    SolverError
        If a process dies, or the model raises in one.
    """
    tell = progress or (lambda share, doing: None)
    require_threads(threads)
    plan = _plan(problem, schedule, device_map, order, microbatches, mode)
    store = open_store(port)
    tell(0.0, "the plain model")
    module = plain_module(make())
    set_mode(module, mode)
    _require_modules(problem, module)
    with threads_set(threads):
        expected = expect(module, draw_microbatches(inputs, microbatches), mode)
        alone = time_plain(module, expected, mode, repeats)
    others = Others()
    with tempfile.TemporaryDirectory(prefix="talos-pipeline-") as folder:
        given = {"state": state_of(module), "microbatches": expected.microbatches}
        torch.save(given, Path(folder, "given.pt"))
        job = Job(
            make, folder, tuple(plan.begins), tuple(map(str, plan.devices.values())), mode,
            plan.predicted.schedule.value, expected.named, expected.scale, store.port, threads,
            repeats, warmup, timeout_s,
        )  # fmt: skip
        found = run_stages(job, plan.names, lambda doing: tell(_SHARES[doing], doing))
        compared = _compare(expected, folder, len(plan.names), mode, _first_names(module))
    report = _report(plan, found, compared, alone)
    notes = (*other_inputs(problem.graph.description, inputs.describe()), *expected.notes)
    return dataclasses.replace(
        report, threads=threads, others=others.share(), notes=(*notes, *report.notes)
    )


@dataclass(frozen=True)
class _Plan:
    """What is to be run where."""

    pipeline: Pipeline
    predicted: Step
    begins: list[str]
    names: list[str]
    devices: dict[str, torch.device]


def _plan(
    problem: Problem,
    schedule: Schedule,
    device_map: Mapping[str, str] | None,
    order: PipelineSchedule | str,
    microbatches: int,
    mode: str,
) -> _Plan:
    begins, names = split_points(problem, schedule)
    pipeline = Pipeline(problem, schedule.device, adds_gradients=True)
    predicted = pipeline.run(order, microbatches)
    _require_mode(problem, mode)
    _require_enough(predicted.schedule, microbatches, len(names), mode)
    devices = torch_devices(names, device_map)
    return _Plan(pipeline, predicted, begins, names, devices)


_Compared = tuple[bool, float, bool | None, float | None]


def _report(
    plan: _Plan, found: Sequence[Found], compared: _Compared, alone: float
) -> PipelineReport:
    """Return what the timed steps show; of them, the one of the median length."""
    steps = [_blocks(laps) for laps in zip(*(stage.runs for stage in found), strict=True)]
    lengths = [max(block.end for block in blocks) for blocks in steps]
    whole = summarise(lengths)
    median = sorted(range(len(steps)), key=lambda k: lengths[k])[len(steps) // 2]
    computed = None
    if all(device.type == "cpu" for device in plan.devices.values()):
        computed = sum(lap.computed for stage in found for lap in stage.runs[median]) / 1e9
    where = {name: str(device) for name, device in plan.devices.items()}
    handovers = [stage.handover_s for stage in found]
    stages = stage_times(plan.pipeline, plan.names, where, steps, handovers)
    return PipelineReport(
        *compared,
        predicted=plan.predicted,
        predicted_s=plan.predicted.time
        / units.PER_SECOND[plan.pipeline.stages.problem.graph.time_unit],
        measured_s=whole.median,
        spread=whole.spread,
        single_process_s=alone,
        stages=stages,
        blocks=steps[median],
        computed_s=computed,
        notes=(*_disturbed(computed, steps[median]), *_slow(plan, stages)),
    )


def _require_mode(problem: Problem, mode: str) -> None:
    found = "training" if (problem.graph.columns.phases == BACKWARD).any() else "inference"
    if found != mode:
        raise InputError(
            f"the graph is of {found}, and the model is to run in {mode}: expected the mode that "
            "it was profiled in (--mode)"
        )


def _require_enough(order: PipelineSchedule, count: int, stages: int, mode: str) -> None:
    if mode == "training" and order is PipelineSchedule.ONE_F_ONE_B and count < stages:
        raise InputError(
            f"microbatches is {count}, expected at least {stages}: torch's 1f1b needs one for each "
            "stage; gpipe takes any number"
        )


def _require_modules(problem: Problem, module: nn.Module) -> None:
    known = {name for name, _ in module.named_modules(remove_duplicate=False)}
    for op in problem.ops:
        if module_of(op) not in known:
            raise InputError(
                f"a graph of another model: op {op.id!r} belongs to module {module_of(op)!r}, "
                "which the model does not have"
            )


def _first_names(module: nn.Module) -> dict[str, str]:
    """Return by every name of a parameter its first: tied ones have several."""
    first = {parameter: name for name, parameter in module.named_parameters()}
    named = module.named_parameters(remove_duplicate=False)
    return {name: first[parameter] for name, parameter in named}


def _compare(
    expected: Expected, folder: str, count: int, mode: str, first: Mapping[str, str]
) -> _Compared:
    """Return whether outputs agree and by how much they are off; likewise of gradients."""
    gradients: dict[str, torch.Tensor] = {}
    found: dict[str, Any] = {}
    for rank in range(count):
        found = torch.load(Path(folder, f"stage{rank}.pt"), weights_only=False)
        for alias, gradient in found["gradients"].items():
            name = first[alias]
            # What several stages read has a part of its gradient in each.
            gradients[name] = gradients[name] + gradient if name in gradients else gradient
    error, equal = expected.compare_outputs(found["outputs"])
    if mode == "inference":
        return equal, error, None, None
    off, same = expected.compare_training(found["loss"], gradients)
    return equal, error, same, off


def _disturbed(computed: float | None, blocks: Sequence[Block]) -> Iterator[str]:
    """Yield a note where processes had to share their cores while their blocks ran."""
    took = sum(block.end - block.start for block in blocks)
    if computed is not None and computed < _OWN_CORE * took:
        yield (
            f"the processes had a core for {computed / took:.0%} of the time that their blocks "
            "took: others were on it, so measured times are too long"
        )


def _slow(plan: _Plan, stages: Sequence[StageTimes]) -> Iterator[str]:
    """Yield a note for each stage whose tensors take much longer to the next one than predicted."""
    unit = 1 / units.PER_SECOND[plan.pipeline.stages.problem.graph.time_unit]
    for stage in stages:
        sent = stage.handover
        late = (sent.measured_s - sent.predicted_s) * plan.predicted.microbatches
        if sent.measured_s > 2 * sent.predicted_s and late > _LATE * plan.predicted.time * unit:
            yield (
                f"what {stage.device} hands on takes {sent.measured_s * 1e3:.3g} ms, predicted "
                f"{sent.predicted_s * 1e3:.3g} ms: profile --processes measures links between "
                "processes"
            )


def _blocks(stages: Sequence[Sequence[Lap]]) -> tuple[Block, ...]:
    """Return the blocks of a step, in seconds since the first began."""
    origin = min(lap.start for laps in stages for lap in laps)
    found = [
        Block(k, lap.phase, lap.microbatch, (lap.start - origin) / 1e9, (lap.end - origin) / 1e9)
        for k, laps in enumerate(stages)
        for lap in laps
    ]
    return tuple(sorted(found, key=lambda block: block.end))
