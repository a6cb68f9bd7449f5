"""``profile llm``: cases whose answers were worked out by hand, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import talos_opt
from talos_opt.cli.main import main
from talos_opt.core.errors import InputError
from talos_opt.frameworks.llm.devices import parse_cards
from tests.frameworks.llm.files import (
    blocks,
    dense_rows,
    metadata,
    mixture_rows,
    write_config,
    write_gguf,
    write_safetensors,
)

Capture = pytest.CaptureFixture[str]
MIB, GIB = 2**20, 2**30


def solved(folder: Path, devices: str, *more: str, solve: tuple[str, ...] = ()) -> dict[str, Any]:
    """Profile the model of a folder, solve its graph, and return the schedule's document."""
    graph, schedule = folder / "graph.yaml", folder / "schedule.json"
    argv = ["profile", "llm", str(folder), "--devices", devices, "--context", "1", "-o", str(graph)]
    assert main([*argv, *more]) == 0
    objective = () if "--objective" in solve else ("--objective", "makespan")
    assert main(["solve", str(graph), *objective, "-o", str(schedule), *solve]) == 0
    return json.loads(schedule.read_text())


def layers_on(document: dict[str, Any], device: str) -> int:
    return sum(op["device"] == device and op["op"].startswith("layers.") for op in document["ops"])


@pytest.fixture
def exo(tmp_path: Path) -> Path:
    """Forty layers of 1 GB (exo#957)."""
    return blocks(tmp_path / "exo", [10**9] * 40)


FIVE = "m0=36GB:264.4GB/s,m1=96GB:344.0GB/s,m2=64GB:308.7GB/s,m3=96GB:351.2GB/s,m4=36GB:177.6GB/s"


def test_five_machines_in_a_pipeline(exo: Path) -> None:
    found = solved(exo, FIVE, "--buffer", "0", solve=("--objective", "bottleneck"))
    assert found["status"] == "optimal"
    assert found["value"] == pytest.approx(29_069.8, abs=0.05)  # 10 GB at 344 GB/s
    counts = [layers_on(found, f"m{k}") for k in range(5)]
    assert sum(counts) == 40
    assert max(n / rate for n, rate in zip(counts, (264.4, 344, 308.7, 351.2, 177.6), strict=True)
               ) == pytest.approx(10 / 344)  # fmt: skip


def test_five_machines_one_after_the_other(exo: Path) -> None:
    found = solved(exo, FIVE, "--buffer", "0")
    assert found["status"] == "optimal"
    assert found["value"] == pytest.approx(113_895, abs=0.5)
    assert layers_on(found, "m3") == 40


def test_a_small_card_beside_a_larger_one_is_used(tmp_path: Path) -> None:
    """ollama#8430: with the buffers of both, everything fits on the two cards."""
    ends = {"mm_projector_weight": round(1.8 * GIB), "lm__head_weight": round(1.9 * GIB)}
    folder = blocks(tmp_path / "m", [162 * MIB] * 48, **ends)
    devices = "11.5GiB:rtx-3060,4.6GiB:rtx-2080-ti,cpu=64GiB:i9-13900k"
    found = solved(folder, devices, "--buffer", "1.3GiB")
    assert {op["device"] for op in found["ops"]} == {"rtx-3060", "rtx-2080-ti"}


def test_a_split_that_is_feasible_is_found(tmp_path: Path) -> None:
    """stable-diffusion.cpp PR#1911: up to 28 and 47 of 51 segments."""
    folder = blocks(tmp_path / "m", [214_500_000] * 51)
    devices = "a=8192MB:300GB/s,b=12288MB:300GB/s"
    found = solved(folder, devices, "--reserve", "2GiB", "--buffer", "0")
    a, b = layers_on(found, "a"), layers_on(found, "b")
    assert a + b == 51
    assert a <= 28
    assert b <= 47


def test_two_heavy_layers_a_card(tmp_path: Path) -> None:
    """ik_llama.cpp#1916: buffers on all cards but the first; the rest stays on the CPU."""
    folder = blocks(tmp_path / "m", [round(9295.5 * MIB)] * 61)
    reserve = "rtx-3090-0=0,2500MiB"
    found = solved(
        folder, "4x24124MiB:rtx-3090,epyc-9654", "--reserve", reserve, "--buffer", "0"
    )  # fmt: skip
    assert [layers_on(found, f"rtx-3090-{k}") for k in range(4)] == [2, 2, 2, 2]
    assert found["status"] == "optimal"


