"""``talos-opt solve``: place and schedule one graph."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, noise_arguments, replan
from talos_opt.cli.output import complain, emit, emit_json, tell_who_waits
from talos_opt.cli.progress import ProgressLine
from talos_opt.cli.signals import Signals

if TYPE_CHECKING:
    from talos_opt.core.config import SolveConfig
    from talos_opt.core.gains import Gains
    from talos_opt.core.problem import Problem
    from talos_opt.core.result import Result
    from talos_opt.core.schedule import Schedule
    from talos_opt.studies.crews.dask_link import DaskLink

#: Ops of a graph whose schedule is compared with the baselines, and told by module.
MOST_COMPARED = 50_000
#: Seconds that each of the two baselines may take, and the share of the time limit.
COMPARED_S, _COMPARED_SHARE = 0.5, 0.1


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "solve",
        help="place and schedule a graph",
        description="Place the ops of a graph on the devices of its cluster, schedule them, and "
        "prove how far the answer can be from the best.",
        epilog="Arguments given here take precedence over those in the --config file.",
        allow_abbrev=False,
    )
    arguments.add_graph(parser)
    arguments.add_problem(parser)
    arguments.add_bundles(parser)
    arguments.add_format(parser)
    arguments.add_solver(parser)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="solver configuration: a file, or one of fast, balanced, exact, throughput, "
        "talos-paper",
    )
    parser.add_argument(
        "--warm-start",
        metavar="SCHEDULE",
        help="schedule to start from; the answer is never worse than it",
    )
    parser.add_argument(
        "--granularity",
        choices=arguments.GRANULARITIES,
        help="what is placed as a unit: each op (default), or each module, if the graph says to "
        "which modules its ops belong",
    )
    parser.add_argument(
        "--no-split",
        type=arguments.names,
        metavar="PATTERN,PATTERN",
        help="with --granularity module: paths of larger modules to keep whole, "
        "such as encoder.layer.*",
    )
    arguments.add_limits(parser)
    arguments.add_dask(parser, "let several solvers and seeds solve it together")
    arguments.add_worth(parser)
    noise_arguments.add_robust(parser)
    replan.add_arguments(parser)
    arguments.add_output(parser, "the schedule")
    arguments.add_log(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Solve, write the answer, print it, and return the exit code."""
    from talos_opt.cli import files
    from talos_opt.core.config import SolveConfig, load_config

    plan = (load_config(args.config) if args.config else SolveConfig()).override(
        solver=args.solver,
        objective=args.objective,
        time_limit=args.time_limit,
        seed=args.seed,
        workers=args.workers,
        options=arguments.options_by_solver(args.option),
        worth=args.worth,
    )
    files.stream_as_json(args)
    again = replan.is_asked(args)
    files.require_writable(args.output, files.SUFFIXES if again else (*files.SUFFIXES, ".npz"))
    if again:
        with report_faults(args):
            return replan.run(args, signals, plan)
    problem, warm_start = _read(args, plan.objective)
    solve = _solver(args)
    started = time.monotonic()
    from talos_opt.core.shares import value_unit

    with (
        report_faults(args),
        _together(args.dask) as link,
        ProgressLine(plan.time_limit, value_unit(problem)) as line,
    ):
        common: dict[str, Any] = {
            "warm_start": warm_start, "on_progress": line.update, "cancel": signals.cancel,
        }  # fmt: skip
        if link is None:
            solved = partial(solve, problem, config=plan, started=started, **common)
            work = partial(_compared, solved, problem, plan, started)
        else:
            from talos_opt.studies.portfolios.portfolio import solve_together

            tell_who_waits(len(link.nthreads()), args.dask)
            together = partial(solve_together, problem, plan, link, **common)
            work = partial(_compared, together, problem, plan, started)
        result, gained = signals.run(work, line.draw)
    return report(args, result, gained)


def _compared(
    solve: Callable[[], Result], problem: Problem, plan: SolveConfig, started: float
) -> tuple[Result, Gains | None]:
    """Solve, and compare the schedule with the baselines, all in the time limit.

    `auto` runs them itself. Before other solvers, of which some use all their time, they have a
    small share of it.
    """
    from talos_opt.gain import gains, run_baselines

    cheap = problem.graph.op_count <= MOST_COMPARED
    first = None
    if plan.solver != "auto" and cheap:
        most = min(_COMPARED_SHARE * plan.time_limit, COMPARED_S)
        first = run_baselines(problem, time_limit=most)
    result = solve()
    if first is not None and first.problem is result.problem:
        result = dataclasses.replace(result, rules=first)
    left = started + plan.time_limit - time.monotonic()
    most = min(left / 2, COMPARED_S) if cheap and not result.interrupted else 0.0
    return result, gains(result, time_limit=max(0.0, most))


