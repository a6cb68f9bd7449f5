"""What another package adds, and a solver that is given as such."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

import talos_opt
from talos_opt import ConfigError, InternalError, formats
from talos_opt.cli.main import main
from talos_opt.core import plugins as found
from talos_opt.plugins import Run, Solver, Status, Verdict
from talos_opt.solvers.engine.registry import require_solver
from talos_opt.testing import check_solver
from tests.thirdparty.talos_mine.rounds import Options, Rounds

FIG1 = Path(__file__).parent.parent / "models" / "fig1.yaml"
THIRD_PARTY = Path(__file__).parent / "thirdparty"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the other package where Python finds packages."""
    monkeypatch.syspath_prepend(str(THIRD_PARTY))
    found.added.cache_clear()
    formats._added_formats.cache_clear()
    yield
    found.added.cache_clear()
    formats._added_formats.cache_clear()


@pytest.mark.usefixtures("installed")
def test_a_solver_of_another_package(capsys: pytest.CaptureFixture[str]) -> None:
    problem = talos_opt.read(FIG1)
    result = talos_opt.solve(problem, "rounds", options={"rounds": {"rounds": 50}}, time_limit=5)
    assert result.schedule is not None
    assert result.solver == "rounds"
    assert main(["solve", str(FIG1), "--solver", "rounds", "--time-limit", "5"]) == 0
    assert main(["compare", str(FIG1), "--solvers", "single,rounds", "--json"]) == 0
    capsys.readouterr()
    assert main(["solvers", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["solvers"]}
    assert rows["rounds"]["summary"] == "random placements"
    assert "contention serial" not in rows["rounds"]["covers"]
    assert "No module named 'talos_mine.nowhere'" in rows["broken"]["summary"]
    assert "cannot be loaded: SystemExit: 7" in rows["ending"]["summary"]
    assert "expected a subclass of talos_opt.plugins.Solver" in rows["nameless"]["summary"]
    assert rows["fast"]["summary"] != "random placements"  # that name is taken
    assert main(["solvers"]) == 0
    assert "package talos-mine" in capsys.readouterr().out


@pytest.mark.usefixtures("installed")
def test_what_is_wrong_with_it_is_said_clearly() -> None:
    problem = talos_opt.read(FIG1)
    for solver, options, message in (
        ("rounds", {"rounds": {"round": 1}}, "unknown option 'round', expected one of: rounds"),
        ("rounds", {"rounds": {"rounds": "many"}}, "rounds is 'many', expected a value like 20"),
        ("rounds", {"rounds": {"rounds": 0}}, "rounds is 0, expected at least 1"),
        ("round", {}, "did you mean 'rounds'"),
        ("broken", {}, "'broken' .*talos_mine.nowhere:Solver of package talos-mine.* cannot be"),
    ):
        with pytest.raises(ConfigError, match=message):
            talos_opt.solve(problem, solver, options=options)


@pytest.mark.usefixtures("installed")
def test_formats_and_exports_of_another_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph, schedule, target = (tmp_path / name for name in ("g.chain", "s.json", "p.hosts"))
    graph.write_text("a 1\nb 2\n")
    assert main(["solve", str(graph), "-o", str(schedule)]) == 0
    words = ["export", str(graph), str(schedule), "--to", "hosts", "--map", "cpu0=here"]
    assert main([*words, "-o", str(target)]) == 0
    assert target.read_text() == "chain/a here\nchain/b here\n"
    talos_opt.write_problem(talos_opt.read(graph), tmp_path / "again.chain")
    assert (tmp_path / "again.chain").read_text() == "a 1.0\nb 2.0\n"
    graph.write_text("a one\n")
    assert main(["solve", str(graph)]) == 2
    assert f"{graph}:1: 'a one', expected NAME TIME" in capsys.readouterr().err


@pytest.mark.usefixtures("installed")
def test_a_broken_format_hinders_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = talos_opt.read(FIG1)
    talos_opt.write_problem(problem, tmp_path / "again.chain.yaml")
    strange = tmp_path / "strange.xyz"
    strange.write_text("one two")
    broken = "'broken' .*talos_mine.nowhere of package talos-mine.* cannot be loaded"
    with pytest.raises(ConfigError, match=broken):
        talos_opt.read(FIG1, format="broken")
    for act in (talos_opt.read, lambda path: talos_opt.write_problem(problem, path)):
        with pytest.raises(ConfigError, match=f"strange.xyz .*{broken}"):
            act(strange)
    assert main(["solve", str(FIG1), "--solver", "rounds", "--time-limit", "2"]) == 0
    capsys.readouterr()


@pytest.mark.usefixtures("installed")
def test_mistakes_of_a_package_are_blamed_on_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = tmp_path / "g.careless"
    whose = "'careless' .*talos_mine.careless of package talos-mine"
    for text, message in (
        ("nothing\n", f"{whose}.* returned None, expected a Problem"),
        ("else", f"{whose}.* failed: KeyError: 'else'"),
    ):
        graph.write_text(text)
        with pytest.raises(ConfigError, match=message):
            talos_opt.read(graph)
    schedule = tmp_path / "s.json"
    assert main(["solve", str(FIG1), "--solver", "single", "-o", str(schedule)]) == 0
    words = ["export", str(FIG1), str(schedule), "--to", "careless"]
    assert main([*words, "-o", str(tmp_path / "o.careless")]) == 2
    assert "returns 3, expected what there is to count" in capsys.readouterr().err


def test_without_the_package_there_is_no_such_solver() -> None:
    with pytest.raises(ConfigError, match="unknown solver 'rounds'"):
        talos_opt.solve(talos_opt.read(FIG1), "rounds")


def test_a_fresh_process_finds_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "talos_opt", "solvers"],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": str(THIRD_PARTY)},
    )  # fmt: skip
    assert "random placements" in done.stdout


