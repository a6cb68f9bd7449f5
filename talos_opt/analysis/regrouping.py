"""Layers that are alike exchange their placements, so that each device has its layers in a row.

What a device holds and how long it works stays the same; only hops between devices change. Runtimes
deal layers out in a row, and solvers see no difference between layers that are alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from talos_opt.core.graph import Op
from talos_opt.core.problem import Ints, Problem


def regrouped(problem: Problem, device: Ints) -> Ints:
    """Return a placement (n,) in which layers that are alike are sorted by their devices.

    Parameters
    ----------
    problem : Problem
        Ops say their ``layer``, and how many bytes of its context they keep (``kv``), as in graphs
        of ``profile llm``. Others stay where they are.
    device : (n,) int

    Returns
    -------
    (n,) int
        First come layers whose context is on a CPU, then those of each other device in their
        order; layers of one device by where their other ops are.
    """
    layers: dict[int, list[int]] = defaultdict(list)
    for i, op in enumerate(problem.ops):
        layer = op.attrs.get("layer")
        if isinstance(layer, int) and op.colocate is None and op.devices is None:
            layers[layer].append(i)
    alike: dict[object, list[list[int]]] = defaultdict(list)
    for layer in sorted(layers):
        members = layers[layer]
        alike[tuple(_sort_of(problem.ops[i]) for i in members)].append(members)
    cpus = [d.kind == "cpu" for d in problem.cluster.devices]
    found = device.copy()
    for same in alike.values():
        keeper = _keeper([problem.ops[i] for i in same[0]])
        places = [tuple(device[members].tolist()) for members in same]

        def rank(place: tuple[int, ...], keeper: int = keeper) -> tuple[object, ...]:
            return (not cpus[place[keeper]], place[keeper], place)

        for members, place in zip(same, sorted(places, key=rank), strict=True):
            found[members] = place
    return np.asarray(found)


def _sort_of(op: Op) -> tuple[object, ...]:
    """Return what makes two ops alike."""
    memory = op.memory
    return (
        op.attrs.get("part"), op.attrs.get("kv"), tuple(sorted(op.time.items())), memory.weights,
        memory.output, memory.workspace, op.slots, tuple(edge.bytes for edge in op.inputs),
    )  # fmt: skip


def _keeper(ops: Sequence[Op]) -> int:
    """Return which op of a layer keeps its context; else the first."""
    return next((k for k, op in enumerate(ops) if op.attrs.get("kv")), 0)
