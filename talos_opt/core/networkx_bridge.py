"""A graph as a `networkx.DiGraph`, and any DiGraph with times on its nodes as a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.core.columns import PHASES, SEPARATOR
from talos_opt.core.errors import GraphError
from talos_opt.core.model import Input, Model
from talos_opt.core.plain import as_list, as_mapping, as_name, as_plain, as_text
from talos_opt.core.records import read_op

if TYPE_CHECKING:
    import networkx as nx

DEFAULT_NAME = "graph"

#: Node attributes that mean the same as the key of an op in talos-graph/1.
_OP_ATTRIBUTES = (
    "type",
    "time",
    "memory",
    "outputs",
    "colocate",
    "device",
    "devices",
    "slots",
    "attrs",
    "phase",
    "split",
)
_MEMORY_PARTS = ("weights", "output", "workspace")


def to_networkx(models: Sequence[Model], **about: Any) -> nx.DiGraph[Any]:
    """Return the models of a graph as a `networkx.DiGraph`.

    Parameters
    ----------
    models : sequence of Model
    **about
        Attributes of the graph: name, time_unit, description, known.

    Returns
    -------
    networkx.DiGraph
        One node ``MODEL/OP`` per op with attributes ``model``, ``op``, ``type``, ``time`` (dict),
        ``weights``, ``output``, ``workspace`` (bytes), ``slots``, and where the op has them
        ``colocate``, ``devices``, ``attrs``, ``phase`` (unless forward), ``split`` (if true),
        ``outputs`` (then without ``output``). One edge per
        producer and reader, with ``bytes`` and ``output`` where the input names its own; where
        the reader has several inputs of one producer, ``inputs``, a list of dicts of these. Graph
        attributes ``name``, ``time_unit``, ``description``, ``known`` and ``models``, a dict from
        model id to ``weight`` and ``release``.
    """
    import networkx as nx

    result: nx.DiGraph[Any] = nx.DiGraph(
        **about,
        models={model.id: {"weight": model.weight, "release": model.release} for model in models},
    )
    for model in models:
        for op in model.ops:
            attributes: dict[str, Any] = {
                "model": model.id,
                "op": op.id,
                "type": op.type,
                "time": dict(op.time),
                **{part: getattr(op.memory, part) for part in _MEMORY_PARTS},
                "slots": op.slots,
            }
            if op.outputs:
                del attributes["output"]
                attributes["outputs"] = dict(op.outputs)
            if op.colocate is not None:
                attributes["colocate"] = op.colocate
            if op.devices is not None:
                attributes["devices"] = list(op.devices)
            if op.phase != PHASES[0]:
                attributes["phase"] = op.phase
            if op.split:
                attributes["split"] = True
            if op.attrs:
                attributes["attrs"] = dict(op.attrs)
            result.add_node(f"{model.id}{SEPARATOR}{op.id}", **attributes)
        for op in model.ops:
            reads: dict[str, list[dict[str, Any]]] = {}
            for edge in op.inputs:
                reads.setdefault(edge.op, []).append(_edge(edge))
            for producer, edges in reads.items():
                ends = (f"{model.id}{SEPARATOR}{producer}", f"{model.id}{SEPARATOR}{op.id}")
                result.add_edge(*ends, **(edges[0] if len(edges) == 1 else {"inputs": edges}))
    return result


def _edge(edge: Input) -> dict[str, Any]:
    given = {"bytes": edge.bytes, "output": edge.output}
    return {key: value for key, value in given.items() if value is not None}


def read_networkx(
    source: nx.DiGraph[Any], name: str | None
) -> tuple[str, tuple[Model, ...], dict[str, Any]]:
    """Read a `networkx.DiGraph`, one of `to_networkx` or your own.

    Parameters
    ----------
    source : networkx.DiGraph
        Nodes are ops and may be any hashable; they need an attribute ``time``, a mapping from
        device kind or id to a number. Optional: ``model`` (default: all nodes form one model
        named like the graph), ``op`` (the id; default: the node as text), ``memory`` (a size, or
        a mapping as in talos-graph/1) or ``weights``, ``output``, ``workspace``, and ``outputs``,
        ``type``, ``colocate``, ``device``, ``devices``, ``slots``, ``attrs``, ``phase``,
        ``split``. Edges are inputs and may have ``bytes`` and ``output``, or several of them in a
        list ``inputs``. Other attributes are ignored. Graph attributes as in `to_networkx`, all
        optional.
    name : str, optional
        Default: the graph's attribute ``name``, else "graph".

    Returns
    -------
    tuple
        What a `Graph` is made of: name, models, and by name what else is known. Ops are in the
        order of the nodes, the inputs of each in the order in which its edges came.

    Raises
    ------
    GraphError
        Names the node and attribute, what was found and what was expected.
    """
    import networkx as nx

    if not isinstance(source, nx.DiGraph) or source.is_multigraph():
        raise GraphError(f"found a {type(source).__name__}, expected a networkx.DiGraph")
    about = {key: _unboxed(value) for key, value in source.graph.items()}
    title = as_name(name if name is not None else about.get("name") or DEFAULT_NAME, "name", "name")
    model_of = {
        node: as_name(data.get("model", title), "model", _path(node, "model"))
        for node, data in source.nodes(data=True)
    }
    id_of = {
        node: as_name(data.get("op", str(node)), "op", _path(node, "op"))
        for node, data in source.nodes(data=True)
    }
    settings = {
        as_name(key, "a model", "models"): item
        for key, item in as_mapping(about.get("models", {}), "models", "models").items()
    }
    members: dict[str, list[Any]] = {model: [] for model in settings}
    for node, model in model_of.items():
        members.setdefault(model, []).append(node)
    for source_node, target_node in source.edges:
        if model_of[source_node] != model_of[target_node]:
            raise GraphError(
                f"edge {source_node!r} -> {target_node!r} joins models "
                f"{model_of[source_node]!r} and {model_of[target_node]!r}, expected one model"
            )
    models = tuple(
        _model(source, model, nodes, id_of, settings.get(model, {}))
        for model, nodes in members.items()
    )
    return title, models, _graph_settings(about)


def _graph_settings(about: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for key in ("time_unit", "description"):
        if key in about:
            settings[key] = as_text(about[key], key, key)
    if "known" in about:
        settings["known"] = as_plain(as_mapping(about["known"], "known", "known"), "known", "known")
    return settings


def _model(
    source: nx.DiGraph[Any],
    model: str,
    nodes: list[Any],
    id_of: Mapping[Any, str],
    settings: object,
) -> Model:
    path = f"models[{model!r}]"
    given = as_mapping(settings, "a model", path)
    numbers = {key: given[key] for key in ("weight", "release") if key in given}
    ops = tuple(read_op(_record(source, node, id_of), _path(node)) for node in nodes)
    with _paths_of_nodes(nodes, path):
        return Model(model, ops, **numbers)


def _record(source: nx.DiGraph[Any], node: Any, id_of: Mapping[Any, str]) -> dict[str, Any]:
    """Return a node as an op of talos-graph/1."""
    data = source.nodes[node]
    record: dict[str, Any] = {"id": id_of[node]}
    record |= {key: _unboxed(data[key]) for key in _OP_ATTRIBUTES if key in data}
    parts = {key: _unboxed(data[key]) for key in _MEMORY_PARTS if key in data}
    if parts:
        if "memory" in record:
            raise GraphError(
                f"a node has memory and {', '.join(parts)}, expected one or the other",
                path=_path(node, "memory"),
            )
        record["memory"] = parts
    record["inputs"] = [
        {"op": id_of[producer]} | {key: read[key] for key in ("bytes", "output") if key in read}
        for producer, edge in source.pred[node].items()
        for read in _reads(edge, producer, node)
    ]
    return record


def _reads(edge: Mapping[str, Any], producer: Any, node: Any) -> list[Any]:
    """Return the inputs that an edge stands for."""
    if "inputs" not in edge:
        return [_unboxed(dict(edge))]
    path = f"edges[{producer!r}, {node!r}].inputs"
    rows = as_list(_unboxed(edge["inputs"]), "inputs", path)
    return [as_mapping(row, "an input", f"{path}[{k}]") for k, row in enumerate(rows)]


def _unboxed(value: Any) -> Any:
    """Return numpy's scalars, alone or in mappings and lists, as Python's; sets as lists."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {_unboxed(key): _unboxed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unboxed(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(_unboxed, value), key=repr)
    return value


def _path(node: Any, key: str = "") -> str:
    path = f"nodes[{node!r}]"
    return f"{path}.{key}" if key else path


@contextmanager
def _paths_of_nodes(nodes: list[Any], path: str) -> Iterator[None]:
    """Name the node where an error of a model names the position of an op."""
    try:
        yield
    except GraphError as error:
        where = error.path or ""
        if where.startswith("ops["):
            position, _, rest = where.removeprefix("ops[").partition("]")
            where = _path(nodes[int(position)]) + rest
        else:
            where = f"{path}.{where}" if where else path
        raise GraphError(error.message, path=where) from None
