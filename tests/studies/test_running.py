"""Studies that run: in processes, from neighbours, through crashes and kills."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from talos_opt.analysis.fronts import Point, pareto_front
from talos_opt.cli.main import main
from talos_opt.studies.cases import Case, list_cases
from talos_opt.studies.crews import pool
from talos_opt.studies.crews.asked import hire
from talos_opt.studies.crews.children import Child
from talos_opt.studies.running import Tally, run_study
from talos_opt.studies.solving import make_request, solve_request
from talos_opt.studies.store import Store
from talos_opt.studies.study import read_study
from talos_opt.studies.tables import read_table
from tests.cli.process import COMMAND, FIG1, PATIENCE, OnTerminal, hard_graph, processes_with

Capture = pytest.CaptureFixture[str]

STUDY = f"""
graphs: {FIG1}
solvers: [dp, heft, ilp]
prices: {{gpu: 2, cpu: 1}}
parameters:
  gpu: [1, 2]
  cluster.devices[gpu].memory: [2GiB, 1GiB]
  cluster.contention: [none, serial]
time_limit: 30
"""


def study_file(folder: Path, text: str = STUDY) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def run(path: Path, workers: int = 1) -> tuple[Tally, Path]:
    study = read_study(path)
    cases = list_cases(study)
    target = path.with_suffix(".db")
    with Store(target, create=True) as store, hire(None, workers) as crew:
        store.plan(study.name, cases)
        tally = run_study(cases, store, crew, pieces=workers)
        store.release()
    return tally, target


def essence(path: Path) -> list[tuple[Any, ...]]:
    """What of a table does not depend on the clock."""
    with Store(path) as store:
        rows = read_table(store).rows
    names = ("case", "status", "value", "lower_bound", "price", "warm_start", "bound_from")
    return [tuple(row[name] for name in names) for row in rows]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of a study that nothing disturbed."""
    tally, target = run(study_file(tmp_path_factory.mktemp("done")), workers=2)
    assert (tally.total, tally.done, tally.solved) == (24, 24, 24)
    assert tally.solve_s > 0
    return target


def test_each_case_has_a_row_and_failures_their_reason(done: Path) -> None:
    with Store(done) as store:
        table = read_table(store)
        starts = store.starts()
    assert len(starts) == 24
    assert set(starts.values()) == {1}
    by_solver = {
        solver: [row for row in table.rows if row["solver"] == solver]
        for solver in ("dp", "heft", "ilp")
    }
    serial = [
        row for row in by_solver["ilp"] if row["parameters"]["cluster.contention"] == "serial"
    ]
    assert {row["status"] for row in serial} == {"failed"}
    assert all("UnsupportedError" in row["reason"] for row in serial)
    optimal = {
        (row["parameters"]["gpu"], row["value"], round(row["lower_bound"], 6))
        for row in by_solver["ilp"]
        if row not in serial
    }
    assert optimal == {(1, 9.0, 9.0), (2, 8.0, 8.0)}
    assert {row["price"] for row in table.rows} == {3.0, 5.0}


def test_only_solvers_that_search_start_from_neighbours(done: Path) -> None:
    with Store(done) as store:
        rows = read_table(store).rows
    assert all(row["warm_start"] is None for row in rows if row["solver"] == "heft")
    settled = [row for row in rows if row["solver"] == "ilp" and row["bound_from"] is not None]
    assert len(settled) == 2  # of the smaller memory, without contention
    for row in settled:
        assert row["status"] == "optimal"
        assert row["parameters"]["cluster.devices[gpu].memory"] == "1GiB"
        assert row["warm_start"] == row["bound_from"] == row["case"] - 2


def test_going_on_solves_nothing_twice(done: Path, capsys: Capture) -> None:
    before = essence(done)
    assert main(["sweep", str(done.with_suffix(".yaml"))]) == 1  # four cases have failed
    captured = capsys.readouterr()
    assert "24 cases" in captured.out
    assert "0 solved now" in captured.out
    assert captured.err == ""
    assert essence(done) == before


