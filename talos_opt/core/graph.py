"""The graph of all models, made of objects or of columns.

Errors carry the JSON path of the value (`models[1].ops[3].time.gpu`), which a file reader turns
into a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from talos_opt.core import networkx_bridge, units
from talos_opt.core.columns import (
    ALL_OUTPUTS,
    NONE,
    PHASES,
    SEPARATOR,
    WHOLE_OUTPUT,
    Columns,
)
from talos_opt.core.errors import GraphError
from talos_opt.core.fingerprint import fingerprint
from talos_opt.core.model import Input, Memory, Model, Op, columns_of
from talos_opt.core.plain import as_mapping, as_objects, as_text

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["SEPARATOR", "ColumnarModels", "Graph", "Input", "Memory", "Model", "Op", "build_model"]


class ColumnarModels(Sequence[Model]):
    """The models of a columnar graph: each is built when it is first asked for.

    Parameters
    ----------
    columns : Columns
        Checked by `talos_opt.core.column_checks.check_columns`.
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._built: dict[int, Model] = {}

    def __len__(self) -> int:
        return len(self.columns.model_ids)

    @overload
    def __getitem__(self, key: int) -> Model: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[Model, ...]: ...

    def __getitem__(self, key: int | slice) -> Model | tuple[Model, ...]:
        if isinstance(key, slice):
            return tuple(self[j] for j in range(*key.indices(len(self))))
        j = range(len(self))[key]
        if j not in self._built:
            self._built[j] = build_model(self.columns, j)
        return self._built[j]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (ColumnarModels, tuple)):
            return NotImplemented
        return self is other or tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # as little as an op with its mappings has one

    def __repr__(self) -> str:
        return f"ColumnarModels({len(self)} models, {self.columns.op_count} ops)"


def build_model(columns: Columns, j: int) -> Model:
    """Return a model of columns as objects."""
    first, last = columns.model_ptr[j : j + 2].tolist()
    return Model(
        columns.model_ids[j],
        tuple(_ops(columns, first, last)),
        float(columns.model_weight[j]),
        float(columns.release[j]),
    )


def _ops(columns: Columns, first: int, last: int) -> Iterator[Op]:
    ids, here = columns.ids.slice(first, last), slice(first, last)
    begin = int(columns.input_ptr[first])
    edges = slice(begin, int(columns.input_ptr[last]))
    named = _named_outputs(columns, first, last)
    chosen = np.full(edges.stop - begin, ALL_OUTPUTS)
    if columns.input_output is not None:
        chosen = columns.input_output[edges]
    read = [
        Input(
            ids[source - first],
            None if size == WHOLE_OUTPUT else size,
            None if k == ALL_OUTPUTS or source not in named else list(named[source])[k],
        )
        for source, size, k in zip(
            columns.input_op[edges].tolist(),
            columns.input_bytes[edges].tolist(),
            chosen.tolist(),
            strict=True,
        )
    ]
    cuts = (columns.input_ptr[first : last + 1] - begin).tolist()
    rows = zip(
        ids,
        columns.time[here].tolist(),
        columns.weights[here].tolist(),
        columns.output[here].tolist(),
        columns.workspace[here].tolist(),
        pairwise(cuts),
        columns.type[here].tolist(),
        columns.group[here].tolist(),
        columns.pin[here].tolist(),
        columns.slots[here].tolist(),
        strict=True,
    )
    for i, (
        name,
        times,
        weights,
        output,
        workspace,
        (a, b),
        kind,
        group,
        pin,
        slots,
    ) in enumerate(rows, first):
        yield Op(
            id=name,
            time={key: t for key, t in zip(columns.time_keys, times, strict=True) if t == t},
            memory=Memory(weights, output, workspace),
            inputs=tuple(read[a:b]),
            type=columns.types[kind],
            colocate=None if group == NONE else columns.groups[group],
            devices=None if pin == NONE else columns.pins[pin],
            slots=slots,
            attrs=columns.attrs.get(i, {}),
            outputs=named.get(i, {}),
            phase=PHASES[0 if columns.phase is None else int(columns.phase[i])],
            split=columns.split is not None and bool(columns.split[i]),
        )


