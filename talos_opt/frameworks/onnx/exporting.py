"""A schedule of an ONNX model as other runtimes take it: marks on nodes, or pieces as files."""

from __future__ import annotations

import copy
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.stages import stage_arcs
from talos_opt.core.topology import order_by_number
from talos_opt.formats.target import write_file, write_json
from talos_opt.frameworks.common.running import INPUTS
from talos_opt.frameworks.onnx.backend import ox
from talos_opt.frameworks.onnx.capture import capture, capture_graph
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.facts import GRAPH, facts_in, require_same_model
from talos_opt.frameworks.onnx.graphs import tensor_bytes, tensors_of
from talos_opt.frameworks.onnx.inputs import declared_inputs, draw, specs_of, split_text
from talos_opt.frameworks.onnx.pieces import cut, piece_model
from talos_opt.frameworks.onnx.reading import external_data, read_model
from talos_opt.frameworks.onnx.sessions import LEVELS

#: Key of a node's annotation, and of the session option that says which device takes it.
ANNOTATION, SETTINGS = "layer_ann", "session.layer_assignment_settings"
#: What has a meaning in that option's text.
_MARKS = "(),;= "
#: Name of the device configuration of a model that is exported with its stages.
CONFIGURATION = "talos-opt"
#: Version of a model's form that has configurations of devices.
_STAGES_IR = 11
#: What a file of the form of ONNX may hold with its weights, by the limit of protobuf.
_MOST_BYTES = 2**31 - 2**24
#: What tensors in a file of their own begin at a multiple of, so that it can be mapped.
_PAGE, _CHUNK = 4096, 1 << 24
_SPLIT = "talos-onnx-split/1"


def model_of(problem: Problem, target: str, *, sized: bool = False) -> Captured:
    """Return the model that a graph was profiled from, with the same ops.

    Parameters
    ----------
    problem : Problem
    target : str
        The ``.onnx`` file.
    sized : bool
        Whether types and sizes of all values are needed: then it runs once.

    Raises
    ------
    InputError
        If it is another model, or this version of the runtime makes other ops of it.
    """
    facts = facts_in(problem.graph.description)
    level = facts.get(GRAPH, "").removeprefix("optimised ")
    if level not in LEVELS or INPUTS not in facts:
        raise InputError(f"{problem.graph.name} was not made by 'talos-opt profile onnx'")
    source = read_model(target)
    require_same_model(source, facts)
    specs = specs_of(declared_inputs(source.proto), split_text(facts[INPUTS]), {})
    if sized:
        captured = capture(source, specs, draw(specs), level=level)
    else:
        captured = capture_graph(source, specs, level)
    ops = {op.id for op in problem.ops}
    other = next(iter(ops.symmetric_difference(captured.nodes)), None)
    if other is not None:
        raise InputError(
            f"{target}: op {other!r} is in the {'graph' if other in ops else 'model'} only: it was "
            f"made with another version of ONNX Runtime, or on another kind of CPU; profile again"
        )
    return captured


def placement_of(problem: Problem, schedule: Schedule) -> dict[str, str]:
    """Return the device of every op, by id."""
    ids = problem.device_ids
    devices = schedule.device.tolist()
    return {op.id: ids[d] for op, d in zip(problem.ops, devices, strict=True)}


def annotated(
    problem: Problem, schedule: Schedule, captured: Captured, names: Mapping[str, str]
) -> tuple[Any, str]:
    """Return a model whose nodes say where they go, and the session option that reads it.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
    captured : Captured
    names : mapping of str to str
        The runtime's designator of a device, such as ``cuda``; default: ``cpu`` for those of that
        kind, else ``gpu``.

    Raises
    ------
    InputError
        If the id or the name of a device cannot stand in the option's text.
    """
    placement = placement_of(problem, schedule)
    proto = _copied(captured)
    for node in proto.graph.node:
        _set(node.metadata_props, ANNOTATION, placement[node.name])
    rules: dict[str, list[str]] = {}
    for device in problem.cluster.devices:
        name = names.get(device.id, "cpu" if device.kind == "cpu" else "gpu")
        for text, what in ((device.id, "an annotation"), (name, "a designator")):
            if not text or any(mark in text for mark in _MARKS):
                raise InputError(
                    f"{text!r} cannot be {what} of a device: name it without ( ) , ; = or spaces"
                )
        if device.id in placement.values():
            rules.setdefault(name, []).append(f"={device.id}")
    settings = "; ".join(f"{name}({', '.join(marks)})" for name, marks in rules.items())
    _set(proto.metadata_props, SETTINGS, settings)
    return proto, settings


