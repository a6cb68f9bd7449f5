"""Bytes, FLOPs and colocation of captured ops."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs talos-opt[torch]")

from talos_opt.core.columns import PHASES  # noqa: E402
from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.core.granularity import by_module  # noqa: E402
from talos_opt.core.metrics import measure  # noqa: E402
from talos_opt.core.problem import Problem  # noqa: E402
from talos_opt.core.simulator import simulate  # noqa: E402
from talos_opt.frameworks.common.op_classes import class_of  # noqa: E402
from talos_opt.frameworks.common.profile import OpProfile, Read  # noqa: E402
from talos_opt.frameworks.torch.capture import capture  # noqa: E402
from talos_opt.frameworks.torch.execute import Executor  # noqa: E402
from talos_opt.frameworks.torch.ops import describe_ops  # noqa: E402
from talos_opt.frameworks.torch.tensors import Tensors, made_by  # noqa: E402
from talos_opt.frameworks.torch.views import Views  # noqa: E402
from tests.frameworks.torch import nets  # noqa: E402
from tests.frameworks.torch.synthetic import problem_of  # noqa: E402
from tests.frameworks.torch.test_capture import MODES, NETS, image, tokens  # noqa: E402


def described(module: torch.nn.Module, x: torch.Tensor, mode: str) -> dict[str, OpProfile]:
    return {op.id: op for op in describe_ops(capture(module, (x,), mode))}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["branches", "tied", "llama"])
def test_invariants(name: str, mode: str) -> None:
    if name == "llama":
        pytest.importorskip("transformers")
    make, given = NETS[name]
    module = make()
    captured = capture(module, (given(),), mode)
    ops = describe_ops(captured)
    views = Views(captured)
    earlier: dict[str, OpProfile] = {}
    for op, node in zip(ops, captured.ops(), strict=True):
        assert op.id == captured.op_id(node)
        assert op.id not in earlier
        moved = [(read.op, read.output) for read in op.inputs if read.bytes]
        assert moved == captured.reads(node)
        kept = [(read.op, read.output) for read in op.inputs if not read.bytes]
        assert kept == views.kept(node)
        assert not {*moved} & {*kept}
        for read in op.inputs:
            assert read.op in earlier
            assert read.output in (earlier[read.op].outputs or ("",))
        assert op.output == sum(op.outputs.values()) or not op.outputs
        assert len(op.outputs) != 1
        assert op.flops is not None
        view = op.moved_bytes == 0 and op.output == 0
        if view and op.inputs and op.type in ("aten.t", "aten.view", "aten.transpose"):
            assert op.colocate is not None
            assert op.colocate == earlier[op.inputs[0][0]].colocate
        earlier[op.id] = op
    read = {
        id(p.value): p.value.numel() * p.value.element_size()
        for p, node in zip(
            captured.placeholders,
            captured.graph_module.graph.find_nodes(op="placeholder"),
            strict=True,
        )
        if p.kind == "parameter" and node.users and p.value is not None
    }
    small = sum(
        p.value.numel() * p.value.element_size() * len(captured.ops())
        for p in captured.placeholders
        if p.kind in ("buffer", "constant") and p.value is not None
    )
    assert sum(read.values()) <= sum(op.weights for op in ops) <= sum(read.values()) + small


def test_tied_weights_share_a_group_and_are_counted_once() -> None:
    ops = described(nets.tied(), tokens(), "inference")
    assert ops["embedding"].colocate == ops["linear_1"].colocate is not None
    assert (ops["embedding"].weights, ops["linear_1"].weights) == (50 * 16 * 4, 0)
    assert ops["linear"].colocate is None
    assert ops["transpose"].output == 0
    assert ops["transpose"].colocate == ops["mul"].colocate is not None


def test_sizes_and_flops_by_hand() -> None:
    ops = described(nets.branches(), image(2, 16), "inference")
    conv = ops["conv2d_1"]
    assert conv.type == "aten.conv2d"
    assert conv.flops == 2 * (2 * 8 * 16 * 16) * 8 * 5 * 5
    assert conv.weights == (8 * 8 * 5 * 5 + 8) * 4
    assert conv.output == 2 * 8 * 16 * 16 * 4
    assert conv.moved_bytes == 2 * conv.output + conv.weights
    assert conv.module == "left"
    assert conv.facts == {"shape": [2, 8, 16, 16], "dtype": "float32"}
    assert ops["linear"].flops == 2 * 2 * 16 * 10
    assert ops["cat"].inputs == (Read("relu_1", conv.output), Read("relu_2", conv.output))
    assert ops["relu"].inputs == (Read("_native_batch_norm_legit_no_training", conv.output),)
    assert "getitem" not in ops


def test_gradients_stay_with_their_parameters() -> None:
    module = nets.branches()
    captured = capture(module, (image(),), "training")
    group = {op.id: op.colocate for op in describe_ops(captured)}
    returned = captured.graph_module.graph.output_node().args[0]
    at = {(o.kind, o.target): node for o, node in zip(captured.outputs, returned, strict=True)}
    placeholders = captured.graph_module.graph.find_nodes(op="placeholder")
    for placeholder, node in zip(captured.placeholders, placeholders, strict=True):
        if placeholder.kind != "parameter":
            continue
        readers = {group[user.name] for user in node.users}
        gradient = group[made_by(at["gradient", placeholder.target]).node.name]
        update = group[at["update", placeholder.target].name]
        assert readers == {gradient} == {update}
        assert gradient is not None


def test_updates_live_where_the_weights_are() -> None:
    ops = described(nets.branches(), image(), "training")
    updates = [op for op in ops.values() if op.id.startswith("sgd_")]
    assert len(updates) == len(list(nets.branches().parameters()))
    assert all(op.output == 0 and op.moved_bytes > 0 for op in updates)


class Block(torch.nn.Module):
    """A part of a network whose gradients pass views, sums and norms on their way."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up = torch.nn.LayerNorm(8), torch.nn.Linear(8, 16)
        self.down = torch.nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


