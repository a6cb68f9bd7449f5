"""Flags of llama.cpp: they put every tensor where the schedule has it, or are refused."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.core.simulator import simulate
from talos_opt.formats.layer_ranges import layer_ranges
from talos_opt.formats.llama_cpp import Flags, _numbers, flags_of, placement_of
from talos_opt.frameworks.llm.devices import parse_cards
from talos_opt.frameworks.llm.graph import problem_of
from talos_opt.frameworks.llm.model import read_model
from talos_opt.frameworks.llm.workload import Workload
from tests.frameworks.llm.files import dense_rows, metadata, mixture_rows, write_config, write_gguf

G0, G1, CPU = 0, 1, 2
LAYERS = 12


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return problem(tmp_path_factory.mktemp("moe"), mixture=True)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return problem(tmp_path_factory.mktemp("dense"), mixture=False)


def problem(folder: Path, mixture: bool) -> Problem:
    said = metadata(LAYERS, **({"expert_count": 8, "expert_used_count": 2} if mixture else {}))
    write_gguf(folder / "m.gguf", said, mixture_rows(LAYERS) if mixture else dense_rows(LAYERS))
    cards, _ = parse_cards(["24GiB:rtx-3090", "24GiB:rtx-4090", "cpu"])
    return problem_of(read_model(folder), cards, Workload(64))


def exported(of: Problem, where: dict[str, int], default: int = G0) -> Flags:
    """Flags of a placement by patterns of op ids, the first that matches; checked both ways."""
    device = [
        next((d for pattern, d in where.items() if re.search(pattern, op.id)), default)
        for op in of.ops
    ]
    flags = flags_of(of, simulate(of, np.array(device), range(len(device))))
    assert placement_of(of, flags) == device
    for op, d in zip(of.ops, device, strict=True):
        for name in op.attrs["tensors"]:
            assert flags.tensor_device(name) == ("CUDA0", "CUDA1", "CPU")[d]
    return flags


def test_layers_that_predict_further_tokens_count_in_flags(tmp_path: Path) -> None:
    """They are held and not run; llama.cpp counts them in -ngl and deals them out all the same."""
    write_gguf(tmp_path / "m.gguf", metadata(LAYERS, nextn_predict_layers=1), dense_rows(LAYERS))
    model = read_model(tmp_path)
    assert len(model.architecture.layers) == LAYERS - 1
    assert any("predict further tokens" in note for note in model.notes)
    cards, _ = parse_cards(["24GiB:rtx-3090", "24GiB:rtx-4090", "cpu"])
    further = problem_of(model, cards, Workload(64))
    (op,) = (op for op in further.ops if "blk.11.ffn_up.weight" in op.attrs["tensors"])
    assert (op.id, set(op.time.values()), op.attrs["kv"]) == ("blk.11", {0.0}, 0)
    before = [o.attrs["parameters"] for o in further.ops if o.id.startswith("blk.10.")]
    assert op.attrs["parameters"] == sum(before)
    flags = exported(further, {"token_embd": CPU})
    assert (flags.layers, flags.gpu_layers, flags.overrides) == (LAYERS, LAYERS + 1, ())
    flags = exported(further, {"token_embd": CPU, r"blk\.\d\.": CPU, r"blk\.11": CPU})
    assert flags.layer_device(9) == "CPU"
    assert flags.layer_device(10) == flags.layer_device(11) == "CUDA0"
    assert flags.tensor_device("blk.11.ffn_up.weight") == "CPU"
    rows = [row for row in dense_rows(LAYERS) if not row[0].startswith("blk.11.")]
    write_gguf(tmp_path / "m.gguf", metadata(LAYERS, nextn_predict_layers=1), rows)
    without = problem_of(read_model(tmp_path), cards, Workload(64))
    assert exported(without, {"token_embd": CPU}).gpu_layers == LAYERS + 1


def test_whole_layers_need_no_pattern(dense: Problem) -> None:
    where = {"token_embd": CPU, r"blk\.[012]\.": CPU, r"blk\.[3-7]\.": G1}
    flags = exported(dense, where)
    assert flags.arguments() == [
        "-ngl", "10", "-dev", "CUDA1,CUDA0", "-sm", "layer", "-ts", "5,5",
    ]  # fmt: skip


def test_experts_of_the_first_layers_are_one_flag(mixture: Problem) -> None:
    flags = exported(mixture, {"token_embd": CPU, r"blk\.[0-6]\.experts": CPU})
    assert (flags.cpu_moe, flags.overrides, flags.gpu_layers) == (7, (), LAYERS + 1)


def test_experts_behind_whole_layers_on_the_cpu_are_one_flag(mixture: Problem) -> None:
    flags = exported(mixture, {"token_embd": CPU, r"blk\.[0-3]\.": CPU, r"blk\.[4-6]\.exp": CPU})
    assert (flags.cpu_moe, flags.overrides, flags.gpu_layers) == (7, (), LAYERS + 1 - 4)


def test_what_every_layer_has_a_copy_of_needs_no_pattern(tmp_path: Path) -> None:
    """Llama 3's frequencies are listed outside the layers, and loaded with each of them."""
    rows = [("rope_freqs.weight", "F32", (16,)), *dense_rows(2)]
    write_gguf(tmp_path / "m.gguf", metadata(2), rows)
    cards, _ = parse_cards(["24GiB:rtx-3090", "cpu"])
    of = problem_of(read_model(tmp_path), cards, Workload(64))
    device = [int(op.attrs["part"] == "embedding") for op in of.ops]
    flags = flags_of(of, simulate(of, np.array(device), range(len(device))))
    assert (flags.gpu_layers, flags.overrides) == (3, ())
    assert placement_of(of, flags) == device


