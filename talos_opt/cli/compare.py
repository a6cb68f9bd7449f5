"""``talos-opt compare``: several solvers on one or more graphs, in one table."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit, emit_json, tell_who_waits
from talos_opt.cli.progress import ProgressBar, ProgressLine
from talos_opt.cli.signals import Signals
from talos_opt.reports.texts.tables import percent, quantity, table, visible

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.result import Comparison, Row

DEFAULT_TIME_LIMIT = 10.0


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "compare",
        help="run several solvers on one or more graphs",
        description="Run several solvers on one or more graphs and print one table: value, ratio "
        "to the best value on that graph, proven bound, gap, time and the other objectives.",
        epilog="A solver that does not cover a graph has a line with the reason. "
        "The exit code is 0 if every graph has a schedule.",
        allow_abbrev=False,
    )
    arguments.add_graph(parser, several=True)
    parser.add_argument(
        "--solvers",
        type=arguments.names,
        metavar="NAME,NAME",
        help="solvers to run (default: the baselines, talos and auto)",
    )
    arguments.add_problem(parser)
    arguments.add_format(parser)
    arguments.add_limits(parser, each="each solver on each graph")
    arguments.add_dask(parser, "run the solvers beside each other")
    arguments.add_worth(parser)
    arguments.add_output(parser, "the comparison")
    arguments.add_log(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Compare, write and print the rows, and return the exit code."""
    from talos_opt import api
    from talos_opt.cli import files
    from talos_opt.core.result import compare_results

    files.stream_as_json(args)
    files.require_writable(args.output)
    problems = _read(args)
    limit = args.time_limit or DEFAULT_TIME_LIMIT
    names = args.solvers or api.DEFAULT_COMPARISON
    done: list[Row] = []
    run_all = _on_dask if args.dask else _here
    try:
        comparison = run_all(args, signals, problems, names, limit, done)
    except Exception:
        if done:  # what has been measured is not lost to the solver that failed
            _report(args, compare_results(done), problems)
        raise
    code = _report(args, comparison, problems)
    return exits.INTERRUPTED if signals.interrupted else code


def _here(
    args: argparse.Namespace, signals: Signals, problems: Sequence[Problem], names: Sequence[str],
    limit: float, done: list[Row],
) -> Comparison:  # fmt: skip
    """Run one solver after the other, with all cores."""
    from talos_opt import api

    with ProgressLine(limit) as line:
        coming = iter(_titles(problems, names))
        line.begin(*next(coming))

        def keep(row: Row) -> None:
            done.append(row)
            line.begin(*next(coming, ("", "")))

        return signals.run(
            lambda: api.compare(
                problems,
                names,
                time_limit=limit,
                seed=args.seed or 0,
                workers=args.workers,
                options=arguments.options_by_solver(args.option),
                worth=args.worth or 0.0,
                on_progress=line.update,
                on_row=keep,
                cancel=signals.cancel,
            ),
            line.draw,
        )


def _on_dask(
    args: argparse.Namespace, signals: Signals, problems: Sequence[Problem], names: Sequence[str],
    limit: float, done: list[Row],
) -> Comparison:  # fmt: skip
    """Run solvers beside each other on the workers of a Dask cluster."""
    from talos_opt.core.config import SolveConfig
    from talos_opt.core.machine import available_cores
    from talos_opt.studies.comparing import compare_with
    from talos_opt.studies.crews.asked import hire

    plan = SolveConfig(
        time_limit=limit, seed=args.seed or 0, workers=args.workers,
        options=arguments.options_by_solver(args.option), worth=args.worth or 0.0,
    )  # fmt: skip
    total = len(problems) * len(names)
    with hire(args.dask, min(total, available_cores())) as crew, ProgressBar() as bar:

        def keep(row: Row) -> None:
            done.append(row)
            bar.report(len(done) / total, f"{len(done)} of {total} solves")

        tell_who_waits(crew.workers, args.dask)
        bar.report(0.0, f"0 of {total} solves")
        return signals.run(
            lambda: compare_with(crew, problems, names, plan, on_row=keep, cancel=signals.cancel),
            bar.draw,
        )


