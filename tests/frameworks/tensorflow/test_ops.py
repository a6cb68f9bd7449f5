"""Bytes, FLOPs and colocation of ops, against numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs talos-opt[tensorflow]")

from talos_opt.frameworks.common.profile import OpProfile  # noqa: E402
from talos_opt.frameworks.tensorflow.capture import capture  # noqa: E402
from talos_opt.frameworks.tensorflow.costs import flops, read_bytes  # noqa: E402
from talos_opt.frameworks.tensorflow.models import as_model  # noqa: E402
from talos_opt.frameworks.tensorflow.ops import describe_ops, main_dtype, module_of  # noqa: E402
from tests.frameworks.datasheets import assert_within_datasheets  # noqa: E402
from tests.frameworks.tensorflow import nets  # noqa: E402
from tests.frameworks.tensorflow.placements import captured_net  # noqa: E402


def only(ops: tuple[OpProfile, ...], type_: str) -> list[OpProfile]:
    return [op for op in ops if op.type == type_]


def test_a_convolution() -> None:
    ops = describe_ops(captured_net("cnn"))
    first, second = only(ops, "Conv2D")
    assert first.flops == 2 * (4 * 16 * 16 * 8) * (3 * 3 * 3)
    assert second.flops == 2 * (4 * 16 * 16 * 8) * (3 * 3 * 8)
    assert first.output == 4 * 16 * 16 * 8 * 4
    assert first.weights == 3 * 3 * 3 * 8 * 4
    assert first.inputs == ()
    assert first.moved_bytes == 4 * (4 * 16 * 16 * 3) + first.weights + first.output
    assert first.facts["shape"] == [[4, 16, 16, 8]]


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", ["cnn", "branches", "bert"])
def test_weights_are_held_once(name: str, mode: str) -> None:
    captured = captured_net(name, mode)
    ops = describe_ops(captured)
    variables = {g.node: g.bytes for g in captured.variables()}
    assert sum(variables.values()) <= sum(op.weights for op in ops)
    # What is beyond them are constants, kept wherever they are read.
    assert sum(op.weights for op in ops) < sum(variables.values()) + 64 * 1024


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", ["cnn", "bert", "loop"])
def test_all_that_touch_a_variable_share_a_group(name: str, mode: str) -> None:
    captured = captured_net(name, mode)
    groups = {op.id: op.colocate for op in describe_ops(captured)}
    for given in captured.variables():
        readers = [
            op
            for op in captured.op_ids()
            if given.node in {captured.folded.roots[s] for s in captured.folded.read_sources(op)}
        ]
        assert len(readers) == 1 or len({groups[op] for op in readers}) == 1
        assert len(readers) == 1 or groups[readers[0]] is not None


def test_views_live_in_their_base() -> None:
    ops = {op.id: op for op in describe_ops(captured_net("bert"))}
    views = [op for op in ops.values() if op.type in ("Reshape", "Identity")]
    assert views
    for op in views:
        assert op.output == 0
        assert op.moved_bytes == 0
        for producer, size, _ in op.inputs:
            assert ops[producer].colocate == op.colocate
            assert size > 0


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_an_op_has_a_named_output_for_each_tensor_that_is_read(mode: str) -> None:
    captured = captured_net("several", mode)
    ops = {op.id: op for op in describe_ops(captured)}
    (split,) = [op for op in only(tuple(ops.values()), "Split") if "gradient" not in op.id]
    part = 4 * 6 * 4 * 4
    assert split.outputs == {"0": part, "1": part, "2": part}
    assert split.output == 3 * part
    readers = [read for op in ops.values() for read in op.inputs if read.op == split.id]
    assert {read.output for read in readers} == {"0", "1", "2"}
    assert {read.bytes for read in readers} == {part}
    (top,) = only(tuple(ops.values()), "TopKV2")
    # Nothing reads the indices of inference; in training the gradient goes where they say.
    indices = 4 * 6 * 2 * 4
    if mode == "inference":
        assert (top.outputs, top.output, top.unread) == ({}, 4 * 6 * 2 * 4, indices)
    else:
        assert top.outputs == {"0": 4 * 6 * 2 * 4, "1": indices}
    for op in ops.values():
        record = op.record()
        assert record.memory.output == op.output
        for read in op.inputs:
            assert read.output in (ops[read.op].outputs or ("",)) or read.bytes == 0


def test_waiting_is_an_input_of_no_bytes() -> None:
    ops = describe_ops(captured_net("loop"))
    (read,) = only(ops, "ReadVariableOp")
    assert [size for _, size, _ in read.inputs] == [0]


def test_modules_are_layers_for_gradients_too() -> None:
    assert module_of("net/conv/convolution") == "net.conv"
    assert module_of("gradient_tape/net/conv/Conv2DBackpropInput") == "net.conv"
    assert module_of("Identity") == ""


def test_the_type_of_most_weights() -> None:
    assert main_dtype(captured_net("cnn")) == "float32"
    assert main_dtype(captured_net("twice")) == "float32"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda v1: tf.matmul(tf.ones((4, 5)), tf.ones((5, 6))), 2 * 4 * 5 * 6),
        (lambda v1: tf.matmul(tf.ones((5, 4)), tf.ones((5, 6)), transpose_a=True), 2 * 4 * 5 * 6),
        (lambda v1: tf.matmul(tf.ones((3, 4, 5)), tf.ones((3, 5, 6))), 2 * 3 * 4 * 5 * 6),
        (lambda v1: tf.einsum("bij,bjk->bik", tf.ones((3, 4, 5)), tf.ones((3, 5, 6))), 720),
        (lambda v1: tf.nn.depthwise_conv2d(
            tf.ones((1, 8, 8, 3)), tf.ones((3, 3, 3, 2)), [1] * 4, "SAME"), 2 * 384 * 9),
        (lambda v1: tf.nn.max_pool2d(tf.ones((1, 8, 8, 3)), 2, 2, "SAME"), 4 * 4 * 3 * 4),
        (lambda v1: tf.reduce_sum(tf.ones((7, 8))), 56),
        (lambda v1: tf.transpose(tf.ones((7, 8))), 0),
        (lambda v1: tf.nn.relu(tf.ones((7, 8))), 56),
        (lambda v1: tf.nn.relu(v1.placeholder(tf.float32, (None, 8))), None),
    ],
)  # fmt: skip
def test_flops(make: object, expected: float | None) -> None:
    with tf.Graph().as_default():
        made = make(tf.compat.v1)  # type: ignore[operator]
    assert flops(made.op) == expected


def test_a_lookup_reads_rows_of_its_table() -> None:
    with tf.Graph().as_default():
        table = tf.zeros((1000, 16))
        ids = tf.zeros((5,), tf.int32)
        (gather,) = {tf.gather(table, ids).op}
        assert gather.type == "GatherV2"
        assert read_bytes(gather) == 5 * 16 * 4 + 5 * 4 + 4  # rows, indices, the axis
        open_ended = tf.gather(table, tf.compat.v1.placeholder(tf.int32, (None,))).op
        assert read_bytes(open_ended) == 1000 * 16 * 4 + 4
        assert read_bytes(tf.nn.relu(table).op) == 1000 * 16 * 4


def test_estimates_stay_within_datasheets() -> None:
    assert_within_datasheets(describe_ops(captured_net("bert", "training")))


def lines_of(made: Any, mode: str = "inference") -> dict[str, set[str]]:
    """Lines of the ops of each type, without their folder."""
    found: dict[str, set[str]] = {}
    for op in describe_ops(capture(as_model(made), [np.ones((2, 4), "float32")], mode)):
        found.setdefault(op.type, set()).add(op.line.rpartition("/")[2])
    return found


def line_with(text: str) -> str:
    """Return the line of the networks' file that contains a text."""
    source = Path(nets.__file__).read_text().splitlines()
    (number,) = [k for k, line in enumerate(source, 1) if text in line]
    return f"nets.py:{number}"