def test_tables_and_files(done: Path, tmp_path: Path, capsys: Capture) -> None:
    sheet, answer = tmp_path / "rows.csv", tmp_path / "case.json"
    assert main(["sweep", "show", str(done), "--csv", str(sheet)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split()[:3] == ["case", "solver", "gpu"]
    assert "fig1: front of price against toct, 2 of 16 cases" in out
    with sheet.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert rows[0]["cluster.devices[gpu].memory"] == "2GiB"
    assert main(["sweep", "show", "--json", "--by", "gpu,solver", str(done)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(row["gpu"], row["solver"], row["best"]) for row in document["rows"]][-1] == (
        2, "ilp", 8.0,
    )  # fmt: skip
    ilp = [row for row in document["rows"] if row["solver"] == "ilp"]
    assert [(row["failed"], row["cases"]) for row in ilp] == [(2, 4), (2, 4)]
    (front,) = document["fronts"]
    assert [(point["price"], point["value"]) for point in front["points"]] == [(3, 9), (5, 8)]
    assert main(["sweep", "show", str(done), "--case", "1", "-o", str(answer)]) == 0
    assert main(["check", str(FIG1), str(answer)]) == 0
    capsys.readouterr()


def test_pictures(done: Path, tmp_path: Path, capsys: Capture) -> None:
    picture = tmp_path / "study.svg"
    assert main(["sweep", "show", str(done), "--plot", str(picture), "--by", "gpu"]) == 0
    text = picture.read_text()
    assert "lower bound" in text
    assert "cluster.devices[gpu].memory" in text
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--by", "tpu"], "no parameter 'tpu', expected one of: graph"),
        (["--case", "1"], "expected both"),
        (["--case", "99", "-o", "x.json"], "there is no case 99"),
        (["--retry"], "--retry is for running a study"),
        (["--plot", "x.txt"], "suffix '.txt' is unknown"),
        (["--plot", "x.png", "--by", "gpu,seed,solver"], "a map has two parameters"),
    ],
)
def test_what_cannot_be_shown(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture,
    words: list[str], complaint: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "show", str(done), *words]) == 2
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_front_is_what_no_other_point_beats() -> None:
    given = [(3, 5), (1, 9), (2, 9), (3, 4), (4, 4), (5, 1), (1, 10)]
    points = [Point(price, value, None, "", k) for k, (price, value) in enumerate(given)]
    assert [(point.price, point.value) for point in pareto_front(points)] == [
        (1, 9),
        (3, 4),
        (5, 1),
    ]
    for point in points:
        beaten = any(
            other.price <= point.price and other.value <= point.value
            and (other.price, other.value) != (point.price, point.value)
            for other in points
        )  # fmt: skip
        assert (point in pareto_front(points)) is not beaten


def request(case: Case, **more: Any) -> dict[str, Any]:
    return make_request(
        case.document, objective=case.objective, solver=case.solver, seed=0, time_limit=30,
        threads=1,
    ) | more  # fmt: skip


def test_what_is_proven_of_a_relaxation_is_used_and_no_more(tmp_path: Path) -> None:
    text = (
        f"graphs: {FIG1}\nsolvers: dp\nparameters:\n"
        "  models[*].ops[*].memory.weights: [1kB]\n"
        "  cluster.devices[gpu].memory: [6kB, 2kB, 1kB]\n"
        "  cluster.devices[cpu].memory: [9kB, 1kB]\n"
    )
    cases = list_cases(read_study(study_file(tmp_path, text)))
    wide, middle, none = cases[0], cases[2], cases[3]
    cancel = threading.Event()
    first = {"fingerprint": "first"} | solve_request(request(wide), None, cancel)
    assert (first["status"], first["value"]) == ("optimal", 9.0)
    alone = solve_request(request(middle), None, cancel)
    after = solve_request(request(middle, neighbour=first, relaxed=True), None, cancel)
    assert alone["status"] == after["status"] == "optimal"
    assert alone["value"] == after["value"] > 9
    assert after["warm_start"] is None  # three ops do not fit
    heft = replace(wide, solver="heft")
    again = solve_request(request(heft, neighbour=first, relaxed=True), None, cancel)
    assert (again["status"], again["bound_from"]) == ("optimal", "first")
    unrelaxed = solve_request(request(heft, neighbour=first), None, cancel)
    assert (unrelaxed["status"], unrelaxed["bound_from"]) == ("feasible", None)
    refuted = {"fingerprint": "none"} | solve_request(request(none), None, cancel)
    assert refuted["status"] == "infeasible"
    row = solve_request(request(cases[5], neighbour=refuted, relaxed=True), None, cancel)
    assert (row["status"], row["bound_from"]) == ("infeasible", "none")


