"""What a captured graph really holds when it runs: its storages, op by op."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
import torch.utils._pytree as pytree
from torch import fx

from talos_opt.core.metrics import measure
from talos_opt.core.problem import Problem
from talos_opt.core.simulator import simulate
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.substitutes import callee, place_call
from talos_opt.frameworks.torch.tensors import Made, made_by, tensors_read, value_at
from tests.frameworks.torch.synthetic import problem_of

#: What a graph takes to be where the weight is, and what nobody but a test asks for.
_IN_PLACE = ("update", "mutation")
_KEPT = ("user_output", "loss")


def predicted_peak(captured: Captured) -> int:
    """Return the peak on one device, run in the order of the graph, beside weights."""
    problem = problem_of(captured)
    return peak_of(problem) - int(problem.arrays.weights.sum())


def peak_of(problem: Problem) -> int:
    """Return the peak of the first device, which runs all ops in their order."""
    count = problem.arrays.op_count
    schedule = simulate(problem, np.zeros(count, dtype=np.int64), range(count))
    return int(measure(problem, schedule).peak_memory[problem.device_ids[0]])


def measured_peak(captured: Captured) -> int:
    """Return the most bytes of storages alive at a time, beside weights and inputs.

    Each op runs on the CPU, and a tensor is let go after its last reader, as in a run.
    """
    cpu, graph = torch.device("cpu"), captured.graph_module.graph
    values = captured.flat_values(captured.arguments.tensors)
    held: dict[Made, Any] = {
        Made(node): value
        for node, value in zip(graph.find_nodes(op="placeholder"), values, strict=True)
    }
    given = {address(tensor) for tensor in values}
    nodes = captured.ops()
    waiting = Counter(tensor for node in nodes for tensor in tensors_read(node))
    (returned,) = graph.output_node().args
    in_place: set[Made] = set()
    for spec, node in zip(captured.outputs, pytree.tree_leaves(returned), strict=True):
        if isinstance(node, fx.Node) and spec.kind in _KEPT:
            waiting[made_by(node)] += 1
        if isinstance(node, fx.Node) and spec.kind in _IN_PLACE:
            in_place.add(made_by(node))
    peak = 0
    with torch.no_grad():
        for node in nodes:
            args = fx.node.map_arg(node.args, lambda n: held[made_by(n)])
            kwargs = fx.node.map_arg(place_call(node, cpu), lambda n: held[made_by(n)])
            made = callee(node, cpu, mixed=False)(*args, **kwargs)
            fresh = {path: value_at(made, path) for path in captured.tensors.of(node)}
            here = [
                *(value for tensor, value in held.items() if tensor not in in_place),
                *(v for path, v in fresh.items() if Made(node, path) not in in_place),
            ]
            if not any(Made(node, path) in in_place for path in fresh):
                here.append(made)
            peak = max(peak, alive(here, given))
            for path, value in fresh.items():
                held[Made(node, path)] = value
            for tensor in tensors_read(node):
                waiting[tensor] -= 1
            for tensor in [*tensors_read(node), *(Made(node, path) for path in fresh)]:
                if tensor.node.op == "call_function" and waiting[tensor] <= 0:
                    held.pop(tensor, None)
            del args, kwargs, made, fresh, here
    return peak


def address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def alive(values: list[Any], given: set[int]) -> int:
    """Return the bytes of all storages of some values, each once, without those given."""
    tensors = [t for t in pytree.tree_leaves(values) if isinstance(t, torch.Tensor)]
    sizes = {address(t): t.untyped_storage().nbytes() for t in tensors}
    return sum(size for where, size in sizes.items() if where not in given)
