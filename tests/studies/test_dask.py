"""Studies, comparisons and portfolios on Dask: the same answers, whoever dies."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talos_opt import api
from talos_opt.cli.main import main
from talos_opt.core.config import SolveConfig
from talos_opt.core.errors import ConfigError, DependencyError, InputError, SolverError
from talos_opt.studies.cases import Case, list_cases
from talos_opt.studies.crews import dask_link, remote
from talos_opt.studies.crews.asked import hire
from talos_opt.studies.crews.dask_link import DaskLink
from talos_opt.studies.crews.farm import Farm
from talos_opt.studies.portfolios.portfolio import line_up, solve_together
from talos_opt.studies.running import run_study
from talos_opt.studies.solving import make_request, solve_request
from talos_opt.studies.store import Store
from talos_opt.studies.study import read_study
from tests.cli.process import FIG1, PATIENCE, hard_graph, processes_with
from tests.solvers.running import in_own_process
from tests.studies.test_running import essence, study_file, wait_until

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")

Capture = pytest.CaptureFixture[str]

STUDY = f"""
graphs: {FIG1}
solvers: [dp, heft]
parameters:
  gpu: [1, 2]
  cluster.devices[gpu].memory: [2GiB, 1GiB]
time_limit: 30
"""


def cluster_of(workers: int) -> Any:
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=False, protocol="tcp",
        host="127.0.0.1", dashboard_address=":0", silence_logs=50,
    )  # fmt: skip


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the scheduler of two workers answers."""
    with cluster_of(2) as cluster:
        yield cluster.scheduler_address
    remote.dismiss()


@pytest.fixture(scope="module")
def link(address: str) -> Iterator[DaskLink]:
    with DaskLink(address) as opened:
        yield opened


def test_a_study_comes_to_the_same_as_here(address: str, tmp_path: Path, capsys: Capture) -> None:
    path = study_file(tmp_path, STUDY)
    scheduler = tmp_path / "scheduler.json"
    scheduler.write_text(json.dumps({"type": "Scheduler", "address": address}))
    words = ["sweep", str(path), "--workers", "1", "--dask", str(scheduler)]
    assert main(words) == 0
    cases = list_cases(read_study(path))
    here = [solve_request(request_of(case), None, threading.Event()) for case in cases]
    rows = essence(path.with_suffix(".db"))
    assert [row[1:3] for row in rows] == [(row["status"], row["value"]) for row in here]
    assert [row[5:] for row in rows] == [(None, None), (1, 1), (None, None), (3, 3)] + [
        (None, None)
    ] * 4  # dp has less memory and the same schedule; heft has no neighbours
    assert main([*words[:4], "--dask", address]) == 0
    captured = capsys.readouterr()
    assert "8 solved now" in captured.out
    assert "0 solved now" in captured.out
    assert captured.err == ""


def test_few_cases_are_under_way(link: DaskLink, tmp_path: Path) -> None:
    study = study_file(tmp_path, STUDY + "seeds: [0, 1, 2, 3]\n")
    cases = list_cases(read_study(study))
    most = 0

    class Watched(Farm):
        def begin(self, name: str, request: dict[str, Any]) -> None:
            nonlocal most
            super().begin(name, request)
            most = max(most, len(self._futures))

    farm = Watched(link)
    with Store(tmp_path / "a.db", create=True) as store:
        store.plan("a", cases)
        assert run_study(cases, store, farm, pieces=32).done == 32
    assert 2 <= most <= 4


def request_of(case: Case, solver: str = "", time_limit: float = 30.0) -> dict[str, Any]:
    return make_request(
        case.document, objective=case.objective, solver=solver or case.solver, seed=case.seed,
        time_limit=time_limit, threads=1,
    )  # fmt: skip


def hard_request(folder: Path) -> dict[str, Any]:
    (case,) = list_cases(read_study(study_file(folder, f"graphs: {hard_graph(folder)}\n")))
    return request_of(case, "cpsat", 300.0)


class Worker:
    """A worker in a process of its own."""

    def __init__(self, address: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1",
                "--no-nanny", "--no-dashboard", "--local-directory", str(folder),
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": str(FIG1.parents[1]), "TALOS_MARK": str(folder)},
        )  # fmt: skip

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_cases_of_a_dead_worker_go_to_another_and_a_dead_scheduler_loses_none(
    tmp_path: Path,
) -> None:
    path = study_file(tmp_path, STUDY)
    cases = list_cases(read_study(path))
    store = Store(tmp_path / "a.db", create=True)
    store.plan("a", cases)
    cluster = cluster_of(0)
    link = DaskLink(cluster.scheduler_address)
    errors: list[Exception] = []
    hard = hard_request(tmp_path)

    def work() -> None:
        try:
            run_study(cases, store, Farm(link), pieces=1)
            farm = Farm(link)
            farm.begin("hard", hard)
            while True:
                farm.receive(0.1)
        except Exception as error:
            errors.append(error)

    worker = Worker(link.where, tmp_path)
    thread = threading.Thread(target=work)
    try:
        thread.start()
        # The first process of a worker takes a second to start: the case is under way.
        wait_until(lambda: len(processes_with(tmp_path)) >= 2)
        worker.kill()
        wait_until(lambda: not processes_with(tmp_path))  # nor is anybody left
        cluster.scale(1)
        wait_until(lambda: len(store.finished()) == 8)
    finally:
        worker.kill()
        cluster.close()
        thread.join(PATIENCE)
        link.close()
        remote.dismiss()
    (error,) = errors
    assert isinstance(error, SolverError)
    assert "scheduler" in str(error)
    assert "is lost" in str(error)
    assert {row["status"] for row in store.rows()} == {"optimal", "feasible"}
    store.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("tcp://127.0.0.1:{port}", "no Dask scheduler answers at 'tcp://127.0.0.1:"),
        ("none.json", "scheduler file 'none.json' cannot be read: No such file"),
        ("study.yaml", "'study.yaml' has no address of a scheduler, expected local, the address"),
        ("ftp://127.0.0.1:1", "no Dask scheduler answers at 'ftp://127.0.0.1:1'"),
    ],
)
def test_no_scheduler_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, where: str, complaint: str
) -> None:
    path = study_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dask_link, "_PATIENCE", 0.5)
    for words in (["sweep", "study.yaml"], ["solve", str(FIG1)], ["compare", str(FIG1)]):
        assert main([*words, "--dask", where.format(port=free_port())]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert complaint in captured.err
    assert list(tmp_path.iterdir()) == [path]


def test_whatever_else_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_link, "_PATIENCE", 0.3)
    monkeypatch.setattr(dask_link, "_HANDSHAKE", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"no Dask scheduler answers at '{where}'"):
            DaskLink(where)


