"""``talos-opt report``: one page with all there is to see of a graph and its schedules."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, schedules
from talos_opt.cli.output import complain, emit_written
from talos_opt.cli.progress import ProgressBar, ProgressLine
from talos_opt.cli.signals import Signals

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.formats.schedule import ScheduleFile
    from talos_opt.reports.page.answers import Answer

#: Arguments that say how to solve, which is done only where no schedule is given.
SOLVING = ("solver", "time_limit", "seed", "workers", "option")

#: Statements of a schedule file that are not so and are told; of more, only how many there are.
TOLD = 3


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report",
        help="write a page that shows a graph and its schedules, for a browser",
        description="Write one HTML file that shows a graph and its schedules: what is proven, an "
        "interactive Gantt chart, memory over time, speedups, and the schedules side by side. It "
        "is self-contained and needs no network. Without a schedule, the graph is solved first.",
        epilog="The page shows values recomputed from the schedules, whatever the files state.",
        allow_abbrev=False,
    )
    arguments.add_graph(parser)
    arguments.add_schedule(parser, several="*")
    arguments.add_target(parser, "page to write: .html; - writes to standard output", required=True)
    arguments.add_json(parser, "what was written")
    arguments.add_problem(parser)
    arguments.add_format(parser)
    arguments.add_solver(parser)
    arguments.add_limits(parser)
    parser.add_argument(
        "--whatif",
        type=arguments.seconds,
        metavar="SECONDS",
        help="search, for so long each, for what single changes of the graph would be worth, from "
        "the best schedule (default: do not)",
    )
    arguments.add_log(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Read or find the schedules, write the page, and return the exit code."""
    from talos_opt.cli import files
    from talos_opt.reports.page import SUFFIXES

    files.require_target(args, SUFFIXES, packed=False)
    if args.schedules:
        return _show(args, signals)
    return _solve_and_show(args, signals)


def _show(args: argparse.Namespace, signals: Signals) -> int:
    from talos_opt.core.errors import InputError

    given = [name for name in SOLVING if getattr(args, name) is not None]
    if given:
        raise InputError(
            f"--{given[0].replace('_', '-')} is for solving, but schedules are given: leave out "
            "one or the other"
        )
    files = schedules.open_schedules(args.schedules, "schedules must be files")
    problem = schedules.read_graph(args, args.graph, files[0])
    labels = _labels(args.schedules)
    answers = [
        _read_answer(problem, path, file, label)
        for path, file, label in zip(args.schedules, files, labels, strict=True)
    ]
    _write(args, signals, problem, answers, f"written to {args.output}")
    return exits.INTERRUPTED if signals.interrupted else exits.SOLVED


def _write(
    args: argparse.Namespace,
    signals: Signals,
    problem: Problem,
    answers: list[Answer],
    text: str,
) -> None:
    """Write the page, with what would help if asked for, and say so."""
    from talos_opt.core.metrics import measure
    from talos_opt.reports.page import write_report

    changes = None if args.whatif is None else _changes(args, signals, problem, answers)
    with ProgressBar() as bar:
        write_report(problem, answers, args.output, changes=changes, on_progress=bar.show)
    facts = {
        "ops": problem.graph.op_count,
        "devices": len(problem.device_ids),
        "objective": problem.objective.value,
        "values": {
            answer.label: measure(problem, answer.schedule).value(problem.objective)
            for answer in (answers if args.json else ())
        },
    }
    emit_written(args, facts, text)


def _changes(
    args: argparse.Namespace, signals: Signals, problem: Problem, answers: list[Answer]
) -> dict[str, Any]:
    """Search for what would help the best schedule."""
    from talos_opt.cli.single_changes import search
    from talos_opt.core.metrics import objective_value

    best = min((answer.schedule for answer in answers), key=partial(objective_value, problem))
    found = search(
        problem,
        best,
        signals,
        solver="auto",
        seconds=args.whatif,
        seed=args.seed or 0,
        workers=args.workers,
    )
    return found.to_dict()


def _read_answer(problem: Problem, path: str, file: ScheduleFile, label: str) -> Answer:
    """Read a schedule, refuse an infeasible one, and tell what its file states wrongly."""
    from talos_opt import api
    from talos_opt.cli.check import differences
    from talos_opt.core.errors import ScheduleError
    from talos_opt.core.metrics import measure
    from talos_opt.reports.page import Answer

    document = file.document
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file, path)
    violations = api.check(problem, schedule)
    if violations:
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise ScheduleError(
            f"the schedule is not feasible: {violations[0]}{more}; talos-opt check lists all",
            source=path,
        )
    wrong = list(differences(document, problem, measure(problem, schedule)))
    for text in wrong[:TOLD]:
        complain(f"note: {path}: {text}; the page shows the recomputed value")
    if len(wrong) > TOLD:
        complain(f"note: {path}: {len(wrong) - TOLD} more numbers are not as stated")
    return Answer(label, schedule, document)


def _labels(paths: list[str]) -> list[str]:
    """Return the files' names without suffix; where that is not unique, what was typed."""
    stems = [Path(path).name.partition(".")[0] or path for path in paths]
    seen = Counter(stems)
    names = [path if seen[stem] > 1 else stem for path, stem in zip(paths, stems, strict=True)]
    seen = Counter(names)
    return [f"{name} ({k})" if seen[name] > 1 else name for k, name in enumerate(names, start=1)]


def _solve_and_show(args: argparse.Namespace, signals: Signals) -> int:
    from talos_opt import api
    from talos_opt.cli.solve import read_problem
    from talos_opt.core.config import SolveConfig
    from talos_opt.reports.page import Answer
    from talos_opt.reports.texts.summary import summarise

    plan = SolveConfig().override(
        solver=args.solver,
        objective=args.objective,
        time_limit=args.time_limit,
        seed=args.seed,
        workers=args.workers,
        options=arguments.options_by_solver(args.option),
    )
    problem = read_problem(args, args.graph, plan.objective)
    if args.whatif is not None:  # before anything is searched for, which would be lost
        from talos_opt.studies.single_changes import require_plain

        require_plain(problem)
    started = time.monotonic()
    complain(
        f"note: no schedule is given: solving with {plan.solver} for at most {plan.time_limit:g} s"
    )
    from talos_opt.core.shares import value_unit

    with ProgressLine(plan.time_limit, value_unit(problem)) as line:
        result = signals.run(
            lambda: api.solve(
                problem,
                config=plan,
                on_progress=line.update,
                cancel=signals.cancel,
                started=started,
            ),
            line.draw,
        )
    for note in result.notes:
        complain(f"note: {note}")
    if result.schedule is None:
        complain(f"{result.status.value}: {result.reason}")
        complain("no page is written: there is no schedule to show")
        return exits.INTERRUPTED if result.interrupted else exits.NO_SCHEDULE
    answer = Answer(result.solver, result.schedule, result.to_dict(rows=False))
    _write(args, signals, result.problem, [answer], summarise(result, args.output))
    return exits.INTERRUPTED if result.interrupted else exits.SOLVED