def test_ops_of_functions_have_the_lines_that_they_were_written_on() -> None:
    lines = lines_of(nets.outer)
    assert lines["Tanh"] == {line_with("return tf.tanh(x)  # inner")}
    assert lines["Exp"] == {line_with("return tf.exp(y)")}
    attrs = describe_ops(capture(as_model(nets.outer), [np.ones((2, 4), "float32")]))[-1].record()
    assert "line" not in attrs.attrs  # what returns a value is nobody's line


def test_gradients_have_the_lines_of_what_they_are_of() -> None:
    wanted = line_with("return self.dense(x) + tf.random.normal((3,))")
    lines = lines_of(nets.Noisy(), "training")
    assert lines["MatMul"] == {wanted}  # forwards and backwards
    assert lines["BiasAddGrad"] == {wanted}
    assert lines["ResourceApplyGradientDescent"] == {""}


def test_phases_of_a_training_step() -> None:
    ops = describe_ops(captured_net("cnn", "training"))
    phases = {type_: {op.phase for op in only(ops, type_)} for type_ in {op.type for op in ops}}
    assert phases["Conv2D"] == {"forward"}
    assert phases["Conv2DBackpropFilter"] == {"backward"}
    assert phases["ResourceApplyGradientDescent"] == {"update"}
    assert {op.phase for op in describe_ops(captured_net("cnn"))} == {"forward"}