def test_a_solver_that_is_given_as_such() -> None:
    problem = talos_opt.read(FIG1)
    mine = Rounds(Options(rounds=30))
    result = talos_opt.solve(problem, mine, time_limit=5)
    assert result.solver == "rounds"
    assert result.value is not None
    comparison = talos_opt.compare(problem, ["single", mine], time_limit=5)
    assert [row.solver for row in comparison.rows] == ["single", "rounds"]
    for solver, message in (
        (Rounds, r"solver is the class Rounds, expected Rounds\(\)"),
        (7, "solver is 7, expected a name or a talos_opt.plugins.Solver"),
    ):
        wrong: Any = solver
        with pytest.raises(ConfigError, match=message):
            talos_opt.solve(problem, wrong)
    with pytest.raises(ConfigError, match="is given with the options that it has"):
        talos_opt.solve(problem, mine, options={"rounds": {}})


class _Nameless(Solver):
    def solve(self, problem: talos_opt.Problem, run: Run) -> Verdict:
        raise NotImplementedError


class _Odd(_Nameless):
    name = "odd"
    features: ClassVar[Any] = frozenset({"memory"})


class _Listed(_Nameless):
    name = "listed"
    features: ClassVar[Any] = ["objective toct"]


class _Wordless(_Nameless):
    name = "wordless"
    summary: ClassVar[Any] = None


class _Unsolving(Solver):
    name = "unsolving"


@dataclass(frozen=True)
class _Needed:
    rounds: int


class _Needing(_Nameless):
    name = "needing"
    Options = _Needed


class _Returning(_Nameless):
    name = "returning"
    returns: ClassVar[Any] = None

    def solve(self, problem: talos_opt.Problem, run: Run) -> Verdict:
        returned: Verdict = self.returns
        return returned


class _Failing(_Nameless):
    name = "failing"


def test_solvers_that_are_none() -> None:
    problem = talos_opt.read(FIG1)
    with pytest.raises(ConfigError, match="solver _Nameless has the name None, expected text"):
        talos_opt.solve(problem, _Nameless())
    with pytest.raises(ConfigError, match="covers 'memory', expected members of Feature"):
        talos_opt.solve(problem, _Odd())
    with pytest.raises(ConfigError, match="expected a frozenset of Feature"):
        talos_opt.solve(problem, _Listed())
    with pytest.raises(ConfigError, match="has the summary None, expected text"):
        talos_opt.solve(problem, _Wordless())
    with pytest.raises(ConfigError, match="_Needing has the option 'rounds', expected it to have"):
        talos_opt.solve(problem, _Needing(_Needed(3)))
    with pytest.raises(ConfigError, match="has no method solve, expected solve"):
        require_solver(_Unsolving, "it")
    with pytest.raises(InternalError, match="NotImplementedError in solver 'failing'"):
        talos_opt.solve(problem, _Failing())


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "solve returned None, expected a Verdict"),
        (("optimal", ""), "expected a Verdict"),
        (Verdict("great"), "its status is 'great', expected a Status"),  # type: ignore[arg-type]
    ],
)
def test_what_solve_returns_is_looked_at(
    returned: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Returning, "returns", returned)
    with pytest.raises(InternalError, match=f"in solver 'returning': .*{message}"):
        talos_opt.solve(FIG1, _Returning())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"solver": Rounds}, r"expected Rounds\(\)"),
        ({"solver": 7}, "solver is 7, expected a name or a Solver"),
        ({"solver": "nope"}, "unknown solver 'nope'"),
        ({"problems": 0}, "problems is 0, expected a whole number above 0"),
        ({"problems": 1.5}, "problems is 1.5"),
        ({"time_limit": 0}, "time_limit is 0, expected seconds above 0"),
    ],
)
def test_odd_arguments_of_the_agreement_suite(given: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"solver": "single", "problems": 1} | given
    with pytest.raises(ConfigError, match=message):
        check_solver(arguments.pop("solver"), **arguments)


def test_the_agreement_suite_finds_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = _Returning()
    monkeypatch.setattr(_Returning, "returns", Verdict(Status.UNKNOWN))
    with pytest.raises(AssertionError, match="unknown without a reason"):
        check_solver(silent, problems=3)


def test_the_agreement_suite_passes_a_solver_that_is_right() -> None:
    found = check_solver(Rounds(Options(rounds=10)), problems=60, time_limit=1)
    assert found.solver == "rounds"
    assert found.finds == ()
    assert found.statuses["feasible"] + found.statuses["optimal"] >= 15
    assert found.statuses["refused"] >= 3
    assert found.excess > 0


class _Boastful(Rounds):
    """Claims each value to be proven."""

    name = "boastful"

    def solve(self, problem: talos_opt.Problem, run: Run) -> Verdict:
        verdict = super().solve(problem, run)
        if run.best is not None:
            run.raise_bound(run.value, self.name)
        return verdict


class _Silent(_Nameless):
    name = "silent"

    def solve(self, problem: talos_opt.Problem, run: Run) -> Verdict:
        return Verdict(Status.UNKNOWN, "it does nothing")


def test_the_agreement_suite_fails_one_that_is_not() -> None:
    with pytest.raises(AssertionError, match=r"(?s)wrong optimal.*draw_case\(0, \d+\)"):
        check_solver(_Boastful(Options(rounds=1)), problems=60)
    with pytest.raises(AssertionError, match="'silent' has no schedule for any problem"):
        check_solver(_Silent(), problems=5)
    assert check_solver(_Failing(), problems=3, require=False).statuses["raised"] > 0
