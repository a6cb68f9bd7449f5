"""A problem to plain data: talos-graph/1. What has its default value is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from talos_opt.core.columns import PHASES
from talos_opt.core.graph import Input, Memory, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.formats.graph_reader import SCHEMA


def document_of(problem: Problem) -> dict[str, Any]:
    """Return a problem as a talos-graph/1 document of plain Python values.

    The objective is not part of it. Reading the document gives the same graph, cluster and memory
    rule back, to the last bit of every number.
    """
    document = {"schema": SCHEMA} | head_of(problem)
    document["models"] = [_model(model) for model in problem.graph.models]
    if "known" in document:
        document["known"] = document.pop("known")  # stands last, below the models
    return document


def head_of(problem: Problem) -> dict[str, Any]:
    """Return what a document says about a problem beside its schema and its models."""
    graph = problem.graph
    head: dict[str, Any] = {"name": graph.name}
    if graph.description:
        head["description"] = graph.description
    head |= {
        "time_unit": graph.time_unit,
        "memory_rule": problem.memory_rule.value,
        **({"stages": problem.stages.to_plain()} if problem.stages else {}),
        **({"pipeline": problem.pipeline.to_plain()} if problem.pipeline else {}),
        "cluster": problem.cluster.to_dict(),
    }
    if graph.known:
        head["known"] = plain(graph.known)
    return head


def _model(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "weight": model.weight,
        "release": model.release,
        "ops": [_op(op) for op in model.ops],
    }


def _op(op: Op) -> dict[str, Any]:
    record: dict[str, Any] = {"id": op.id}
    if op.type:
        record["type"] = op.type
    record["time"] = dict(op.time)
    memory = replace(op.memory, output=0) if op.outputs else op.memory
    if memory != Memory():
        record["memory"] = _memory(memory)
    if op.outputs:
        record["outputs"] = dict(op.outputs)
    if op.inputs:
        record["inputs"] = [_input(edge) for edge in op.inputs]
    if op.colocate is not None:
        record["colocate"] = op.colocate
    if op.devices is not None:
        record["devices"] = list(op.devices)
    if op.slots != 1:
        record["slots"] = op.slots
    if op.phase != PHASES[0]:
        record["phase"] = op.phase
    if op.split:
        record["split"] = True
    if op.attrs:
        record["attrs"] = plain(op.attrs)
    return record


def _memory(memory: Memory) -> dict[str, int]:
    parts = {
        "weights": memory.weights,
        "output": memory.output,
        "workspace": memory.workspace,
    }
    return {key: size for key, size in parts.items() if size}


def _input(edge: Input) -> str | dict[str, Any]:
    record: dict[str, Any] = {"op": edge.op}
    if edge.output is not None:
        record["output"] = edge.output
    if edge.bytes is not None:
        record["bytes"] = edge.bytes
    return record if len(record) > 1 else edge.op


def plain(value: Any) -> Any:
    """Return free-form data as plain dicts and lists."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