def test_gradients_belong_to_the_module_and_the_line_of_their_forward_op() -> None:
    net = torch.nn.Sequential(Block(), Block(), Block())
    captured = capture(net, (torch.randn(4, 8),), "training")
    ops = {op.id: op for op in describe_ops(captured)}
    forward = [op for op in ops.values() if op.type == "aten.addmm"]
    backward = [op for op in ops.values() if op.type in ("aten.mm", "aten.threshold_backward")]
    assert [op.module for op in forward] == [f"{k}.{p}" for k in range(3) for p in ("up", "down")]
    expected = [
        path for k in (2, 1, 0) for path in (f"{k}.down", f"{k}.down", f"{k}", f"{k}.up", f"{k}.up")
    ]
    assert [op.module for op in backward] == expected
    relu = {op.line for op in ops.values() if op.type == "aten.relu"}
    assert {op.line for op in backward if op.type == "aten.threshold_backward"} == relu != {""}
    given = by_module(problem_of(captured), ["*"])
    groups = [
        {path.partition(".")[0] for path in paths if path} for paths in given_paths(given).values()
    ]
    assert sorted(map(sorted, groups)) == [["0"], ["1"], ["2"]]


def given_paths(given: Problem) -> dict[str, list[str]]:
    """Paths of the modules of all ops that are no views, by colocation group."""
    found: dict[str, list[str]] = {}
    for op in given.graph.models[0].ops:
        if op.colocate is not None and "view_of" not in op.attrs:
            found.setdefault(op.colocate, []).append(str(op.attrs.get("module", "")))
    return found


def test_ops_of_the_backward_pass_know_their_module() -> None:
    ops = described(nets.branches(), image(), "training")
    backward = [op for op in ops.values() if op.type == "aten.convolution_backward"]
    assert {op.module for op in backward} == {"stem.0", "left", "right.0"}


def test_views_of_a_weight_do_not_hide_it() -> None:
    class Reads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x @ self.weight.t()) @ self.weight

    ops = described(Reads(), torch.ones(2, 4), "inference")
    assert ops["t"].weights == 64
    assert sum(op.weights for op in ops.values()) == 64
    assert ops["t"].colocate == ops["matmul"].colocate == ops["matmul_1"].colocate is not None
    assert ops["relu"].colocate is None


def test_a_mask_that_every_layer_reads_ties_nothing() -> None:
    class Masked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x * self.mask) * self.mask

    ops = described(Masked(), torch.ones(2, 4), "inference")
    assert [op.colocate for op in ops.values()] == [None] * 3
    assert [op.weights for op in ops.values()] == [16, 0, 16]


