"""``talos-opt trace`` and ``talos-opt speedups``: files in, files and tables out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from talos_opt.cli.main import main
from tests.cli.process import FIG1, run
from tests.cli.test_startup import HEAVY, imported_by


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fig1") / "schedule.json"
    assert main(["solve", str(FIG1), "--solver", "heft", "-o", str(path)]) == 0
    return path


def trace_file(folder: Path, name: str, *ops: tuple[str, float]) -> Path:
    events, at = [], 0.0
    for op, time in ops:
        events.append(
            {"ph": "X", "cat": "cpu_op", "name": op, "pid": 1, "tid": 1, "ts": at, "dur": time}
        )
        at += time
    path = folder / name
    path.write_text(json.dumps({"traceEvents": events}))
    return path


def test_a_schedule_becomes_a_trace(
    solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    target = tmp_path / "trace.json.gz"
    assert main(["trace", str(FIG1), str(solved), "-o", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}: 6 ops, 0 transfers, 2 devices\n"
    document = json.loads(gzip.decompress(target.read_bytes()))
    assert document["otherData"] == {"graph": "fig1", "time_unit": "ms", "by": "talos_opt"}
    bars = [event for event in document["traceEvents"] if event["ph"] == "X"]
    assert sum(event["cat"].startswith("op,") for event in bars) == 6
    path = [event for event in bars if event["cat"] == "critical"]
    assert max(event["ts"] + event["dur"] for event in path) == max(
        event["ts"] + event["dur"] for event in bars
    )


def test_a_trace_on_standard_output_is_all_that_is_there(solved: Path) -> None:
    done = run("trace", FIG1, solved, "-o", "-")
    assert done.returncode == 0
    assert json.loads(done.stdout)["displayTimeUnit"] == "ms"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("target", "complaint"), [("trace.txt", "suffix '.txt'"), ("no/trace.json", "no folder")]
)
def test_a_target_that_cannot_be_written(
    solved: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    target: str,
    complaint: str,
) -> None:
    assert main(["trace", str(FIG1), str(solved), "-o", str(tmp_path / target)]) == 2
    assert complaint in capsys.readouterr().err


def test_a_schedule_of_another_graph(
    solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = FIG1.with_name("mix_serving.yaml")
    assert main(["trace", str(other), str(solved), "-o", str(tmp_path / "t.json")]) == 2
    assert "time_unit is 'ms', expected that of the graph, 'us'" in capsys.readouterr().err


def test_speedups_print_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cpu = trace_file(tmp_path, "cpu.json", ("conv", 80), ("pack", 10), ("relu", 10))
    gpu = trace_file(tmp_path, "gpu.json", ("conv", 8), ("relu", 20))
    assert main(["speedups", str(cpu), str(gpu)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[0] == "2 ops aligned, speedup 3.214"  # 90 / 28
    assert lines[1] == f"reference  {cpu}: 3 ops, 100 us, 90 % of it aligned"
    assert lines[2] == f"other      {gpu}: 2 ops, 28 us, 100 % of it aligned"
    assert [line.split() for line in lines[4:7]] == [
        ["op", "type", "count", "reference", "other", "speedup", "spread"],
        ["conv", "1", "80", "us", "8", "us", "10", "0", "%"],
        ["relu", "1", "10", "us", "20", "us", "0.5", "0", "%"],
    ]
    assert lines[7:] == ["only on the reference: pack x 1 (10 us)"]


def test_speedups_as_json_and_as_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cpu = trace_file(tmp_path, "cpu.json", ("conv", 80), ("relu", 10))
    gpu = trace_file(tmp_path, "gpu.json", ("conv", 8), ("relu", 20))
    target = tmp_path / "speedups.json"
    argv = ["speedups", str(cpu), str(gpu), "--json", "-o", str(target), "--top", "1"]
    assert main(argv) == 0
    document = json.loads(capsys.readouterr().out)
    assert json.loads(target.read_text()) == document
    assert [row["name"] for row in document["types"]] == ["conv", "relu"]
    assert document["types"][0]["speedup"] == 10
    assert document["reference"]["trace"] == str(cpu)
    assert document["other"]["coverage"] == 1
    assert [pair["speedup"] for pair in document["pairs"]] == [10, 0.5]


def test_top_says_how_many_are_hidden(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cpu = trace_file(tmp_path, "cpu.json", ("conv", 80), ("relu", 10))
    assert main(["speedups", str(cpu), str(cpu), "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert "relu" not in out
    assert out.endswith("and 1 more op types\n")


def test_our_own_traces_are_compared_by_process(
    solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "trace.json"
    assert main(["trace", str(FIG1), str(solved), "-o", str(target)]) == 0
    assert main(["speedups", str(target), str(target)]) == 2
    assert "expected one: name the process" in capsys.readouterr().err
    each = ["--reference-process", "gpu0", "--other-process", "gpu0"]
    assert main(["speedups", str(target), str(target), *each]) == 0
    assert "speedup 1\n" in capsys.readouterr().out
    apart = ["--reference-process", "cpu0", "--other-process", "gpu0"]
    assert main(["speedups", str(target), str(target), *apart]) == 0
    captured = capsys.readouterr()
    assert "0 ops aligned, speedup -" in captured.out
    assert captured.err == "note: the traces have no op in common\n"


def stepped(folder: Path, *times: float) -> Path:
    events, at = [], 0.0
    for k, time in enumerate(times):
        common = {"ph": "X", "pid": 1, "tid": 1, "ts": at}
        mark = {"cat": "user_annotation", "name": f"ProfilerStep#{k + 2}", "dur": time + 2}
        events += [common | mark, common | {"cat": "cpu_op", "name": "conv", "dur": time}]
        at += time + 2
    path = folder / "steps.json"
    path.write_text(json.dumps({"traceEvents": events}))
    return path


def test_times_are_those_of_a_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, plain = stepped(tmp_path, 90, 20, 10), trace_file(tmp_path, "one.json", ("conv", 20))
    assert main(["speedups", str(path), str(plain)]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "1 ops aligned, speedup 2"
    assert lines[1] == f"reference  {path}: 1 ops, 40 us a step, 100 % of it aligned"
    assert lines[2].split() == [
        "means",
        "over",
        "3",
        "steps,",
        "ProfilerStep#2",
        "to",
        "ProfilerStep#4",
    ]
    assert captured.err == (
        f"note: {path}: the first step, ProfilerStep#2, looks like warm-up: its ops took 6 times "
        "the median of the others; --skip-steps 1 leaves it out\n"
    )
    assert main(["speedups", str(path), str(plain), "--skip-steps", "1", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["reference"]["total_us"] == 15
    assert [row["ops_us"] for row in document["reference"]["steps"]] == [20, 10]
    assert captured.err.count("looks like warm-up") == 1  # 20 is twice 10
    assert f"{plain}: it marks no steps: none is left out" in captured.err
    assert main(["speedups", str(path), str(plain), "--skip-steps", "3"]) == 2
    assert f"{path}: has 3 steps, of which 3 are to be left out" in capsys.readouterr().err


def test_kernels_from_outside_and_waiting_are_in_the_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host, gpu = {"ph": "X", "pid": 1, "tid": 1}, {"ph": "X", "pid": 0, "tid": 0, "cat": "kernel"}
    events = [
        host | {"cat": "cpu_op", "name": "conv", "ts": 0, "dur": 10, "args": {"External id": 1}},
        gpu | {"name": "k", "ts": 4, "dur": 6, "args": {"External id": 1}},
        gpu | {"name": "k", "ts": 10, "dur": 2, "args": {"External id": 9}},
        {**gpu, "cat": "npu_op", "name": "k", "ts": 20, "dur": 5},
    ]
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({"traceEvents": events}))
    assert main(["speedups", str(path), str(path)]) == 0
    captured = capsys.readouterr()
    lines = [line.strip() for line in captured.out.splitlines()[2:4]]
    assert lines == [
        "device idle 33.33 % of the time, 33.33 % while the host was launching",
        "25 % of the kernels' time was launched outside the trace",
    ]
    assert "1 events of npu (npu_op, 5 us) are linked to no op, and do not count" in captured.err


def test_a_broken_trace_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = trace_file(tmp_path, "good.json", ("conv", 1))
    bad = trace_file(tmp_path, "bad.json", ("conv", -1))
    assert main(["speedups", str(good), str(bad)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {bad}: traceEvents[0]: 'conv' takes -1 us")
    assert main(["speedups", str(good), str(tmp_path / "none.json")]) == 2


def test_nothing_heavy_is_loaded(tmp_path: Path) -> None:
    trace = trace_file(tmp_path, "t.json", ("conv", 1))
    argv = ["speedups", str(trace), str(trace)]
    modules = imported_by(f"from talos_opt.cli.main import main\nassert main({argv}) == 0")
    assert modules & set(HEAVY) == set()
