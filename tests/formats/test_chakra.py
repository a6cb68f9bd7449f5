"""Execution traces of Chakra and PyTorch: what is read of each form, and a row for each mistake."""

from __future__ import annotations

import copy
import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest

import talos_opt
from talos_opt.cli.main import main
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.model import Input
from talos_opt.core.problem import Objective, Problem
from talos_opt.formats import read_problem, write_problem
from talos_opt.formats.chakra_flops import flops_of
from talos_opt.formats.chakra_pytorch import _changed

from .samples import DELETE, SHARED, spoil

FILES = SHARED / "files" / "chakra"

#: Made up, with the keys of Chakra's JSON feeder.
WORK: dict[str, Any] = {
    "workload_graph": [
        {"Id": 1, "Name": "load", "NodeType": 2, "runtime": 10, "is_cpu_op": True},
        {
            "Id": 2,
            "Name": "mm",
            "NodeType": 4,
            "data_deps": [1],
            "ctrlDeps": [99],
            "runtime": 30.5,
            "is_cpu_op": False,
            "num_ops": 4096,
            "tensor_size": 512,
        },
        {"Id": 3, "Name": "send", "NodeType": "COMM_SEND_NODE", "ctrlDeps": [2], "runtime": 5},
    ]
}


def work() -> dict[str, Any]:
    """Return a copy of WORK to spoil."""
    return copy.deepcopy(WORK)


def tensor(storage: int, count: int, device: str = "cuda:0") -> list[Any]:
    return [storage + 100, storage, 0, count, 4, device]


def call(number: int, parent: int, name: str, **more: Any) -> dict[str, Any]:
    """Return a node of version 1.1.0."""
    facts = {"rf_id": number + 1000, "op_schema": more.pop("schema", "")}
    return {
        "id": number,
        "name": name,
        "ctrl_deps": parent,
        "inputs": {"values": more.pop("reads", []), "shapes": [], "types": []},
        "outputs": {"values": more.pop("makes", []), "shapes": [], "types": []},
        "attrs": [{"name": key, "type": "", "value": value} for key, value in facts.items()],
        **more,
    }


#: Made up: a linear layer with its calls, a view of it, a change in place, and a read of both.
CALLS: dict[str, Any] = {
    "schema": "1.1.0-chakra.0.0.4",
    "pid": 1,
    "nodes": [
        call(1, 1, "[pytorch|profiler|execution_trace|process]"),
        call(2, 1, "[pytorch|profiler|execution_trace|thread]"),
        call(3, 2, "## forward ##"),
        call(5, 4, "aten::t", schema="aten::t(Tensor(a) self) -> Tensor(a)"),
        call(
            4,
            3,
            "aten::linear",
            schema="aten::linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor",
            reads=[tensor(1, 8), tensor(2, 64), "<None>"],
            makes=[tensor(3, 8)],
        ),
        call(
            6,
            3,
            "aten::view",
            schema="aten::view(Tensor(a) self, SymInt[] size) -> Tensor(a)",
            reads=[tensor(3, 8), [2, 4]],
            makes=[tensor(3, 8)],
        ),
        call(
            7,
            2,
            "aten::sum",
            schema="aten::sum(Tensor self) -> Tensor",
            reads=[tensor(3, 8)],
            makes=[tensor(4, 1)],
        ),
        call(
            8,
            2,
            "aten::relu_",
            schema="aten::relu_(Tensor(a!) self) -> Tensor(a!)",
            reads=[tensor(3, 8)],
            makes=[tensor(3, 8)],
        ),
        call(
            9,
            2,
            "aten::cat",
            schema="aten::cat(Tensor[] tensors, int dim=0) -> Tensor",
            reads=[[tensor(3, 8), tensor(4, 1)], 0],
            makes=[tensor(5, 9)],
        ),
        call(10, 2, "aten::rand", schema="aten::rand() -> Tensor", makes=[tensor(6, 4, "cpu")]),
    ],
}


def calls() -> dict[str, Any]:
    """Return a copy of CALLS to spoil."""
    return copy.deepcopy(CALLS)


def read(folder: Path, document: Any, **options: Any) -> Problem:
    path = folder / "trace.json"
    path.write_text(json.dumps(document, indent=1))
    return read_problem(path, **options)


