"""Schedules as columns, and as JSON that is written without an object for each op."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from talos_opt.core.errors import FormatError, InputError, ScheduleError
from talos_opt.core.graph import Graph, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result, Status
from talos_opt.core.simulator import simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.formats import read_schedule, write_schedule
from talos_opt.formats.emit import SCHEDULE
from talos_opt.formats.emit import json_lines as plain_lines
from talos_opt.formats.schedule import ScheduleFile, finite, json_lines
from tests.cli.process import FIG1, run

from ..builders import fig1, op, problem
from ..strategies import placed_problems

Placed = tuple[Problem, list[int], list[int]]
random_results = placed_problems(memory=False)


def answer(placed: Placed) -> Result | None:
    given, device, priority = placed
    try:
        schedule = simulate(given, np.array(device), priority)
    except NoRouteError:
        return None
    return Result(given, Status.FEASIBLE, schedule, 0.5, "test", history=())


def fig1_result() -> Result:
    found = answer((fig1(), [1, 0, 1, 0, 1, 0], list(range(6))))
    assert found is not None
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random_results)
def test_schedules_survive_columns(tmp_path: Path, placed: Placed) -> None:
    result = answer(placed)
    assume(result is not None and result.schedule is not None)
    path = tmp_path / "s.npz"
    write_schedule(result, path)
    found = read_schedule(path, result.problem)
    for ours, theirs in (
        (vars(found), vars(result.schedule)),
        (vars(found.transfers), vars(result.schedule.transfers)),
    ):
        for name, column in theirs.items():
            if isinstance(column, np.ndarray):
                assert np.array_equal(ours[name], column), name
                assert ours[name].dtype == column.dtype, name
    document = result.to_dict()
    stated = ScheduleFile(path).document
    for key in ("graph", "status", "objective", "value", "lower_bound", "metrics", "history"):
        assert stated[key] == document[key]


@given(random_results)
def test_json_without_objects_is_the_same_text(placed: Placed) -> None:
    result = answer(placed)
    assume(result is not None)
    document = result.to_dict()
    document = finite({key: document[key] for key in document})
    assert list(json_lines(result)) == list(plain_lines(document, SCHEDULE))
    assert json.loads("\n".join(json_lines(result))) == document


def test_json_of_strange_names_and_of_no_schedule() -> None:
    cluster = fig1().cluster
    ops = tuple(Op(name, {"cpu": 1.0}) for name in ('"', "ö", "a\\b\n", "\x7f", "plain"))
    given = Problem(Graph("g", (Model('m"', ops), Model("m", (Op("x", {"cpu": 1.0}),)))), cluster)
    result = answer((given, [0] * 6, list(range(6))))
    assert result is not None
    assert list(json_lines(result)) == list(plain_lines(result.to_dict(), SCHEDULE))
    empty = Result(given, Status.UNKNOWN, None, 0.0, "test", reason="no luck")
    assert list(json_lines(empty)) == list(plain_lines(empty.to_dict(), SCHEDULE))


def test_a_result_without_a_schedule(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    write_schedule(Result(fig1(), Status.UNKNOWN, None, 0.0, "test", reason="no luck"), path)
    assert ScheduleFile(path).document["reason"] == "no luck"
    with pytest.raises(ScheduleError, match=r"s\.npz: the file holds no schedule: status is 'unk"):
        read_schedule(path, fig1())


def test_a_document_has_no_columns(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="expected one"):
        write_schedule(fig1_result().to_dict(), tmp_path / "s.npz")


def test_devices_are_found_by_name(tmp_path: Path) -> None:
    result = fig1_result()
    write_schedule(result, tmp_path / "s.npz")
    devices = result.problem.cluster.devices
    turned = replace(result.problem, cluster=replace(result.problem.cluster, devices=devices[::-1]))
    found = read_schedule(tmp_path / "s.npz", turned)
    assert found.device.tolist() == [0, 1, 0, 1, 0, 1]


def test_schedules_of_other_problems(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    write_schedule(fig1_result(), path)
    other = problem([op(f"op{i}") for i in range(6)])
    graph = fig1().graph
    for wrong, message in (
        (replace(other, graph=replace(other.graph, time_unit="us")), "time_unit: time_unit is"),
        (replace(other, graph=replace(other.graph, time_unit=graph.time_unit)), "other ops"),
    ):
        with pytest.raises(ScheduleError, match=message):
            read_schedule(path, wrong)
    devices = tuple(replace(item, id=f"x{item.id}") for item in fig1().cluster.devices)
    renamed = replace(fig1(), cluster=replace(fig1().cluster, devices=devices, links=None))
    with pytest.raises(ScheduleError, match=r"devices\[0\]: the cluster has no device"):
        read_schedule(path, renamed)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("device", None, "the file holds no schedule"),
        ("device", np.full(6, 2), "'device' holds 2 at 0, expected a number below 2"),
        ("device", np.zeros(5, dtype=int), r"'device' holds int64 of shape \(5,\)"),
        ("start", np.zeros(6, dtype="U1"), "'start' holds <U1"),
        ("end", None, "has no column 'end'"),
        ("transfer_bytes", np.zeros(99, dtype=int), r"shape \(99,\)"),
        ("transfer_to", np.full(99, -1), "shape"),
        ("more", np.zeros(1), "unknown column 'more'"),
        ("header", np.frombuffer(b'{"schema": "x"}', np.uint8), "schema is 'x'"),
        ("header", np.frombuffer(b"[]", np.uint8), "is a list, expected a mapping"),
    ],
)
def test_broken_columns(tmp_path: Path, column: str, value: Any, message: str) -> None:
    path = tmp_path / "s.npz"
    write_schedule(fig1_result(), path)
    with np.load(path) as members:
        arrays = dict(members) | {column: value}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(InputError, match=message):
        read_schedule(path, fig1())


def test_solve_and_check_with_columns(tmp_path: Path) -> None:
    graph, schedule = tmp_path / "g.npz", tmp_path / "s.npz"
    assert run("convert", FIG1, "-o", graph).returncode == 0
    done = run("solve", graph, "--solver", "cpsat", "-o", schedule)
    assert done.returncode == 0, done.stderr
    for named in (graph, FIG1):
        done = run("check", named, schedule)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.startswith("feasible")
        assert "toct              9 ms" in done.stdout
