"""The examples run as their texts say."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from talos_opt.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
FIG1 = ROOT / "models" / "fig1.yaml"

#: Six tasks between two dummy ones, as files of the Standard Task Graph Set have them.
STG = """6
0 0 0
1 5 1 0
2 4 1 0
3 3 1 1
4 6 2 1 2
5 2 2 3 4
6 1 1 5
7 0 1 6
"""


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(folder: Path, *argv: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run an example in a folder of its own."""
    script, *arguments = map(str, argv)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_every_example_is_listed_and_run() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    listed = re.findall(r"^\| \[([\w.]+)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert files == set(listed)
    here = Path(__file__).read_text()
    assert all(f'"{name}"' in here for name in files)


@needs("matplotlib")
def test_a_heuristic_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "six.stg").write_text(STG)
    graphs = ["six.stg", FIG1]
    shown = run(
        tmp_path, "own_heuristic.py", *graphs, "--time-limit", "1", "--plot", "r.png"
    ).stdout
    checked, header, *rows, means, written = shown.splitlines()
    assert checked.startswith("40 random problems: {")
    names = header.removeprefix("value / best").split()
    assert names == ["single", "sequential", "heft", "clustering", "auto"]
    assert [row.split()[0] for row in rows] == ["six", "fig1"]
    for row in rows:
        ratios = dict(zip(names, map(float, row.split()[1:]), strict=True))
        assert min(ratios.values()) == ratios["auto"] == 1
    assert means.startswith("geometric mean")
    assert written == "written to r.png"
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


@needs("torch", "transformers", "accelerate")
def test_a_transformers_model_over_two_cards(tmp_path: Path) -> None:
    shown = run(
        tmp_path, "two_cards_transformers.py", "--time-limit", "0.5", "-o", "map.json"
    ).stdout
    steps = dict(re.findall(r"^(\w+) +([\d.]+) ms a step, fits", shown, re.MULTILINE))
    assert 0 < float(steps["talos_opt"]) <= float(steps["accelerate"])
    device_map = json.loads((tmp_path / "map.json").read_text())
    assert {0, 1} <= set(device_map.values())


@needs("torch")
def test_a_pipeline_of_processes(tmp_path: Path) -> None:
    shown = run(tmp_path, "pipeline_processes.py", "--seconds", "1", "--microbatches", "2").stdout
    assert "outputs equal: True, gradients equal: True" in shown
    assert re.search(r"^cpu0: embed, .*\ncpu1: .*head$", shown, re.MULTILINE), shown


def test_a_nightly_step(tmp_path: Path) -> None:
    step = ["nightly.py", FIG1, "--folder", "plans", "--time-limit", "2"]
    first, second = (json.loads(run(tmp_path, *step).stdout) for _ in range(2))
    assert (first["value"], first["before"], first["replaced"]) == (9, None, True)
    assert (second["value"], second["before"], second["replaced"]) == (9, 9, False)
    assert main(["check", str(FIG1), str(tmp_path / first["plan"])]) == 0
    kept = sorted(path.name for path in (tmp_path / "plans").iterdir())
    assert kept == ["fig1.json", "run.log"]
    records = [json.loads(line) for line in (tmp_path / "plans" / "run.log").open()]
    assert [record["exit_code"] for record in records if record["event"] == "exit"] == [0, 0]


def test_a_nightly_step_that_fails(tmp_path: Path) -> None:
    small = tmp_path / "small.yaml"
    small.write_text(
        "schema: talos-graph/1\n"
        "cluster: {devices: [{id: gpu0, kind: gpu, memory: 1GiB}]}\n"
        "ops: [{id: a, time: {gpu: 1}, memory: 700MiB}, {id: b, time: {gpu: 1}, memory: 700MiB}]\n"
    )
    for graph, code, words in (
        (small, 1, "short by"),
        (tmp_path / "absent.yaml", 2, "absent.yaml"),
    ):
        done = run(tmp_path, "nightly.py", graph, "--time-limit", "1", code=code)
        assert words in done.stderr
        assert "try again" not in done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "plans" / "small.json").exists()


def test_a_stand_in_for_a_gguf_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(tmp_path, "gguf_stand_in.py", "m.gguf", "--layers", "4").stdout
    path, graph = tmp_path / "m.gguf", tmp_path / "graph.yaml"
    said = re.search(r"a hole of ([\d.]+) GiB", shown)
    assert said is not None
    assert float(said[1]) == pytest.approx(path.stat().st_size / 2**30, abs=0.01)
    profile = ["profile", "llm", str(path), "--devices", "4GiB:rtx-4060,cpu=ryzen-7950x"]
    assert main([*profile, "--context", "4096", "-o", str(graph)]) == 0
    assert "4 layers" in capsys.readouterr().out


@needs("matplotlib")
def test_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run its cells; what ends a cell can be shown."""
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "camera.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    names: dict[str, Any] = {}
    shown = [run_cell("".join(cell["source"]), names) for cell in cells]
    plt.close("all")
    assert repr(shown[0]).startswith("Problem('camera'")
    assert "<img" in shown[1]._repr_html_()
    assert len(names["figure"].axes) >= 2
    assert names["advice"].helped
    assert main(["check", "camera.yaml", "plan.json"]) == 0


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Execute a cell; return the value of the expression at its end, if it ends with one."""
    tree = ast.parse(source)
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body.pop()
    exec(compile(tree, "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return None
