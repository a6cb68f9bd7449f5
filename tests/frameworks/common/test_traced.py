"""Graphs from traces: times of each device, data flow, links, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import talos_opt
from talos_opt.cli.main import main
from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.formats.trace_reader import Copy, Trace, TraceOp
from talos_opt.formats.trace_steps import Idle, TraceStep
from talos_opt.frameworks.common.profile import Profile
from talos_opt.frameworks.common.traced import profile_traces, read_traces

#: What it takes to say how fast a link is: 4 KiB in 10 us, 4 MiB in 510 us.
COPIES = (Copy(True, 4096, 10.0), Copy(True, 1 << 22, 510.0), Copy(False, 1 << 22, 1010.0))


def op(name: str, time: float, start: float = 0.0, **more: Any) -> TraceOp:
    return TraceOp(name, name, start, time, **more)


def trace(source: str, *ops: TraceOp, **more: Any) -> Trace:
    return Trace(source, ops, **more)


def edges(profile: Profile) -> dict[str, list[tuple[str, int, str]]]:
    return {item.id: [tuple(read) for read in item.inputs] for item in profile.ops}


def times(profile: Profile) -> dict[str, dict[str, float]]:
    """Microseconds by op and device."""
    return {
        item.id: {device: round(t.time_s * 1e6, 6) for device, t in item.timings.items()}
        for item in profile.ops
    }


def tensor(node: int, size: int) -> list[Any]:
    return [node, node, 0, size, 1, "cpu"]


def call(number: int, name: str, read: list[Any], made: list[Any]) -> dict[str, Any]:
    kinds = {"inputs": ["Tensor"] * len(read), "outputs": ["Tensor"] * len(made)}
    return {
        "id": number,
        "ctrl_deps": 1,
        "name": name,
        "attrs": [{"name": "op_schema", "value": f"{name}(Tensor self) -> Tensor"}],
        **{
            side: {"values": values, "shapes": [[v[3]] for v in values], "types": kinds[side]}
            for side, values in (("inputs", read), ("outputs", made))
        },
    }


def execution_trace(folder: Path, *calls: dict[str, Any], marks: tuple[int, ...] = ()) -> Path:
    root = {"id": 1, "ctrl_deps": 1, "name": "[pytorch|profiler|execution_trace|process]"}
    steps = [{"id": n, "ctrl_deps": 1, "name": f"ProfilerStep#{k}"} for k, n in enumerate(marks)]
    nodes = [{**item, "inputs": {}, "outputs": {}, "attrs": []} for item in (root, *steps)]
    path = folder / "et.json"
    path.write_text(json.dumps({"schema": "1.1.0-chakra.0.0.4", "nodes": [*nodes, *calls]}))
    return path


def diamond(folder: Path) -> Path:
    return execution_trace(
        folder,
        call(2, "aten::conv2d", [tensor(90, 10), tensor(91, 5)], [tensor(10, 8)]),
        call(3, "aten::relu", [tensor(10, 8)], [tensor(11, 8)]),
        call(4, "aten::tanh", [tensor(10, 8)], [tensor(12, 8)]),
        call(5, "aten::add", [tensor(11, 8), tensor(12, 8)], [tensor(13, 8)]),
    )


CPU = trace(
    "cpu.json", *(op(f"aten::{n}", t) for n, t in [("conv2d", 90), ("relu", 9), ("tanh", 8)]),
    op("aten::view", 1), op("aten::add", 7),
)  # fmt: skip
GPU = trace(
    "gpu.json", *(op(f"aten::{n}", t) for n, t in [("conv2d", 9), ("relu", 2), ("tanh", 3)]),
    op("aten::add", 1), op("aten::view", 0), device="gpu", kernels=True, copies=COPIES,
)  # fmt: skip


def test_times_of_both_and_the_flow_of_an_execution_trace(tmp_path: Path) -> None:
    profile = profile_traces([CPU, GPU], flow=diamond(tmp_path))
    assert times(profile) == {
        "conv2d": {"cpu0": 90, "gpu0": 9},
        "relu": {"cpu0": 9, "gpu0": 2},
        "tanh": {"cpu0": 8, "gpu0": 3},
        "add": {"cpu0": 7, "gpu0": 1},
    }
    assert edges(profile) == {
        "conv2d": [],
        "relu": [("conv2d", 8, "")],
        "tanh": [("conv2d", 8, "")],
        "add": [("relu", 8, ""), ("tanh", 8, "")],
    }
    assert [(item.weights, item.output) for item in profile.ops] == [
        (15, 8),
        (0, 8),
        (0, 8),
        (0, 8),
    ]
    assert [(d.id, d.kind, d.estimated) for d in profile.devices] == [
        ("cpu0", "cpu", False),
        ("gpu0", "gpu", False),
    ]
    (link,) = profile.links  # the slower direction: 4 MiB in 1000 us after 12, or after 10
    assert (link.a, link.b, link.estimated) == ("cpu0", "gpu0", False)
    assert link.bandwidth == pytest.approx((1 << 22) / 998e-6)
    assert "cpu0: 99.13 % of the traced time is in the graph; 1 ops of cpu.json are" in " ".join(
        profile.notes
    )
    problem = profile.problem()
    result = talos_opt.solve(problem, "heft", time_limit=5)
    assert result.schedule is not None


def test_steps_are_means_and_say_how_far_they_spread() -> None:
    steps = tuple(
        TraceStep(f"ProfilerStep#{k}", 0.0, 9.0, (op("a", t), op("b", 1)))
        for k, t in enumerate((50, 10, 20))
    )
    ops = tuple(item for step in steps for item in step.ops)
    profile = profile_traces([trace("t.json", *ops, steps=steps)], flow="sequence", skip=1)
    assert times(profile) == {"a": {"cpu0": 15}, "b": {"cpu0": 1}}
    timing = profile.ops[0].timings["cpu0"]
    assert (timing.repeats, timing.estimated) == (2, False)
    assert timing.spread == pytest.approx(2.5 / 15)
    assert profile.facts["cpu0"] == (
        "measured in t.json, mean of 2 steps (ProfilerStep#1 to ProfilerStep#2)"
    )
    with pytest.raises(InputError, match=r"t.json: has 3 steps, of which 3 are to be left out"):
        profile_traces([trace("t.json", *ops, steps=steps)], flow="sequence", skip=3)


def test_nodes_of_tensorflow_say_what_they_read() -> None:
    first = trace(
        "a.json",
        op("x", 5),
        op("y", 6, reads=("x",)),
        op("z", 7, reads=("x", "fed")),
        op("sum", 8, reads=("y", "z")),
        framework="tensorflow",
    )
    second = trace(  # in another order, and with a node of its own
        "b.json",
        op("x", 1),
        op("z", 3, reads=("x",)),
        op("cast", 9, reads=("z",)),
        op("y", 2, reads=("x",)),
        op("sum", 4, reads=("y", "z", "cast")),
        device="gpu",
        framework="tensorflow",
    )
    profile = profile_traces([first, second])
    assert {key: [read[0] for read in reads] for key, reads in edges(profile).items()} == {
        "x": [],
        "y": ["x"],
        "z": ["x"],
        "cast": ["z"],
        "sum": ["y", "z", "cast"],
    }
    assert times(profile)["cast"] == {"gpu0": 9}
    assert "1 of 5 ops have no time on cpu0, and cannot run there" in profile.notes
    assert any("travel as if they had 0 bytes" in note for note in profile.notes)
    assert isinstance(profile.problem(), Problem)


def test_rounds_of_a_loop_read_the_round_before() -> None:
    ops = [op("init", 1), op("body", 2, reads=("init", "body")), op("body", 3, reads=("body",))]
    profile = profile_traces([trace("a.json", *ops, framework="tensorflow")])
    assert edges(profile) == {
        "init": [],
        "body": [("init", 0, "")],
        "body_1": [("body", 0, "")],
    }


def test_traces_that_contradict_each_other() -> None:
    first = trace("a.json", op("x", 1), op("y", 1, reads=("x",)))
    second = trace("b.json", op("y", 1), op("x", 1, reads=("y",)))
    with pytest.raises(InputError, match="an op waits for itself"):
        profile_traces([first, second])


def test_without_flow_it_says_what_is_needed() -> None:
    with pytest.raises(InputError, match=r"--flow ET\.json .* or --flow sequence"):
        profile_traces([CPU, GPU])
    with pytest.raises(InputError, match="no trace is given"):
        profile_traces([])


def test_one_after_the_other_if_that_is_wanted() -> None:
    profile = profile_traces(
        [
            trace("a.json", op("aten::embedding", 1, read_bytes=(4000, 8)), op("b", 2)),
            trace("b.json", op("aten::embedding", 1), op("c", 5), op("b", 2, read_bytes=(64, 9))),
        ],
        flow="sequence",
    )
    assert edges(profile) == {
        "embedding": [],
        "c": [("embedding", 0, "")],
        "b": [("c", 64, "")],
    }
    assert [item.output for item in profile.ops] == [0, 64, 0]
    assert "each op is taken to read the one before it: branches are not seen" in profile.notes


def test_ops_of_the_flow_that_no_trace_has(tmp_path: Path) -> None:
    flow = execution_trace(
        tmp_path,
        call(2, "aten::mm", [tensor(90, 10)], [tensor(10, 8)]),
        call(3, "aten::mm", [tensor(10, 8)], [tensor(11, 8)]),
        call(4, "aten::odd", [tensor(11, 8)], [tensor(12, 8)]),
    )
    profile = profile_traces([trace("a.json", op("aten::mm", 10))], flow=flow)
    assert times(profile) == {"mm": {"cpu0": 10}, "mm_1": {"cpu0": 10}, "odd": {"cpu0": 0}}
    assert [item.timings["cpu0"].estimated for item in profile.ops].count(True) == 2
    text = "; ".join(profile.notes)
    assert "1 ops of the flow are in no trace: they take the median of their type" in text
    assert "1 ops of the flow are of types in no trace: they take 0 us (aten::odd)" in text
    with pytest.raises(InputError, match=r"b\.json: ops of the flow .* take 10 % of the time"):
        profile_traces([trace("b.json", op("aten::mm", 10), op("aten::lstm", 90))], flow=flow)


def test_a_trace_of_steps_that_it_does_not_mark(tmp_path: Path) -> None:
    flow = execution_trace(tmp_path, call(2, "aten::mm", [tensor(90, 10)], [tensor(10, 8)]))
    ops = [op("aten::mm", 10) for _ in range(5)]
    with pytest.raises(InputError, match=r"it marks no steps and has 5 ops, the flow has 1: trace"):
        profile_traces([trace("a.json", *ops)], flow=flow)


def test_one_step_of_an_execution_trace_with_several(tmp_path: Path) -> None:
    calls = [
        call(k, "aten::mm", [tensor(n, 8)], [tensor(n + 1, 8)])
        for k, n in [(3, 10), (4, 11), (6, 20), (7, 21), (9, 30)]
    ]
    flow = execution_trace(tmp_path, *calls, marks=(2, 5, 8))
    profile = profile_traces([trace("a.json", op("aten::mm", 10), op("aten::mm", 4))], flow=flow)
    assert edges(profile) == {"mm": [], "mm_1": [("mm", 8, "")]}
    assert profile.facts["flow"] == f"{flow}, ProfilerStep#0"


def test_links_and_memory_of_what_the_catalogue_knows() -> None:
    card = trace("t4.json", op("a", 1), device="gpu", product="Tesla T4", memory=15 << 30)
    host = trace("cpu.json", op("a", 9))
    profile = profile_traces([host, card], flow="sequence")
    (link,) = profile.links
    assert (link.latency_s, link.estimated) == (12e-6, True)
    assert profile.devices[1].memory == 15 << 30
    assert any("estimated from the datasheet of NVIDIA T4" in note for note in profile.notes)
    given = profile_traces(
        [host, card], flow="sequence", devices=("main", "big=a100"), bandwidth=1e9, latency_s=1e-3
    )
    (link,) = given.links
    assert (link.a, link.b, link.latency_s, link.bandwidth) == ("main", "big", 1e-3, 1e9)
    assert not any("link" in note for note in given.notes)
    plain = trace("x.json", op("a", 1), device="gpu")
    assert profile_traces([plain], flow="sequence", devices=["h100"]).devices[0].memory == 80 << 30
    pair = profile_traces([card, plain], flow="sequence")  # both through a host that is not there
    (link,) = pair.links
    assert (link.a, link.b, link.latency_s) == ("gpu0", "gpu1", 24e-6)
    assert any("nothing is known of the link of gpu1" in note for note in pair.notes)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (["a"], "1 devices are given for 2 traces"),
        (["a", "a"], "two devices are called 'a'"),
        (["a", "b=xeon-8480+"], r"gpu.json: its ops ran on a gpu, and .* is a cpu"),
        (["a", "b=nothing"], "the catalogue has no device 'nothing'"),
    ],
)
def test_devices_that_do_not_fit(devices: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        profile_traces([CPU, GPU], flow="sequence", devices=devices)


def test_a_device_that_waited_is_named() -> None:
    card = trace("g.json", op("a", 1), device="gpu", idle=Idle(100.0, 80.0, 40.0))
    (note,) = [n for n in profile_traces([card], flow="sequence").notes if "launches" in n]
    assert note.startswith("gpu0 waited for launches 40 % of the traced time")


def events(*rows: tuple[str, float], category: str = "cpu_op") -> str:
    at, found = 0.0, []
    for name, time in rows:
        common = {"ph": "X", "pid": 1, "tid": 1, "ts": at, "dur": time}
        found.append(common | {"cat": category, "name": name})
        at += time
    return json.dumps({"traceEvents": found})


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, graph = (tmp_path / name for name in ("a.json", "b.json", "g.yaml"))
    first.write_text(events(("conv2d", 40), ("relu", 5)))
    second.write_text(events(("conv2d", 20), ("relu", 10)))
    argv = ["profile", "--from-traces", str(first), str(second), "-o", str(graph)]
    assert main(argv) == 2
    assert "the traces do not say which op reads which" in capsys.readouterr().err
    more = ["--flow", "sequence", "--devices", "one,two", "--bandwidth", "1GB/s"]
    assert main([*argv, *more, "--latency", "0.001"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("a: 2 ops, 0 bytes of weights, traced\n")
    assert "note: the memory of one, two is unknown: it counts as unlimited" in captured.err
    assert main(["solve", str(graph), "--solver", "heft"]) == 0
    assert "makespan" in capsys.readouterr().out
    problem = talos_opt.read(graph)
    assert [device.id for device in problem.cluster.devices] == ["one", "two"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "expected FRAMEWORK and MODULE:CALLABLE, such as torch ./net.py:make, or --from-tra"),
        (["torch"], "expected FRAMEWORK and MODULE:CALLABLE"),
        (["torch", "a:b", "--flow", "sequence"], "--flow needs --from-traces"),
        (["torch", "a:b", "--from-traces", "x"], "both a model of torch and --from-traces"),
        (["--from-traces", "x", "--input", "2x3"], "--input is of no use with --from-traces"),
        (["--from-traces", "x", "--process", "a", "--process", "b"], "2 processes are given for 1"),
    ],
)
def test_a_model_or_traces(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", *argv]) == 2
    assert message in capsys.readouterr().err


def test_processes_are_given_in_the_order_of_the_traces(tmp_path: Path) -> None:
    both = tmp_path / "both.json"
    rows = [
        {"ph": "X", "cat": "op", "name": "a", "pid": p, "tid": 0, "ts": 0, "dur": p} for p in (1, 2)
    ]
    both.write_text(json.dumps(rows))
    one, two = read_traces([both, both], processes=["2", "1"])
    assert (one.total_us, two.total_us) == (2, 1)
