"""What members of bundles add up: gradients once per step, outputs where split work ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from talos_opt.core.arrays import Bools, Floats
from talos_opt.core.columns import BACKWARD, FORWARD, NONE, PHASES, UPDATE, Columns
from talos_opt.core.graph import Graph, Input, Model, Op

_SUFFIX = "all_reduce"


@dataclass
class _Weights:
    """Ops that share a device, whose gradients are added up together.

    Parameters
    ----------
    forward, backward, update : list of int
        Those that have weights; those that run backward; those that update.
    """

    forward: list[int] = field(default_factory=list)
    backward: list[int] = field(default_factory=list)
    update: list[int] = field(default_factory=list)


class Reductions:
    """Gradients of a graph: which op waits for their sum, and of how many bytes.

    Parameters
    ----------
    graph : Graph
        Of the user.
    """

    def __init__(self, graph: Graph) -> None:
        self._given = graph

    @cached_property
    def needed(self) -> bool:
        """Whether it is a training step: some op runs backward."""
        phase = self._given.columns.phase
        return phase is not None and bool((phase == BACKWARD).any())

    @cached_property
    def _groups(self) -> list[_Weights]:
        """Weights by what has to share a device: a colocation group, or an op alone."""
        columns = self._given.columns
        phase = columns.phase
        assert phase is not None, "inference adds nothing up"
        found: dict[tuple[int, int], _Weights] = {}
        for i, (group, part) in enumerate(zip(columns.group.tolist(), phase.tolist(), strict=True)):
            key = (int(group), i if group == NONE else NONE)
            weights = found.setdefault(key, _Weights())
            if part == BACKWARD:
                weights.backward.append(i)
            elif part == UPDATE:
                weights.update.append(i)
            elif part == FORWARD and columns.weights[i]:
                weights.forward.append(i)
        return [weights for weights in found.values() if weights.forward]

    @cached_property
    def graph(self) -> Graph:
        """The graph, with an op of no length wherever no update op waits for the sum."""
        alone = {group.forward[0]: group for group in self._groups if not group.update}
        if not alone:
            return self._given
        columns = self._given.columns
        models = []
        for j, model in enumerate(self._given.models):
            first, last = columns.model_ptr[j : j + 2].tolist()
            more = {i - first: alone[i] for i in range(first, last) if i in alone}
            models.append(_extended(model, first, last, more, columns))
        return replace(self._given, models=tuple(models))

    @cached_property
    def reduced_bytes(self) -> Floats:
        """Bytes of gradients that each op of `graph` waits for (n',)."""
        given, columns = self._given.columns, self.graph.columns
        moved = _positions(given, columns)
        added = np.setdiff1d(np.arange(columns.op_count), moved)
        found = np.zeros(columns.op_count)
        own = iter(added.tolist())
        # What is added stands model by model in the order of the first op with weights.
        for group in sorted(self._groups, key=lambda group: group.forward[0]):
            op = int(moved[group.update[0]]) if group.update else next(own)
            found[op] += float(given.weights[group.forward].sum())
        return found

    @cached_property
    def _ends(self) -> Bools:
        """Split ops whose output has to be whole: for an op that is not split, or for good (n,)."""
        columns = self._given.columns
        if columns.split is None:
            return np.zeros(columns.op_count, dtype=bool)
        topology = columns.topology
        read = np.zeros(columns.op_count, dtype=bool)
        read[topology.edge_src] = True
        whole = ~read
        whole[topology.edge_src[~columns.split[topology.edge_dst]]] = True
        return np.asarray(columns.split & whole)

    def region_ends(self, columns: Columns) -> Bools:
        """Return the split ops that pay for an all-reduce of their output (n',).

        Parameters
        ----------
        columns : Columns
            Of the given graph or of `graph`; an op that was put in reads no output.
        """
        found = np.zeros(columns.op_count, dtype=bool)
        found[_positions(self._given.columns, columns)] = self._ends
        return found


def _positions(given: Columns, columns: Columns) -> np.ndarray:
    """Return where each op of a graph stands in one that has more ops behind each model's (n,)."""
    shift = columns.model_ptr[:-1] - given.model_ptr[:-1]
    return np.asarray(np.arange(given.op_count) + shift[given.model])


def _extended(
    model: Model, first: int, last: int, more: dict[int, _Weights], columns: Columns
) -> Model:
    """Put an op behind those of a model for each of its weights that no update op waits for."""
    if not more:
        return model
    ops, names = list(model.ops), {op.id for op in model.ops}
    groups = set(columns.groups)
    for i, weights in more.items():
        group = ops[i].colocate
        if group is None:
            group = _unused(f"{model.id}/{ops[i].id}", groups)
            groups.add(group)
            ops[i] = replace(ops[i], colocate=group)
        name = _unused(f"{ops[i].id}.{_SUFFIX}", names)
        names.add(name)
        before = [k - first for k in weights.backward if first <= k < last] or [i]
        ops.append(
            Op(
                id=name,
                time=dict.fromkeys(columns.time_keys, 0.0),
                inputs=tuple(Input(ops[k].id, bytes=0) for k in before),
                type="AllReduce",
                colocate=group,
                phase=PHASES[UPDATE],
            )
        )
    return replace(model, ops=tuple(ops))


def _unused(name: str, taken: set[str]) -> str:
    return next(text for text in _variants(name) if text not in taken)


def _variants(name: str) -> Iterator[str]:
    while True:
        yield name
        name += "'"
