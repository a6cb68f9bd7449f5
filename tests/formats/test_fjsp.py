"""Flexible job shops as text: what is read, and a row for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

import talos_opt
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.problem import Objective, Problem
from talos_opt.formats import read_problem

from .samples import SHARED

SETS = SHARED / "sets"
SHOP = "2 3 1.5\n2 1 1 4 2 2 3 3 5\n1 2 1 7 3 2.5\n"


def read(folder: Path, text: str, **options: object) -> Problem:
    path = folder / "shop.fjs"
    path.write_text(text)
    return read_problem(path, **options)  # type: ignore[arg-type]


def test_jobs_are_models_and_machines_devices(tmp_path: Path) -> None:
    problem = read(tmp_path, SHOP)
    assert problem.objective is Objective.MAKESPAN
    assert problem.device_ids == ("m0", "m1", "m2")
    first, second = problem.graph.models
    assert [dict(op.time) for op in first.ops] == [{"m0": 4.0}, {"m1": 3.0, "m2": 5.0}]
    assert [dict(op.time) for op in second.ops] == [{"m0": 7.0, "m2": 2.5}]
    assert [item.op for item in first.ops[1].inputs] == ["o0"]
    assert talos_opt.solve(problem, "cpsat").value == 7.0


def test_machines_may_be_numbered_from_zero(tmp_path: Path) -> None:
    problem = read(tmp_path, "1 2\n2 1 0 4 1 1 3\n", objective="toct")
    assert [dict(op.time) for op in problem.ops] == [{"m0": 4.0}, {"m1": 3.0}]
    assert problem.objective is Objective.TOCT


def test_another_cluster(tmp_path: Path) -> None:
    cluster = Cluster((Device("m0", "machine"), Device("m1", "machine"), Device("m2", "machine")))
    assert read(tmp_path, SHOP, cluster=cluster).cluster == cluster


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 3\n1 1 1 4\n", "has 1 jobs, expected 2 by its first line"),
        ("jobs\n1 1 1 4\n", "shop.fjs:1: the first line is 'jobs', expected the numbers of jobs"),
        ("0 3\n", "has no jobs or no machines"),
        ("1 3\n1 x 1 4\n", "shop.fjs:2: '1 x 1 4' is not a row of numbers"),
        ("1 3\n2 1 1 4\n", "shop.fjs:2: the line ends where the number of machines of operation 1"),
        ("1 3\n1 1 1\n", "shop.fjs:2: the line ends where the time of operation 0 on machine 1"),
        ("1 3\n1 1 1 4 9\n", "shop.fjs:2: more numbers follow the 1 operations"),
        ("1 3\n1 1.5 1 4\n", "shop.fjs:2: the number of machines of operation 0 is 1.5"),
        ("1 3\n1 2 1 4 1 5\n", "shop.fjs:2: operation 0 has machine 1 twice"),
        ("1 3\n1 0\n", "shop.fjs:2: operation 0 has no machine"),
        ("1 3\n1 1 4 4\n", "machine 4 is used, but there are 3, numbered from 1"),
        ("1 3\n2 1 0 4 1 3 4\n", "machine 3 is used, but there are 3, numbered from 0"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, text, format="fjsp")
    assert message in str(error.value)
    assert "shop.fjs" in str(error.value)


@pytest.mark.skipif(
    not SETS.is_dir(), reason="the instance sets (../shared/data/sets) are not here"
)
def test_public_shops() -> None:
    for path in sorted((SETS / "fjsp").iterdir()):
        problem = read_problem(path)
        jobs, machines = path.read_text().split()[:2]
        assert len(problem.graph.models) == int(jobs)
        assert len(problem.device_ids) == int(machines)
