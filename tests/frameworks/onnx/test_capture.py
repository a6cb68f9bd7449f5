"""From a file to ops: what is folded, inlined and named, and what each op holds and reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h

from talos_opt.frameworks.common.profile import OpProfile
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.ops import describe_ops, main_dtype
from talos_opt.frameworks.onnx.sessions import Bound, session_of
from tests.frameworks.onnx import nets
from tests.frameworks.onnx.nets import array, value, weight


def ops_of(captured: Captured) -> dict[str, OpProfile]:
    return {op.id: op for op in describe_ops(captured)}


def test_an_mlp_by_hand(tmp_path: Path) -> None:
    captured = nets.captured(nets.mlp(), tmp_path, dims=["batch=4"], level="none", run=False)
    first, act, second = ops_of(captured).values()
    assert (first.id, first.type, first.weights, first.output) == ("first", "MatMul", 16384, 1024)
    assert first.flops == 2 * 4 * 64 * 64
    assert first.moved_bytes == 1024 + 16384 + 1024
    assert first.inputs == ()  # the model's own input is where it is read
    assert [tuple(read) for read in act.inputs] == [("first", 1024, "")]
    assert second.weights == 64 * 10 * 4 + 40
    assert second.facts["shape"] == [[4, 10]]
    assert second.facts["dtype"] == ["float32"]


def test_the_runtime_fuses_where_it_may(tmp_path: Path) -> None:
    captured = nets.captured(nets.mlp(), tmp_path, dims=["batch=4"], level="extended")
    assert len(captured.nodes) < 4
    assert sum(op.weights for op in describe_ops(captured)) == 16384 + 2560 + 40
    assert {event.name for event in captured.seen} == set(captured.nodes)


def test_constants_made_by_nodes_are_weights(tmp_path: Path) -> None:
    fill = h.make_tensor("v", T.FLOAT, [1], [0.5])
    made = nets.model(
        [
            h.make_node("ConstantOfShape", ["size"], ["c"], value=fill),
            h.make_node("Transpose", ["c"], ["w"], name="turn"),
            h.make_node("MatMul", ["x", "w"], ["y"], name="multiply"),
        ],
        [value("x", [2, 300])],
        [value("y", [2, 100])],
        [array("size", [100, 300])],
    )
    captured = nets.captured(made, tmp_path, level="none", run=False)
    (op,) = describe_ops(captured)
    assert (op.id, op.weights) == ("multiply", 100 * 300 * 4)
    assert "2 nodes that make constants were computed" in captured.notes[0]


def test_random_numbers_are_no_constants(tmp_path: Path) -> None:
    made = nets.model(
        [
            h.make_node("RandomNormal", [], ["r"], shape=[2, 3], name="draw"),
            h.make_node("Add", ["x", "r"], ["y"], name="add"),
        ],
        [value("x", [2, 3])],
        [value("y", [2, 3])],
    )
    assert set(nets.captured(made, tmp_path, level="none").nodes) == {"draw", "add"}


def test_functions_are_inlined(tmp_path: Path) -> None:
    function = h.make_function(
        "local", "Twice", ["a"], ["b"],
        [h.make_node("Add", ["a", "a"], ["c"]), h.make_node("Relu", ["c"], ["b"])],
        [h.make_opsetid("", 17)],
    )  # fmt: skip
    made = nets.model(
        [h.make_node("Twice", ["x"], ["m"], domain="local"),
         h.make_node("Twice", ["m"], ["y"], domain="local")],
        [value("x", [4])], [value("y", [4])], functions=[function], domains=["local"],
    )  # fmt: skip
    captured = nets.captured(made, tmp_path, level="none")
    assert [op.type for op in describe_ops(captured)] == ["Add", "Relu", "Add", "Relu"]
    assert len(captured.nodes) == 4


def test_names_are_unique_and_the_same_each_time(tmp_path: Path) -> None:
    read, nodes = "x", []
    for k, name in enumerate(["", "same", "same", "Relu_0", ""]):
        nodes.append(h.make_node("Relu", [read], [f"v{k}"], name=name))
        read = f"v{k}"
    made = nets.model(nodes, [value("x", [2])], [value(read, [2])])
    names = list(nets.captured(made, tmp_path, level="none").nodes)
    assert names == ["Relu_1", "same_0", "same_1", "Relu_0", "Relu_2"]
    assert names == list(nets.captured(made, tmp_path, level="none").nodes)


def shared(rows: int) -> onnx.ModelProto:
    """One weight that two ops read."""
    return nets.model(
        [
            h.make_node("MatMul", ["x", "w"], ["a"], name="one"),
            h.make_node("Tanh", ["a"], ["b"], name="between"),
            h.make_node("MatMul", ["b", "w"], ["y"], name="two"),
        ],
        [value("x", [2, rows])],
        [value("y", [2, rows])],
        [weight("w", rows, rows)],
    )


def test_a_large_weight_is_held_once_and_ties_its_readers(tmp_path: Path) -> None:
    ops = ops_of(nets.captured(shared(200), tmp_path, level="none", run=False))
    assert [op.weights for op in ops.values()] == [160000, 0, 0]
    assert ops["one"].colocate == ops["two"].colocate == "one"
    assert ops["between"].colocate is None


def test_a_small_weight_is_held_by_each_that_reads_it(tmp_path: Path) -> None:
    ops = ops_of(nets.captured(shared(20), tmp_path, level="none", run=False))
    assert [op.weights for op in ops.values()] == [1600, 0, 1600]
    assert not any(op.colocate for op in ops.values())


def test_several_outputs_are_several_tensors(tmp_path: Path) -> None:
    made = nets.model(
        [
            h.make_node("Split", ["x"], ["a", "b", "c"], name="split", axis=1, num_outputs=3),
            h.make_node("Relu", ["a"], ["d"], name="left"),
            h.make_node("Concat", ["d", "b"], ["y"], name="join", axis=1),
        ],
        [value("x", [4, 6])],
        [value("y", [4, 4])],
        opset=18,
    )
    ops = ops_of(nets.captured(made, tmp_path, level="none", run=False))
    split = ops["split"]
    assert dict(split.outputs) == {"a": 32, "b": 32}
    assert split.unread == 32  # nobody reads c
    assert [tuple(read) for read in ops["join"].inputs] == [("left", 32, ""), ("split", 32, "b")]


def test_views_keep_what_they_are_of(tmp_path: Path) -> None:
    made = nets.model(
        [
            h.make_node("Relu", ["x"], ["a"], name="base"),
            h.make_node("Reshape", ["a", "to"], ["b"], name="view"),
            h.make_node("Neg", ["b"], ["y"], name="reader"),
        ],
        [value("x", [4, 6])],
        [value("y", [24])],
        [array("to", [24])],
    )
    ops = ops_of(nets.captured(made, tmp_path, level="none", run=False))
    assert (ops["view"].output, ops["view"].moved_bytes, ops["view"].flops) == (0, 0, 0)
    assert ops["view"].colocate == ops["base"].colocate == "base"
    assert [tuple(read) for read in ops["reader"].inputs] == [("view", 96, ""), ("base", 0, "")]


def test_a_branch_costs_what_ran(tmp_path: Path) -> None:
    taken = nets.captured(nets.branching(), tmp_path, ["flag=scalar:bool:1-1"], level="none")
    other = nets.captured(nets.branching(), tmp_path, ["flag=scalar:bool:0-0"], level="none")
    choose, negate = describe_ops(taken)
    assert choose.type == "If"
    assert (choose.flops, choose.launches) == (2 * 4 * 8 * 8 + 32, 2)
    assert choose.weights == 256 + 128  # of both branches, whichever runs
    assert [read.op for read in negate.inputs] == ["choose"]
    choose, _ = describe_ops(other)
    assert (choose.flops, choose.launches) == (32, 1)
    assert choose.record().attrs.get("launches") is None


def test_a_loop_costs_all_of_its_rounds(tmp_path: Path) -> None:
    captured = nets.captured(nets.looping(), tmp_path, ["n=scalar:int64:5-5"], level="none")
    (loop,) = describe_ops(captured)
    assert loop.flops == 5 * 2 * 4 * 8 * 8
    assert loop.weights == 256
    assert loop.record().attrs["launches"] == loop.launches >= 5


def test_estimates_alone_run_a_loop_once_to_see_its_rounds(tmp_path: Path) -> None:
    captured = nets.captured(
        nets.looping(), tmp_path, ["n=scalar:int64:3-3"], level="none", run=False
    )
    assert describe_ops(captured)[0].flops == 3 * 2 * 4 * 8 * 8


def test_an_op_without_a_kernel_is_its_definition(tmp_path: Path) -> None:
    made = nets.model(
        [
            h.make_node("CastLike", ["x", "like"], ["a"], name="cast"),
            h.make_node("Neg", ["a"], ["y"], name="negate"),
        ],
        [value("x", [4]), value("like", [1], T.DOUBLE)],
        [value("y", [4], T.DOUBLE)],
    )
    captured = nets.captured(made, tmp_path, level="none")
    assert [op.type for op in describe_ops(captured)] == ["Cast", "Neg"]
    assert {event.name for event in captured.seen} == set(captured.nodes)


def test_sizes_that_follow_from_values_are_seen_in_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    made = nets.model(
        [h.make_node("NonZero", ["x"], ["i"], name="find"),
         h.make_node("Cast", ["i"], ["y"], name="cast", to=T.FLOAT)],
        [value("x", [3, 4])], [value("y", None)],
    )  # fmt: skip
    ops = ops_of(nets.captured(made, tmp_path, ["3x4:float32:1-2"], level="none", run=False))
    assert ops["find"].output == 2 * 12 * 8
    assert ops["cast"].facts["shape"] == [[2, 12]]
    assert not list((tmp_path / "here").iterdir())  # where the symbolic inference would leave one


def test_weights_declared_as_inputs_are_weights(tmp_path: Path) -> None:
    made = nets.mlp()
    made.graph.input.append(value("w1", [64, 64]))
    captured = nets.captured(made, tmp_path, dims=["batch=2"], level="all")
    assert "1 weights are declared as inputs, too" in captured.notes[0]
    assert [spec.name for spec in captured.specs] == ["x"]


def test_quantised_weights_have_their_own_bytes(tmp_path: Path) -> None:
    weights = [
        onnx.numpy_helper.from_array(np.ones((8, 8), dtype=np.int8), "w"),
        array("s", 0.5, "float32"), array("z", 0, "int8"),
    ]  # fmt: skip
    made = nets.model(
        [
            h.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantise"),
            h.make_node("MatMulInteger", ["q", "w", "z", "z"], ["y"], name="multiply"),
        ],
        [value("x", [2, 8])],
        [value("y", [2, 8], T.INT32)],
        weights,
    )
    captured = nets.captured(made, tmp_path, level="none", run=False)
    ops = ops_of(captured)
    assert (ops["quantise"].output, ops["multiply"].output) == (16, 64)
    assert ops["multiply"].weights == 64 + 1
    assert main_dtype(captured) == "int8"


def test_four_bits_are_half_a_byte(tmp_path: Path) -> None:
    packed = h.make_tensor("w", T.INT4, [3, 5], [1] * 15)
    made = nets.model(
        [
            h.make_node("DequantizeLinear", ["w", "s"], ["f"], name="unpack"),
            h.make_node("Mul", ["f", "x"], ["y"], name="scale"),
        ],
        [value("x", [3, 5])],
        [value("y", [3, 5])],
        [packed, array("s", 0.5, "float32")],
        opset=21,
    )
    made.ir_version = 10
    captured = nets.captured(made, tmp_path, level="none", run=False)
    assert captured.constants["w"] == 8
    unpack = ops_of(captured)["unpack"]
    assert (unpack.weights, unpack.output) == (8 + 4, 15 * 4)
    assert main_dtype(captured) == "float32"


def test_weights_in_another_file(tmp_path: Path) -> None:
    path = tmp_path / "data.onnx"
    onnx.save(
        nets.mlp(), str(path),
        save_as_external_data=True, location="data.bin", size_threshold=128,
    )  # fmt: skip
    ours = [
        nets.captured(path, tmp_path, dims=["batch=2"], level=level) for level in ("none", "all")
    ]
    inside = nets.captured(nets.mlp(), tmp_path, dims=["batch=2"], level="none")
    assert {sum(op.weights for op in describe_ops(c)) for c in (*ours, inside)} == {18984}
    estimated = nets.captured(path, tmp_path, dims=["batch=2"], level="none", run=False)
    assert describe_ops(estimated) == describe_ops(ours[0])


@pytest.mark.parametrize("level", ["none", "extended", "all"])
def test_what_was_captured_computes_what_the_file_does(level: str, tmp_path: Path) -> None:
    made = nets.model(
        [
            h.make_node("Conv", ["x", "w", "b"], ["a"], kernel_shape=[3, 3], pads=[1] * 4),
            h.make_node("Relu", ["a"], ["r"]),
            h.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            h.make_node("Flatten", ["p"], ["f"]),
            h.make_node("Gemm", ["f", "g"], ["y"]),
        ],
        [value("x", [1, 8, 8, 8])],
        [value("y", [1, 4])],
        [weight("w", 16, 8, 3, 3), weight("b", 16), weight("g", 256, 4)],
    )
    captured = nets.captured(made, tmp_path, level=level)
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 8)).astype("float32")
    expected = session_of(made, level="all").run(None, {"x": x})
    session = captured.session()
    assert np.allclose(session.run(None, {"x": x})[0], expected[0], atol=1e-5)
    assert Bound(session, *_on_cpu({"x": x})).run() > 0
    assert all(op.facts["shape"][0] for op in describe_ops(captured))


def _on_cpu(values: dict) -> tuple:
    from talos_opt.frameworks.onnx.devices import CPU

    return CPU, values


def test_nodes_in_another_order_than_they_run_in(tmp_path: Path) -> None:
    made = nets.mlp()
    made.graph.node.reverse()
    captured = nets.captured(made, tmp_path, dims=["batch=4"], level="none", run=False)
    inside = nets.captured(nets.mlp(), tmp_path, dims=["batch=4"], level="none", run=False)
    assert [op.id for op in describe_ops(captured)] == ["first", "act", "second"]
    assert describe_ops(captured) == describe_ops(inside)


def test_constants_that_are_no_tensors_stay_ops(tmp_path: Path) -> None:
    made = nets.model(
        [
            h.make_node("SequenceConstruct", ["c", "c"], ["s"], name="gather"),
            h.make_node("SequenceInsert", ["s", "x"], ["t"], name="insert"),
            h.make_node("ConcatFromSequence", ["t"], ["y"], name="join", axis=0),
        ],
        [value("x", [4])],
        [value("y", None)],
        [weight("c", 4)],
    )
    for level in ("none", "all"):
        captured = nets.captured(made, tmp_path, level=level)
        assert list(captured.nodes) == ["gather", "insert", "join"]


def test_weights_are_computed_with_in_wider_types_than_8_bits(tmp_path: Path) -> None:
    made = nets.model(
        [
            h.make_node("DequantizeLinear", ["w", "s"], ["f"], name="widen"),
            h.make_node("MatMul", ["x", "f"], ["y"], name="multiply"),
        ],
        [value("x", [4, 8])],
        [value("y", [4, 8])],
        [h.make_tensor("w", T.FLOAT8E4M3FN, [8, 8], [0.5] * 64), array("s", 0.5, "float32")],
        opset=21,
    )
    captured = nets.captured(made, tmp_path, level="extended")
    assert sum(op.weights for op in describe_ops(captured)) == 64 + 4
    assert main_dtype(captured) == "float32"
