"""FLOPs and bytes of lookups, experts and attention, worked out by hand, on both roads to them."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import torch.utils._pytree as pytree  # noqa: E402
from torch import fx, nn  # noqa: E402
from torch.nn.functional import embedding_bag, scaled_dot_product_attention  # noqa: E402

from talos_opt.frameworks.common.catalogue import lookup  # noqa: E402
from talos_opt.frameworks.common.profile import OpProfile  # noqa: E402
from talos_opt.frameworks.common.roofline import estimate  # noqa: E402
from talos_opt.frameworks.torch import work  # noqa: E402
from talos_opt.frameworks.torch.capture import capture  # noqa: E402
from talos_opt.frameworks.torch.costs import Evaluator, moved_bytes  # noqa: E402
from talos_opt.frameworks.torch.machines import CPU, Machine, Processor  # noqa: E402
from talos_opt.frameworks.torch.ops import describe_ops  # noqa: E402
from talos_opt.frameworks.torch.planning import make_plan  # noqa: E402

aten = torch.ops.aten
HOST = Machine((Processor(CPU, None, 1e11, 2e10, 1e-6),))


def called(func: Any, *args: Any, **kwargs: Any) -> tuple[float | None, int]:
    """FLOPs and bytes of one call in a captured graph."""
    graph = fx.Graph()
    given = pytree.tree_map_only(torch.Tensor, lambda value: made(graph, value), args)
    node = graph.call_function(func, given, kwargs)
    node.meta["val"] = func(*args, **kwargs)
    cost = Evaluator().cost(node)
    return cost.flops, moved_bytes(node, cost)


def made(graph: fx.Graph, value: Any) -> fx.Node:
    node = graph.placeholder(f"x{len(graph.nodes)}")
    node.meta["val"] = value
    return node


def meta(*shape: int, dtype: Any = torch.float32) -> Any:
    return torch.empty(*shape, dtype=dtype, device="meta")


INDEX = torch.int64
TABLE = (30_000, 64)
ROWS = 5 * 64 * 4


@pytest.mark.parametrize(
    ("func", "args", "indices"),
    [
        (aten.embedding.default, (meta(*TABLE), meta(5, dtype=INDEX)), 40),
        (aten.index_select.default, (meta(*TABLE), 0, meta(5, dtype=INDEX)), 40),
        (aten.index.Tensor, (meta(*TABLE), [meta(5, dtype=INDEX)]), 40),
        (aten.gather.default, (meta(*TABLE), 0, meta(5, 64, dtype=INDEX)), 5 * 64 * 8),
    ],
)
def test_a_lookup_reads_what_it_returns(func: Any, args: Any, indices: int) -> None:
    assert called(func, *args) == (0, 2 * ROWS + indices)


def test_a_bag_reads_more_rows_than_it_returns() -> None:
    given = (meta(*TABLE), meta(20, dtype=INDEX), meta(5, dtype=INDEX))
    flops, size = called(aten._embedding_bag_forward_only.default, *given)
    assert flops == 20 * 64
    returned = aten._embedding_bag_forward_only.default(*given)
    assert size == 20 * 64 * 4 + 25 * 8 + sum(t.numel() * t.element_size() for t in returned)


def test_the_gradient_of_a_table_adds_rows() -> None:
    flops, size = called(
        aten.embedding_dense_backward.default,
        meta(5, 64),
        meta(5, dtype=INDEX),
        TABLE[0],
        -1,
        False,
    )
    assert flops == 5 * 64
    assert size == 30_000 * 64 * 4 + ROWS + 40  # all of it is written


def test_a_large_table_costs_little_more_than_a_launch() -> None:
    flops, size = called(aten.embedding.default, meta(262_144, 4096), meta(1, dtype=INDEX))
    op = OpProfile("e", "aten.embedding", flops=flops, moved_bytes=size, output=4 * 4096)
    for name in ("a100", "t4", "xeon-8480+"):
        sheet = lookup(name)
        assert estimate(op, sheet).raw_s < sheet.launch_s + 2e-6


@pytest.mark.parametrize(("rows", "read"), [(3, 3), (8, 8), (50, 8)])
def test_experts_multiply_the_rows_that_were_routed_to_them(rows: int, read: int) -> None:
    kind = torch.bfloat16
    given = (meta(rows, 16, dtype=kind), meta(8, 16, 32, dtype=kind), meta(8, dtype=torch.int32))
    flops, size = called(aten._grouped_mm.default, *given)
    assert flops == 2 * rows * 16 * 32
    assert size == 2 * (rows * 16 + read * 16 * 32 + rows * 32) + 8 * 4


def test_gradients_of_experts() -> None:
    """Rows times rows, in groups: one matrix for each expert is written."""
    kind = torch.bfloat16
    given = (meta(16, 48, dtype=kind), meta(48, 32, dtype=kind), meta(8, dtype=torch.int32))
    assert called(aten._grouped_mm.default, *given)[0] == 2 * 48 * 16 * 32
    batch = (meta(8, 6, 16, dtype=kind), meta(8, 16, 32, dtype=kind))
    assert called(aten._grouped_mm.default, *batch)[0] == 2 * 8 * 6 * 16 * 32


HEADS = [meta(2, 8, 6, 16), meta(2, 8, 6, 16), meta(2, 8, 6, 16)]
PRODUCTS = 2 * (2 * 8 * 6 * 6 * 16) * 2
FLASH = aten._scaled_dot_product_flash_attention_for_cpu.default


def test_causal_attention_skips_what_is_hidden() -> None:
    visible = 21 / 36  # 1 + 2 + ... + 6 of 6 x 6
    assert called(FLASH, *HEADS)[0] == PRODUCTS
    assert called(FLASH, *HEADS, 0.0, True)[0] == pytest.approx(visible * PRODUCTS)
    whole = aten.scaled_dot_product_attention.default
    assert called(whole, *HEADS, is_causal=True)[0] == pytest.approx(visible * PRODUCTS)
    assert called(aten._scaled_dot_product_attention_math.default, *HEADS, None, 0.0, True)[0] == (
        PRODUCTS
    )


@pytest.mark.parametrize(("queries", "keys", "seen"), [(1, 5, 1), (5, 2, 1 + 2 * 4), (3, 7, 6)])
def test_a_causal_kernel_shows_query_i_the_keys_up_to_i(queries: int, keys: int, seen: int) -> None:
    given = (meta(1, 1, queries, 4), meta(1, 1, keys, 4), meta(1, 1, keys, 8), 0.0, True)
    assert work.flops(FLASH, given, {}) == pytest.approx(2 * seen * (4 + 8))


def test_keys_that_several_heads_share_are_multiplied_for_each() -> None:
    given = (meta(2, 8, 6, 16), meta(2, 2, 6, 16), meta(2, 2, 6, 16))
    assert work.flops(FLASH, given, {}) == PRODUCTS


def test_the_gradient_of_attention_is_five_products() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q = nn.Parameter(torch.ones(2, 8, 6, 16))

        def forward(self, x: Any) -> Any:
            return scaled_dot_product_attention(self.q, x, x, is_causal=True)

    ops = describe_ops(capture(Attends(), (torch.ones(2, 8, 6, 16),), "training"))
    flops = {op.type.removeprefix("aten._scaled_dot_product_"): op.flops for op in ops}
    visible = 21 / 36
    assert flops["flash_attention_for_cpu"] == pytest.approx(visible * PRODUCTS)
    assert flops["flash_attention_for_cpu_backward"] == pytest.approx(2.5 * visible * PRODUCTS)


class Bags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1000, 8))
        self.ids = nn.Embedding(1000, 8)

    def forward(self, x: Any) -> Any:
        return embedding_bag(x, self.table) + self.ids(x[:, 0])


def test_plans_count_the_same() -> None:
    plan = make_plan(Bags(), HOST, (torch.zeros(3, 4, dtype=torch.long),))
    calls = [call for activity in plan.activities for call in activity.ops]
    flops = {call.type: call.flops for call in calls}
    moved = sum(call.moved_bytes for call in calls)
    assert flops == {
        "aten._embedding_bag_forward_only": 12 * 8, "aten.arange": 3, "aten.embedding": 0,
        "aten.add": 24,
    }  # fmt: skip
    assert moved < 3000  # of 64,000 bytes of tables


# -- mixtures of experts in transformers ----------------------------------------------------------

EXPERTS, CHOSEN, WIDTH, INNER = 8, 2, 32, 48
#: Bytes of one expert's matrices, in elements.
EXPERT = 3 * WIDTH * INNER


def mixtral() -> Any:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from transformers.models.mixtral import modeling_mixtral

    config = modeling_mixtral.MixtralConfig(
        vocab_size=64, hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=EXPERTS,
        num_experts_per_tok=CHOSEN, use_cache=False, experts_implementation="grouped_mm",
    )  # fmt: skip
    with torch.device("meta"):
        return modeling_mixtral.MixtralForCausalLM(config).eval()


@pytest.mark.parametrize(("tokens", "how"), [(1, "grouped_mm"), (16, "eager")])
def test_a_mixture_in_a_graph_multiplies_routed_tokens(tokens: int, how: str) -> None:
    module = mixtral()
    module.set_experts_implementation(how)
    experts = module.model.layers[0].mlp.experts
    chosen = torch.zeros(tokens, CHOSEN, dtype=torch.long, device="meta")
    ops = describe_ops(capture(experts, (meta(tokens, WIDTH), chosen, meta(tokens, CHOSEN))))
    found = [op for op in ops if "grouped_mm" in op.type]
    assert sum(op.flops or 0 for op in found) == 2 * tokens * CHOSEN * EXPERT
    read = 4 * min(EXPERTS, tokens * CHOSEN) * EXPERT
    moved = sum(op.moved_bytes for op in found)
    assert read < moved < read + 4 * tokens * CHOSEN * (2 * WIDTH + 3 * INNER) + 100
    assert sum(op.weights for op in ops) >= 4 * EXPERTS * EXPERT, "all of them are held"
    assert experts.config._experts_implementation == how


def test_the_gradient_of_experts_is_two_products() -> None:
    experts = mixtral().model.layers[0].mlp.experts
    chosen = torch.zeros(3, CHOSEN, dtype=torch.long, device="meta")
    given = (meta(3, WIDTH), chosen, meta(3, CHOSEN))
    found = [op for op in describe_ops(capture(experts, given, "training")) if "grouped" in op.type]
    flops = dict.fromkeys(("", "_backward"), 0.0)
    for op in found:
        flops[op.type.removeprefix("transformers.grouped_mm_fallback")] += op.flops or 0
    assert flops == {"": 2 * 3 * CHOSEN * EXPERT, "_backward": 4 * 3 * CHOSEN * EXPERT}
    for op in found:
        if op.type.endswith("_backward"):  # gradients of all experts are written, six are read
            assert op.moved_bytes > op.output + 4 * 3 * CHOSEN * WIDTH * INNER


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("how", ["grouped_mm", "eager", "batched_mm"])
def test_plans_of_a_mixture_in_any_type(
    how: str, kind: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    module = mixtral()
    module.set_experts_implementation(how)
    step = {"input_ids": torch.zeros(1, 2, dtype=torch.long)}
    plan = make_plan(module, HOST, step, dtype=kind)
    (layer,) = (k for k, block in enumerate(plan.blocks) if block.name == "model.layers.0")
    experts = 2 * 2 * CHOSEN * EXPERT
    flops = sum(call.flops or 0 for call in plan.activities[layer].ops)
    assert experts < flops < 1.6 * experts  # beside attention and the router
    moved = sum(call.moved_bytes for call in plan.activities[layer].ops)
    assert moved > kind.itemsize * 2 * CHOSEN * EXPERT
    assert plan.blocks[layer].owned_bytes > kind.itemsize * EXPERTS * EXPERT
    if how != "batched_mm":  # which copies matrices before it multiplies
        assert moved < 0.9 * plan.blocks[layer].owned_bytes
    assert module.config._experts_implementation == how
    assert "failed while attempting" not in capfd.readouterr().err
