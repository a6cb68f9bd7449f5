"""``analyze``: tables, JSON, figures, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from talos_opt.analysis import affinity
from talos_opt.cli.main import main
from tests.cli.process import FIG1, ROOT
from tests.cli.process import run as run_process
from tests.formats.samples import SHARED

Capture = pytest.CaptureFixture[str]

PROFILES = SHARED / "talos" / "op_type_profiles.csv"


def analyze(*argv: object) -> int:
    return main(["analyze", *map(str, argv)])


def document(capsys: Capture, *argv: object) -> dict[str, Any]:
    assert analyze(*argv, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_tables_of_fig1(capsys: Capture) -> None:
    assert analyze(FIG1, "--top", 1) == 0
    out, err = capsys.readouterr()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:2] == ["fig1: 2 models, 6 ops", "speedup = time on cpu / time on gpu"]
    assert "m1 3 0 3 9 ms 6 ms 1.5 33.33 % 11.11 % 50 %" in lines
    assert "m1 speedup 0.3333 0.45 0.9167 1.5 3.25 4.65 5" in lines
    assert "m1: the 1 op that cost most" in lines
    assert "op1 5 ms 1 ms 5 55.56 %" in lines
    assert not any(line.startswith("op3 ") for line in lines)
    assert "m1 m2 0 0 % inf 0.636 7.667 inf" in lines
    assert (
        "model ops 0.3-3.33, 10 ms 0.5-2, 10 ms 0.7-1.43, 10 ms 0.5-2, 5 ms 0.5-2, 20 ms" in lines
    )
    assert "m2 3 2 2 3 2 2" in lines
    assert err == ""


def test_json_of_fig1(capsys: Capture) -> None:
    told = document(capsys, FIG1, "--sv", "0.5-2,0.1-9", "--tv", "3,9")
    assert (told["graph"], told["time_unit"], told["reference"], told["other"]) == (
        "fig1",
        "ms",
        "cpu",
        "gpu",
    )
    first = told["models"][0]
    assert (first["reference_total"], first["other_total"], first["speedup"]) == (9, 6, 1.5)
    assert [op["op"] for op in first["costliest"]] == ["op1", "op3", "op2"]
    assert first["ops"][1] == {
        "op": "op2", "type": "", "reference": 1, "other": 3, "speedup": pytest.approx(1 / 3)
    }  # fmt: skip
    (pair,) = told["pairs"]
    assert (pair["models"], pair["common"], pair["affinity"]) == (["m1", "m2"], [], "inf")
    # Speedups 5, 1/3, 3/2 and 1, 3, 1/2, op by op.
    assert pair["talos_difference"] == pytest.approx(4 + 8 / 3 + 1)
    assert pair["talos_affinity"] == "inf"
    assert [(row["sv"], row["tv"]) for row in told["packing"]] == [
        ([0.5, 2], 3),
        ([0.5, 2], 9),
        ([0.1, 9], 3),
        ([0.1, 9], 9),
    ]
    assert told["packing"][3]["left"] == {"m1": 2, "m2": 2}


def test_the_file_is_what_json_prints(capsys: Capture, tmp_path: Path) -> None:
    told = document(capsys, FIG1, "-o", tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == told


def test_models_reference_and_other(capsys: Capture) -> None:
    told = document(capsys, FIG1, "--models", "*2", "--reference", "gpu0", "--other", "cpu")
    assert [model["model"] for model in told["models"]] == ["m2"]
    assert told["models"][0]["ops"][1]["speedup"] == pytest.approx(1 / 3)
    assert told["pairs"] == []
    assert set(told["packing"][0]["left"]) == {"m2"}


def test_undefined_numbers_are_null(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("operator,model,cpu_total,gpu_total\na,x,1,\nb,x,,2\na,y,1,0\n")
    told = document(capsys, path)
    assert [model["speedup"] for model in told["models"]] == [None, None]
    assert told["models"][0]["ops"][1]["reference"] is None
    assert told["pairs"][0]["distance"] is None
    assert told["pairs"][0]["common"] == ["a"]
    assert told["packing"] == []  # a table has no edges
    assert analyze(path) == 0
    assert "ops left" not in capsys.readouterr().out


def test_figures(capsys: Capture, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "new" / "plots"
    assert analyze(FIG1, "--plots", folder) == 0
    names = {"affinities", "distributions", "speedups-m1", "speedup-times-m1"}
    names |= {"speedups-m2", "speedup-times-m2"}
    assert {path.name for path in folder.iterdir()} == {
        name + suffix for name in names for suffix in (".png", ".svg")
    }
    assert f"6 figures drawn into {folder}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--models", "m1,x*"], "no model matches 'x*', expected one of m1, m2"),
        (["--other", "tpu"], "other is 'tpu', expected a device kind or id of cpu, gpu, cpu0"),
        (["--reference", "gpu"], None),
        (["--reference", "gpu", "--other", "gpu0"], "are the same device, expected two"),
        (["--sv", "2-3"], "'2-3' is not a range LOW-HIGH with 0 < LOW <= 1 <= HIGH"),
        (["--sv", "0.5"], "'0.5' is not a range LOW-HIGH"),
        (["--sv", "0.5-inf"], "'0.5-inf' is not a range LOW-HIGH"),
        (["--tv", "5,0"], "'0' is not a time above 0"),
        (["--tv", "nan"], "'nan' is not a time above 0"),
        (["--top", "0"], "'0' is not a whole number of at least 1"),
        (["-o", "a.txt"], "a.txt: suffix '.txt' is unknown"),
        (["--plots", str(FIG1)], "is a file, expected a folder for the figures"),
        (["--plots", str(FIG1 / "x")], "cannot be written to: Not a directory"),
        (["--from", "x"], "no format is called 'x'"),
    ],
)
def test_what_it_refuses(capsys: Capture, argv: list[str], expected: str | None) -> None:
    assert analyze(FIG1, *argv) == (0 if expected is None else 2)
    out, err = capsys.readouterr()
    if expected is None:
        assert err == ""
    else:
        assert err.startswith("error: ")
        assert expected in err
        assert err.count("\n") == 1
        assert out == ""


def test_without_matplotlib(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert analyze(FIG1, "--plots", tmp_path / "p") == 2
    assert "pip install matplotlib" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()
    assert analyze(FIG1) == 0  # tables need none


def test_in_a_pipe_nothing_but_json_on_standard_output() -> None:
    done = run_process("analyze", "-", "--json", text=(ROOT / "models" / "fig1.yaml").read_text())
    assert done.returncode == 0
    assert json.loads(done.stdout)["graph"] == "fig1"
    assert done.stderr == ""


@pytest.mark.skipif(not PROFILES.exists(), reason="the Talos profiles (../shared/data) are absent")
def test_published_profiles(capsys: Capture) -> None:
    told = document(capsys, PROFILES, "--from", "speedup-csv", "--models", "pytorch_toplevel:*")
    models = {model["model"].partition(":")[2]: model for model in told["models"]}
    assert len(models) == 7
    resnet = models["resnet50"]
    assert resnet["op_types"] == 54
    assert round(resnet["slower_ops"] * 54) == 25
    total = [sum(op[side] for op in resnet["ops"]) for side in ("reference", "other")]
    assert resnet["speedup"] == pytest.approx(total[0] / total[1])
    overlap = {tuple(m.partition(":")[2] for m in p["models"]): p["overlap"] for p in told["pairs"]}
    assert len(overlap) == 21
    # As the names of the published comparison files have it.
    assert round(overlap["googlenet", "resnet50"], 2) == 0.91
    assert round(overlap["bert", "squeezenet"], 2) == 0.45


# ---- many models ---------------------------------------------------------------------------


def many(folder: Path, count: int, kinds: int) -> Path:
    """Models of two ops; those whose numbers are equal modulo `kinds` are alike."""
    models = [
        {
            "id": f"m{j}",
            "ops": [
                {"id": "a", "type": "conv", "time": {"cpu": 10 + j % kinds, "gpu": 1}},
                {"id": "b", "type": "relu", "time": {"cpu": 1, "gpu": 1}, "inputs": ["a"]},
            ],
        }
        for j in range(count)
    ]
    devices = [{"id": "cpu0", "kind": "cpu"}, {"id": "gpu0", "kind": "gpu"}]
    path = folder / "many.json"
    path.write_text(
        json.dumps(
            {"schema": "talos-graph/1", "name": "many", "time_unit": "ms",
             "cluster": {"devices": devices}, "models": models}
        )
    )  # fmt: skip
    return path


def test_of_many_models_some_are_compared_and_that_is_said(capsys: Capture, tmp_path: Path) -> None:
    path = many(tmp_path, 120, 60)
    assert analyze(path, "--pairs", 10) == 0
    out = capsys.readouterr().out
    assert "in detail: the 40 of 120 models that take longest on cpu" in out
    assert "60 models left out above: same op types and speedups as another" in out
    assert "  m0: 2 models alike" in out
    assert "and 20 other groups" in out
    assert "1760 pairs of other models not compared" in out  # of 60 x 59 / 2, 10 are
    assert "m119" in out  # the summary has all models
    assert out.count("that cost most") == 40

    told = document(capsys, path, "--pairs", 10)
    assert len(told["models"]) == 120
    assert [pair["models"] for pair in told["pairs"][:2]] == [["m55", "m56"], ["m55", "m57"]]
    assert (len(told["pairs"]), told["pairs_left_out"]) == (10, 1760)
    assert told["alike"][0] == ["m0", "m60"]


def test_where_all_pairs_are_compared_nothing_is_said(capsys: Capture, tmp_path: Path) -> None:
    path = many(tmp_path, 30, 5)
    told = document(capsys, path)
    assert len(told["pairs"]) == 30 * 29 // 2
    assert "alike" not in told
    assert analyze(path) == 0
    out = capsys.readouterr().out
    assert "not compared" not in out
    assert "in detail" not in out


def test_comparing_costs_no_more_with_more_models(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    plain = affinity.wasserstein
    monkeypatch.setattr(affinity, "wasserstein", lambda *args: calls.append(1) or plain(*args))
    document(capsys, many(tmp_path, 300, 299))
    assert len(calls) == 100 * 99 // 2
