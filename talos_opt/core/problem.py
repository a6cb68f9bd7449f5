"""The problem: a graph on a cluster under an objective.

`Problem` is what every solver takes; `Problem.arrays` is what formulations and kernels compute
with. Arrays are read-only, so a problem can be shared between threads.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.core.arrays import (
    DIRECT,
    NO_ROUTE,
    UNLIMITED,
    Arrays,
    Bools,
    Floats,
    Ints,
    build_arrays,
    times_on,
)
from talos_opt.core.bundles import Bundles
from talos_opt.core.cluster import Cluster
from talos_opt.core.errors import GraphError, InputError
from talos_opt.core.graph import Graph, Op
from talos_opt.core.limits import require_room
from talos_opt.core.pipelining.settings import Pipelining
from talos_opt.core.stages import ANY_STAGES, StageRule, Stages, keeps_stages

if TYPE_CHECKING:
    from talos_opt.core.bundling import Bundling
    from talos_opt.core.frozen import Frozen

__all__ = [
    "ANY_STAGES",
    "DIRECT",
    "NO_ROUTE",
    "UNLIMITED",
    "Arrays",
    "Bools",
    "Floats",
    "Ints",
    "MemoryRule",
    "Objective",
    "Pipelining",
    "Problem",
    "StageRule",
    "Stages",
]


class Objective(StrEnum):
    """What is minimised (model.md, "Objectives")."""

    TOCT = "toct"
    MAKESPAN = "makespan"
    BOTTLENECK = "bottleneck"
    MEMORY = "memory"
    STEP = "step"

    @property
    def is_timed(self) -> bool:
        """Whether it is about when ops end."""
        return self in (Objective.TOCT, Objective.MAKESPAN)

    @property
    def words(self) -> str:
        """What it is, for a person who does not know the symbol."""
        return _WORDS[self]

    @property
    def in_full(self) -> str:
        """The symbol with what it is behind it, for a heading."""
        return f"{self.value} ({self.words})"


_WORDS = {
    Objective.TOCT: "weighted sum of completion times",
    Objective.MAKESPAN: "time until the last model is done",
    Objective.BOTTLENECK: "time per sample when pipelined",
    Objective.MEMORY: "largest share of a device's memory",
    Objective.STEP: "time of a step of micro-batches",
}


class MemoryRule(StrEnum):
    """How memory is counted (model.md, "Memory rule"); all are hard constraints."""

    STATIC = "static"
    PEAK = "peak"
    PIPELINE = "pipeline"


@dataclass(frozen=True)
class Problem:
    """A graph to place on a cluster.

    Parameters
    ----------
    graph : Graph
    cluster : Cluster
    objective : Objective or str
        ``toct`` (default), ``makespan``, ``bottleneck``, ``memory`` or ``step``; always minimised.
    memory_rule : MemoryRule or str
        ``static`` (default), ``peak`` or ``pipeline``.
    granularity : str
        How it was made from the graph's file: ``op``, or ``module`` by
        `talos_opt.core.granularity.by_module`. Only schedules record it.
    no_split : tuple of str
        The patterns that `by_module` was given.
    stages : Stages, str or mapping
        Whether devices may be entered again (`talos_opt.core.stages`); default: as often as one
        likes.
    pipeline : Pipelining or mapping, optional
        Micro-batches and the order of blocks, for the objective ``step`` and the memory rule
        ``pipeline``, which need it.
    bundling : Bundling, optional
        Of a problem that was derived from another: what it is derived from, and which devices act
        as one there (`talos_opt.core.bundling`).
    frozen : Frozen, optional
        What has started and stays as it is (`talos_opt.core.frozen`). No file holds it.

    Raises
    ------
    GraphError
        If an op names unknown devices, or fits or runs on no device at all; or if bytes or times
        add up to more than the numbers that hold them (`talos_opt.core.limits`); or if something
        is frozen where devices act as one or the objective knows no times.
    """

    graph: Graph
    cluster: Cluster
    objective: Objective = Objective.TOCT
    memory_rule: MemoryRule = MemoryRule.STATIC
    granularity: str = "op"
    no_split: tuple[str, ...] = ()
    stages: Stages = ANY_STAGES
    pipeline: Pipelining | None = None
    bundling: Bundling | None = None
    frozen: Frozen | None = None

    def __post_init__(self) -> None:
        for name, kind in (("objective", Objective), ("memory_rule", MemoryRule)):
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, kind(value))
            except ValueError:
                expected = ", ".join(kind)
                raise GraphError(
                    f"{name} is {value!r}, expected one of {expected}", path=name
                ) from None
        object.__setattr__(self, "stages", Stages.of(self.stages))
        if self.pipeline is not None:
            object.__setattr__(self, "pipeline", Pipelining.of(self.pipeline))
        # Built at once: most contradictions between graph and cluster show only here.
        columns = self.graph.columns
        arrays = build_arrays(
            columns,
            self.cluster,
            self.graph.time_unit,
            static_memory=self.memory_rule is MemoryRule.STATIC,
            division=None
            if self.bundling is None
            else self.bundling.division(columns, self.cluster),
        )
        require_room(self.graph.columns, arrays, self.cluster)
        if self.frozen is not None:
            self._require_times()
            arrays = self.frozen.restrict(arrays)
        object.__setattr__(self, "_arrays", arrays)

    def _require_times(self) -> None:
        """Refuse what knows no single ops, or no times: nothing of it can have started."""
        if not self.objective.is_timed:
            raise GraphError(
                f"objective {self.objective} is not about when ops end, so nothing of it can have "
                "started: expected toct or makespan",
                path="objective",
            )
        if self.bundling is not None or self.cluster.bundles:
            raise GraphError(
                "devices that act as one cannot have started: expected a cluster without bundles",
                path="cluster.bundles",
            )

    def __hash__(self) -> int:
        """Return a hash of ops, edges, cluster and what is minimised; equal problems have one."""
        asked = self.objective, self.memory_rule, self.stages, self.pipeline
        return hash((self.graph, self.cluster, *asked))

    def __repr__(self) -> str:
        graph, devices = self.graph, len(self.cluster.devices)
        return (
            f"Problem({graph.name!r}: {len(graph.model_ids)} models, {graph.op_count} ops, "
            f"{devices} devices; {self.objective}, memory {self.memory_rule}"
            f"{f', stages {self.stages}' if self.stages else ''}"
            f"{f', {self.pipeline}' if self.pipeline else ''}"
            f"{f', {len(self.bundling.bundles)} bundles' if self.bundling else ''}"
            f"{f', {self.frozen}' if self.frozen else ''})"
        )

    @property
    def arrays(self) -> Arrays:
        """Read-only array view."""
        arrays: Arrays = self._arrays  # type: ignore[attr-defined]
        return arrays

    @cached_property
    def earliest(self) -> Floats:
        """When each op may start at the earliest (n,); of one that has started, when it does."""
        arrays = self.arrays
        if self.frozen is None:
            return np.asarray(arrays.release[arrays.model])
        return self.frozen.earliest(arrays)

    @property
    def source(self) -> Problem:
        """The problem with every device on its own: where devices are bundled, the user's."""
        if self.bundling is None:
            return self
        base, own = self.bundling.base, ("graph", "cluster", "bundling")
        asked = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in own}
        if all(getattr(base, name) == value for name, value in asked.items()):
            return base
        return replace(base, **asked)  # it was asked for something else since

    def with_bundles(self, bundles: Bundles | str | Mapping[str, Any] | None) -> Problem:
        """Return the problem with other rules for what may be bundled, from its source.

        Parameters
        ----------
        bundles : Bundles, mapping, 'all' or None
            As ``bundles`` of a cluster (docs/bundles.md); None: nothing may be bundled.
        """
        source = self.source
        cluster = replace(source.cluster, bundles=Bundles.of(bundles))
        return source if cluster == source.cluster else replace(source, cluster=cluster)

    def with_objective(self, objective: Objective | str) -> Problem:
        """Return the same problem under another objective."""
        if objective == self.objective:
            return self
        other = copy.copy(self)  # the arrays are the same: they are not built again
        object.__setattr__(other, "objective", Objective(objective))
        return other

    @property
    def is_pipelined(self) -> bool:
        """Whether what is minimised, or how memory is counted, is about steps of a pipeline."""
        return Objective.STEP is self.objective or self.memory_rule is MemoryRule.PIPELINE

    def require_pipeline(self) -> Pipelining:
        """Return how steps are run.

        Raises
        ------
        GraphError
            If nothing says so, if devices may be entered again, if a step has too many blocks, or
            if the memory rule ``pipeline`` meets an objective that knows nothing of steps.
        """
        what = "objective step" if self.objective is Objective.STEP else "memory_rule pipeline"
        if self.pipeline is None:
            raise GraphError(
                f"{what} needs a number of micro-batches and the order of blocks, expected "
                "pipeline: {microbatches: 8, schedule: 1f1b} (--pipeline 1f1b:8)",
                path="pipeline",
            )
        if self.stages.rule is StageRule.ANY:
            raise GraphError(
                f"{what} needs stages that are acyclic or ordered, here are any (--stages)",
                path="stages",
            )
        if self.objective not in (Objective.STEP, Objective.BOTTLENECK):
            raise GraphError(
                f"memory_rule pipeline is that of steps, objective {self.objective} is not: "
                "expected objective step or bottleneck",
                path="memory_rule",
            )
        self.pipeline.require_few_blocks(min(self.arrays.device_count, self.arrays.group_count))
        return self.pipeline

    def keeps_stages(self, device: Ints) -> bool:
        """Whether a placement (n,) keeps the rule for stages."""
        return not self.stages or keeps_stages(self.arrays, self.stages, device)

    def with_stages(self, stages: Stages | str | Mapping[str, Any]) -> Problem:
        """Return the same problem under another rule for stages."""
        rule = Stages.of(stages)
        if rule == self.stages:
            return self
        other = copy.copy(self)
        object.__setattr__(other, "stages", rule)
        return other

    def with_pipeline(self, pipeline: Pipelining | Mapping[str, Any] | None) -> Problem:
        """Return the same problem with other micro-batches, or another order of blocks."""
        asked = None if pipeline is None else Pipelining.of(pipeline)
        if asked == self.pipeline:
            return self
        other = copy.copy(self)
        object.__setattr__(other, "pipeline", asked)
        return other

    def replaced(self, graph: Graph, cluster: Cluster, arrays: Arrays) -> Problem:
        """Return the problem with the same names but other numbers.

        Parameters
        ----------
        graph, cluster : Graph, Cluster
        arrays : Arrays
            What `build_arrays` would make of them.
        """
        other = copy.copy(self)
        vars(other).update(graph=graph, cluster=cluster, _arrays=arrays)
        for name in ("ops", "reference_times", "earliest"):  # worked out from the old numbers
            vars(other).pop(name, None)
        return other

    @cached_property
    def ops(self) -> tuple[Op, ...]:
        """All ops, in array order."""
        return tuple(op for model in self.graph.models for op in model.ops)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """``MODEL/OP`` of every op, in array order."""
        return tuple(self.graph.columns.names())

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Array position of every ``MODEL/OP``."""
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def device_ids(self) -> tuple[str, ...]:
        """Device ids, in array order."""
        return tuple(device.id for device in self.cluster.devices)

    def output_name(self, tensor: int) -> str:
        """Return the name of a tensor among its op's outputs; empty where the op names none."""
        outputs = self.graph.columns.outputs
        return "" if outputs is None else outputs.name[tensor]

    def tensor_name(self, tensor: int) -> str:
        """Return ``MODEL/OP``, and ``:OUTPUT`` behind it where the op has several outputs."""
        arrays = self.arrays
        op = int(arrays.tensor_op[tensor])
        alone = arrays.tensor_ptr[op + 1] - arrays.tensor_ptr[op] == 1
        return self.names[op] if alone else f"{self.names[op]}:{self.output_name(tensor)}"

    def find_op(self, name: str) -> int:
        """Return the array position of ``MODEL/OP``, or of ``OP`` where that is unique.

        Raises
        ------
        InputError
            If no op, or more than one, has that name.
        """
        if name in self.index:
            return self.index[name]
        ids = self.graph.columns.ids
        hits = [i for i, item in enumerate(ids.slice(0, len(ids))) if item == name]
        if len(hits) == 1:
            return hits[0]
        if not hits:
            raise InputError(f"no op is called {name!r}, expected MODEL/OP")
        some = ", ".join(self.names[i] for i in hits[:4])
        raise InputError(f"{name!r} names {len(hits)} ops ({some}), expected MODEL/OP")

    @property
    def reference_device(self) -> int:
        """First device of the reference kind, which speedups refer to."""
        kinds = [device.kind for device in self.cluster.devices]
        return kinds.index(self.cluster.reference)

    @cached_property
    def reference_times(self) -> Floats:
        """Time alone on the reference device for each model: the sum of its op times (k,).

        Infinite where an op has no time there, and weighted speedup is then undefined.
        """
        arrays = self.arrays
        if self.bundling is not None:  # a device of the reference kind may be in a bundle
            return self.bundling.base.reference_times
        device = self.cluster.devices[self.reference_device]
        times = times_on(self.graph.columns, device.id, device.kind)
        totals = np.bincount(arrays.model, weights=times, minlength=len(arrays.release))
        return np.asarray(totals, dtype=np.float64)
