"""Study files: what they ask for, and one clear error for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from talos_opt.cli.main import main
from talos_opt.studies.cases import list_cases
from talos_opt.studies.chains import list_chains, relaxes
from talos_opt.studies.parameters import read_parameters
from talos_opt.studies.study import Study, read_study
from tests.cli.process import FIG1

Capture = pytest.CaptureFixture[str]


def written(folder: Path, text: str) -> Study:
    path = folder / "study.yaml"
    path.write_text(f"graphs: {FIG1}\n{text}")
    return read_study(path)


def test_cases_are_the_product_of_all_lists(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("devices: [{id: c, kind: cpu}, {id: g, kind: gpu}]")
    study = written(
        tmp_path,
        "clusters: one.yaml\nobjectives: [toct, makespan]\nsolvers: [heft, etf]\nseeds: [0, 1]\n"
        "prices: {gpu: 3, c: 1}\nparameters:\n  gpu: [1, 2]\n  models[m1].weight: [1, 2, 3]\n",
    )
    cases = list_cases(study)
    assert len(cases) == 2 * 2 * 2 * 2 * 3
    assert [case.number for case in cases] == list(range(1, 49))
    assert len({case.fingerprint for case in cases}) == 48
    assert cases[0].parameters == {"gpu": 1, "models[m1].weight": 1}
    assert {(case.parameters["gpu"], case.price) for case in cases} == {(1, 4.0), (2, 7.0)}
    assert {case.cluster for case in cases} == {"one.yaml"}


def test_equal_problems_have_one_fingerprint(tmp_path: Path) -> None:
    study = written(
        tmp_path,
        "parameters:\n  - {name: a, gpu: 1}\n  - {name: b, 'cluster.devices[gpu].slots': 1}\n"
        "  - {name: c, gpu: 2, 'cluster.devices[gpu1].memory': 1kB}\n",
    )
    a, b, c = list_cases(study)
    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert c.document["cluster"]["devices"][-1]["memory"] == 1000  # counts come first


def test_samples_are_drawn_the_same_way_each_time() -> None:
    lists = {"sample": 5, "gpu": [1, 2, 4], "cpu": [1, 2]}
    rows = read_parameters(lists).rows
    assert rows == read_parameters(lists).rows != read_parameters({**lists, "seed": 1}).rows
    assert len({tuple(row.values()) for row in rows}) == 5
    path = "cluster.devices[gpu].memory"
    drawn = read_parameters(
        {"sample": 30, path: {"from": "1GiB", "to": "16GiB", "scale": "log"}, "gpu": [1, 2]}
    ).rows
    sizes = [row[path] for row in drawn]
    assert all(isinstance(size, int) and 2**30 <= size <= 2**34 for size in sizes)
    assert 8 < sum(size < 2**32 for size in sizes) < 22  # half of them, by the logarithm


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("grid: 1", 2, "unknown key 'grid'"),
        ("graphs: x", None, "twice"),
        ("seeds: []", 2, "no cases"),
        ("seeds: [-1]", 2, "expected a whole number of at least 0"),
        ("seeds: [1, 1]", 2, "names 1 twice"),
        ("solvers: [hft]", 2, "no solver is called 'hft'"),
        ("objectives: [speed]", 2, "objective is 'speed'"),
        ("time_limit: 0", 2, "expected a number above 0"),
        ("workers: 0", 2, "workers is 0"),
        ("prices: {tpu: 1}", 2, "no cluster has a device or kind 'tpu'"),
        ("clusters: none.yaml", None, "none.yaml: does not exist"),
        ("parameters:\n  gpu: []", 3, "the list is empty"),
        ("parameters:\n  gpu: 2", 3, "expected a list"),
        ("parameters:\n  tpu: [2]", 3, "'tpu' matches nothing"),
        ("parameters:\n  cluster.devices[tpu].memory: [2]", 3, "matches nothing in graph 'fig1'"),
        ("parameters:\n  cluster.devices[gpu].memory: [1GB, lots]", 3, "memory is 'lots'"),
        ("parameters:\n  models[*].ops[*].time.gpu: [x]", 3, "time of op 'op1' is 'x'"),
        ("parameters:\n  cluster.contention: [sometimes]", 3, "expected none or serial"),
        ("parameters:\n  memory_rule: [static, nope]", 3, "memory_rule is 'nope'"),
        ("parameters:\n  prices.gpu: [cheap]", 3, "a price is 'cheap'"),
        ("granularity: layer", 2, "granularity is 'layer', expected one of op, module"),
        ("no_split: [a]", 2, "no_split needs granularity: module"),
        ("granularity: module", None, "no op says which module it belongs to"),
        ("parameters: []", 2, "list of variants is empty"),
        ("parameters: [{gpu: 1}]", 2, "a variant has no 'name'"),
        ("parameters: [{name: a}, {name: a}]", 2, "variant 'a' is given twice"),
        ("parameters: {sample: 9, gpu: [1, 2]}", 2, "the lists have 2 combinations"),
        ("parameters: {sample: 2}", 2, "a sample of no parameters"),
        ("parameters: {sample: 2, gpu: {from: 4, to: 1}}", 2, "which is less"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(
    tmp_path: Path, capsys: Capture, text: str, line: int | None, complaint: str
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"graphs: {FIG1}\n{text}\n")
    assert main(["sweep", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert complaint in captured.err
    if line is not None:
        assert f"study.yaml:{line}: " in captured.err
    assert list(tmp_path.iterdir()) == [path]


MEMORIES = "parameters:\n  gpu: [1, 2]\n  cluster.devices[gpu].memory: [2GiB, 8GiB, 4GiB]\n"


def test_a_price_may_be_of_a_kind_that_some_cases_lack(tmp_path: Path) -> None:
    cases = list_cases(written(tmp_path, "prices: {gpu: 3}\nparameters: {gpu: [0, 2]}"))
    assert [case.price for case in cases] == [0.0, 6.0]


def test_lines_of_neighbours_begin_with_the_largest_memory(tmp_path: Path) -> None:
    cases = list_cases(written(tmp_path, MEMORIES + "solvers: [auto, heft]\n"))
    chains = [[case.number for case in chain] for chain in list_chains(cases, 1)]
    # Cases 7 to 12 are of heft, which is not a search.
    assert chains == [[2, 3, 1], [5, 6, 4], [7], [8], [9], [10], [11], [12]]
    auto = [case for case in cases if case.solver == "auto"]
    assert len(list_chains(auto, 4)) == 4
    wide, tight = cases[1].document, cases[0].document
    assert relaxes(wide, tight)
    assert not relaxes(tight, wide)
    assert not relaxes(cases[4].document, tight)  # has a device more
    weight = {**tight, "models": [{**tight["models"][0], "weight": 9}, *tight["models"][1:]]}
    assert not relaxes(wide, weight)


def test_variants_have_no_neighbours(tmp_path: Path) -> None:
    cases = list_cases(written(tmp_path, "parameters: [{name: a, gpu: 1}, {name: b, gpu: 2}]"))
    assert [len(chain) for chain in list_chains(cases, 1)] == [1, 1]
