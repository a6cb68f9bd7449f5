"""Counting what is wrong, and keeping it as files that show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import talos_opt
from talos_opt.testing.cases import TURNS, Case, Outcome, Turn, draw_case
from talos_opt.testing.judging import Find

STATUSES = ("optimal", "feasible", "infeasible", "unknown", "refused", "raised")
#: Files written for one kind of find of one solver; all are counted.
MOST_FILES = 20


@dataclass
class Tally:
    """What was said and what was wrong, and the files of the finds."""

    folder: Path
    seed: int
    tell: Callable[[str], None] = print
    problems: int = 0
    hard: int = 0
    said: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def answers(self) -> int:
        return sum(self.said.values())

    @property
    def finds(self) -> int:
        return sum(self.wrong.values())

    def add(self, number: int, outcomes: Iterable[Outcome]) -> None:
        """Count what was made of a problem, and keep what is wrong."""
        for outcome in outcomes:
            self.said[outcome.solver, outcome.status] += 1
            for find in outcome.finds:
                self.wrong[outcome.solver, find.kind] += 1
                if self.wrong[outcome.solver, find.kind] <= MOST_FILES:
                    case = draw_case(self.seed, number)
                    path = write_find(self.folder, case, outcome.solver, find)
                    self.tell(f"{find.kind}: {find.text[:200]}\n  {path}")

    def kinds(self) -> list[str]:
        """A column for each kind of find."""
        return sorted({kind for _, kind in self.wrong})

    def rows(self, solvers: Iterable[str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for solver in solvers:
            said = {status: self.said[solver, status] for status in STATUSES}
            wrong = {kind: n for (name, kind), n in self.wrong.items() if name == solver}
            rows.append({"solver": solver, "problems": sum(said.values())} | said | wrong)
        return rows


def write_find(folder: Path, case: Case, solver: str, find: Find) -> Path:
    """Write a problem with what is wrong with an answer to it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{find.kind.replace(' ', '_')}-{solver}-{case.number}.json"
    limit = TURNS.get(solver, Turn()).limit
    command = (
        f"talos-opt solve {name} --solver {solver} --objective {case.problem.objective.value} "
        f"--time-limit {limit:g} --seed {case.seed} --workers {case.workers}"
    )
    graph = case.problem.graph
    told = type(graph)(
        f"{graph.name} {case.number}",
        graph.models,
        graph.time_unit,
        description=f"{find.kind}: {find.text}\n{command}",
    )
    problem = type(case.problem)(
        told, case.problem.cluster, case.problem.objective, case.problem.memory_rule
    )
    talos_opt.write_problem(problem, folder / name)
    return folder / name
