"""``talos-opt simulate``: what schedules are worth when op times vary."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, noise_arguments
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.cli.progress import ProgressBar
from talos_opt.cli.signals import Signals
from talos_opt.reports.digits import moment
from talos_opt.reports.texts.tables import percent, quantity, table, visible

if TYPE_CHECKING:
    from talos_opt.analysis.sensitivity import Sensitivity
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule
    from talos_opt.formats.emit import Layout

#: How the document is spread over lines: a schedule each.
LAYOUT: Layout = {"schedules": [], "against_first": []}

DEFAULT_SAMPLES = 1000


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "simulate",
        help="what schedules are worth when op times vary",
        description="Keep the placement and the order of one or more schedules, vary the op times "
        "at random, and print how the objective's value is distributed, and how often one "
        "schedule beats another. All schedules see the same random times, and the others "
        "are compared with the first one.",
        allow_abbrev=False,
    )
    arguments.add_graph(parser)
    arguments.add_schedule(parser, several="+")
    noise_arguments.add_noise(parser)
    parser.add_argument(
        "--samples",
        type=arguments.count,
        default=DEFAULT_SAMPLES,
        metavar="N",
        help=f"random draws of all times (default: {DEFAULT_SAMPLES})",
    )
    arguments.add_seed(parser)
    arguments.add_problem(parser)
    arguments.add_format(parser)
    parser.add_argument(
        "--plot", metavar="FILE", help="draw the distributions into this file: .png, .svg or .pdf"
    )
    arguments.add_output(parser, "the figures")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Simulate, print and write the figures, and return the exit code."""
    from talos_opt.analysis.sensitivity import Noise, simulate_noise
    from talos_opt.cli import files
    from talos_opt.formats.emit import lines_of
    from talos_opt.formats.source import split_suffix
    from talos_opt.formats.target import write_lines

    files.stream_as_json(args)
    files.require_writable(args.output)
    if args.plot is not None:
        from talos_opt.reports import style

        files.require_writable(args.plot, style.SUFFIXES, packed=False)
        style.require_matplotlib()
    problem, schedules = _read(args)
    with ProgressBar() as bar:
        doing = f"{args.samples} samples of {len(schedules)} schedule(s)"
        found = signals.run(
            lambda: simulate_noise(
                problem,
                schedules,
                Noise(args.noise, args.transfer_noise),
                samples=args.samples,
                seed=args.seed or 0,
                on_progress=lambda share: bar.report(share, doing),
                cancel=signals.cancel,
            ),
            bar.draw,
            "the result of the samples so far",
        )
    if args.plot is not None:
        from talos_opt.reports.sensitivity_plot import draw_sensitivity

        style.save(draw_sensitivity(found), args.plot)
    document = found.to_dict()
    if args.output is not None:
        write_lines(lines_of(document, LAYOUT, split_suffix(args.output)[1]), args.output)
    if args.json:
        emit_json(files.to_json(document, LAYOUT))
    else:
        emit(describe(found))
    if found.interrupted:
        complain(f"note: interrupted after {found.samples} of {args.samples} samples")
        return exits.INTERRUPTED
    return exits.SOLVED


def _read(args: argparse.Namespace) -> tuple[Problem, dict[str, Schedule]]:
    """Read the graph by the first schedule's objective, and the schedules, all feasible."""
    from talos_opt import api
    from talos_opt.cli.schedules import note_other_graph, open_schedules, read_graph
    from talos_opt.core.errors import InputError, ScheduleError

    files = open_schedules(args.schedules, "a schedule must be a file")
    problem = read_graph(args, args.graph, files[0])
    schedules: dict[str, Schedule] = {}
    for name, file in zip(args.schedules, files, strict=True):
        if name in schedules:
            raise InputError("the schedule is given twice, expected each once", source=name)
        schedule = file.schedule(problem)
        note_other_graph(problem, file, name)
        violations = api.check(problem, schedule)
        if violations:
            raise ScheduleError(
                f"the schedule is not feasible, expected one that is: {violations[0]}", source=name
            )
        schedules[name] = schedule
    return problem, schedules


def describe(found: Sensitivity) -> str:
    """Return the text that is printed."""
    from talos_opt.analysis.sensitivity import OVERRUNS
    from talos_opt.core.shares import value_unit

    unit, name = value_unit(found.problem), visible(found.problem.graph.name)
    moving = f", transfers {percent(found.noise.transfers)}" if found.noise.transfers else ""
    overruns = ["> announced", *(f"> +{100 * share:g} %" for share in OVERRUNS[1:])]
    values, risks = [], []
    for outcome, best in zip(found.outcomes, found.best_shares(), strict=True):
        work = outcome.announced - outcome.forced
        means = (outcome.announced, outcome.retimed, outcome.mean)
        spread = (outcome.quantile(0.05), outcome.quantile(0.5), outcome.quantile(0.95))
        shown = [moment(value, unit, work) for value in (*means, *spread, outcome.values.max())]
        shown.insert(len(means), quantity(outcome.deviation, unit))
        values.append((outcome.name, *shown))
        shares = [outcome.overrun(share) for share in OVERRUNS]
        risks.append((outcome.name, *map(percent, shares), percent(best)))
    heads = ("schedule", "announced", "no noise", "mean", "std", "5 %", "median", "95 %", "worst")
    lines = [
        f"{name}: {found.problem.objective.in_full} with op times varied by "
        f"{percent(found.noise.ops)}{moving}; {found.samples} samples, seed {found.seed}",
        "",
        table(heads, values),
        "",
        table(("share of samples", *overruns, "best"), risks),
    ]
    if len(found.outcomes) > 1:
        lines += ["", _duels(found)]
    return "\n".join(lines)


def _duels(found: Sensitivity) -> str:
    from talos_opt.core.shares import value_unit

    unit = value_unit(found.problem)
    rows = [
        (
            duel.name,
            f"{percent(duel.wins / found.samples)} ({percent(duel.low)} to {percent(duel.high)})",
            percent(duel.ties / found.samples),
            f"{'+' if duel.difference > 0 else ''}{quantity(duel.difference, unit)} ± "
            f"{quantity(duel.error, unit)}",
        )
        for duel in found.duels()
    ]
    first = found.outcomes[0].name
    return table((f"against {first}", "wins (95 % interval)", "ties", "mean difference"), rows)