def inputs(problem: Problem) -> dict[str, dict[str, int | None]]:
    return {op.id: {item.op: item.bytes for item in op.inputs} for op in problem.ops}


def test_a_workload_in_json(tmp_path: Path) -> None:
    problem = read(tmp_path, WORK)
    assert problem.objective is Objective.MAKESPAN
    assert problem.graph.time_unit == "us"
    assert [(d.id, d.kind) for d in problem.cluster.devices] == [("cpu0", "cpu"), ("gpu0", "gpu")]
    assert [dict(op.time) for op in problem.ops] == [{"cpu": 10.0}, {"gpu": 30.5}, {"cpu": 5.0}]
    assert inputs(problem) == {"1": {}, "2": {"1": None}, "3": {"2": 0}}
    assert problem.ops[1].memory.output == 512
    assert problem.ops[1].attrs == {"node": "COMP_NODE", "flops": 4096}
    assert "1 dependencies on nodes that are not in the trace are left out" in (
        problem.graph.description
    )
    assert talos_opt.solve(problem, "cpsat").value == 45.5


def test_a_tensor_that_is_not_given_is_none(tmp_path: Path) -> None:
    document, missing = calls(), [77, 0, 0, 0, 0, ""]
    nodes = document["nodes"]
    nodes[-1]["outputs"]["values"].append(missing)  # of aten::rand
    nodes.append(
        call(11, 2, "aten::exp", schema="aten::exp()", reads=[missing], makes=[tensor(7, 4, "cpu")])
    )
    last = read(tmp_path, document, format="chakra").ops[-1]
    assert (last.id, list(last.time), last.inputs) == ("11", ["cpu"], ())


def varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def part(number: int, value: int | float | str | bytes) -> bytes:
    """Return a field of a protobuf message."""
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(*parts: bytes) -> bytes:
    data = b"".join(parts)
    return varint(len(data)) + data


def attr(name: str, number: int, value: int | float | str) -> bytes:
    return part(10, part(1, name) + part(number, value))


def protobuf() -> bytes:
    """Return WORK as protobuf; lists of ids are packed in one node and not in the other."""
    return b"".join(
        [
            message(part(1, "0.0.4"), part(2, part(1, "author") + part(29, "nobody"))),
            message(part(1, 7), part(2, "process group"), part(3, 1)),
            message(part(1, 1), part(2, "load"), part(3, 2), part(7, 10), attr("is_cpu_op", 27, 1)),
            message(
                part(1, 2),
                part(2, "mm"),
                part(3, 4),
                part(4, varint(99)),
                part(5, 1),
                part(7, 30),
                part(9, part(1, str([[5, 6, 0, 128, 4, "cuda:0"]]))),
                part(10, part(1, "is_cpu_op")),
                attr("num_ops", 3, 4096.0),
                attr("comm_tag", 13, 3),
            ),
            message(part(1, 3), part(2, "send"), part(3, 5), part(4, varint(2)), part(7, 5)),
        ]
    )