BAD = [
    ("--context 99999", "the context of 99999 tokens is beyond the model's, 32768"),
    ("--context 0", "'0' is not a whole number of at least 1"),
    ("--kv-type q9", "the type of the KV cache is 'q9', expected one of f32, f16"),
    ("--phase both", "both phases need the tokens of the prompt and those to generate"),
    ("--phase prefill --prompt 2000", "2000 tokens of prompt and 0 to generate are more than"),
    ("--reserve odd=1GiB", "the reserve names the unknown device 'odd', expected one of l4, cpu"),
    ("--reserve 30GiB", "l4 has 24.00 GiB: nothing is left"),
    ("--devices 24GiB:rtx-9999", "the catalogue has no device 'rtx-9999'"),
    ("--devices 24XiB:l4", "the catalogue has no device '24XiB:l4'"),
    ("--devices :l4", "device ':l4' is not of the form"),
    ("--devices 0xl4", "device '0xl4' is not of the form"),
    ("--devices a=l4,a=l4", "two devices are called 'a', expected different names"),
    ("--devices 1GB:5GB/s --phase prefill", "nothing says how fast device computes"),
    ("--expert-groups 2", "the experts of a layer are one tensor, 'blk.0.ffn_gate_exps.weight'"),
    ("--devices 256xl4,l4", "there are more than 256 devices"),
    ("--memory-fraction 1e-320 --reserve 1", "l4 has 24.00 GiB: nothing is left"),
    ("--prompt 5", "--prompt is of no use with --phase decode"),
    ("--phase prefill --generate 5", "--generate is of no use with --phase prefill"),
    ("--input 1x2", "--input is of no use with llm"),
]


@pytest.mark.parametrize(("more", "message"), BAD, ids=[more for more, _ in BAD])
def test_bad_input_is_refused(tmp_path: Path, capsys: Capture, more: str, message: str) -> None:
    said = metadata(1, expert_count=8, expert_used_count=2)
    write_gguf(tmp_path / "m.gguf", said, mixture_rows(1))
    argv = ["profile", "llm", str(tmp_path), "--devices", "l4,cpu", "--context", "1024"]
    assert main([*argv, *more.split()]) == 2
    assert message in capsys.readouterr().err