def _read(args: argparse.Namespace) -> list[Problem]:
    """Read all graphs before the first is solved; graphs of one name get their files' names."""
    from talos_opt.cli.solve import read_problem

    if args.graphs.count("-") > 1:
        from talos_opt.core.errors import InputError

        raise InputError("standard input holds one graph, but - is given more than once")
    problems = [read_problem(args, graph, args.objective) for graph in args.graphs]
    seen = Counter(problem.graph.name for problem in problems)
    return [
        replace(problem, graph=replace(problem.graph, name=graph))
        if seen[problem.graph.name] > 1
        else problem
        for graph, problem in zip(args.graphs, problems, strict=True)
    ]


def _titles(problems: Sequence[Problem], names: Sequence[str]) -> list[tuple[str, str]]:
    """Title and time unit of the progress line for each solve to come."""
    from talos_opt.core.result import distinct_names
    from talos_opt.core.shares import value_unit

    total = len(problems) * len(names)
    return [
        (f"[{i} of {total}] {graph}: {name}", value_unit(problem))
        for i, ((graph, problem), name) in enumerate(
            product(distinct_names(problems), names), start=1
        )
    ]


def _report(args: argparse.Namespace, comparison: Comparison, problems: Sequence[Problem]) -> int:
    """Write and print the rows; return the exit code that tells whether all graphs are solved."""
    from talos_opt.cli import files
    from talos_opt.core.errors import InputError

    document, failed = comparison.to_dict(), ""
    if args.output:
        try:
            files.write_comparison(document, args.output)
        except InputError as error:
            failed = str(error)
    if args.json or failed:
        emit_json(files.to_json(document, files.COMPARISON))
    else:
        emit(_table(comparison, problems))
        for row in comparison.rows:
            reason = row.error or (row.result.reason if row.result else "")
            if reason:
                emit(visible(f"{row.solver} on {row.graph}: {reason}"))
        emit(f"\n{_legend(problems)}")
        if args.output:
            emit(f"written to {visible(args.output)}")
    if failed:
        complain(f"error: {failed}; the comparison went to standard output instead")
        return exits.BAD_INPUT
    solved = all(row.graph in comparison.best for row in comparison.rows)
    return exits.SOLVED if solved else exits.NO_SCHEDULE


def _table(comparison: Comparison, problems: Sequence[Problem]) -> str:
    """Return the rows as a table; graphs with several objectives have them all in columns."""
    objectives = {problem.objective.value for problem in problems}
    value = objectives.pop() if len(objectives) == 1 else "value"
    piped = any(problem.is_pipelined for problem in problems)
    others = [name for name in arguments.OBJECTIVES if name != value and (piped or name != "step")]
    columns = ("graph", "solver", "status", value, "ratio", "bound", "gap", "time", *others)
    rows = [_cells(comparison, row, others) for row in comparison.rows]
    return table(columns, rows, left=(0, 1, 2))


def _legend(problems: Sequence[Problem]) -> str:
    """Say what the columns of the objectives are."""
    from talos_opt.core.problem import Objective

    piped = any(problem.is_pipelined for problem in problems)
    shown = [name for name in Objective if piped or name is not Objective.STEP]
    return "; ".join(f"{name.value}: {name.words}" for name in shown)


def _cells(comparison: Comparison, row: Row, others: Sequence[str]) -> list[str]:
    result, ratio = row.result, comparison.ratio(row)
    if result is None:
        return [row.graph, row.solver, "no result", *["-"] * (5 + len(others))]
    from talos_opt.core.problem import Objective
    from talos_opt.core.shares import value_unit

    problem, metrics = result.problem, result.metrics
    unit = value_unit(problem)
    worth = {name: value_unit(problem, Objective(name)) for name in others}
    return [
        row.graph,
        row.solver,
        result.status.value,
        quantity(result.value, unit),
        "-" if ratio is None else f"{ratio:.4f}",
        "-" if result.status == "infeasible" else quantity(result.lower_bound, unit),
        percent(result.gap),
        quantity(round(result.runtime_s, 3), "s"),
        *(quantity(getattr(metrics, name, None), worth[name]) for name in others),
    ]
