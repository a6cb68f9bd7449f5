"""Flags given to llama.cpp itself: where it says that layers, caches and tensors are.

Skipped without llama-cpp-python and gguf. Devices are those of a server on this machine, which
llama-cpp-python has if it was built with ``CMAKE_ARGS=-DGGML_RPC=ON``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="gguf is not installed")
llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")

from talos_opt.cli.main import main  # noqa: E402
from talos_opt.formats import read_problem  # noqa: E402
from talos_opt.formats.llama_cpp import Flags  # noqa: E402
from tests.frameworks.llm import runtime  # noqa: E402

PROMPT, NEW = [1, 70, 71, 72], 6
LAYERS = 6
DENSE, TIED, MIXTURE = "dense", "tied", "mixture"
#: Name: model, memory of the devices in KB, whether some of the layers are on the CPU.
CASES = {
    "layers": (DENSE, {"a": 1900, "b": 1600}, True),
    "whole": (DENSE, {"a": 2300, "b": 2200}, False),
    "tied": (TIED, {"a": 2100}, True),
    "experts": (MIXTURE, {"a": 2300, "b": 2250}, True),
    "first experts": (MIXTURE, {"a": 3100}, True),
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    if len(runtime.libraries(llama_cpp)) < 4:
        pytest.skip("llama-cpp-python was built without GGML_RPC")
    with runtime.server(llama_cpp) as found:
        yield found


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    found = {name: folder / f"{name}.gguf" for name in (DENSE, TIED, MIXTURE)}
    for name, path in found.items():
        experts = 4 if name == MIXTURE else 0
        runtime.write_model(path, LAYERS, 64, 128, experts, tied=name == TIED)
    return found


@pytest.fixture(scope="module")
def tokens(models: dict[str, Path]) -> dict[str, list[int]]:
    """What comes of the prompt without any flag."""
    found = {}
    for name, path in models.items():
        with runtime.load(llama_cpp, path, {"-ngl": "0"}) as model:
            found[name] = model.generate(PROMPT, NEW)
    return found


def exported(folder: Path, model: Path, memory: dict[str, int]) -> tuple[dict[str, str], Any]:
    """Return the flags of the best placement, and its schedule's document."""
    graph, schedule, flags = (str(folder / name) for name in ("g.yaml", "s.json", "flags.txt"))
    cluster = folder / "cluster.yaml"
    devices = [{"id": name, "kind": "gpu", "memory": f"{kb}KB"} for name, kb in memory.items()]
    cluster.write_text(json.dumps({"devices": [*devices, {"id": "cpu", "kind": "cpu"}]}))
    for argv in (
        ["profile", "llm", str(model), "--cluster", str(cluster), "--context",
         str(runtime.CONTEXT), "--chunk", str(runtime.CHUNK), "--devices",
         ",".join(f"{name}=90GB/s" for name in memory), "-o", graph],
        ["solve", graph, "--objective", "makespan", "-o", schedule],
        ["export", graph, schedule, "--to", "llama-cpp", "--regroup", "-o", flags, "--map",
         ",".join(f"{name}=RPC{k}" for k, name in enumerate(memory))],
    ):  # fmt: skip
        assert main(argv) == 0
    return runtime.read_flags(Path(flags)), json.loads(Path(schedule).read_text())


def as_flags(said: dict[str, str]) -> Flags:
    pairs = [item.split("=") for item in said["-ot"].split(",")] if "-ot" in said else []
    return Flags(
        LAYERS, int(said["-ngl"]), tuple(said.get("-dev", "").split(",")) if "-dev" in said else (),
        tuple(map(int, said["-ts"].split(","))) if "-ts" in said else (1,),
        int(said.get("--n-cpu-moe", 0)), tuple((a, b) for a, b in pairs),
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_llama_cpp_puts_everything_where_it_was_placed(
    tmp_path: Path, address: str, models: dict[str, Path], tokens: dict[str, list[int]], name: str
) -> None:
    which, memory, to_cpu = CASES[name]
    said, schedule = exported(tmp_path, models[which], memory)
    flags = as_flags(said)
    assert set(flags.devices) == {f"RPC{k}" for k in range(len(memory))}
    inside = [tensor for tensor in names(models[which]) if tensor.startswith("blk.")]
    assert ("CPU" in {flags.tensor_device(tensor) for tensor in inside}) == to_cpu
    with runtime.load(llama_cpp, models[which], said, address) as model:
        assert model.layers() == {k: flags.layer_device(k) for k in range(LAYERS + 1)}
        assert model.caches() == {k: flags.layer_device(k) for k in range(LAYERS)}
        assert model.overridden() == {
            tensor: flags.tensor_device(tensor)
            for tensor in names(models[which])
            if any(re.search(pattern, tensor) for pattern, _ in patterns(flags))
        }
        ops = {op.id: op for op in read_problem(str(tmp_path / "g.yaml")).ops}
        for k, device in enumerate(memory):
            there = [op["op"] for op in schedule["ops"] if op["device"] == device]
            held = sum(ops[op].attrs["parameters"] for op in there)
            if which == TIED and {"token_embd", "output_norm"} <= set(there):
                # The graph counts the embedding's copy; beside it llama.cpp needs none.
                held -= ops["token_embd"].attrs["parameters"]
            assert model.buffers()[f"RPC{k}"] == pytest.approx(held / 2**20, abs=0.011)
            kept = sum(ops[op].attrs["kv"] for op in there) / 2**20
            assert model.kept().get(f"RPC{k}", 0) == pytest.approx(kept, abs=0.011)
            buffer = max(ops[op].memory.workspace for op in there) / 2**20
            assert 0.55 * buffer < model.working()[f"RPC{k}"] < buffer + 0.02
        assert model.generate(PROMPT, NEW) == tokens[which]


def names(path: Path) -> list[str]:
    from gguf import GGUFReader

    return [tensor.name for tensor in GGUFReader(path).tensors]


def patterns(flags: Flags) -> list[tuple[str, str]]:
    moe = [(rf"blk\.{k}\.ffn_(up|down|gate)_exps", "CPU") for k in range(flags.cpu_moe)]
    return [*moe, *flags.overrides]


@pytest.mark.parametrize("first", range(LAYERS))
def test_layers_are_dealt_out_as_flags_say(
    address: str, models: dict[str, Path], first: int
) -> None:
    """Every way to deal out the layers behind the first to two devices."""
    count = LAYERS + 1 - first
    for mine in range(1, count):
        said = {"-ngl": str(count), "-dev": "RPC1,RPC0", "-ts": f"{mine},{count - mine}"}
        flags = as_flags(said)
        with runtime.load(llama_cpp, models[DENSE], said, address) as model:
            assert model.layers() == {k: flags.layer_device(k) for k in range(LAYERS + 1)}


def test_a_build_without_devices_takes_the_flags(
    tmp_path: Path, models: dict[str, Path], tokens: dict[str, list[int]]
) -> None:
    """What is for a GPU then has no effect; tensors that are sent to the CPU are."""
    said, _ = exported(tmp_path, models[MIXTURE], {"a": 3100})
    mine = {name: value for name, value in said.items() if name not in ("-dev", "-sm")}
    if "-ot" in mine:
        kept = [pair for pair in mine["-ot"].split(",") if pair.endswith("=CPU")]
        mine["-ot"] = ",".join(kept)
    with runtime.load(llama_cpp, models[MIXTURE], mine) as model:
        assert set(model.layers().values()) == {"CPU"}
        assert model.overridden()
        assert set(model.overridden().values()) == {"CPU"}
        assert model.generate(PROMPT, NEW) == tokens[MIXTURE]
