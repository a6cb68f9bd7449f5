"""``solve``: what is printed and written, what the arguments change, and the exit codes."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from talos_opt import gain
from talos_opt.cli.main import main
from talos_opt.core.config import config_names
from talos_opt.core.errors import SolverError
from talos_opt.core.result import Result
from talos_opt.reports.texts import summary
from tests.cli.process import FIG1, ROOT, run

Capture = pytest.CaptureFixture[str]

INFEASIBLE = """
schema: talos-graph/1
name: full
cluster: {devices: [{id: gpu0, kind: gpu, memory: 1MiB}]}
ops:
  - {id: a, time: {gpu: 1}, memory: {weights: 700KiB}}
  - {id: b, time: {gpu: 1}, memory: {weights: 700KiB}}
"""


def solve(*argv: object) -> int:
    return main(["solve", *map(str, argv)])


def solve_json(capsys: Capture, *argv: object) -> dict[str, object]:
    assert solve(*argv, "--json") == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def test_fig1_for_a_person(capsys: Capture, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    assert solve(FIG1, "-o", answer) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("fig1: optimal; solver auto")
    assert "toct         9 ms (weighted sum of completion times)" in lines
    assert "lower bound  9 ms, gap 0 %" in lines
    assert "makespan 4.5 ms" in captured.out
    assert "weighted speedup 1.722 over cpu" in captured.out
    cpu = next(line.split() for line in lines if line.startswith("cpu0"))
    assert cpu == ["cpu0", "cpu", "3", "4.5", "ms", "0", "ms", "0", "B", "no", "limit"]
    assert lines[-1] == f"written to {answer}"
    assert captured.err == ""
    assert json.loads(answer.read_text())["value"] == 9.0


def test_json_is_the_schedule_document(capsys: Capture) -> None:
    document = solve_json(capsys, FIG1)
    assert document["schema"] == "talos-schedule/1"
    assert (document["status"], document["value"], document["lower_bound"]) == ("optimal", 9, 9)
    assert document["seed"] == 0
    assert len(document["ops"]) == 6  # type: ignore[arg-type]


def test_json_says_what_it_gains_and_where_modules_are(capsys: Capture, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    document = solve_json(capsys, FIG1, "-o", answer)
    assert document["gains"] == {
        "single": 18.5, "single_device": "gpu0", "over_single": 18.5 / 9,
        "sequential": 18.5, "over_sequential": 18.5 / 9,
    }  # fmt: skip
    rows: Any = document["modules"]
    assert sum(row["ops"] for row in rows) == 6
    assert {row["module"] for row in rows} == {"m1", "m2"}
    assert not {"gains", "modules"} & json.loads(answer.read_text()).keys()


def test_another_solver_than_auto_is_compared_too(capsys: Capture) -> None:
    assert solve(FIG1, "--solver", "dp") == 0
    assert "gain         2.06x as fast as the best single device (gpu0), 2.06x" in (
        capsys.readouterr().out
    )


def test_a_gain_that_is_not_defined_is_not_told(capsys: Capture, tmp_path: Path) -> None:
    graph = tmp_path / "split.yaml"  # no device runs both ops
    graph.write_text(
        "schema: talos-graph/1\nname: split\n"
        "cluster: {devices: [{id: cpu0, kind: cpu}, {id: gpu0, kind: gpu}]}\n"
        "ops:\n  - {id: a, time: {gpu: 1}}\n  - {id: b, time: {cpu: 1}}\n"
    )
    assert solve(graph) == 0
    text = capsys.readouterr().out
    assert "gain         as fast as filling the devices in order\n" in text
    assert "single device" not in text


def test_what_compares_keeps_to_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    from talos_opt.cli import solve as command

    limits: list[float] = []
    real = gain.solve

    def solved(*args: Any, time_limit: float, **kwargs: Any) -> Result:
        limits.append(time_limit)
        return real(*args, time_limit=time_limit, **kwargs)

    monkeypatch.setattr(gain, "solve", solved)
    assert solve(FIG1, "--solver", "heft", "--time-limit", 2) == 0
    assert limits == [0.2, 0.2]  # and not once more
    limits.clear()
    assert solve(FIG1, "--solver", "heft", "--time-limit", 100) == 0
    assert limits == [command.COMPARED_S] * 2
    limits.clear()
    monkeypatch.setattr(command, "MOST_COMPARED", 5)
    assert solve(FIG1, "--solver", "heft") == 0
    assert limits == []


def test_json_says_where_the_time_goes_as_explain_does(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = tmp_path / "answer.json"
    told = solve_json(capsys, FIG1, "-o", answer)["breakdown"]
    assert "breakdown" not in json.loads(answer.read_text())
    assert main(["explain", str(FIG1), str(answer), "--json"]) == 0
    assert told == json.loads(capsys.readouterr().out)
    monkeypatch.setattr(summary, "MOST_ACTIVITIES", 5)
    assert "breakdown" not in solve_json(capsys, FIG1)


@pytest.mark.parametrize("name", ["answer.yaml", "answer.json", "answer.json.gz"])
def test_the_suffix_chooses_the_format(tmp_path: Path, name: str) -> None:
    answer = tmp_path / name
    assert solve(FIG1, "-o", answer) == 0
    data = answer.read_bytes()
    text = gzip.decompress(data).decode() if name.endswith(".gz") else data.decode()
    load: Callable[[str], dict[str, object]] = yaml.safe_load if "yaml" in name else json.loads
    assert load(text)["value"] == 9
    assert list(tmp_path.iterdir()) == [answer]  # nothing is left beside it


def test_the_graph_may_come_from_standard_input(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = io.TextIOWrapper(io.BytesIO(FIG1.read_bytes()))
    monkeypatch.setattr("sys.stdin", text)
    assert solve_json(capsys, "-")["value"] == 9


@pytest.mark.notes(r"consolidated: ")
@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--objective", "makespan"], {"objective": "makespan", "value": 4.5}),
        (["--solver", "aswm"], {"solver": "aswm", "value": 12.5}),
        (["--seed", "5"], {"seed": 5}),
        (["--config", "talos-paper"], {"solver": "talos", "value": 9.0}),
        (["--worth", "99%"], {"status": "optimal", "value": 9.0}),
        (["--worth", "150%"], {"status": "feasible", "value": 18.5}),
        (["--config", "throughput"], {"solver": "auto", "objective": "bottleneck"}),
        (["--config", "throughput", "--objective", "toct"], {"objective": "toct", "value": 9.0}),
        (["--config", "talos-paper", "--solver", "tsam"], {"solver": "tsam", "value": 11.5}),
    ],
)
def test_arguments_and_configurations(
    capsys: Capture, argv: list[str], expected: dict[str, object]
) -> None:
    document = solve_json(capsys, FIG1, *argv)
    assert {name: document[name] for name in expected} == expected


def test_the_help_names_the_configurations_there_are(capsys: Capture) -> None:
    assert solve("--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert ", ".join(config_names()) in ", ".join(
        sorted(text.partition("one of ")[2].partition(" --warm-start")[0].split(", "))
    )


def test_another_cluster(capsys: Capture, tmp_path: Path) -> None:
    cluster = tmp_path / "two.yaml"
    cluster.write_text("devices: [{id: big, kind: cpu}]\n")
    document = solve_json(capsys, FIG1, "--cluster", cluster)
    assert {op["device"] for op in document["ops"]} == {"big"}  # type: ignore[attr-defined]


def test_a_warm_start_is_never_lost(capsys: Capture, tmp_path: Path) -> None:
    best = tmp_path / "best.json"
    assert solve(FIG1, "-o", best) == 0
    capsys.readouterr()
    document = solve_json(capsys, FIG1, "--solver", "single", "--warm-start", best)
    assert document["value"] == 9
    assert solve(FIG1, "--solver", "single", "--json") == 0
    assert json.loads(capsys.readouterr().out)["value"] > 9


def test_the_memory_rule(capsys: Capture, tmp_path: Path) -> None:
    graph = tmp_path / "chain.yaml"
    graph.write_text(
        "schema: talos-graph/1\ncluster: {devices: [{id: gpu0, kind: gpu, memory: 250}]}\n"
        "ops:\n  - {id: a, time: {gpu: 1}, memory: {output: 100}}\n"
        "  - {id: b, time: {gpu: 1}, memory: {output: 100}, inputs: [a]}\n"
        "  - {id: c, time: {gpu: 1}, memory: {output: 100}, inputs: [b]}\n"
    )
    assert solve(graph, "--memory-rule", "static") == 1
    captured = capsys.readouterr()
    assert "50 bytes" in captured.err
    assert solve(graph, "--memory-rule", "peak") == 0
    assert "memory (peak)" in capsys.readouterr().out


def test_infeasible_is_one_with_the_reason(capsys: Capture, tmp_path: Path) -> None:
    graph, answer = tmp_path / "full.yaml", tmp_path / "answer.json"
    graph.write_text(INFEASIBLE)
    assert solve(graph, "-o", answer, "--json") == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("infeasible: ")
    assert "short by" in captured.err
    for document in (json.loads(captured.out), json.loads(answer.read_text())):
        assert document["status"] == "infeasible"
        assert document["ops"] == []
        assert document["value"] is None
        assert "short by" in document["reason"]


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--solver", "cpsatt"], "unknown solver 'cpsatt' (did you mean 'cpsat'?)"),
        (["--config", "quick"], "no configuration is called 'quick'"),
        (["--config", "nowhere/quick.yaml"], "nowhere/quick.yaml: cannot be read"),
        (["--cluster", "nowhere.yaml"], "nowhere.yaml"),
        (["--warm-start", "nowhere.json"], "nowhere.json"),
        (["--option", "talos.bach=4"], "options.talos.bach: unknown option 'bach'"),
        (["--option", "tallos.batch=4"], "unknown solver 'tallos'"),
        (["--worth", "much"], "'much' is not a share of at least 0, such as 0.5%"),
        (["--worth=-1%"], "'-1%' is not a share of at least 0"),
        (["--from", "onnx"], "onnx"),
        (["-o", "nowhere/answer.json"], "there is no folder nowhere"),
        (["-o", "/"], "is a folder, expected a file"),
        (["-o", "answer.txt"], "answer.txt"),
    ],
)
def test_bad_arguments_are_two_with_one_message(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    argv: list[str], complaint: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    argv = ["--solver", "talos", *argv] if "--option" in argv else argv
    assert solve(FIG1, *argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert complaint in captured.err
    assert list(tmp_path.iterdir()) == []


def cut(text: str) -> str:
    return text[: text.rindex("op6") + 8]


def bomb() -> str:
    lines = ["schema: talos-graph/1", "a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    return "\n".join(lines)


BAD_GRAPHS = {
    "unknown key": (FIG1.read_text().replace("weight", "w") + "wieght: 1\n", "wieght"),
    "unknown op key": (FIG1.read_text().replace("inputs: [op1]", "input: [op1]"), "input"),
    "cycle": (FIG1.read_text().replace("{id: op1,", "{id: op1, inputs: [op3],"), "cycle"),
    "missing input": (FIG1.read_text().replace("[op2]", "[op9]"), "op9"),
    "nan": (FIG1.read_text().replace("cpu: 5,", "cpu: .nan,"), "nan"),
    "negative": (FIG1.read_text().replace("cpu: 5,", "cpu: -5,"), "-5"),
    "zero bandwidth": (
        FIG1.read_text().replace(
            "models:", "  links: [{between: [cpu, gpu], latency: 0, bandwidth: 0}]\nmodels:", 1
        ),
        "bandwidth",
    ),
    "no device": (FIG1.read_text().replace("{cpu: 5, gpu: 1}", "{tpu: 1}"), "op1"),
    "unit": (FIG1.read_text().replace("gpu: 1}}", "gpu: 1}, memory: 5 parsecs}", 1), "parsecs"),
    "empty": ("", "empty"),
    "cut": (cut(FIG1.read_text()), "YAML"),
    "no graph": ("- 1\n- 2\n", "list"),
    "bomb": (bomb(), "alias"),
    "schema": (FIG1.read_text().replace("talos-graph/1", "talos-graph/9"), "talos-graph/9"),
}


@pytest.mark.parametrize("case", BAD_GRAPHS)
def test_a_bad_graph_is_two_with_one_message(capsys: Capture, tmp_path: Path, case: str) -> None:
    text, complaint = BAD_GRAPHS[case]
    graph = tmp_path / "bad.yaml"
    graph.write_text(text)
    assert solve(graph) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {graph}")
    assert captured.err.count("\n") == 1
    assert complaint in captured.err
    assert len(captured.err) < 1000


def test_no_graph_at_all(capsys: Capture, tmp_path: Path) -> None:
    binary = tmp_path / "graph.yaml"
    binary.write_bytes(bytes(range(256)) * 4)
    for graph in (binary, tmp_path, tmp_path / "missing.yaml"):
        assert solve(graph) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith(f"error: {graph}")
        assert captured.err.count("\n") == 1


def test_bad_input_as_a_process_has_no_traceback() -> None:
    done = run("solve", ROOT / "Makefile")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_failed_write_prints_the_schedule_instead(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("talos_opt.formats.target._replace", fail)
    assert solve(FIG1, "-o", tmp_path / "answer.json") == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["value"] == 9
    assert "No space left on device" in captured.err


def test_a_backend_that_fails_has_a_code_of_its_own(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise SolverError("CP-SAT died")

    monkeypatch.setattr("talos_opt.api.solve", fail)
    assert solve(FIG1) == 3
    assert capsys.readouterr().err.endswith("error: CP-SAT died\n")


def test_a_bug_is_told_without_a_traceback(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("somewhere inside")

    monkeypatch.delenv("TALOS_OPT_DEBUG", raising=False)
    monkeypatch.setattr("talos_opt.api.solve", fail)
    assert solve(FIG1) == 70
    captured = capsys.readouterr()
    assert "internal error: ZeroDivisionError: somewhere inside" in captured.err
    assert "report" in captured.err
    assert "Traceback" not in captured.err
    monkeypatch.setenv("TALOS_OPT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        solve(FIG1)