def test_other_versions_are_refused(
    link: DaskLink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    farm = Farm(link)
    monkeypatch.setattr("talos_opt.studies.crews.farm.__version__", "0.0.9")  # of this client
    farm.begin("hard", hard_request(tmp_path))
    with pytest.raises(ConfigError, match=r"the worker at tcp.* has talos_opt .* version 0\.0\.9"):
        wait_until(lambda: farm.receive(0.1))
    farm.close()
    monkeypatch.setattr(dask_link, "__version__", "0.0.9")
    with pytest.raises(ConfigError, match=r"the scheduler has talos_opt .* expected version 0\.0"):
        DaskLink(link.where)
    with pytest.raises(ConfigError, match="has no talos_opt"):
        dask_link.require_version(None, "1", "the worker")


def test_without_dask_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DependencyError, match=r"pip install 'dask>=2025\.1' 'dist"):
        DaskLink("local")


def test_a_comparison_has_the_rows_of_one_without(address: str, capsys: Capture) -> None:
    words = ["compare", str(FIG1), "--solvers", "heft,dp,shop", "--objective", "bottleneck"]
    found = []
    for more in ([], ["--dask", address]):
        assert main([*words, *more, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        names = ("solver", "status", "value", "error")
        found.append([[row.get(name) for name in names] for row in rows])
    assert found[0] == found[1]
    assert main([*words, "--dask", address, "--option", "dp.nothing=1"]) == 2


def test_solvers_share_what_they_find(link: DaskLink, tmp_path: Path) -> None:
    problem = api.read(FIG1)
    plan = SolveConfig(time_limit=60)
    assert [str(item) for item in line_up(problem, plan, 4)][:2] == [
        "auto, seed 0",
        "cpsat, seed 0",
    ]
    assert [item.seed for item in line_up(problem, plan.override(solver="lns", seed=3), 3)] == [
        3, 4, 5,
    ]  # fmt: skip
    told: list[float | None] = []
    result = solve_together(problem, plan, link, on_progress=lambda item: told.append(item.value))
    assert (result.status, result.value, result.lower_bound) == ("optimal", 9.0, 9.0)
    assert api.check(problem, result.schedule) == ()  # type: ignore[arg-type]
    assert told[-1] == 9.0
    with pytest.raises(InputError, match="worth is above 0"):
        solve_together(problem, plan.override(worth=0.1), link)
    cards = api.read(FIG1, cluster=FIG1.parent / "clusters" / "cpu-2gpu.yaml")
    with pytest.raises(InputError, match="devices are bundled"):
        solve_together(cards.with_bundles("all"), plan, link)
    assert "2 solves on Dask: auto, seed 0; cpsat, seed 0" in result.notes


def test_an_infeasible_problem_is_found_to_be_so(link: DaskLink, tmp_path: Path) -> None:
    (case, *_) = list_cases(
        read_study(
            study_file(
                tmp_path,
                f"graphs: {FIG1}\nparameters:\n  models[*].ops[*].memory.weights: [1kB]\n"
                "  cluster.devices[gpu].memory: [1kB]\n  cluster.devices[cpu].memory: [1kB]\n",
            )
        )
    )
    graph = tmp_path / "tight.json"
    graph.write_text(json.dumps(case.document))
    result = solve_together(api.read(graph), SolveConfig(time_limit=60), link)
    assert result.status == "infeasible"
    assert result.reason


def test_a_solve_ends_with_what_it_has(link: DaskLink, tmp_path: Path) -> None:
    problem = api.read(hard_graph(tmp_path))
    cancel = threading.Event()

    def stop(item: Any) -> None:
        if item.value is not None:
            cancel.set()

    result = solve_together(
        problem, SolveConfig(time_limit=300), link, on_progress=stop, cancel=cancel
    )
    assert result.interrupted
    assert result.status == "feasible"
    assert result.lower_bound > 0


@in_own_process  # beside another cluster of this process Dask has been seen to wait for ever
def test_local_is_a_cluster_of_this_process() -> None:
    with hire("local", 1) as crew:
        assert crew.workers == 1
        assert crew.has_room()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_what_nobody_wants_any_more_ends(
    link: DaskLink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.dismiss()
    monkeypatch.setenv("TALOS_MARK", str(tmp_path))
    farm = Farm(link)
    farm.begin("hard", hard_request(tmp_path))
    wait_until(lambda: processes_with(tmp_path))
    farm.close()
    wait_until(lambda: not processes_with(tmp_path))
