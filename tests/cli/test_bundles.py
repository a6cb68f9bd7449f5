"""``--bundles``, ``bundles`` in files and schedules, and what other commands make of them."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from talos_opt import formats, read
from talos_opt.cli.main import main

Capture = pytest.CaptureFixture[str]

#: The first layer fits no card; as one, two of them hold it.
GRAPH = """\
schema: talos-graph/1
time_unit: ms
cluster:
  devices:
    - {id: gpu0, kind: gpu, memory: 100}
    - {id: gpu1, kind: gpu, memory: 100}
    - {id: gpu2, kind: gpu, memory: 100}
  links: [{between: [gpu, gpu], latency: 0.5, bandwidth: 20kB/s}]
  bundles: {gpu: {sizes: [1, 2], scaling: {2: 1.6}}}
ops:
  - {id: a, time: {gpu: 4}, memory: {weights: 120, output: 20}, split: true, attrs: {module: m.0}}
  - {id: b, time: {gpu: 4}, memory: {weights: 30, output: 20}, inputs: [a], attrs: {module: m.1}}
"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "g.yaml"
    path.write_text(GRAPH)
    return path


@pytest.fixture
def solved(graph: Path, tmp_path: Path, capsys: Capture) -> Path:
    target = tmp_path / "s.json"
    assert main(["solve", str(graph), "--objective", "makespan", "-o", str(target)]) == 0
    capsys.readouterr()
    return target


def test_a_schedule_names_the_members(solved: Path) -> None:
    document = json.loads(solved.read_text())
    pair = document["bundles"][0]
    assert pair == {"device": "gpu0+gpu1", "members": ["gpu0", "gpu1"], "mode": "tensor"}
    # Half of 4 ms, twice 0.5 ms and 20 bytes at 20 per ms for the sum; the rest goes to gpu2.
    assert document["value"] == 2 + 1 + 1 + 0.5 + 1 + 4
    assert [device["id"] for device in document["made"]["cluster"]["devices"]][:2] == pair[
        "members"
    ]
    assert document["made"]["cluster"]["bundles"] == {
        "gpu": {"sizes": [1, 2], "scaling": {"2": 1.6}}
    }