@pytest.mark.parametrize("name", ["trace.et", "trace", "trace.0.et"])
def test_protobuf(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(protobuf())
    problem = read_problem(path)
    assert [dict(op.time) for op in problem.ops] == [{"cpu": 10.0}, {"gpu": 30.0}, {"cpu": 5.0}]
    assert inputs(problem) == {"1": {}, "2": {"1": None}, "3": {"2": 0}}
    assert problem.ops[1].memory.output == 512
    assert problem.ops[1].attrs == {"node": "COMP_NODE", "flops": 4096.0}


def test_what_the_protobuf_library_writes(tmp_path: Path) -> None:
    """The package's own decoder, against the library and the schema's field numbers."""
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in (
        ("Meta", [("version", 1, kinds.TYPE_STRING, 1)]),
        ("Attr", [("name", 1, kinds.TYPE_STRING, 1), ("bool_val", 27, kinds.TYPE_BOOL, 1)]),
        (
            "Node",
            [
                ("id", 1, kinds.TYPE_UINT64, 1),
                ("name", 2, kinds.TYPE_STRING, 1),
                ("type", 3, kinds.TYPE_INT32, 1),
                ("data_deps", 5, kinds.TYPE_UINT64, 3),
                ("duration_micros", 7, kinds.TYPE_UINT64, 1),
                ("attr", 10, kinds.TYPE_MESSAGE, 3),
            ],
        ),
    ):
        entry = file.message_type.add(name=name)
        for key, number, kind, label in fields:
            field = entry.field.add(name=key, number=number, type=kind, label=label)
            if kind == kinds.TYPE_MESSAGE:
                field.type_name = ".t.Attr"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))
        for name in ("Meta", "Attr", "Node")
    }
    rows = [made["Meta"](version="1")]
    for k in range(300):
        rows.append(made["Node"](id=k, name=f"n{k}", type=4, duration_micros=k * 1000))
        rows[-1].data_deps.extend(range(max(0, k - 2), k))
        rows[-1].attr.add(name="is_cpu_op", bool_val=k % 2 == 0)
    path = tmp_path / "trace.et"
    path.write_bytes(b"".join(message(row.SerializeToString()) for row in rows))
    problem = read_problem(path)
    assert [op.id for op in problem.ops] == [str(k) for k in range(300)]
    assert [dict(op.time) for op in problem.ops] == [
        {"gpu" if k % 2 else "cpu": k * 1000.0} for k in range(300)
    ]
    assert [item.op for item in problem.ops[9].inputs] == ["7", "8"]


def test_what_the_jsonizer_prints(tmp_path: Path) -> None:
    rows = [
        {"version": "0.0.4"},
        {"id": "1", "name": "a", "type": "COMP_NODE", "durationMicros": "7"},
        {
            "id": "2",
            "name": "b",
            "type": "COMP_NODE",
            "dataDeps": ["1"],
            "durationMicros": "3",
            "attr": [{"name": "is_cpu_op", "boolVal": False}],
        },
    ]
    path = tmp_path / "trace.json"
    path.write_text("".join(json.dumps(row, indent=2) for row in rows))
    problem = read_problem(path, format="chakra")
    assert [dict(op.time) for op in problem.ops] == [{"cpu": 7.0}, {"gpu": 3.0}]
    assert inputs(problem) == {"1": {}, "2": {"1": None}}


def test_outermost_operators_are_ops(tmp_path: Path) -> None:
    problem = read(tmp_path, CALLS)
    assert [(op.id, op.type) for op in problem.ops] == [
        ("4", "aten::linear"),
        ("7", "aten::sum"),
        ("8", "aten::relu_"),
        ("9", "aten::cat"),
        ("10", "aten::rand"),
    ]
    # The view of 4 is no op; what changes a tensor waits for those that read it before.
    assert [op.inputs for op in problem.ops] == [
        (),
        (Input("4", output="3"),),
        (Input("4", output="3"), Input("7", 0)),
        (Input("8", output="3"), Input("7", output="4")),
        (),
    ]
    assert problem.ops[0].outputs == {"3": 32}
    assert [op.memory.weights for op in problem.ops] == [288, 0, 0, 0, 0]
    assert [op.memory.output for op in problem.ops] == [32, 4, 32, 36, 16]
    assert [set(op.time) for op in problem.ops] == [*[{"gpu"}] * 4, {"cpu"}]
    assert "it has no times: each op counts as 1 us" in problem.graph.description
    assert problem.ops[0].attrs["estimated"] == ["gpu"]


def test_version_1_0_has_its_attributes_in_the_nodes(tmp_path: Path) -> None:
    document = calls()
    document["schema"] = "1.0.1"
    for node in document["nodes"]:
        node["parent"] = node.pop("ctrl_deps")
        node |= {item["name"]: item["value"] for item in node.pop("attrs")}
        for key in ("inputs", "outputs"):
            node[key] = node[key]["values"]
    assert inputs(read(tmp_path, document)) == inputs(read(tmp_path, CALLS))


