"""Capturing: which nodes are ops, which are folded, and what cannot be captured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs talos-opt[tensorflow]")

from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.frameworks.tensorflow import capture as capturing  # noqa: E402
from talos_opt.frameworks.tensorflow.capture import capture  # noqa: E402
from talos_opt.frameworks.tensorflow.captured import Captured  # noqa: E402
from talos_opt.frameworks.tensorflow.checking import other_values  # noqa: E402
from talos_opt.frameworks.tensorflow.flattening import flatten  # noqa: E402
from talos_opt.frameworks.tensorflow.folding import fold, node_of, port_of, sort_nodes  # noqa: E402
from talos_opt.frameworks.tensorflow.models import as_model  # noqa: E402
from tests.frameworks.tensorflow import nets  # noqa: E402
from tests.frameworks.tensorflow.placements import INPUTS, captured_anew, captured_net, inputs_of  # noqa: E402

MODES = ("inference", "training")


def types_of(captured: Captured) -> list[str]:
    return [captured.folded.nodes[op].op for op in captured.op_ids()]


@pytest.mark.parametrize("name", INPUTS)
def test_no_constant_read_or_call_is_an_op(name: str) -> None:
    captured = captured_net(name)
    types = types_of(captured)
    assert not {"Const", "Placeholder", "NoOp", "PartitionedCall"} & set(types)
    assert "StatefulPartitionedCall" not in types
    assert len(set(captured.op_ids())) == len(captured.op_ids())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["cnn", "bert", "loop"])
def test_ops_come_after_what_they_depend_on(name: str, mode: str) -> None:
    captured = captured_net(name, mode)
    seen: set[str] = set()
    for op in captured.op_ids():
        assert set(captured.folded.producers(op)) <= seen
        seen.add(op)


def test_ids_are_the_same_when_captured_again() -> None:
    assert captured_net("bert").op_ids() == captured_anew("bert").op_ids()


def test_control_flow_is_one_op_each() -> None:
    types = types_of(captured_net("loop"))
    assert types.count("While") == 1
    assert types.count("StatelessIf") == 1
    assert not {"Switch", "Merge", "Enter", "Exit", "NextIteration"} & set(types)


def test_a_read_after_a_write_is_an_op_that_waits() -> None:
    captured = captured_net("loop")
    (read,) = [op for op in captured.op_ids() if captured.folded.nodes[op].op == "ReadVariableOp"]
    (write,) = [
        op for op in captured.op_ids() if captured.folded.nodes[op].op == "AssignAddVariableOp"
    ]
    assert captured.folded.producers(read) == {write: {-1}}


def test_training_writes_every_weight_and_ends_with_no_gradient_left_over() -> None:
    captured = captured_net("cnn", "training")
    trained = types_of(captured).count("ResourceApplyGradientDescent")
    assert trained == len(captured.function.graph.trainable_variables)
    # The moving averages of batch normalisation, and the seed of dropout.
    assert len(captured.written()) == trained + 3


def test_a_saved_model_is_inlined(tmp_path: Path) -> None:
    keras = nets.bert()
    tf.saved_model.save(keras, str(tmp_path / "bert"))
    model = as_model(tf.saved_model.load(str(tmp_path / "bert")))
    inputs = inputs_of("bert")
    captured = capture(model, inputs)
    assert model.by == "SavedModel"
    assert len(captured.op_ids()) > 100
    assert np.allclose(captured.reference(inputs)[0], keras(inputs[0]).numpy(), atol=1e-5)


def test_the_reference_leaves_variables_as_they_were() -> None:
    captured = captured_net("loop", "training")
    before = [given.source.numpy() for given in captured.variables()]
    first = captured.reference(inputs_of("loop"))
    second = captured.reference(inputs_of("loop"))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    after = [given.source.numpy() for given in captured.variables()]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("make", "inputs", "mode", "complaint"),
    [
        (lambda: nets.table(), [np.zeros(3, "int32")], "inference", "is not a variable"),
        (lambda: nets.cnn(), [np.zeros((1, 7), "float32")], "inference", "cannot be captured with"),
        (lambda: nets.cnn(), [], "inference", "inputs given: 0; the model takes 1: keras_tensor"),
        (lambda: nets.twice, [np.zeros(3, "float32")], "training", "no trainable variable"),
        (lambda: nets.twice, [np.zeros(3, "int32")], "training", "floating-point"),
        (lambda: nets.cnn(), [np.zeros((1, 16, 16, 3), "float32")], "both", "mode is 'both'"),
        (lambda: 3, [], "inference", "a int is not a model"),
        (lambda: tf.function(lambda x: x), [np.zeros(3, "float32")], "inference", "no ops"),
    ],
)
def test_what_cannot_be_captured(make: object, inputs: list, mode: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        capture(as_model(make()), inputs, mode)  # type: ignore[operator]


def test_noops_are_passed_through_and_dead_ends_left_out() -> None:
    graph_def = tf.compat.v1.GraphDef()

    def add(name: str, op: str, *inputs: str) -> None:
        graph_def.node.add(name=name, op=op, input=inputs)

    add("a", "Placeholder")
    add("b", "Neg", "a")
    add("wait", "NoOp", "^b")
    add("again", "NoOp", "^wait")
    add("c", "Abs", "a", "^again")
    add("unused", "Exp", "a")
    add("kept", "Print", "b:0")
    folded = fold(graph_def, returned=["c"], effects=["kept"])
    assert folded.ops == ("b", "c", "kept")
    assert folded.producers("c") == {"b": {-1}}
    assert folded.producers("kept") == {"b": {0}}
    assert folded.roots == {"a": "a"}


def test_inputs_of_nodes_are_understood() -> None:
    assert (node_of("a/b:2"), port_of("a/b:2")) == ("a/b", 2)
    assert (node_of("^a"), port_of("^a")) == ("a", -1)
    assert (node_of("a"), port_of("a")) == ("a", 0)


def test_sorting_keeps_the_order_where_it_may_and_refuses_circles() -> None:
    assert sort_nodes({"c": (), "b": ("a",), "a": ()}) == ["c", "a", "b"]
    with pytest.raises(ValueError, match="circle"):
        sort_nodes({"a": ("b",), "b": ("a",)})


def test_what_python_computes_in_a_model_is_found() -> None:
    model = as_model(nets.Restless())
    with pytest.raises(InputError, match=r"differs from the model by .* on a second input"):
        capture(model, [np.ones((2, 4), "float32")])


@pytest.mark.parametrize(
    ("made", "mode"),
    [(nets.Frozen, "inference"), (nets.Frozen, "training"), (nets.Stepping, "training")],
)
def test_what_python_computes_in_functions_and_in_training_is_found(made: Any, mode: str) -> None:
    model = as_model(made())
    model.call(False)(tf.ones((2, 4)))  # makes the weights, which have to be there before
    with pytest.raises(InputError, match=r"differs from the model by .* on a second input: what"):
        capture(model, [np.linspace(0, 1, 8, dtype="float32").reshape(2, 4)], mode)


def test_a_flat_graph_that_computes_something_else_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tf.saved_model.save(nets.Loop(), str(tmp_path / "loop"))
    model = as_model(tf.saved_model.load(str(tmp_path / "loop")))
    inputs = inputs_of("loop")
    assert capture(model, inputs).notes == ()

    def changed(function: Any) -> Any:
        graph_def = flatten(function)
        (cast,) = [node for node in graph_def.node if node.op == "AddV2" or node.op == "Mul"][-1:]
        cast.op = "Sub"
        return graph_def

    monkeypatch.setattr(capturing, "flatten", changed)
    with pytest.raises(InputError, match="compute something else once they are inlined"):
        capture(model, inputs)


@pytest.mark.parametrize("mode", MODES)
def test_checking_leaves_variables_as_they_were(mode: str) -> None:
    module = nets.Loop()
    module.calls.assign(3)
    before = [variable.numpy() for variable in module.variables]
    assert capture(as_model(module.__call__), inputs_of("loop"), mode).notes == ()
    after = [variable.numpy() for variable in module.variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_model_that_takes_no_second_input_is_noted() -> None:
    captured = capture(as_model(nets.Picky()), [np.ones((2, 2), "float32")])
    (note,) = captured.notes
    assert "was not compared with the model on a second input" in note
    assert "too small" in note


def test_a_model_may_draw_random_numbers_in_its_graph() -> None:
    captured = capture(as_model(nets.Noisy()), [np.ones((2, 4), "float32")])
    assert "RandomStandardNormal" in {captured.folded.nodes[op].op for op in captured.op_ids()}


def test_other_inputs_are_as_valid() -> None:
    ids, floats = np.array([[3, 5, 7]]), np.array([1.0, 2.0, 4.0], "float32")
    assert set(other_values(ids).ravel()) <= {3, 5, 7}
    assert sorted(other_values(floats)) == [0.75, 1.5, 3.0]
    assert other_values(floats).dtype == np.float32
    assert other_values(np.float32(2.0).reshape(())).shape == ()
