"""Schedules for real: equal outputs, values handed over once per device, sessions side by side."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h

import talos_opt
from talos_opt.cli.main import main
from talos_opt.core.errors import InputError
from talos_opt.formats import trace_reader
from talos_opt.frameworks.common.running import Hop
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.devices import CPU, providers_of
from talos_opt.frameworks.onnx.execute import Executor
from talos_opt.frameworks.onnx.inputs import draw
from talos_opt.frameworks.onnx.ops import describe_ops
from talos_opt.frameworks.onnx.pieces import cut
from talos_opt.frameworks.onnx.sessions import session_of, value_on
from tests.frameworks.onnx import nets
from tests.frameworks.onnx.nets import value, weight

Capture = pytest.CaptureFixture[str]


def split_and_join() -> onnx.ModelProto:
    """Several outputs, a view, a value that several devices read, and results of every kind."""
    return nets.model(
        [
            h.make_node("Split", ["x"], ["a", "b"], name="split", axis=1, num_outputs=2),
            h.make_node("MatMul", ["a", "w"], ["c"], name="left"),
            h.make_node("Reshape", ["c", "to"], ["d"], name="view"),
            h.make_node("Exp", ["b"], ["e"], name="right"),
            h.make_node("Add", ["d", "a"], ["f"], name="join"),
            h.make_node("Mul", ["f", "e"], ["y"], name="end"),
        ],
        [value("x", [4, 12])],
        [value(name, None) for name in ("y", "e", "w", "x")],
        [weight("w", 6, 6), nets.array("to", [4, 6])],
        opset=18,
    )


def sequence() -> onnx.ModelProto:
    """A sequence that one op makes, another one reads, and the model returns."""
    return nets.model(
        [
            h.make_node("Relu", ["x"], ["a"], name="first"),
            h.make_node("SequenceConstruct", ["a", "x"], ["s"], name="gather"),
            h.make_node("SequenceAt", ["s", "i"], ["b"], name="pick"),
            h.make_node("Neg", ["b"], ["y"], name="last"),
        ],
        [value("x", [4])],
        [value("y", [4]), h.make_tensor_sequence_value_info("s", T.FLOAT, [4])],
        [nets.array("i", 1)],
    )


NETS = {
    "split": (split_and_join, ()),
    "branches": (lambda: nets.two_branches(16, 2, 4), ()),
    "if": (nets.branching, ("flag=scalar:bool:1-1",)),
    "loop": (nets.looping, ("n=scalar:int64:3-3",)),
}


def captured_net(name: str, folder: Path, level: str = "none") -> Captured:
    make, given = NETS[name]
    return nets.captured(make(), folder, given, level=level)


def executor(captured: Captured, where: dict[str, str], **options: object) -> Executor:
    devices = dict.fromkeys([*where.values(), *options.pop("through", ())], CPU)
    values = draw(captured.specs)
    return Executor(captured, cut(captured, where), devices, values, threads=1, **options)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("level", ["none", "all"])
def test_any_placement_gives_the_outputs_of_the_plain_session(
    name: str, level: str, tmp_path: Path
) -> None:
    captured = captured_net(name, tmp_path, level)
    values = draw(captured.specs)
    expected = session_of(captured.source.path, level="all").run(None, values)
    rng = random.Random(name)
    for _ in range(3):
        where = {op: rng.choice("abc") for op in captured.nodes}
        plan = executor(captured, where)
        for _ in range(2):
            seconds, outputs = plan.run()
            assert seconds > 0
            for found, wanted in zip(outputs, expected, strict=True):
                assert np.allclose(found, wanted, atol=1e-5)
        plan.close()


def test_a_sequence_stays_where_it_is_made_and_may_be_returned(
    tmp_path: Path, capsys: Capture
) -> None:
    captured = nets.captured(sequence(), tmp_path, level="none")
    ops = {op.id: op for op in describe_ops(captured)}
    assert ops["gather"].colocate == ops["pick"].colocate == "gather"
    path = nets.saved(sequence(), tmp_path)
    graph, schedule = tmp_path / "g.json", tmp_path / "s.json"
    words = ["--devices", "2xcpu", "--time-limit", "1", "-o", str(graph)]
    assert main(["profile", "onnx", str(path), *words]) == 0
    document = json.loads(graph.read_text())
    for op in document["models"][0]["ops"]:
        op["devices"] = ["cpu1" if op["id"] in ("gather", "pick") else "cpu0"]
    graph.write_text(json.dumps(document))
    assert main(["solve", str(graph), "--time-limit", "1", "-o", str(schedule)]) == 0
    capsys.readouterr()
    words = ["--schedule", str(schedule), "--repeats", "1", "--json"]
    assert main(["run", "onnx", str(path), *words]) == 0
    assert json.loads(capsys.readouterr().out)["outputs_equal"]


def narrow(dtype: int) -> onnx.ModelProto:
    """Inputs and results, and a weight that a node makes, of a type that NumPy lacks."""
    return nets.model(
        [
            h.make_node("Cast", ["x"], ["wide"], name="widen", to=T.FLOAT),
            h.make_node("Abs", ["wide"], ["a"], name="act"),
            h.make_node("Cast", ["a"], ["y"], name="narrow", to=dtype),
            h.make_node("Cast", ["w"], ["z"], name="constant", to=dtype),
        ],
        [value("x", [3, 3], dtype)],
        [value("y", [3, 3], dtype), value("z", [4], dtype)],
        [nets.array("w", [1, 0, 1, 1], "float32")],
        opset=25,
    )


@pytest.mark.parametrize(
    "dtype", [T.BFLOAT16, T.FLOAT8E4M3FN, T.FLOAT8E5M2FNUZ, T.INT4, T.UINT4, T.INT2]
)
def test_values_of_types_that_numpy_lacks_travel(dtype: int, tmp_path: Path) -> None:
    captured = nets.captured(narrow(dtype), tmp_path, level="none")
    given = draw(captured.specs, 1)
    assert np.any(given["x"].astype(float))
    plan = executor(captured, {"widen": "a", "act": "b", "narrow": "a"})
    plan._given["a"]["x"] = value_on(CPU, given["x"])
    _, (y, z) = plan.run()
    plan.close()
    assert y.dtype == z.dtype == given["x"].dtype
    assert np.array_equal(y.astype(float), np.abs(given["x"].astype(float)))
    assert np.abs(z.astype(float)).tolist() == [1, 0, 1, 1]  # 1 is -1 of one bit less


def half() -> onnx.ModelProto:
    return nets.model(
        [
            h.make_node("MatMul", ["x", "w"], ["a"], name="first"),
            h.make_node("Relu", ["a"], ["y"], name="last"),
        ],
        [value("x", [4, 8], T.FLOAT16)],
        [value("y", [4, 8], T.FLOAT16)],
        [weight("w", 8, 8, dtype="float16")],
    )


def four_bits() -> onnx.ModelProto:
    """What the runtime computes otherwise where it may fuse it: in 8 bits."""
    held = h.make_tensor("q", T.INT4, [64, 64], [(7 * k) % 16 - 8 for k in range(64 * 64)])
    return nets.model(
        [
            h.make_node("DequantizeLinear", ["q", "s"], ["w"], name="widen"),
            h.make_node("MatMul", ["x", "w"], ["y"], name="multiply"),
        ],
        [value("x", [4, 64])],
        [value("y", [4, 64])],
        [held, nets.array("s", 0.1, "float32")],
        opset=21,
    )


def drawing() -> onnx.ModelProto:
    """A model without inputs."""
    return nets.model(
        [
            h.make_node("RandomNormal", [], ["a"], name="make", shape=[4], seed=1.0),
            h.make_node("Neg", ["a"], ["y"], name="last"),
        ],
        [],
        [value("y", [4])],
    )


@pytest.mark.parametrize("make", [half, four_bits, drawing])
def test_the_file_s_own_ops_go_the_whole_road(
    make: object, tmp_path: Path, capsys: Capture
) -> None:
    path, graph, schedule = nets.saved(make(), tmp_path), tmp_path / "g.json", tmp_path / "s.json"
    words = ["--devices", "cpu,estimate:t4", "--no-optimized", "--time-limit", "1"]
    assert main(["profile", "onnx", str(path), *words, "-o", str(graph)]) == 0
    assert main(["solve", str(graph), "--time-limit", "1", "-o", str(schedule)]) == 0
    capsys.readouterr()
    words = ["--schedule", str(schedule), "--map", "t4=cpu", "--repeats", "1"]
    assert main(["run", "onnx", str(path), *words]) == 0, capsys.readouterr().err
    words = ["--to", "onnx-split", "--model", str(path), "-o", str(tmp_path / "pieces")]
    assert main(["export", str(graph), str(schedule), *words]) == 0


def test_a_value_goes_to_a_device_once_however_many_ops_read_it(tmp_path: Path) -> None:
    nodes = [h.make_node("Relu", ["x"], ["a"], name="make")]
    nodes += [h.make_node("Neg", ["a"], [f"n{k}"], name=f"read{k}") for k in range(3)]
    made = nets.model(nodes, [value("x", [64])], [value(f"n{k}", [64]) for k in range(3)])
    captured = nets.captured(made, tmp_path, level="none")
    where = {"make": "a"} | {f"read{k}": "b" for k in range(3)}
    plan = executor(captured, where, watched=True)
    plan.run()
    (execution,) = plan.executions()
    plan.close()
    (move,) = execution.transfers
    assert (move.op, move.device, move.target, move.bytes) == ("make", "a", "b", 256)


def test_a_value_goes_by_a_third_device_where_the_schedule_says_so(tmp_path: Path) -> None:
    captured = captured_net("branches", tmp_path)
    where = {op: "a" if op == "join" else "b" for op in captured.nodes}
    made = [Hop(op, s, t) for op in ("a.act1", "b.act1") for s, t in (("b", "c"), ("c", "a"))]
    plan = executor(captured, where, through=["c"], hops=made, watched=True)
    plan.run()
    (execution,) = plan.executions()
    plan.close()
    assert [(m.op, m.device, m.target) for m in execution.transfers] == [
        (hop.op, hop.source, hop.target) for hop in made
    ]


class _Meeting:
    """A session that only runs while another one does."""

    def __init__(self, session: object, barrier: threading.Barrier) -> None:
        self._session, self._barrier = session, barrier

    def run_with_iobinding(self, binding: object) -> None:
        self._barrier.wait(timeout=20)
        self._session.run_with_iobinding(binding)


def test_two_sessions_compute_side_by_side(tmp_path: Path) -> None:
    captured = nets.captured(nets.two_branches(16, 2, 4), tmp_path, level="none")
    where = {op: "b" if op.startswith("b.") else "a" for op in captured.nodes}
    times = dict.fromkeys(captured.nodes, (0.0, 1.0)) | {"join": (1.0, 2.0)}
    pieces = cut(captured, where, times)
    assert [piece.ops[0] for piece in pieces] == ["a.0", "b.0", "join"]
    values = draw(captured.specs)
    plan = Executor(captured, pieces, dict.fromkeys("ab", CPU), values, threads=1)
    barrier = threading.Barrier(2)
    for loaded in plan._loaded.values():
        loaded[0] = loaded[0]._replace(session=_Meeting(loaded[0].session, barrier))
    (found,) = plan.run()[1]
    plan.close()
    assert np.allclose(found, captured.session().run(None, values)[0], atol=1e-5)


def test_ops_of_a_run_are_timed_on_one_clock(tmp_path: Path) -> None:
    captured = captured_net("branches", tmp_path)
    plan = executor(
        captured, {op: "b" if op.startswith("b.") else "a" for op in captured.nodes}, watched=True
    )
    for _ in range(3):
        plan.run()
    executions = plan.executions()
    plan.close()
    assert len(executions) == 3
    for run in executions:
        assert {span.op for span in run.ops} == set(captured.nodes)
        assert run.ops[-1].op == "join"
        ends = {span.op: span.end_s for span in run.ops}
        starts = {span.op: span.start_s for span in run.ops}
        assert all(starts["join"] >= ends[op] - 1e-4 for op in ("a.act1", "b.act1"))
        assert run.wall_s == max(ends.values())


def test_what_fails_on_one_device_ends_the_others(tmp_path: Path) -> None:
    made = nets.model(
        [
            h.make_node("Gather", ["t", "i"], ["a"], name="lookup"),
            h.make_node("Neg", ["a"], ["y"], name="after"),
        ],
        [value("i", [1], T.INT64)],
        [value("y", None)],
        [weight("t", 4, 2)],
    )
    captured = nets.captured(made, tmp_path, level="none")
    pieces = cut(captured, {"lookup": "a", "after": "b"})
    plan = Executor(
        captured, pieces, dict.fromkeys("ab", CPU), {"i": np.array([9], dtype=np.int64)}
    )
    with pytest.raises(Exception, match="out of data bounds"):
        plan.run()
    plan.close()


def solved(folder: Path, *words: str) -> tuple[Path, Path, dict]:
    """Profile and solve a model for two sessions; a pipeline uses both."""
    path = nets.saved(nets.two_branches(128, 2, 16), folder, "branches.onnx")
    graph, schedule = folder / "g.json", folder / "s.json"
    profile = ["profile", "onnx", str(path), "--devices", "2xcpu", "--time-limit", "1", *words]
    assert main([*profile, "-o", str(graph)]) == 0
    solve = ["solve", str(graph), "--objective", "bottleneck", "--solver", "fast"]
    assert main([*solve, "--time-limit", "1", "-o", str(schedule)]) == 0
    return path, schedule, json.loads(schedule.read_text())


@pytest.mark.parametrize("words", [[], ["--no-optimized"]])
def test_profile_solve_run(words: list[str], tmp_path: Path, capsys: Capture) -> None:
    path, schedule, document = solved(tmp_path, *words)
    assert {row["device"] for row in document["ops"]} == {"cpu0", "cpu1"}
    capsys.readouterr()
    trace = tmp_path / "t.json"
    options = ["--schedule", str(schedule), "--repeats", "1", "--trace", str(trace), "--json"]
    assert main(["run", "onnx", str(path), *options]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == ""
    assert report["outputs_equal"]
    assert report["transfers"] == sum(row["bytes"] > 0 for row in document["transfers"]) > 0
    assert report["measured_s"] > 0
    assert report["single_device_s"] > 0
    assert trace_reader.read_trace(trace, process="cpu0").ops


def test_schedules_that_do_not_fit(tmp_path: Path, capsys: Capture) -> None:
    path, schedule, document = solved(tmp_path)
    capsys.readouterr()

    def complaint(path: Path, *words: str, schedule: Path = schedule) -> str:
        before = sorted(tmp_path.iterdir())
        words = (*words, "--trace", str(tmp_path / "t.json"))
        assert main(["run", "onnx", str(path), "--schedule", str(schedule), *words]) == 2
        assert sorted(tmp_path.iterdir()) == before
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        return err

    other = nets.saved(nets.two_branches(128, 2, 16), tmp_path, "other.onnx")
    assert "and the schedule was made for branches.onnx of" in complaint(other)
    nameless = tmp_path / "nameless.json"
    nameless.write_text(json.dumps(document).replace("; model: ", "; file: "))
    net = nets.saved(nets.mlp(), tmp_path)
    assert "a schedule of another graph: op 0 of the model" in complaint(
        net, "--dim", "batch=2", schedule=nameless
    )
    assert "unknown device 'gpu9'" in complaint(path, "--map", "gpu9=cpu")
    assert "has no CUDAExecutionProvider here" in complaint(path, "--map", "cpu0=cuda:0")
    assert "the model has no input 'z'" in complaint(path, "--input", "z=2x2")
    text = json.dumps(document).replace("onnxruntime: ", "onnxruntime: 0.").replace("b.0", "b.9")
    older = tmp_path / "older.json"
    older.write_text(text)
    assert "made with ONNX Runtime 0." in complaint(path, schedule=older)


def test_other_inputs_than_those_that_were_profiled(tmp_path: Path, capsys: Capture) -> None:
    path = nets.saved(nets.mlp(), tmp_path)
    graph, schedule = tmp_path / "g.json", tmp_path / "s.json"
    words = ["profile", "onnx", str(path), "--dim", "batch=2", "--time-limit", "1"]
    assert main([*words, "-o", str(graph)]) == 0
    assert main(["solve", str(graph), "--time-limit", "1", "-o", str(schedule)]) == 0
    run = ["run", "onnx", str(path), "--schedule", str(schedule), "--repeats", "1"]
    capsys.readouterr()
    assert main(run) == 0
    assert "profiled with inputs" not in capsys.readouterr().err
    assert main([*run, "--dim", "batch=3"]) == 0
    assert "the graph was profiled with inputs x=2x64:float32" in capsys.readouterr().err


def test_outputs_that_differ_by_chance_say_so(tmp_path: Path, capsys: Capture) -> None:
    """The runtime numbers generators by the nodes of a session, so that a piece has another one."""
    made = nets.model(
        [
            h.make_node("Relu", ["x"], ["a"], name="first"),
            h.make_node("RandomNormalLike", ["a"], ["r"], name="draw"),
            h.make_node("Add", ["a", "r"], ["y"], name="add"),
        ],
        [value("x", [8])],
        [value("y", [8])],
    )
    path = nets.saved(made, tmp_path)
    graph, schedule = tmp_path / "g.json", tmp_path / "s.json"
    words = ["--devices", "2xcpu", "--time-limit", "1", "-o", str(graph)]
    assert main(["profile", "onnx", str(path), *words]) == 0
    document = json.loads(graph.read_text())
    for op in document["models"][0]["ops"]:
        op["devices"] = ["cpu1" if op["id"] == "draw" else "cpu0"]
    graph.write_text(json.dumps(document))
    assert main(["solve", str(graph), "--time-limit", "1", "-o", str(schedule)]) == 0
    assert main(["run", "onnx", str(path), "--schedule", str(schedule), "--repeats", "1"]) == 1
    assert "since op 'draw' draws random numbers" in capsys.readouterr().err


def test_devices_of_a_schedule() -> None:
    assert providers_of(["cpu", "cpu1", "gpu0"], {"gpu0": "cpu"}) == dict.fromkeys(
        ["cpu", "cpu1", "gpu0"], CPU
    )
    with pytest.raises(InputError, match="it is unclear which device of this machine 'fast' is"):
        providers_of(["fast"])
    with pytest.raises(InputError, match="asked for as 2xcpu"):
        providers_of(["a"], {"a": "cpu:1"})


def test_from_python(tmp_path: Path) -> None:
    from talos_opt.frameworks.onnx.profile import profile_model
    from talos_opt.frameworks.onnx.run import run_schedule

    captured = nets.captured(nets.two_branches(64, 2, 8), tmp_path)
    values = draw(captured.specs)
    profile = profile_model(
        captured.source, captured.specs, values, devices=("2xcpu",), max_time_s=1
    )
    result = talos_opt.solve(profile.problem(), time_limit=1)
    report = run_schedule(captured, values, result.to_dict(), repeats=2)
    assert report.outputs_equal
    assert len(report.ops) == len(profile.ops)
    assert all(op.measured_s >= 0 for op in report.ops)