def staged(problem: Problem, schedule: Schedule, captured: Captured) -> tuple[Any, list[str]]:
    """Return a model whose nodes say which stage of a pipeline they belong to, and its devices.

    Raises
    ------
    InputError
        If the devices do not form a pipeline: a device that was left is entered again.
    """
    arcs = stage_arcs(problem.arrays, schedule.device)
    used = sorted(set(schedule.device.tolist()))
    place = {d: k for k, d in enumerate(used)}
    before: list[set[int]] = [set() for _ in used]
    for _, a, b in arcs.tolist():
        before[place[b]].add(place[a])
    order = order_by_number(before)
    if len(order) < len(used):
        raise InputError(
            "the placement does not form stages, as a device that was left is entered again: "
            "solve with --stages acyclic"
        )
    ids = [problem.device_ids[used[k]] for k in order]
    placement = placement_of(problem, schedule)
    proto = _copied(captured)
    proto.ir_version = max(proto.ir_version, _STAGES_IR)
    proto.configuration.add(name=CONFIGURATION, num_devices=len(ids), device=ids)
    for node in proto.graph.node:
        node.device_configurations.add(
            configuration_id=CONFIGURATION, pipeline_stage=ids.index(placement[node.name])
        )
    return proto, ids


def write_model(proto: Any, captured: Captured, target: str) -> None:
    """Write a model with all of its weights: in itself, or beside it where it is too large."""
    made = ox.ModelProto()
    made.CopyFrom(proto)
    if sum(captured.constants.values()) < _MOST_BYTES:
        ox.external_data_helper.load_external_data_for_model(made, str(captured.folder))
    else:
        beside = f"{target}.data"
        write_file(lambda file: _gather(made, captured.folder, Path(beside).name, file), beside)
    write_file(lambda file: _put(file, made), target)


def _gather(made: Any, folder: Path, name: str, file: Any) -> None:
    """Write all external data to one file, and let the model's tensors be in it."""
    end = 0
    for tensor in tensors_of(made.graph):
        if tensor.data_location != ox.TensorProto.EXTERNAL:
            continue
        held = {item.key: item.value for item in tensor.external_data}
        length = int(held.get("length") or tensor_bytes(tensor))
        file.write(b"\0" * (-end % _PAGE))
        end += -end % _PAGE
        with (folder / held["location"]).open("rb") as source:
            source.seek(int(held.get("offset", 0)))
            left = length
            while left and (block := source.read(min(left, _CHUNK))):
                file.write(block)
                left -= len(block)
        del tensor.external_data[:]
        for key, value in (("location", name), ("offset", end), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        end += length


def write_split(
    problem: Problem, schedule: Schedule, captured: Captured, target: str
) -> dict[str, int]:
    """Write the pieces of a schedule as files, and a manifest that says who feeds whom.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
    captured : Captured
        With types of all values.
    target : str
        Folder to make: it appears whole or not at all.

    Returns
    -------
    dict of str to int
        What was written.

    Raises
    ------
    InputError
        If there is such a folder already, or it cannot be made.
    """
    placement = placement_of(problem, schedule)
    starts, ends = schedule.start.tolist(), schedule.end.tolist()
    times = {
        op.id: span for op, span in zip(problem.ops, zip(starts, ends, strict=True), strict=True)
    }
    pieces = cut(captured, placement, times)
    maker = {value: piece.name for piece in pieces for value in piece.makes}
    rows = [
        {
            "file": f"{piece.name}.onnx",
            "device": piece.device,
            "inputs": {
                value: f"{maker[value]}.onnx" if value in maker else None for value in piece.reads
            },
            "outputs": list(piece.makes),
            "ops": list(piece.ops),
        }
        for piece in pieces
    ]
    manifest = {
        "schema": _SPLIT,
        "model": captured.source.path.name,
        "sha256": captured.source.digest,
        "inputs": [spec.name for spec in captured.specs],
        "outputs": {
            value: f"{maker[value]}.onnx" if value in maker else None for value in captured.outputs
        },
        "pieces": rows,
    }
    path = Path(target)
    if path.exists():
        raise InputError("there is such a file or folder, expected a new one", source=target)
    beside = path.with_name(f".talos-{secrets.token_hex(8)}.tmp")
    try:
        beside.mkdir()
        for piece in pieces:
            (beside / f"{piece.name}.onnx").write_bytes(
                piece_model(captured, piece).SerializeToString()
            )
        for location in sorted(
            {place for _, place, _ in external_data(captured.source.path, captured.proto)}
        ):
            (beside / location).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(captured.folder / location, beside / location)
        write_json(manifest, beside / "manifest.json")
        os.rename(beside, path)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", source=target) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return {"pieces": len(pieces), "devices": len({piece.device for piece in pieces})}


def _copied(captured: Captured) -> Any:
    """Return a copy of the model whose results have shapes again, as the form of ONNX asks for."""
    proto = copy.deepcopy(captured.proto)
    stated = {value.name: value for value in captured.source.proto.graph.output}
    for value in proto.graph.output:
        tensor = captured.tensors.get(value.name)
        if tensor is not None and tensor.is_tensor and tensor.shape is not None:
            value.CopyFrom(tensor.value_info(value.name))
        elif value.name in stated:
            value.CopyFrom(stated[value.name])
    return proto


def _put(file: Any, made: Any) -> None:
    file.write(made.SerializeToString())


def _set(properties: Any, key: str, value: str) -> None:
    for item in properties:
        if item.key == key:
            item.value = value
            return
    properties.add(key=key, value=value)
