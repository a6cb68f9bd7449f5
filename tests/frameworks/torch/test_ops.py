"""Bytes, FLOPs and colocation of captured ops."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs talos-opt[torch]")

from talos_opt.frameworks.common.profile import OpProfile  # noqa: E402
from talos_opt.frameworks.torch.capture import capture  # noqa: E402
from talos_opt.frameworks.torch.ops import describe_ops  # noqa: E402
from tests.frameworks.torch import nets  # noqa: E402
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
    earlier: dict[str, OpProfile] = {}
    for op, node in zip(ops, captured.ops(), strict=True):
        assert op.id == captured.op_id(node)
        assert op.id not in earlier
        assert [source for source, _ in op.inputs] == [
            captured.op_id(n) for n in node.all_input_nodes if n.op == "call_function"
        ]
        assert all(source in earlier for source, _ in op.inputs)
        assert op.flops is not None
        view = op.moved_bytes == 0 and op.output == 0
        if view and op.inputs and op.type in ("getitem", "aten.t", "aten.view", "aten.transpose"):
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
    assert ops["cat"].inputs == (("relu_1", conv.output), ("relu_2", conv.output))
    picked = ops["getitem"]
    assert picked.inputs == (("_native_batch_norm_legit_no_training", conv.output),)


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
        gradient = group[at["gradient", placeholder.target].name]
        update = group[at["update", placeholder.target].name]
        assert readers == {gradient} == {update}
        assert gradient is not None


def test_updates_live_where_the_weights_are() -> None:
    ops = described(nets.branches(), image(), "training")
    updates = [op for op in ops.values() if op.id.startswith("sgd_")]
    assert len(updates) == len(list(nets.branches().parameters()))
    assert all(op.output == 0 and op.moved_bytes > 0 for op in updates)


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
