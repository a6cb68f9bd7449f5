"""How long a step takes on one device: profiles, graphs and device maps give one answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from talos_opt.core.metrics import measure  # noqa: E402
from talos_opt.core.simulator import simulate  # noqa: E402
from talos_opt.frameworks.common.catalogue import lookup  # noqa: E402
from talos_opt.frameworks.common.whatif import what_if  # noqa: E402
from talos_opt.frameworks.torch import profile_module  # noqa: E402
from talos_opt.frameworks.torch.machines import (  # noqa: E402
    CPU,
    Machine,
    Processor,
    catalogued,
)
from talos_opt.frameworks.torch.placing import place  # noqa: E402
from talos_opt.frameworks.torch.planning import (  # noqa: E402
    KVCache,
    evaluate_device_map,
    make_plan,
)
from tests.frameworks.torch import nets  # noqa: E402

nn = torch.nn
CARDS = ("a100", "t4", "xeon-8480+")


class Recurrent(nn.Module):
    """Recurrent layers and one of a transformer, which are taken apart where they run on a CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(64, 128, 2, batch_first=True)
        self.second = nn.GRU(128, 64, batch_first=True)
        self.mix = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        return self.head(self.mix(self.second(self.first(x)[0])[0]))


def decoder(name: str) -> Any:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    if name == "gpt2":
        config = transformers.GPT2Config(n_layer=1, use_cache=False)
        return transformers.GPT2LMHeadModel(config)
    config = transformers.LlamaConfig(
        hidden_size=1024, intermediate_size=2048, num_hidden_layers=1, num_attention_heads=16,
        num_key_value_heads=4, vocab_size=4000, use_cache=False,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def made(name: str, kind: Any) -> tuple[Any, Any]:
    """A model without memory, in training mode as it is made, and inputs."""
    with torch.device("meta"):
        if name == "convolutions":
            return nets.googlenet_like().train().to(kind), (torch.zeros(32, 3, 96, 96, dtype=kind),)
        if name == "recurrent":
            return Recurrent().train().to(kind), (torch.zeros(64, 32, 64, dtype=kind),)
        ids = torch.zeros(8, 512, dtype=torch.long)
        return decoder(name).train().to(kind), {"input_ids": ids}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gpt2", torch.float32),
        ("llama", torch.bfloat16),
        ("convolutions", torch.float16),
        ("recurrent", torch.float32),
    ],
)
def test_one_step_takes_as_long_however_one_asks(name: str, kind: Any) -> None:
    module, inputs = made(name, kind)
    profile = profile_module(module, inputs, devices=[f"estimate:{card}" for card in CARDS])
    problem = profile.problem()
    host = catalogued(CPU, "xeon-8480+")
    module.train()  # profiling has left it in evaluation mode
    for d, card in enumerate(CARDS):
        expected = profile.sum_of_ops_s(card)
        ops = problem.arrays.op_count
        schedule = simulate(problem, np.full(ops, d), range(ops))
        assert measure(problem, schedule).makespan == pytest.approx(expected * 1e6)
        if card == "a100":  # the graph tells what it computes with
            replaced = what_if(problem, replace={"t4": "a100"})
            again = measure(replaced, simulate(replaced, np.full(ops, 1), range(ops)))
            assert again.makespan == pytest.approx(expected * 1e6)
        gpu = card != "xeon-8480+"
        machine = Machine((catalogued(0, card), host) if gpu else (host,))
        plan = make_plan(module, machine, inputs)
        assert module.training, "it is as it was"
        found = evaluate_device_map(plan, {"": 0 if gpu else CPU})
        assert found.step_s == pytest.approx(expected, rel=0.01)
        assert place(plan).evaluation.step_s <= found.step_s * (1 + 1e-9)


def test_what_a_device_map_adds_is_stated() -> None:
    """Copies of offloaded weights, and reading the cache: terms beside the same ops."""
    module, inputs = made("llama", torch.float16)
    machine = Machine((catalogued(0, "t4"), catalogued(CPU, "xeon-8480+")))
    plain = make_plan(module, machine, inputs)
    on_card = evaluate_device_map(plain, {"": 0}).step_s
    last = next(k for k, block in enumerate(plain.blocks) if block.name == "lm_head")
    size = plain.blocks[last].parameter_bytes
    offloaded = evaluate_device_map(plain, {"": 0, "lm_head": CPU})
    copying = machine.latency_s + size / machine.host_bandwidth
    assert offloaded.step_s == pytest.approx(on_card + copying)
    cached = make_plan(module, machine, inputs, cache=KVCache(4096, 4))
    reading = sum(cached.cache) / (0.8 * lookup("t4").bandwidth)
    assert evaluate_device_map(cached, {"": 0}).step_s == pytest.approx(on_card + reading)


def test_what_a_card_computes_with_may_be_told() -> None:
    module, inputs = made("gpt2", torch.float32)

    def step(**asked: str) -> float:
        machine = Machine((catalogued(0, "a100", **asked), catalogued(CPU, "xeon-8480+")))
        return evaluate_device_map(make_plan(module, machine, inputs), {"": 0}).step_s

    assert step() == step(dtype="float32") > 2 * step(dtype="tf32")


def test_a_processor_without_a_datasheet_has_the_speeds_that_it_was_given() -> None:
    module, inputs = made("gpt2", torch.float32)
    processor = Processor(CPU, None, 1e12, 1e11, 1e-6)
    plan = make_plan(module, Machine((processor,)), inputs)
    expected = sum(
        1e-6 + max((call.flops or 0) / 1e12, call.moved_bytes / 1e11)
        for activity in plan.activities
        for call in activity.ops
    )
    assert evaluate_device_map(plan, {"": CPU}).step_s == pytest.approx(expected)
