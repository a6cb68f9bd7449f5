"""``talos-opt run --pipeline``: run a model as a pipeline of processes."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.reports.digits import duration, significant
from talos_opt.reports.texts.tables import table, visible

if TYPE_CHECKING:
    from talos_opt.frameworks.common.pipelined import PipelineReport, StageTimes, Times

#: Where neither the command line nor the graph says how steps are run.
DEFAULT_ORDER, DEFAULT_MICROBATCHES = "gpipe", 4
#: Seconds that a stage waits for another one.
DEFAULT_TIMEOUT = 60.0

#: What only a pipeline reads.
_OPTIONS = ("graph", "microbatches", "port", "timeout")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a pipeline."""
    parser.add_argument(
        "--pipeline",
        nargs="?",
        const={},
        type=_order,
        metavar="ORDER[:COUNT]",
        help="run each stage in a process of its own, by torch.distributed.pipelining (torch): "
        "gpipe, all forward blocks, then all backward blocks; 1f1b, one of each in turn; gpipe:8, "
        "in steps of 8 micro-batches (default: what the graph or the schedule says, or gpipe:4)",
    )
    parser.add_argument(
        "--graph",
        metavar="GRAPH",
        help="graph file that the schedule is of, which --pipeline needs: modules, phases, times",
    )
    parser.add_argument(
        "--microbatches",
        type=arguments.count,
        metavar="M",
        help="micro-batches of a step; --input is one (default: that of --pipeline)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        metavar="PORT",
        help="TCP port by which the processes find each other (default: a free one)",
    )
    parser.add_argument(
        "--timeout",
        type=arguments.seconds,
        metavar="SECONDS",
        help="for which a stage waits for another one before the run fails "
        f"(default: {DEFAULT_TIMEOUT:g})",
    )


def _order(text: str) -> dict[str, Any]:
    """Read an order of blocks, with a number of micro-batches or without."""
    if ":" in text:
        return arguments.pipelining(text)
    if text not in arguments.PIPELINE_ORDERS:
        expected = " or ".join(arguments.PIPELINE_ORDERS)
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an order of blocks, expected {expected}, or gpipe:8"
        )
    return {"schedule": text}


def _port(text: str) -> int:
    value = arguments.count(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return value


def asked_for(args: argparse.Namespace) -> bool:
    """Whether a pipeline is to be run; refuses arguments that do not go together.

    Raises
    ------
    InputError
    """
    from talos_opt.core.errors import InputError

    if args.pipeline is None:
        for name in _OPTIONS:
            if getattr(args, name) is not None:
                raise InputError(f"--{name} needs --pipeline")
        return False
    if args.framework != "torch":
        raise InputError(f"--pipeline runs models of torch, not of {args.framework}")
    if args.graph is None:
        raise InputError(
            "--pipeline needs --graph, the graph file that the schedule is of: it says which "
            "modules the stages begin with"
        )
    return True


def run(args: argparse.Namespace) -> int:
    """Run a model as a pipeline, print the report and return the exit code."""
    from talos_opt.cli import frameworks, schedules
    from talos_opt.cli.progress import ProgressBar

    args.source_format = None
    asked, args.pipeline = args.pipeline, None  # the schedule tells what it was made for
    args.timeout = args.timeout or DEFAULT_TIMEOUT
    (file,) = schedules.open_schedules([args.schedule])
    arguments.require_devices(args.map or (), file.devices)
    problem = schedules.read_graph(args, args.graph, file)
    known = {} if problem.pipeline is None else problem.pipeline.to_plain()
    asked = known | asked
    args.pipeline = asked.get("schedule", DEFAULT_ORDER)
    args.microbatches = args.microbatches or asked.get("microbatches", DEFAULT_MICROBATCHES)
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    # What a user's own code prints is no part of the answer.
    with ProgressBar() as bar, contextlib.redirect_stdout(sys.stderr):
        report = frameworks.load_torch(args).run_as_pipeline(args, problem, schedule, bar.show)
    for note in report.notes:
        complain(f"note: {args.schedule}: {note}")
    if args.trace:
        from talos_opt.formats.chrome_trace import write_schedule_trace
        from talos_opt.frameworks.common.pipelined import measured_blocks

        write_schedule_trace(*measured_blocks(report, problem.graph.name), args.trace)
    if args.json:
        emit_json(json.dumps(report.to_dict(), indent=1))
    else:
        emit(describe(report))
    if not report.equal:
        what, error = "outputs", report.max_abs_error
        if report.outputs_equal:
            what, error = "loss or gradients", report.max_gradient_error or 0.0
        complain(f"error: the {what} differ from the plain model's, by up to {error:.3g}")
        return exits.NO_SCHEDULE
    return exits.SOLVED


def describe(report: PipelineReport) -> str:
    """Return the text that is printed."""
    from talos_opt.frameworks.common.disturbance import note_of

    step = report.predicted
    threads = f"{report.threads} thread{'s' if report.threads > 1 else ''}"
    lines = [("outputs", _equal(report.outputs_equal, report.max_abs_error))]
    if report.gradients_equal is not None:
        lines.append(("gradients", _equal(report.gradients_equal, report.max_gradient_error)))
    ratio = report.measured_s / report.predicted_s if report.predicted_s > 0 else float("nan")
    lines += [
        ("schedule", f"{step.schedule}, micro-batches: {step.microbatches}"),
        ("processes", f"{len(report.stages)}, each with {threads}"),
        ("predicted", duration(report.predicted_s, "s", 4)),
        (
            "measured",
            f"{duration(report.measured_s, 's', 4)}, {significant(ratio, 3)} times as long, spread "
            f"{report.spread:.0%}",
        ),
        ("one process", f"{duration(report.single_process_s, 's', 4)}, the plain model"),
    ]
    note = note_of(report.others)
    if note:
        lines.append(("machine", note))
    head = "\n".join(f"{name:<11}  {value}" for name, value in lines)
    return f"{head}\n\n{_table(report)}\n\npredicted / measured"


def _equal(equal: bool, error: float | None) -> str:
    return f"{'equal' if equal else 'differ'}, largest error {error or 0.0:.3g}"


def _table(report: PipelineReport) -> str:
    phases = ["forward"]
    if report.gradients_equal is not None:
        phases += ["backward", "update"]
    headings = ("stage", "device", "on", *phases, "hand-over")
    rows: list[tuple[str, ...]] = []
    for k, stage in enumerate(report.stages):
        last = k == len(report.stages) - 1
        rows.append(
            (
                str(k),
                visible(stage.device),
                stage.where,
                *(_both(_times(stage, phase)) for phase in phases),
                "" if last else _both(stage.handover),
            )
        )
    return table(headings, rows, left=(0, 1, 2))


def _times(stage: StageTimes, phase: str) -> Times:
    times: dict[str, Any] = {
        "forward": stage.forward,
        "backward": stage.backward,
        "update": stage.update,
    }
    found: Times = times[phase]
    return found


def _both(times: Times) -> str:
    return f"{duration(times.predicted_s, 's', 4)} / {duration(times.measured_s, 's', 4)}"