def test_times_of_a_linked_trace(tmp_path: Path) -> None:
    document = calls()
    document["nodes"][3] |= {"inclusive_dur": 2, "exclusive_dur": 2}
    document["nodes"][4] |= {"inclusive_dur": 9, "exclusive_dur": 7}
    document["nodes"].append(call(11, 5, "gemm", cat="kernel", exclusive_dur=40, stream=7))
    problem = read(tmp_path, document)
    assert problem.ops[0].time == {"gpu": 40.0}
    assert problem.ops[1].time == {"gpu": 40.0}  # no time: the median of its device
    assert problem.ops[1].attrs["estimated"] == ["gpu"]
    assert "estimated" not in problem.ops[0].attrs


def event(name: str, start: float, long: float, category: str, **args: Any) -> dict[str, Any]:
    row = {"ph": "X", "name": name, "cat": category, "ts": start, "dur": long, "pid": 1, "tid": 1}
    if category == "kernel":
        row |= {"pid": 0, "tid": 7}
    return row | {"args": args}


KINETO = [
    event("aten::linear", 0, 20, "cpu_op", **{"Record function id": 1004, "External id": 3}),
    event("aten::mm", 5, 10, "cpu_op", **{"Record function id": 1005, "External id": 4}),
    event("launch", 6, 1, "cuda_runtime", correlation=31),
    event("gemm", 9, 55, "kernel", **{"correlation": 31, "External id": 31}),
    event("aten::sum", 30, 4, "cpu_op", **{"Record function id": 1007, "External id": 5}),
    event("aten::cat", 40, 7, "cpu_op", **{"Record function id": 1009, "External id": 6}),
    event("aten::relu_", 50, 6, "cpu_op", **{"Record function id": 77, "External id": 7}),
]


@pytest.mark.parametrize("name", ["trace.kineto.json", "trace_kineto.json", "trace.Kineto_1.json"])
def test_times_of_the_kineto_trace_beside(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps({"traceEvents": KINETO}))
    problem = read(tmp_path, CALLS)
    linear, total, relu, cat, rand = problem.ops
    assert linear.time == {"gpu": 55.0}  # its kernel, launched by what it called
    assert total.time == {"gpu": 4.0}  # no kernel
    assert relu.time == {"gpu": 6.0}  # of another call of its name
    assert cat.time == {"gpu": 7.0}
    assert rand.time == {"cpu": 1.0}  # nothing on its device was measured
    assert [op.id for op in problem.ops if "estimated" in op.attrs] == ["8", "10"]
    (tmp_path / name).write_text("{")
    with pytest.raises(InputError, match=r"(?i)kineto.*: is not valid JSON"):
        read(tmp_path, CALLS)


def test_another_cluster(tmp_path: Path) -> None:
    cluster = Cluster((Device("a", "cpu"), Device("b", "gpu"), Device("c", "gpu")))
    problem = read(tmp_path, CALLS, cluster=cluster, objective="toct")
    assert problem.cluster == cluster
    assert problem.objective is Objective.TOCT