def test_check_derives_the_same_cluster(graph: Path, solved: Path, capsys: Capture) -> None:
    assert main(["check", str(graph), str(solved)]) == 0
    assert capsys.readouterr().out.startswith("feasible\n")
    document = json.loads(solved.read_text())
    document["bundles"][0]["mode"] = "data"
    solved.write_text(json.dumps(document))
    assert main(["check", str(graph), str(solved)]) == 2  # a is too large for a replica
    document["bundles"] = [{"members": ["gpu0", "gpu7"], "mode": "data"}]
    solved.write_text(json.dumps(document))
    assert main(["check", str(graph), str(solved)]) == 2
    assert "bundles[0].members[1]: 'gpu7' is not a device" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["plot", "-o", "t.svg"], ["explain", "b"], ["pipeline", "--microbatches", "2"],
        ["trace", "-o", "t.json"],
    ],
)  # fmt: skip
def test_other_commands_take_bundles_for_devices(
    command: list[str], graph: Path, solved: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(graph.parent)
    name, *rest = command
    assert main([name, str(graph), str(solved), *rest]) == 0
    captured = capsys.readouterr()
    assert "gpu0+gpu1" in captured.out + "".join(
        path.read_text() for path in graph.parent.glob("t.*")
    )


@pytest.mark.parametrize("form", ["vllm", "deepspeed", "device-map"])
def test_export_refuses_bundles(graph: Path, solved: Path, form: str, capsys: Capture) -> None:
    target = graph.parent / {"vllm": "x.env"}.get(form, "x.json")
    assert main(["export", str(graph), str(solved), "--to", form, "-o", str(target)]) == 2
    assert "devices act as one there (gpu0+gpu1)" in capsys.readouterr().err
    assert not target.exists()


def test_bundles_on_the_command_line(tmp_path: Path, graph: Path, capsys: Capture) -> None:
    graph.write_text(GRAPH.replace("  bundles: {gpu: {sizes: [1, 2], scaling: {2: 1.6}}}\n", ""))
    assert main(["solve", str(graph)]) == 2
    assert "a needs 140 B" in capsys.readouterr().err
    target = tmp_path / "s.npz"
    assert main(["solve", str(graph), "--bundles", "gpu=1,2:tensor", "-o", str(target)]) == 0
    assert "gpu.tensor2" in capsys.readouterr().out
    assert main(["check", str(graph), str(target)]) == 0
    again = ["solve", str(graph), "--bundles", "all", "--warm-start", str(target), "--json"]
    capsys.readouterr()
    assert main(again) == 0
    assert json.loads(capsys.readouterr().out)["bundles"][0]["mode"] == "tensor"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gpu=x", "'gpu=x' is not of the form KIND=SIZE,SIZE:MODE,MODE"),
        ("=2", "'=2' is not of the form"),
        ("gpu=0", "error: bundles.gpu.sizes[0]: a size is 0"),
        ("gpu=4", "bundles.gpu.sizes: a bundle of 4 is larger than the group: there are 3"),
        ("tpu=2", "'tpu' is not a kind of device, expected one of gpu"),
        (
            "gpu=2:pipe",
            "error: bundles.gpu.modes[0]: a mode is 'pipe', expected one of data, tensor",
        ),
        ("gpu=2", "3 equal device(s) of kind gpu cannot be divided into bundles of 2"),
    ],
)
def test_mistakes_on_the_command_line(
    graph: Path, given: str, message: str, capsys: Capture
) -> None:
    try:
        code = main(["solve", str(graph), "--bundles", given])
    except SystemExit as ended:  # argparse
        code = int(ended.code or 0)
    assert code == 2
    captured = capsys.readouterr().err
    assert message in captured
    assert "Traceback" not in captured


def test_rules_for_bundles_are_no_other_cluster(tmp_path: Path, capsys: Capture) -> None:
    graph, target = tmp_path / "g.yaml", tmp_path / "s.json"
    graph.write_text(GRAPH.replace("weights: 120", "weights: 20"))  # one card is enough
    argv = ["solve", str(graph), "--objective", "makespan", "--bundles", "gpu=1", "-o", str(target)]
    assert main(argv) == 0
    assert "bundles" not in json.loads(target.read_text())
    capsys.readouterr()
    assert main(["check", str(graph), str(target)]) == 0
    assert capsys.readouterr().err == ""


def test_rules_are_those_of_the_recorded_cluster(
    tmp_path: Path, graph: Path, capsys: Capture
) -> None:
    # On the graph's own cluster of one card, the rules for bundles that are recorded fit nothing.
    head, rest = GRAPH.split("cluster:\n")
    cluster, ops = rest.split("ops:\n")
    graph.write_text(f"{head}cluster: {{devices: [{{id: gpu0, kind: gpu}}]}}\nops:\n{ops}")
    three, target = tmp_path / "three.yaml", tmp_path / "s.json"
    three.write_text("schema: talos-cluster/1\n" + textwrap.dedent(cluster))
    argv = ["--cluster", str(three), "--objective", "makespan"]
    assert main(["solve", str(graph), *argv, "-o", str(target)]) == 0
    capsys.readouterr()
    assert main(["check", str(graph), str(target)]) == 0
    assert "cluster as recorded there" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["yaml", "json", "npz"])
def test_files_keep_bundles_and_split_ops(graph: Path, tmp_path: Path, suffix: str) -> None:
    problem = read(graph)
    target = tmp_path / f"again.{suffix}"
    formats.write_problem(problem, target)
    found = read(target)
    assert found.cluster == problem.cluster
    assert [op.split for op in found.ops] == [True, False]
