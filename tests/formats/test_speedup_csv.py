"""Op-type profiles as CSV: what is read, and a row for each mistake."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import pytest

from talos_opt.analysis.model_speedups import model_speedups
from talos_opt.analysis.model_summary import summarise_model
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.formats import read_problem

from .samples import SHARED

PROFILES = SHARED / "talos" / "op_type_profiles.csv"

SMALL = """\
dataset,model,operator,cpu_total,gpu_total,cpu_avg,gpu_avg,cpu_count,gpu_count,unit,remark
a,net,conv,10,2,,,,,ms,"one, two"
a,net,relu,1,4,,,,,ms,
b,net,conv,,,3,0.5,2,4,ms,
b,net,conv,,,3,,,,ms,
"""


def read(folder: Path, text: str, name: str = "table.csv") -> Problem:
    path = folder / name
    path.write_text(text)
    return read_problem(path)


def test_models_ops_and_times(tmp_path: Path) -> None:
    problem = read(tmp_path, SMALL)
    assert problem.graph.name == "table"
    assert problem.graph.time_unit == "ms"
    assert problem.graph.model_ids == ("a:net", "b:net")
    assert [(item.id, item.type, item.time) for item in problem.ops] == [
        ("conv", "conv", {"cpu": 10, "gpu": 2}),
        ("relu", "relu", {"cpu": 1, "gpu": 4}),
        ("conv", "conv", {"cpu": 6, "gpu": 2}),  # average times count
        ("conv#2", "conv", {"cpu": 3}),  # an average alone; no time on the GPU
    ]
    assert problem.cluster.devices == (Device("cpu0", "cpu"), Device("gpu0", "gpu"))


def test_only_what_is_needed(tmp_path: Path) -> None:
    problem = read(tmp_path, "tpu_total, operator ,arm_avg\n1, a ,2\n\n3,b,\n", "net.csv")
    assert problem.graph.model_ids == ("net",)
    assert problem.graph.time_unit == "us"
    assert [item.time for item in problem.ops] == [{"tpu": 1, "arm": 2}, {"tpu": 3}]
    assert problem.cluster.kinds == ("tpu", "arm")


def test_mixed_units_become_us(tmp_path: Path) -> None:
    text = "operator,cpu_total,unit\na,1,s\nb,1,ms\nc,1,us(presumed)\nd,1,\n"
    problem = read(tmp_path, text)
    assert problem.graph.time_unit == "us"
    assert [item.time["cpu"] for item in problem.ops] == [1e6, 1e3, 1, 1]


def test_repeated_ops_never_collide(tmp_path: Path) -> None:
    problem = read(tmp_path, "operator,cpu_total\n" + "a,1\na#2,1\na,1\na,1\na#2,1\n")
    assert [item.id for item in problem.ops] == ["a", "a#2", "a#3", "a#4", "a#2#2"]


@pytest.mark.parametrize("name", ["t.csv", "t.CSV.gz", "t.txt", "t", "t.csv.gz"])
def test_recognised_by_suffix_or_header(tmp_path: Path, name: str) -> None:
    data = ("\ufeff" + SMALL).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert read_problem(path).graph.op_count == 4


def test_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SMALL.encode())))
    assert read_problem("-").graph.name == "stdin"


def test_a_cluster_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("operator,cpu_total,gpu_total\na,1,2\n")
    cluster = Cluster((Device("x", "gpu"), Device("y", "cpu")))
    assert read_problem(path, cluster=cluster).arrays.time.tolist() == [[2, 1]]
    with pytest.raises(InputError, match=r"t\.csv: op t/a can run on no device") as caught:
        read_problem(path, cluster=Cluster((Device("x", "tpu"),)))
    assert caught.value.path is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("operator,cpu_total\n", r"t\.csv: has a header and no rows"),
        ("op,cpu_total\na,1\n", r"t\.csv:1: the columns are 'op, cpu_total', expected a header"),
        ("operator,cpu\na,1\n", r"t\.csv:1: the columns are .* 'cpu_total' and 'gpu_total'"),
        ("operator,_total\na,1\n", r"t\.csv:1: the columns are "),
        ("\noperator,unit,x_avg,unit\na,us,1,us\n", r"t\.csv:2: column 'unit' comes twice"),
        ("operator,cpu_total\na,1\nb\n", r"t\.csv:3: the row has 1 cells, expected 2"),
        ("operator,cpu_total\na,1\nb,1,2\n", r"t\.csv:3: the row has 3 cells, expected 2"),
        ("operator,cpu_total\na,x\n", r"t\.csv:2: cpu_total is 'x', expected a number"),
        ("operator,cpu_total\na,nan\n", r"t\.csv:2: cpu_total is 'nan', expected a finite"),
        ("operator,cpu_total\na,-1\n", r"t\.csv:2: cpu_total is '-1', expected .* at least 0"),
        ("operator,x_avg,x_count\na,1e300,1e300\n", r"t\.csv:2: x_avg times count is inf"),
        ("operator,cpu_total\n ,1\n", r"t\.csv:2: operator is empty"),
        ("operator,a_total,b_avg\nx,,\n", r"t\.csv:2: op type 'x' has no time, .* a_total, b_tot"),
        ("operator,cpu_total,unit\na,1,h\n", r"t\.csv:2: unit is 'h', expected one of us, ms, s"),
        ("operator,x_total,model\na,1,b/c\n", r"t\.csv:2: model is 'b/c', expected .* without '/'"),
        ('operator,cpu_total\n"a"b,1\n', r"t\.csv:2: is not CSV: "),
        ('operator,cpu_total\n"a,1\n', r"t\.csv:2: is not CSV: "),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read(tmp_path, text, "t.csv")


@pytest.mark.skipif(not PROFILES.exists(), reason="the Talos profiles (../shared/data) are absent")
def test_published_profiles() -> None:
    problem = read_problem(PROFILES)
    assert problem.graph.op_count == 992
    assert len(problem.graph.model_ids) == 15
    found = {model.model: model for model in model_speedups(problem)}
    resnet = found["pytorch_toplevel:resnet50"]
    told = summarise_model(resnet)
    assert told.ops == told.op_types == told.timed == 54
    assert int((resnet.speedup < 1).sum()) == 25
    assert told.speedup == pytest.approx(sum(resnet.reference_time) / sum(resnet.other_time))
    assert told.speedup == pytest.approx(8.35891, abs=1e-5)