@pytest.mark.parametrize(
    ("schema", "places"),
    [
        ("aten::add_.Tensor(Tensor(a!) self, Tensor other, *, Scalar alpha=1) -> Tensor(a!)", (0,)),
        ("aten::mul.out(Tensor self, Tensor other, *, Tensor(a!) out) -> Tensor(a!)", (2,)),
        ("aten::_foreach_add_.List(Tensor(a!)[] self, Tensor[] other) -> ()", (0,)),
        ("aten::view(Tensor(a) self, SymInt[] size) -> Tensor(a)", ()),
        ("x::y(int[2] a=[1, 1], Tensor(b! -> *) c=None) -> ()", (1,)),
        ("", ()),
        ("!", ()),
    ],
)
def test_arguments_that_an_operator_changes(schema: str, places: tuple[int, ...]) -> None:
    assert _changed(schema) == places


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("workload_graph", 5, "workload_graph: workload_graph is 5, expected a list"),
        (
            "workload_graph",
            [],
            "trace.json: the trace has no nodes that do work, expected at least",
        ),
        ("workload_graph.0", 5, "workload_graph[0]: a node is 5, expected a mapping"),
        ("workload_graph.0.Id", DELETE, "workload_graph[0]: a node has no id, expected one"),
        ("workload_graph.0.Id", "x", "workload_graph[0].id: id is 'x', expected a whole number"),
        ("workload_graph.0.Id", 2, "workload_graph[1]: node 2 is given twice, first as workload_g"),
        ("workload_graph.0.NodeType", 77, "workload_graph[0].type: type of node 1 is 77, expected"),
        ("workload_graph.0.runtime", -1, "workload_graph[0].runtime: time of node 1 is -1, expect"),
        ("workload_graph.0.runtime", float("nan"), "time of node 1 is nan, expected a finite num"),
        ("workload_graph.0.data_deps", [3], "has a cycle: "),
        ("workload_graph.0.data_deps", [1], "has a cycle: 1 -> 1"),
        ("workload_graph.0.data_deps", 3, "data_deps of node 1 is 3, expected a list"),
        ("workload_graph.0.data_deps", [None], "data_deps of node 1 is empty, expected a whole"),
        ("workload_graph.1.tensor_size", -5, "tensor_size of node 2 is -5, expected"),
    ],
)
def test_mistakes_in_a_workload(tmp_path: Path, path: str, value: Any, message: str) -> None:
    document = work()
    spoil(document, path, value)
    with pytest.raises(InputError) as error:
        read(tmp_path, document, format="chakra")
    assert message in str(error.value)
    assert "trace.json" in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("nodes", 5, "nodes: nodes is 5, expected a list"),
        ("nodes", [], "the trace has no nodes that do work"),
        ("nodes.3", None, "nodes[3]: a node is empty, expected a mapping"),
        ("nodes.3.id", DELETE, "nodes[3]: a node has no 'id', expected one"),
        ("nodes.3.id", 4, "nodes[4].id: node 4 is given twice, first as nodes[3], expected"),
        ("nodes.3.ctrl_deps", [4], "nodes[3].ctrl_deps: the parent of a node is a list, expected"),
        ("nodes.4.ctrl_deps", 5, "nodes[3].ctrl_deps: node 5 is among those that called it"),
        ("nodes.3.inputs", 5, "nodes[3].inputs: inputs is 5, expected a list"),
        ("nodes.3.attrs", 5, "nodes[3].attrs: attrs is 5, expected a list"),
        ("nodes.4.inclusive_dur", -1, "nodes[4].inclusive_dur: inclusive_dur is -1, expected"),
        ("schema", DELETE, "is not a trace, expected Chakra's protobuf, or JSON with"),
    ],
)
def test_mistakes_in_calls(tmp_path: Path, path: str, value: Any, message: str) -> None:
    document = calls()
    spoil(document, path, value)
    with pytest.raises(InputError) as error:
        read(tmp_path, document, format="chakra")
    assert message in str(error.value)
    assert "trace.json" in str(error.value)