def test_an_op_has_a_named_output_for_each_result_that_is_read() -> None:
    ops = described(nets.several(), torch.randn(2, 6, 8), "inference")
    assert not any(op.type == "getitem" for op in ops.values())
    assert ops["topk"].outputs == {"values": 2 * 6 * 2 * 4, "indices": 2 * 6 * 2 * 8}
    assert ops["gather"].inputs[-1] == Read("topk", 2 * 6 * 2 * 8, "indices")
    # Chunks are views: they hold nothing of their own, but a reader elsewhere is sent one.
    assert ops["split"].outputs == {"0": 0, "1": 0, "2": 0}
    assert ops["split"].colocate is not None
    # Who reads one keeps what it is a part of, which is read elsewhere without being sent.
    assert ops["sigmoid"].inputs == (Read("split", 2 * 6 * 4 * 4, "0"), Read("layer_norm", 0))
    # What is read of an LSTM is its output alone; its last states live while it runs.
    lstm = ops["lstm"]
    assert (lstm.outputs, lstm.output, lstm.unread) == ({}, 2 * 6 * 12 * 4, 2 * 2 * 12 * 4)
    assert lstm.record().memory.workspace == lstm.unread
    problem = problem_of(capture(nets.several(), (torch.randn(2, 6, 8),)))
    position = problem.index["model/topk"]
    first, last = problem.arrays.tensor_ptr[position : position + 2]
    assert problem.arrays.tensor_size[first:last].tolist() == [96, 192]


def test_an_lstm_does_the_same_work_in_training() -> None:
    x = torch.randn(2, 6, 8)
    forward = described(nets.several(), x, "inference")["lstm"]
    training = described(nets.several(), x, "training")
    layer, back = (training[f"mkldnn_rnn_layer{end}"] for end in ("", "_backward"))
    assert forward.flops == layer.flops == 2 * (2 * 6) * (4 * 12 * 8 + 4 * 12 * 12)
    assert back.flops == 2 * layer.flops
    assert class_of(layer.type) == class_of(forward.type) == "matmul"


def test_running_statistics_live_where_the_old_ones_were() -> None:
    ops = described(nets.branches(), image(), "training")
    sizes = ops["native_batch_norm"].outputs
    assert sizes == {"0": 65536, "1": 32, "2": 32, "running_mean_out": 0, "running_var_out": 0}


def test_a_result_is_held_until_its_own_last_reader() -> None:
    class Early(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            values, indices = x.topk(8)
            return torch.ones_like(x) * values.sum(), x.gather(-1, indices)

    captured = capture(Early(), (torch.randn(4, 64),))
    problem = problem_of(captured)
    order = range(problem.arrays.op_count)
    schedule = simulate(problem, np.zeros(len(order), dtype=np.int64), list(order))
    # At the product: the ones, itself, the sum, and the indices; the values are gone.
    assert measure(problem, schedule).peak_memory["cpu0"] == 1024 + 1024 + 4 + 8 * 4 * 8
    executor = Executor(
        captured,
        dict.fromkeys(map(captured.op_id, captured.ops()), "cpu"),
        {"cpu": torch.device("cpu")},
        captured.flat_values((torch.randn(4, 64),)),
    )
    freed = {step.op: step.freed for step in executor.programs["cpu"].steps}
    topk = next(step for step in executor.programs["cpu"].steps if step.op == "topk")
    values, indices = (place for _, place in topk.picked)
    assert freed["sum_1"] == (values,)
    assert freed["gather"] == (indices,)


def test_several_results_are_read_one_at_a_time() -> None:
    graph = torch.fx.Graph()
    made = graph.call_function(torch.ops.aten.split.Tensor, (graph.placeholder("x"), 2))
    made.meta["val"] = (torch.empty(2), torch.empty(2))
    graph.output(graph.call_function(torch.ops.aten.cat.default, (made,)))
    with pytest.raises(InputError, match="cat_default reads all results of op split_tensor as one"):
        Tensors(graph)


def test_phases_of_a_training_step() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    ops = described(module, torch.ones(3, 4), "training")
    types = {phase: {op.type for op in ops.values() if op.phase == phase} for phase in PHASES}
    assert "aten.relu" in types["forward"]
    assert "aten.threshold_backward" in types["backward"]
    assert sum(op.phase == "update" for op in ops.values()) == 4
    assert all(
        op.phase == "forward" for op in described(module, torch.ones(3, 4), MODES[0]).values()
    )