def _named_outputs(columns: Columns, first: int, last: int) -> dict[int, dict[str, int]]:
    """Outputs of those ops of a range that name them."""
    outputs = columns.outputs
    if outputs is None:
        return {}
    names = outputs.name
    return {
        i: dict(zip(names.slice(a, b), outputs.size[a:b].tolist(), strict=True))
        for i, (a, b) in enumerate(pairwise(outputs.ptr[first : last + 1].tolist()), first)
        if names[a]
    }


@dataclass(frozen=True)
class Graph:
    """One or more models that share a cluster.

    Parameters
    ----------
    name : str
    models : sequence of Model
        A tuple; or `ColumnarModels`, which build a model when it is asked for.
    time_unit : {'us', 'ms', 's'}
        Unit of every time in the graph and in what is reported for it.
    known : mapping
        Known optima or best values, keyed by objective, with their ``source``.
    description : str
        Free text, e.g. how the numbers were made.

    Raises
    ------
    GraphError
        On a name that is not text, an unknown unit, no models, or a duplicate model id.
    """

    name: str
    models: Sequence[Model]
    time_unit: str = "us"
    known: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        for key in ("name", "time_unit", "description"):
            object.__setattr__(self, key, as_text(getattr(self, key), key, key))
        as_mapping(self.known, "known", "known")
        if not isinstance(self.models, ColumnarModels):
            models = as_objects(self.models, Model, "models")
            object.__setattr__(self, "models", models)
        if self.time_unit not in units.PER_SECOND:
            raise GraphError(
                f"time_unit is {self.time_unit!r}, expected one of us, ms, s", path="time_unit"
            )
        if not self.models:
            raise GraphError("the graph has no models, expected at least one", path="models")
        seen: set[str] = set()
        for j, name in enumerate(self.model_ids):
            if name in seen:
                raise GraphError(
                    f"model id {name!r} is used twice, expected unique ids",
                    path=f"models[{j}].id",
                )
            seen.add(name)

    def __hash__(self) -> int:
        """Return a hash of name, ops and edges; equal graphs have one."""
        return hash((self.name, self.fingerprint))

    def __repr__(self) -> str:
        count = self.op_count
        return f"Graph({self.name!r}: {len(self.model_ids)} models, {count} ops, {self.time_unit})"

    @cached_property
    def columns(self) -> Columns:
        """The graph as columns, from which the arrays of a problem are built."""
        if isinstance(self.models, ColumnarModels):
            return self.models.columns
        return columns_of(self.models)

    @cached_property
    def model_ids(self) -> tuple[str, ...]:
        """Ids of the models."""
        if isinstance(self.models, ColumnarModels):
            return self.models.columns.model_ids
        return tuple(model.id for model in self.models)

    @property
    def op_count(self) -> int:
        """Number of ops over all models."""
        return self.columns.op_count

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the ops and edges; see `talos_opt.core.fingerprint`."""
        columns = self.columns
        return fingerprint(list(columns.names()), columns.input_op, columns.reader)

    def to_networkx(self) -> nx.DiGraph[Any]:
        """Return the graph as a `networkx.DiGraph`; see `talos_opt.core.networkx_bridge`."""
        return networkx_bridge.to_networkx(
            self.models,
            name=self.name,
            time_unit=self.time_unit,
            description=self.description,
            known=dict(self.known),
        )

    @classmethod
    def from_networkx(cls, source: nx.DiGraph[Any], *, name: str | None = None) -> Graph:
        """Build a graph from a `networkx.DiGraph`; see `talos_opt.core.networkx_bridge`."""
        title, models, settings = networkx_bridge.read_networkx(source, name)
        return cls(title, models, **settings)
