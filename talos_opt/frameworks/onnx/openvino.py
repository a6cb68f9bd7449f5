"""A schedule as OpenVINO's HETERO takes it: the affinity of every op. OpenVINO is not imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.exporting import placement_of

_KEY = "affinity"


def affinities(
    problem: Problem, schedule: Schedule, captured: Captured, names: Mapping[str, str]
) -> dict[str, str]:
    """Return OpenVINO's device of every node.

    OpenVINO calls an op by its node's name, and what makes a result of the model by that of the
    result: both are there.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
    captured : Captured
    names : mapping of str to str
        OpenVINO's name of a device, such as ``GPU.1``; default: CPU or GPU, by its kind.

    Raises
    ------
    InputError
        If nodes are ONNX Runtime's own, which OpenVINO does not read.
    """
    own = next((n for n in captured.graph.node if n.domain not in ("", "ai.onnx")), None)
    if own is not None:
        raise InputError(
            f"op {own.name!r} is a {own.op_type} of {own.domain}, which OpenVINO does not read: "
            "profile with --no-optimized"
        )
    kinds = {d.id: "CPU" if d.kind == "cpu" else "GPU" for d in problem.cluster.devices}
    placement = placement_of(problem, schedule)
    found = {op: names.get(device, kinds[device]) for op, device in placement.items()}
    results = {v: found[captured.maker[v]] for v in captured.outputs if v in captured.maker}
    return results | found


def apply_affinities(model: Any, found: Mapping[str, str]) -> int:
    """Set the device of every op of a model, for ``compile_model(model, "HETERO:GPU,CPU")``.

    Ops that the file does not name, such as constants and parts that OpenVINO takes a node apart
    into, go with what reads them, and results with what they are of.

    Parameters
    ----------
    model : openvino.Model
        As ``read_model`` makes it of the file that was profiled.
    found : mapping of str to str
        As `affinities` returns it, or read from its JSON file.

    Returns
    -------
    int
        Ops whose device the mapping names.

    Raises
    ------
    InputError
        If it names none of them.
    """
    ops = model.get_ordered_ops()
    where = {
        op.get_name(): found[op.get_friendly_name()]
        for op in ops
        if op.get_friendly_name() in found
    }
    named = len(where)
    if not named:
        raise InputError("no op of the model has a name of the mapping: it is another model")
    for op in reversed(ops):
        _follow(where, op, _readers(op))
    for op in ops:
        _follow(where, op, _read(op))
    for op in ops:
        op.get_rt_info()[_KEY] = where.get(op.get_name(), next(iter(found.values())))
    return named


def _follow(where: dict[str, str], op: Any, others: Iterator[Any]) -> None:
    if op.get_name() not in where:
        device = next((where[o.get_name()] for o in others if o.get_name() in where), None)
        if device is not None:
            where[op.get_name()] = device


def _readers(op: Any) -> Iterator[Any]:
    for output in op.outputs():
        for read in output.get_target_inputs():
            yield read.get_node()


def _read(op: Any) -> Iterator[Any]:
    for read in op.inputs():
        yield read.get_source_output().get_node()