def test_broken_files_exit_with_two(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, metadata(1), dense_rows(1))
    path.write_bytes(path.read_bytes()[:300])
    argv = ["--devices", "l4", "--context", "8"]
    assert main(["profile", "llm", str(path), *argv]) == 2
    assert "the file ends inside its header" in capsys.readouterr().err
    folder = write_config(tmp_path / "c", model_type="novel")
    assert main(["profile", "llm", str(folder), *argv]) == 2
    assert "model_type: is 'novel'" in capsys.readouterr().err
    assert main(["profile", "llm", str(tmp_path / "absent"), *argv]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_other_files_of_a_folder_are_no_models(tmp_path: Path, capsys: Capture) -> None:
    readme = write_config(tmp_path / "m") / "README.md"
    readme.write_text("text")
    assert main(["profile", "llm", str(readme), "--devices", "l4", "--context", "8"]) == 2
    assert "README.md: is not a model, expected a GGUF file" in capsys.readouterr().err


def test_devices_are_numbered_across_a_list() -> None:
    def ids(*specs: str) -> list[str]:
        return [card.id for card in parse_cards(specs)[0]]

    assert ids("2xl4", "12GiB:l4", "cpu") == ["l4-0", "l4-1", "l4-2", "cpu"]
    assert ids("l4-0=t4", "l4", "l4") == ["l4-0", "l4-1", "l4-2"]
    assert ids("a=2xl4", "1xcpu") == ["a0", "a1", "cpu0"]
    with pytest.raises(InputError, match="two devices are called 'a0'"):
        ids("a0=l4", "a=1xt4")


def test_options_of_language_models_need_one(capsys: Capture) -> None:
    assert main(["profile", "torch", "m:f", "--context", "5"]) == 2
    assert "--context is of language models" in capsys.readouterr().err


def test_the_graph_holds_what_is_counted(tmp_path: Path, capsys: Capture) -> None:
    total = write_gguf(tmp_path / "m.gguf", metadata(2), dense_rows(2))
    argv = ["profile", "llm", str(tmp_path), "--devices", "l4,cpu", "--context", "1024", "--json"]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["parameter_bytes"] == total
    assert found["kv_bytes"] == 2 * 1024 * 2 * 4 * 32 * 2  # layers, tokens, keys and values
    assert "cpu is taken to be a" in err


@pytest.mark.parametrize(("context", "kept"), [(1000, 64 + 100), (120, 120)])
def test_llama_cpp_keeps_a_chunk_beside_a_window(
    tmp_path: Path, capsys: Capture, context: int, kept: int
) -> None:
    said = metadata(4, "gemma2", **{"attention.sliding_window": 64})
    write_gguf(tmp_path / "m.gguf", said, dense_rows(4))
    argv = ["profile", "llm", str(tmp_path), "--devices", "l4", "--context", str(context)]
    assert main([*argv, "--chunk", "100", "--json"]) == 0
    a_token = 2 * 4 * 32 * 2  # two of four layers have the window
    assert json.loads(capsys.readouterr().out)["kv_bytes"] == 2 * (context + kept) * a_token


def fitted(folder: Path, capsys: Capture, *more: str) -> dict[str, Any]:
    assert main(["fit", str(folder), *more, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_largest_context_is_an_integer_programme(tmp_path: Path, capsys: Capture) -> None:
    """As vllm PR#6920, in small: two ends of 50 and eight layers of 20 on three cards of 100.

    A block of 16 tokens takes 1 byte a layer and the ends nothing: with 2 layers an end and 4 in
    the middle, (100 - 90) / 2 = 5 and (100 - 80) / 4 = 5 blocks; 3 layers more an end fit nowhere.
    """
    values = {"num_hidden_layers": 8, "num_attention_heads": 1, "num_key_value_heads": 1}
    folder = write_config(tmp_path / "m", model_type="novel", hidden_size=500, **values)
    scale = 16 * 2 * 500 * 2
    rows = {"model.embed_tokens.weight": 50 * scale}
    rows |= {f"model.layers.{k}.mlp.weight": 20 * scale for k in range(8)}
    write_safetensors(folder / "model.safetensors", rows | {"lm_head.weight": 50 * scale})
    devices = f"a={100 * scale}B:9GB/s,b={100 * scale}B:9GB/s,c={100 * scale}B:9GB/s"
    graph, schedule = tmp_path / "g.yaml", tmp_path / "s.json"
    found = fitted(folder, capsys, "--devices", devices, "--buffer", "0", "--graph", str(graph),
                   "-o", str(schedule), "--stages", "ordered")  # fmt: skip
    assert (found["largest"], found["proven"]) == (5 * 16, True)
    assert main(["check", str(graph), str(schedule)]) == 0


def test_the_largest_batch(tmp_path: Path, capsys: Capture) -> None:
    total = write_gguf(tmp_path / "m.gguf", metadata(2), dense_rows(2))
    kept = 2 * 1024 * 2 * 4 * 32 * 2
    found = fitted(tmp_path, capsys, "--devices", f"a={total + 5 * kept + 9}B:9GB/s", "--buffer",
                   "0", "--maximise", "batch", "--context", "1024")  # fmt: skip
    assert (found["largest"], found["proven"]) == (5, True)


def test_the_most_sequences_that_are_tried_are_no_proof(tmp_path: Path, capsys: Capture) -> None:
    write_gguf(tmp_path / "m.gguf", metadata(1), dense_rows(1))
    argv = ["--devices", "l4", "--maximise", "batch", "--context", "1"]
    found = fitted(tmp_path, capsys, *argv)
    assert (found["largest"], found["proven"]) == (4096, False)
    found = fitted(tmp_path, capsys, *argv, "--wanted", "5000")
    assert (found["largest"], found["needs"]) == (5000, [])


def test_a_short_context_is_one_block(tmp_path: Path, capsys: Capture) -> None:
    folder = write_config(tmp_path / "m", max_position_embeddings=8)
    found = fitted(folder, capsys, "--devices", "l4")
    assert (found["largest"], found["proven"], found["needs"]) == (8, True, [])


def test_needs_are_of_the_prompt_and_what_follows(tmp_path: Path, capsys: Capture) -> None:
    total = write_gguf(tmp_path / "m.gguf", metadata(1), dense_rows(1))
    argv = ["--devices", f"a={total}B:9GB/s:1TFLOPS", "--buffer", "0", "--phase", "both"]
    assert main(["fit", str(tmp_path), *argv, "--prompt", "90", "--generate", "10"]) == 1
    assert "for 112 tokens of context, one of:" in capsys.readouterr().out


def test_what_would_be_needed(tmp_path: Path, capsys: Capture) -> None:
    total = write_gguf(tmp_path / "m.gguf", metadata(2), dense_rows(2))
    a_token = 2 * 2 * 4 * 32 * 2
    memory = total + 160 * a_token + 4096
    argv = ["fit", str(tmp_path), "--devices", f"a={memory}B:9GB/s", "--buffer", "0"]
    assert main([*argv, "--reserve", "4096", "--wanted", "200"]) == 0
    text = capsys.readouterr().out
    assert "the largest that fits: 160 tokens of context\nproven: 16 more have no placement" in text
    assert "for 200 tokens of context, one of:\n  keep the context in q8_0" in text
    short = (208 - 160) * a_token
    assert f"give a {short} more usable bytes" in text
    assert main(["fit", str(tmp_path), "--devices", "1MB:9GB/s"]) == 1
    assert "no tokens of context fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--context 5", "--context is what is looked for"),
        ("--maximise batch", "--context is missing"),
        ("--wanted 99999", "the context of 100000 tokens is beyond the model's, 32768"),
    ],
)
def test_fit_refuses_what_makes_no_sense(
    tmp_path: Path, capsys: Capture, more: str, message: str
) -> None:
    write_gguf(tmp_path / "m.gguf", metadata(1), dense_rows(1))
    assert main(["fit", str(tmp_path), "--devices", "l4", *more.split()]) == 2
    assert message in capsys.readouterr().err