def test_a_parent_that_is_missing_is_no_mistake(tmp_path: Path) -> None:
    document = calls()
    del document["nodes"][:3]
    assert inputs(read(tmp_path, document)) == inputs(read(tmp_path, CALLS))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "trace.et: the trace is empty"),
        (protobuf()[:-1], "message 4 has "),
        (protobuf() + b"\x05", "message 5 has 5 bytes, but 0 are left (cut off?)"),
        (message(part(1, "1")) + b"\xff" * 12, "message 1: a number does not end (cut off, or no"),
        (message(part(1, "1")) + message(b"\x0b"), "message 1 has a field of unknown wire type 3"),
        (message(part(1, "1")) + message(b"\x12\x05a"), "message 1: a field does not end (cut of"),
        (message(part(1, "1")) + message(part(3, 99)), "type of node 0 is 99, expected a number"),
        (
            protobuf() + message(part(1, 1), part(3, 4)),
            "node 1 is given twice, first as message 2, expected unique ids",
        ),
        (b"hello", "trace.et: "),
    ],
)
def test_broken_protobuf(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "trace.et"
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        read_problem(path)
    assert message in str(error.value)
    assert "trace.et" in str(error.value)


@pytest.mark.skipif(not FILES.is_dir(), reason="the traces (../shared/data/files) are absent")
def test_public_traces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(FILES.iterdir()):
        if "kineto" in path.name:
            continue
        problem = read_problem(path)
        write_problem(problem, tmp_path / "again.json")
        assert read_problem(tmp_path / "again.json", objective="makespan") == problem
        assert main(["solve", str(path), "--from", "chakra", "--solver", "heft"]) == 0
    assert "makespan" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "read", "made", "flops"),
    [
        ("aten::mm", [[2, 3], [3, 5]], [[2, 5]], 60),
        ("aten::addmm", [[5], [2, 3], [3, 5], []], [[2, 5]], 60),
        ("aten::bmm", [[7, 2, 3], [7, 3, 5]], [[7, 2, 5]], 420),
        ("aten::linear", [[4, 2, 3], [5, 3], [5]], [[4, 2, 5]], 240),
        ("aten::conv2d", [[1, 4, 8, 8], [6, 2, 3, 3], [6]], [[1, 6, 6, 6]], 2 * 216 * 18),
        (
            "aten::convolution_backward",
            [[1, 6, 6, 6], [1, 4, 8, 8], [6, 2, 3, 3]],
            [[1, 4, 8, 8], [6, 2, 3, 3], [6]],
            4 * 216 * 18,
        ),
        ("aten::scaled_dot_product_attention", [[1, 2, 5, 8], [1, 2, 7, 8]], [[1, 2, 5, 8]], 2240),
        ("aten::_flash_attention_forward", [[1, 5, 2, 8], [1, 7, 2, 8]], [[1, 5, 2, 8]], 2240),
        (
            "aten::_scaled_dot_product_flash_attention_backward",
            [[1, 2, 5, 8], [1, 2, 5, 8], [1, 2, 7, 8]],
            [[1, 2, 5, 8], [1, 2, 7, 8]],
            5600,
        ),
        ("aten::scaled_dot_product_attention", [], [[1, 2, 5, 8]], None),
        ("aten::_convert_weight_to_int4pack", [[2, 3], [4, 5]], [[2, 3]], None),
        ("aten::mm", [[10**200, 2], [2, 10**200]], [[10**200, 10**200]], math.inf),
        ("aten::relu_", [[2, 3]], [[2, 3]], None),
        ("aten::mm", [], [], None),
        ("aten::mm", [[], [[1], []]], [[2, 5]], None),
    ],
)
def test_flops_of_a_call(
    name: str, read: list[object], made: list[object], flops: float | None
) -> None:
    assert flops_of(name, read, made) == flops


#: Input, weights (in, out / groups, ...) and result of a transposed convolution of stride 2.
FROM, THROUGH, TO = [1, 4, 8, 8], [4, 3, 3, 3], [1, 6, 17, 17]
EVEN = [1, 4, 17, 17]


@pytest.mark.parametrize(
    ("name", "read", "made", "told", "flops"),
    [
        ("aten::conv_transpose2d", [FROM, THROUGH], [TO], {}, 2 * 256 * 27),
        ("aten::slow_conv_transpose2d", [FROM, THROUGH], [TO], {}, 2 * 256 * 27),
        ("aten::convolution", [FROM, THROUGH], [TO], {6: True}, 2 * 256 * 27),
        ("aten::convolution", [FROM, THROUGH], [TO], {}, 2 * 256 * 27),  # by its channels
        # As many channels as before: only what it was told says which.
        ("aten::_convolution", [FROM, [4, 4, 3, 3]], [EVEN], {6: True}, 2 * 256 * 36),
        ("aten::_convolution", [FROM, [4, 4, 3, 3]], [EVEN], {6: False}, 2 * 1156 * 36),
        ("aten::_convolution", [FROM, [4, 4, 3, 3]], [EVEN], {}, 2 * 1156 * 36),
        ("aten::convolution_backward", [TO, FROM, THROUGH], [FROM, THROUGH], {7: True}, 27648),
        ("aten::convolution_backward", [TO, FROM, THROUGH], [[], THROUGH], {7: True}, 13824),
        ("aten::conv_transpose1d", [[4, 8], [4, 6, 3]], [[6, 10]], {}, 2 * 32 * 18),
        ("aten::conv_transpose2d", [[], THROUGH], [TO], {}, None),
    ],
)
def test_flops_of_transposed_convolutions(
    name: str, read: list[object], made: list[object], told: dict[int, bool], flops: float | None
) -> None:
    values: list[object] = [told.get(k, 1) for k in range(12)] if told else []
    assert flops_of(name, read, made, values) == flops
