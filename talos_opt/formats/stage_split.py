"""Stages as the runtimes of pipelines take them: how many layers each, and where each begins.

Written from a schedule whose ops say in ``attrs: {module: path}`` which module they belong to, and
whose stages are contiguous (docs/pipelines.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from talos_opt.core.columns import PHASES
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Op
from talos_opt.core.module_paths import above, is_view, module_of
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.stages import StageRule, Stages, keeps_stages
from talos_opt.core.topology import order_by_number
from talos_opt.formats.target import write_json, write_lines

#: The first number in a path: which of a list of modules it is a part of.
_LAYER = re.compile(r"(?:(?P<list>.*?)\.)?(?P<number>\d+)(?:\.|$)")
_FORWARD = PHASES[0]


@dataclass(frozen=True)
class LayerSplit:
    """Consecutive layers on each device.

    Parameters
    ----------
    layers : str
        Path of the list of modules, such as ``model.layers``.
    counts : tuple of int
        Layers of each stage.
    devices : tuple of str
        Device of each stage.
    """

    layers: str
    counts: tuple[int, ...]
    devices: tuple[str, ...]

    @property
    def parts(self) -> list[int]:
        """First layer of each stage, and the number of layers."""
        found = [0]
        for count in self.counts:
            found.append(found[-1] + count)
        return found


def layer_split(problem: Problem, schedule: Schedule) -> LayerSplit:
    """Return how the layers of a model are shared out.

    The layers are the longest list of modules; one without ops goes with the one before it. What
    has weights before the list has to be on the first stage, and what has after it on the last.

    Raises
    ------
    InputError
        If there are several models, no numbered modules, a layer on several devices, a stage
        whose layers are not consecutive, or one without layers.
    """
    ops = _forward_ops(problem)
    device_of = dict(zip((op.id for op in problem.ops), schedule.device.tolist(), strict=True))
    ids = problem.device_ids
    lists: dict[str, dict[int, dict[int, str]]] = {}
    for op in ops:
        found = _LAYER.match(module_of(op))
        if found:
            layers = lists.setdefault(found["list"] or "", {})
            layers.setdefault(int(found["number"]), {}).setdefault(device_of[op.id], op.id)
    if not lists:
        raise InputError(
            f"no op of graph {problem.graph.name!r} belongs to a numbered module, such as "
            "model.layers.0: there are no layers to share out"
        )
    name = max(lists, key=lambda path: len(lists[path]))
    layers = lists[name]
    order: list[int] = []
    for k in range(max(layers) + 1):
        if k not in layers:  # nothing to run, such as dropout that is off: beside the one before
            order.append(order[-1] if order else next(iter(layers[min(layers)])))
            continue
        if len(layers[k]) > 1:
            (a, first), (b, second) = list(layers[k].items())[:2]
            raise InputError(
                f"layer {_numbered(name, k)} is split: op {first!r} is on {ids[a]}, op {second!r} "
                f"on {ids[b]}; solve with --granularity module --no-split "
                f"'{_numbered(name, '*')}' keeps it together"
            )
        order.append(next(iter(layers[k])))
    runs = [(d, len(list(group))) for d, group in groupby(order)]
    stages = [d for d, _ in runs]
    if len(set(stages)) < len(stages):
        again = next(d for k, d in enumerate(stages) if d in stages[:k])
        raise InputError(
            f"the layers on {ids[again]} are not consecutive; solve with --stages acyclic"
        )
    _require_ends(problem, ops, device_of, name, stages)
    return LayerSplit(name, tuple(n for _, n in runs), tuple(ids[d] for d in stages))


def _require_ends(
    problem: Problem,
    ops: Sequence[Op],
    device_of: dict[str, int],
    name: str,
    stages: Sequence[int],
) -> None:
    """What stands before the layers is on the first stage, what stands behind on the last."""
    ids = problem.device_ids
    inside = [k for k, op in enumerate(ops) if _in_list(op, name)]
    for k, op in enumerate(ops):
        if not op.memory.weights or _in_list(op, name):
            continue
        wanted, word = (stages[0], "first") if k < inside[0] else (stages[-1], "last")
        if inside[0] < k < inside[-1]:
            continue
        d = device_of[op.id]
        if d != wanted:
            raise InputError(
                f"op {op.id!r} of module {module_of(op)!r} is on {ids[d]}, "
                f"expected {ids[wanted]}, the device of the {word} layers; pin it there "
                f"(devices: [{ids[wanted]}]) and solve again"
            )


def _in_list(op: Op, name: str) -> bool:
    found = _LAYER.match(module_of(op))
    return found is not None and (found["list"] or "") == name


def _numbered(name: str, number: int | str) -> str:
    return f"{name}.{number}" if name else str(number)


def split_points(problem: Problem, schedule: Schedule) -> tuple[list[str], list[str]]:
    """Return the modules that the later stages begin with, and the device of each stage.

    Raises
    ------
    InputError
        If there are several models, a device is entered again, or a stage does not begin where
        a module does.
    """
    ops = _forward_ops(problem)
    ids = problem.device_ids
    device_of = dict(zip((op.id for op in problem.ops), schedule.device.tolist(), strict=True))
    ops = [op for op in ops if module_of(op)]
    if not ops:
        raise InputError(
            f"no op of graph {problem.graph.name!r} says which module it belongs to "
            "(attrs: {module: path}), which stages are made of"
        )
    below: dict[str, set[int]] = {}
    for op in ops:
        for path in (module_of(op), *above(module_of(op))):
            below.setdefault(path, set()).add(device_of[op.id])
    called = {module_of(op) for op in ops}
    stages, begins = [device_of[ops[0].id]], []
    for op in ops[1:]:
        d = device_of[op.id]
        if d == stages[-1]:
            continue
        if d in stages:
            what = f"op {op.id!r} of module {module_of(op)!r}"
            if keeps_stages(problem.arrays, Stages(StageRule.ACYCLIC), schedule.device):
                raise InputError(
                    f"{what} on {ids[d]} runs after ops on {ids[stages[-1]]}, and torch cuts "
                    "a model up in the order in which its ops run: pin it to that device (devices) "
                    "or keep both together (--granularity module --no-split)"
                )
            raise InputError(f"{what} enters {ids[d]} again; solve with --stages acyclic")
        path = module_of(op)
        whole = [path for path in (path, *above(path)) if below[path] == {d}]
        if path not in whole:
            raise InputError(
                f"a stage begins inside module {path!r}, with op {op.id!r} on {ids[d]}; solve "
                "with --granularity module"
            )
        stages.append(d)
        # What has ops of its own was called. A list of modules is not: nothing would begin there.
        begins.append(next(path for path in reversed(whole) if path in called))
    return begins, [ids[d] for d in stages]


def _forward_ops(problem: Problem) -> list[Op]:
    """Return the forward ops of the only model, without views, producers before their readers.

    In the order of the file, which of a profile is that in which they ran, where that is one.
    """
    if len(problem.graph.model_ids) != 1:
        raise InputError(
            f"graph {problem.graph.name!r} holds {len(problem.graph.model_ids)} models, "
            "expected one: the stages are of one model"
        )
    arrays, ops = problem.arrays, problem.ops
    reads = np.split(arrays.edge_src[arrays.in_edge], arrays.in_ptr[1:-1])
    found = [ops[i] for i in order_by_number([read.tolist() for read in reads])]
    return [op for op in found if op.phase == _FORWARD and not is_view(op)]


def write_vllm(split: LayerSplit, target: str | os.PathLike[str]) -> None:
    """Write the environment variables that give vLLM its stages; ``-``: to standard output."""
    lines = [
        f"# {split.layers or 'layers'}: stages on {', '.join(split.devices)}, in this order",
        f"# vllm serve ... --pipeline-parallel-size {len(split.counts)}",
        f"VLLM_PP_LAYER_PARTITION={','.join(map(str, split.counts))}",
    ]
    write_lines(lines, target)


def write_deepspeed(split: LayerSplit, target: str | os.PathLike[str]) -> None:
    """Write the boundaries of stages, as ``PipelineModule.parts`` has them, as JSON."""
    document = {"layers": split.layers, "parts": split.parts, "devices": list(split.devices)}
    write_json(document, target)


def write_split_points(
    begins: Sequence[str], devices: Sequence[str], target: str | os.PathLike[str]
) -> None:
    """Write split points for ``torch.distributed.pipelining.pipeline`` as JSON."""
    document = {"split_points": list(begins), "devices": list(devices)}
    write_json(document, target)