@contextmanager
def report_faults(args: argparse.Namespace) -> Iterator[None]:
    """Report what was found before a bug ended the search; it has passed `check`."""
    from talos_opt.core.errors import InternalError

    try:
        yield
    except InternalError as error:
        if error.result is not None and error.result.schedule is not None:
            report(args, error.result)
        raise


def _solver(args: argparse.Namespace) -> Callable[..., Result]:
    """Return what solves as the command line asks: for nominal times, or for those that vary."""
    asked = {
        name: getattr(args, name)
        for name in ("samples", "noise", "transfer_noise", "risk")
        if getattr(args, name) is not None
    }
    if not asked:
        from talos_opt import api

        return api.solve
    if args.dask is not None:
        from talos_opt.core.errors import InputError

        option = next(iter(asked)).replace("_", "-")
        raise InputError(f"--{option} asks for a robust plan, which is not looked for on Dask")
    from talos_opt.robust import solve_robust

    return partial(solve_robust, **asked)


def _together(dask: str | None) -> AbstractContextManager[DaskLink | None]:
    """Return the way to a Dask cluster, where there is to be one."""
    if dask is None:
        return nullcontext()
    from talos_opt.core.machine import available_cores
    from talos_opt.studies.crews.dask_link import DaskLink

    return DaskLink(dask, workers=available_cores())


def _read(args: argparse.Namespace, objective: str | None) -> tuple[Problem, Schedule | None]:
    """Read the graph, and the schedule to start from, which says what is not asked for."""
    from talos_opt.cli import schedules

    if not args.warm_start:
        return _coarsen(read_problem(args, args.graph, objective), args), None
    args.objective = objective
    (file,) = schedules.open_schedules([args.warm_start], "the schedule to start from is a file")
    problem = _coarsen(schedules.read_graph(args, args.graph, file, warm=True), args)
    given = arguments.bundles_of(args)
    if given is not None:  # the bundles of the schedule stay those that the search starts from
        problem = schedules.with_rules(problem, given)
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    return problem, schedule


def read_problem(args: argparse.Namespace, graph: str, objective: str | None) -> Problem:
    """Read a graph as the command line asks for it."""
    from talos_opt import api

    problem = api.read(
        graph,
        cluster=args.cluster,
        objective=objective,
        format=args.source_format,
        bundles=arguments.bundles_of(args),
    )
    if args.memory_rule is not None:
        problem = dataclasses.replace(problem, memory_rule=args.memory_rule)
    return arguments.with_stages(problem, args)


def _coarsen(problem: Problem, args: argparse.Namespace) -> Problem:
    """Return the problem at the granularity that the command line asks for."""
    from talos_opt.core.errors import InputError
    from talos_opt.core.granularity import Granularity, by_module

    if args.granularity == Granularity.MODULE:
        return by_module(problem, args.no_split or ())
    if args.no_split:
        raise InputError("--no-split keeps modules whole: it needs --granularity module")
    return problem


def report(args: argparse.Namespace, result: Result, gained: Gains | None = None) -> int:
    """Write and print a result; return the exit code that tells what it is."""
    from talos_opt import formats
    from talos_opt.core.errors import InputError
    from talos_opt.formats.schedule import json_lines
    from talos_opt.reports.texts.summary import details_of, summarise

    failed = ""
    if args.output:
        try:
            formats.write_schedule(result, args.output)
        except InputError as error:
            failed = str(error)
    if args.json or failed:
        # A schedule that took minutes to find is not lost to a full disk.
        more = details_of(result) | ({} if gained is None else {"gains": gained.to_dict()})
        emit_json("\n".join(json_lines(result, more)))
    else:
        emit(summarise(result, args.output, gained))
    for note in result.notes:
        complain(f"note: {note}")
    if result.reason:
        complain(f"{result.status.value}: {result.reason}")
    if failed:
        complain(f"error: {failed}; the schedule went to standard output instead")
    if result.interrupted:
        return exits.INTERRUPTED
    if failed:
        return exits.BAD_INPUT
    return exits.NO_SCHEDULE if result.schedule is None else exits.SOLVED