def test_other_experts_are_one_pattern(mixture: Problem) -> None:
    flags = exported(mixture, {"token_embd": CPU, r"blk\.([5-9]|1.)\.experts": CPU})
    ((pattern, device),) = flags.overrides
    assert device == "CPU"
    assert pattern == (
        r"^blk\.(1[01]|[5-9])\.(ffn_down_exps\.weight|ffn_gate_exps\.weight|ffn_up_exps\.weight)$"
    )


def test_nothing_on_gpus(dense: Problem) -> None:
    assert exported(dense, {}, CPU).arguments() == ["-ngl", "0"]


def test_ends_elsewhere_are_patterns(dense: Problem) -> None:
    flags = exported(dense, {"token_embd": G1, "output": CPU, r"blk\.7\.ffn": G1})
    assert len(flags.overrides) == 3
    assert (flags.devices, flags.split) == (("CUDA0", "CUDA1"), (LAYERS + 1, 0))


def test_placements_of_the_usual_forms_take_few_patterns(mixture: Problem) -> None:
    draw = random.Random(5)
    for _ in range(50):
        a, b = sorted(draw.sample(range(LAYERS + 1), 2))
        experts = draw.sample(range(LAYERS), draw.randrange(LAYERS))
        where = {"token_embd": CPU, "output": draw.choice([G0, G1, CPU])}
        where |= {rf"blk\.{k}\.experts": draw.choice([CPU, G1]) for k in experts}
        where |= {rf"blk\.{k}\.": CPU if k < a else G1 if k < b else G0 for k in range(LAYERS)}
        assert len(exported(mixture, where).overrides) <= 12


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({r"blk\.5\.": CPU}, "layer 5 on CPU comes after layer 4 on CUDA0"),
        ({r"blk\.[57]\.attn": G1}, "layer 6 on CUDA0 comes after layer 5 on CUDA1"),
    ],
)
def test_what_llama_cpp_cannot_do_is_refused(
    dense: Problem, where: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        exported(dense, where)


def test_numbers_are_matched_and_no_others() -> None:
    draw = random.Random(1)
    for _ in range(200):
        chosen = sorted(draw.sample(range(130), draw.randrange(1, 60)))
        pattern = re.compile(rf"^blk\.{_numbers(chosen)}\.x$")
        assert [k for k in range(1300) if pattern.search(f"blk.{k}.x")] == chosen


def test_ranges_of_layers(dense: Problem) -> None:
    device = [G1 if op.attrs.get("layer", 0) < 5 else G0 for op in dense.ops]
    assert layer_ranges(dense, simulate(dense, np.array(device), range(len(device)))) == {
        "model": "a llama",
        "layers": LAYERS,
        "shards": [
            {"device": "rtx-4090", "start_layer": 0, "end_layer": 4},
            {"device": "rtx-3090", "start_layer": 5, "end_layer": LAYERS - 1},
        ],
    }
    device[3] = CPU
    with pytest.raises(InputError, match="layer 1 is split"):
        layer_ranges(dense, simulate(dense, np.array(device), range(len(device))))


def test_layers_of_which_nothing_is_left_go_with_those_before(tmp_path: Path) -> None:
    whole, nothing = {"attention": {}, "ffn": {}}, {name: {"no_op": True} for name in
                                                    ("attention", "ffn")}  # fmt: skip
    folder = write_config(tmp_path / "m", model_type="nemotron-nas", num_hidden_layers=4,
                          block_configs=[nothing, whole, nothing, whole])  # fmt: skip
    cards, _ = parse_cards(["24GiB:rtx-3090", "24GiB:rtx-4090"])
    of = problem_of(read_model(folder), cards, Workload(64))
    device = [int(op.attrs.get("layer", 0) > 1) for op in of.ops]
    found = layer_ranges(of, simulate(of, np.array(device), range(len(device))))
    assert [(s["start_layer"], s["end_layer"]) for s in found["shards"]] == [(0, 2), (3, 3)]