def test_a_worker_that_dies_is_a_row_and_the_study_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"graphs: [{hard_graph(tmp_path)}, {FIG1}]\nsolvers: cpsat\ntime_limit: 100\n"
    path = study_file(tmp_path, text)
    send = Child.send

    def send_and_kill(child: Child, item: dict[str, Any]) -> None:
        send(child, item)
        if b'"hard"' in item["graph"]:
            os.kill(child.pid, signal.SIGKILL)

    monkeypatch.setattr(Child, "send", send_and_kill)
    tally, target = run(path)
    assert (tally.done, tally.failed) == (2, 1)
    with Store(target) as store:
        crashed, solved = read_table(store).rows
        assert store.finished() - store.finished(retry=True)
    assert crashed["status"] == "crashed"
    assert "SIGKILL" in crashed["reason"]
    assert (solved["status"], solved["value"]) == ("optimal", 9.0)


def test_another_case_begins_only_where_memory_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = pool.Pool(2, [0])
    for free, room in ((119, False), (121, True), (None, True)):
        monkeypatch.setattr(pool, "available_memory", lambda free=free: free)
        crew._busy, crew._largest = {}, 100
        assert crew.has_room()  # one case always may
        crew._busy = {0: pool._Busy("a", 30)}
        assert crew.has_room() is room
    crew._busy[1] = pool._Busy("b", 30)
    assert not crew.has_room()
    assert not crew._busy[0].late
    crew._busy[0].began -= 30
    assert crew._busy[0].late


def wait_until(met: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def count(path: Path, what: str) -> int:
    try:
        with Store(path) as store:
            return len(store.starts() if what == "starts" else store.finished())
    except Exception:  # not there yet
        return 0


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_a_killed_study_goes_on_and_ends_the_same(done: Path, tmp_path: Path) -> None:
    path = study_file(tmp_path, STUDY.replace(", ilp", ""))  # the first 16 cases
    target = path.with_suffix(".db")
    command = subprocess.Popen(
        [*COMMAND, "sweep", str(path), "--workers", "1"],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"TALOS_MARK": str(tmp_path)},
    )
    wait_until(lambda: count(target, "results") >= 3)
    command.kill()
    command.wait()
    kept = {row[0]: row for row in essence(target) if row[1] != "pending"}
    wait_until(lambda: processes_with(tmp_path) == [])
    run(path)
    found = essence(target)
    assert [kept.get(row[0], row) for row in found] == found
    assert [row[1:3] for row in found] == [row[1:3] for row in essence(done)[:16]]
    with Store(target) as store:
        starts = store.starts()
    # Only what was under way, one case at most, is begun a second time.
    assert sum(starts.values()) <= 16 + 1


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_ctrl_c_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALOS_MARK", str(tmp_path))
    text = f"graphs: [{FIG1}, {hard_graph(tmp_path)}]\nsolvers: cpsat\ntime_limit: 300\n"
    path = study_file(tmp_path, text)
    command = OnTerminal("sweep", path, "--workers", 1)
    command.wait_for("1 of 2 cases")
    command.process.send_signal(signal.SIGINT)
    code, out = command.finish()
    assert code == 130
    assert "2 cases (1 optimal, 1 pending)" in out
    assert [row[1] for row in essence(path.with_suffix(".db"))] == ["optimal", "pending"]
    wait_until(lambda: processes_with(tmp_path) == [])