def test_the_function_makes_the_same_graph(tmp_path: Path) -> None:
    folder, cluster = write_config(tmp_path / "m"), tmp_path / "c.yaml"
    graph = tmp_path / "g.json"
    devices = ["2GiB:rtx-3060", "cpu"]
    given = ["--batch", "2", "--kv-type", "q8_0", "--buffer", "0", "--reserve", "1MiB",
             "--memory-fraction", "0.9"]  # fmt: skip
    assert main(["profile", "llm", str(folder), "--devices", ",".join(devices), "--context", "16",
                 *given, "-o", str(graph)]) == 0  # fmt: skip
    made = talos_opt.profile_llm(
        folder, devices, 16, batch=2, kv_type="q8_0", buffer=0, reserve=2**20, memory_fraction=0.9
    )
    read = talos_opt.read(graph)
    assert made.graph == read.graph
    assert made.cluster == read.cluster
    for devices, message in (([], "there are no devices"), ("cpu", "devices is the text 'cpu'")):
        with pytest.raises(talos_opt.InputError, match=message):
            talos_opt.profile_llm(folder, devices, 16)
    with pytest.raises(talos_opt.InputError, match=r"c\.yaml"):
        talos_opt.profile_llm(folder, [], 16, cluster=cluster)


def test_from_a_gguf_to_flags(tmp_path: Path) -> None:
    """Experts that do not fit stay on the CPU; the flags put every tensor where it was placed."""
    said = metadata(6, hidden=2048, expert_count=8, expert_used_count=2)
    total = write_gguf(tmp_path / "m.gguf", said, mixture_rows(6, 8, 2048, 4096, 1024))
    graph, schedule, flags = (tmp_path / name for name in ("g.yaml", "s.json", "flags.txt"))
    devices = f"{total * 2 // 3}B:rtx-3060,cpu"
    assert main(["profile", "llm", str(tmp_path), "--devices", devices, "--context", "64",
                 "--buffer", "0", "-o", str(graph)]) == 0  # fmt: skip
    assert main(["solve", str(graph), "--objective", "makespan", "-o", str(schedule)]) == 0
    # Optimal placements tie, and some of them leave a layer out of row: --regroup takes each.
    argv = ["export", str(graph), str(schedule), "--to", "llama-cpp", "-o", str(flags)]
    assert main([*argv, "--regroup"]) == 0
    lines = flags.read_text().splitlines()
    assert lines[:2] == ["# CUDA0 is rtx-3060", "# CPU is cpu"]
    assert any(line.startswith(("-ot ", "--n-cpu-moe ")) for line in lines)


def test_contiguous_layers_go_to_every_runtime(tmp_path: Path) -> None:
    folder = write_config(tmp_path / "m")
    graph, schedule = tmp_path / "g.yaml", tmp_path / "s.json"
    assert main(["profile", "llm", str(folder), "--devices", "a=200KB:9GB/s,b=300KB:9GB/s",
                 "--context", "16", "--buffer", "0", "-o", str(graph)]) == 0  # fmt: skip
    assert main(["solve", str(graph), "--objective", "makespan", "--stages", "ordered",
                 "--granularity", "module", "--no-split", "model.layers.*", "-o", str(schedule),
                 ]) == 0  # fmt: skip
    export = ["export", str(graph), str(schedule), "--to"]
    assert main([*export, "vllm", "-o", str(tmp_path / "v.env")]) == 0
    assert main([*export, "layer-ranges", "-o", str(tmp_path / "r.json")]) == 0
    assert main([*export, "device-map", "--map", "a=0,b=1", "-o", str(tmp_path / "d.json")]) == 0
    counts = [int(n) for n in (tmp_path / "v.env").read_text().split("PARTITION=")[1].split(",")]
    shards = json.loads((tmp_path / "r.json").read_text())["shards"]
    assert [s["end_layer"] - s["start_layer"] + 1 for s in shards] == counts
    mapped = json.loads((tmp_path / "d.json").read_text())
    for k in range(4):
        assert mapped[f"model.layers.{k}"] == (0 if k < counts[0] else 1)
