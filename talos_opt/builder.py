"""A problem, device by device and op by op: what is wrong is refused where it is said.

    m = talos_opt.Builder("net", time_unit="ms")
    m.device("cpu0", "cpu")
    m.device("gpu0", "gpu", memory="8GiB")
    m.link("cpu", "gpu", bandwidth="12GB/s", latency=0.01)
    a = m.op("a", {"cpu": 4, "gpu": 1}, output="4MiB")
    m.op("b", {"cpu": 2, "gpu": 1}, inputs=[a])
    result = m.solve(objective="makespan")

It makes the same objects as talos_opt.Problem takes; see docs/model.md for what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from talos_opt import api
from talos_opt.core import units
from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import Graph
from talos_opt.core.model import Input, Memory, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result

T = TypeVar("T")

#: Rules of a problem.
_RULES = ("objective", "memory_rule", "stages", "pipeline")
#: The model of ops that name none.
_ONLY = "model"


@dataclass(frozen=True)
class OpRef:
    """An op that was added: what other ops name as an input.

    ``ref["name"]`` is one of its outputs, ``ref.read(bytes)`` fewer bytes than the whole.
    """

    model: str
    id: str
    outputs: tuple[str, ...] = ()
    output: str | None = None
    bytes: int | None = None
    #: The builder that made it.
    maker: object = field(default=None, repr=False, compare=False)

    def __getitem__(self, output: str) -> OpRef:
        if output not in self.outputs:
            known = ", ".join(self.outputs) or "none is named"
            raise GraphError(f"op {self.id!r} has no output {output!r}, expected one of: {known}")
        return replace(self, output=output)

    def read(self, bytes: int | str) -> OpRef:
        """Return the op as an input of which only so many bytes travel."""
        size = units.size(bytes, "bytes", path="bytes")
        return replace(self, bytes=size)


class Builder:
    """Collects devices, links, models and ops.

    Parameters
    ----------
    name : str
        Of the graph.
    time_unit : {'us', 'ms', 's'}
        Of all times.
    contention : {'none', 'serial'}
        Whether a link carries one tensor at a time.
    **rules
        Others of `Problem`: objective, memory_rule, stages, pipeline.

    Raises
    ------
    GraphError
        By each of its methods, at the call that is wrong. The builder is then as it was before.
    """

    def __init__(
        self,
        name: str = "graph",
        *,
        time_unit: str = "us",
        contention: str = "none",
        **rules: Any,
    ) -> None:
        self._name, self._unit, self._contention = name, time_unit, contention
        self._rules = rules
        self._devices: list[Device] = []
        self._links: list[Link] = []
        self._models: dict[str, _Draft] = {}
        for rule in rules:
            if rule not in _RULES:
                raise GraphError(f"unknown rule {rule!r}, expected one of {', '.join(_RULES)}")
        # What is wrong with these shows on the smallest problem there is.
        probe = Graph(name, (Model("m", (Op("o", {"d": 1.0}),)),), time_unit=time_unit)
        Problem(probe, Cluster((Device("d", "d"),), contention=contention), **rules)

    def __repr__(self) -> str:
        ops = sum(len(draft.ops) for draft in self._models.values())
        return f"Builder({self._name!r}: {len(self._devices)} devices, {ops} ops)"

    def device(self, id: str, kind: str | None = None, **fields: Any) -> str:
        """Add a device.

        Parameters
        ----------
        id : str
        kind : str, optional
            What ops' times are given for; default: the id.
        **fields
            Others of `Device`: memory, memory_fraction, slots, copy_engine.

        Returns
        -------
        str
            The id.
        """
        kind = id if kind is None else kind
        found = _made(Device, f"device {id!r}", id=id, kind=kind, **fields)
        if found.id in self._names():
            raise GraphError(f"a device or kind is called {found.id!r} already")
        if found.kind in {device.id for device in self._devices}:
            raise GraphError(f"kind of device {found.id!r} is the id of a device, {found.kind!r}")
        self._devices.append(found)
        return found.id

    def link(
        self,
        a: str,
        b: str,
        bandwidth: float | str = math.inf,
        latency: float = 0.0,
        **fields: Any,
    ) -> None:
        """Add a link; a problem without any moves tensors in no time.

        Parameters
        ----------
        a, b : str
            Devices or kinds of devices that are there.
        bandwidth : float or str
            Bytes per second, such as ``12GB/s``.
        latency : float
            In the time unit.
        **fields
            Others of `Link`: via, one_way, duplex.
        """
        whose = f"the link of {a!r} and {b!r}"
        found = _made(Link, whose, a=a, b=b, bandwidth=bandwidth, latency=latency, **fields)
        for end in (found.a, found.b, *([found.via] if found.via is not None else [])):
            self._require_place(end, whose)
        if found.a == found.b and found.a in {device.id for device in self._devices}:
            raise GraphError(f"{whose} leads from a device to itself")
        for other in self._links:
            if _rule(other) == _rule(found):
                raise GraphError(f"{whose} is given twice")
        self._links.append(found)

    def model(self, id: str, *, weight: float = 1.0, release: float = 0.0) -> str:
        """Add a model, for ops that name it; a graph of one needs none.

        Parameters
        ----------
        id : str
        weight : float
            What its completion counts in toct.
        release : float
            No op of it starts before; in the time unit.

        Returns
        -------
        str
            The id.
        """
        if id in self._models:
            raise GraphError(f"a model is called {id!r} already")
        draft = _Draft({}, weight, release)
        draft.made(id, (Op("o", {"d": 1.0}),))  # says what is wrong
        self._models[id] = draft
        return id

    def op(
        self,
        id: str,
        time: Mapping[str, float] | float,
        *,
        inputs: Iterable[OpRef] = (),
        weights: int | str = 0,
        output: int | str = 0,
        workspace: int | str = 0,
        model: str | None = None,
        **fields: Any,
    ) -> OpRef:
        """Add an op.

        Parameters
        ----------
        id : str
            Unique in its model.
        time : mapping or float
            By kind or id of the devices that can run it; a number: the same on all.
        inputs : iterable of OpRef
            What it reads.
        weights, output, workspace : int or str
            Bytes, such as ``4MiB``.
        model : str, optional
            Default: that of its inputs; without any, the only one there is.
        **fields
            Others of `Op`: type, colocate, devices, slots, attrs, outputs, phase, split. What is
            its `memory` is given as `weights`, `output` and `workspace`.

        Returns
        -------
        OpRef
        """
        whose = f"op {id!r}"
        reads = self._inputs(inputs, whose)
        home = self._model_of(model, reads, whose)
        if "memory" in fields:
            raise GraphError(f"{whose} has memory, expected weights, output and workspace")
        if not isinstance(time, Mapping):
            time = dict.fromkeys((device.kind for device in self._devices), time)
        memory = _made(Memory, whose, weights=weights, output=output, workspace=workspace)
        edges = tuple(Input(ref.id, ref.bytes, ref.output) for ref in reads)
        found = _made(Op, whose, id=id, time=time, memory=memory, inputs=edges, **fields)
        for place in (*found.time, *(found.devices or ())):
            self._require_place(place, whose)
        if not found.time:
            raise GraphError(f"{whose} has no time on any device: add devices before ops")
        draft = self._models.get(home) or _Draft({}, 1.0, 0.0)
        if found.id in draft.ops:
            raise GraphError(f"an op of model {home!r} is called {found.id!r} already")
        _check_reads(found, draft, whose)
        self._models[home] = draft
        draft.ops[found.id] = found
        return OpRef(home, found.id, tuple(found.outputs), maker=self)

    def problem(self) -> Problem:
        """Return what was collected as a problem.

        Raises
        ------
        GraphError
            If something is missing, or contradicts itself as a whole: an op that fits no device,
            say.
        """
        models = tuple(
            draft.made(id, tuple(draft.ops.values())) for id, draft in self._models.items()
        )
        links = tuple(self._links) if self._links else None
        cluster = Cluster(tuple(self._devices), links, contention=self._contention)
        return Problem(Graph(self._name, models, time_unit=self._unit), cluster, **self._rules)

    def solve(self, *args: Any, **kwargs: Any) -> Result:
        """Place and schedule it: `talos_opt.solve` of the problem, with its other arguments."""
        return api.solve(self.problem(), *args, **kwargs)

    def _names(self) -> set[str]:
        return {name for device in self._devices for name in (device.id, device.kind)}

    def _require_place(self, name: str, whose: str) -> None:
        if name not in self._names():
            known = ", ".join(dict.fromkeys(d.id for d in self._devices)) or "none so far"
            kinds = ", ".join(dict.fromkeys(d.kind for d in self._devices)) or "none so far"
            raise GraphError(
                f"{whose} names {name!r}, expected a device ({known}) or a kind ({kinds})"
            )

    def _inputs(self, inputs: Iterable[OpRef], whose: str) -> list[OpRef]:
        if isinstance(inputs, (OpRef, str)) or not isinstance(inputs, Iterable):
            raise GraphError(
                f"inputs of {whose} is {units.describe(inputs)}, expected a list of what op "
                "returned"
            )
        found = list(inputs)
        for ref in found:
            if not isinstance(ref, OpRef):
                raise GraphError(f"{whose} reads {units.describe(ref)}, expected what op returned")
            if ref.maker is not self:
                raise GraphError(f"{whose} reads {ref.id!r}, which is an op of another builder")
        return found

    def _model_of(self, model: str | None, reads: list[OpRef], whose: str) -> str:
        homes = list(dict.fromkeys(ref.model for ref in reads))
        if len(homes) > 1 or (model is not None and homes not in ([], [model])):
            there = ", ".join(repr(home) for home in homes)
            raise GraphError(f"{whose} reads ops of model {there}, expected those of its own model")
        if model is not None:
            if model not in self._models:
                known = ", ".join(self._models) or "none so far"
                raise GraphError(f"{whose} is of model {model!r}, expected one of: {known}")
            return model
        if homes:
            return homes[0]
        if len(self._models) > 1:
            known = ", ".join(self._models)
            raise GraphError(f"{whose} reads nothing and names no model, expected one of: {known}")
        return next(iter(self._models), _ONLY)


@dataclass
class _Draft:
    """A model that is being built."""

    ops: dict[str, Op]
    weight: float
    release: float

    def made(self, id: str, ops: tuple[Op, ...]) -> Model:
        return Model(id, ops, self.weight, self.release)


def _rule(link: Link) -> tuple[object, ...]:
    """What makes two links the same rule."""
    return link.a, link.b, link.one_way, link.via is None


def _check_reads(op: Op, draft: _Draft, whose: str) -> None:
    """Refuse inputs that an op and what it reads cannot have, as `Graph` does."""
    read = {edge.op: draft.ops[edge.op] for edge in op.inputs}
    if len(read) == len(op.inputs) and not any(
        edge.bytes and edge.output is None and len(read[edge.op].outputs) > 1 for edge in op.inputs
    ):
        return  # nothing to look at more closely, which takes time
    read = {name: replace(found, inputs=()) for name, found in read.items()}
    try:
        Graph("g", (Model("m", (*read.values(), op)),))
    except GraphError as error:
        text = error.message if whose in error.message else f"{whose}: {error.message}"
        raise GraphError(text) from None


def _made(kind: type[T], whose: str, /, **fields: Any) -> T:
    """Make an object; an unknown field is bad input here, and an error says whose it is."""
    try:
        return kind(**fields)
    except TypeError as error:
        raise GraphError(f"{whose}: {error}") from None
    except GraphError as error:
        if whose in error.message:
            raise
        raise GraphError(f"{whose}: {error.message}", path=error.path) from None
