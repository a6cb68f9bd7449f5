"""``talos-opt run``: run a model under the placement of a schedule."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits, run_pipeline
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.cli.signals import Signals
from talos_opt.reports.texts.tables import number, quantity, table, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule
    from talos_opt.frameworks.common.running import RunReport

#: Ops that are listed: those that took longest.
SHOWN = 10


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "run",
        help="run a model under the placement of a schedule",
        description="Capture a model, run it under the placement of a schedule, compare its "
        "outputs with those of the plain model, and its times with the predicted ones.",
        epilog="With --pipeline each stage has a process, and a batch is cut into micro-batches. "
        "The exit code is 1 if outputs, or gradients of a pipeline, differ from those of the plain "
        "model.",
        allow_abbrev=False,
    )
    arguments.add_model(parser)
    parser.add_argument(
        "--schedule",
        metavar="SCHEDULE",
        required=True,
        help="talos-schedule/1 file of the model's graph, as profile and solve make it",
    )
    parser.add_argument(
        "--map",
        type=arguments.assignments,
        action=arguments.Merging,
        metavar="DEVICE=DEVICE,...",
        help="the framework's device for each device of the schedule, such as "
        "gpu0=cuda:0,gpu1=cpu (default: cpu for cpu*, in tensorflow a logical CPU device for "
        "each, in onnx a session; the Nth GPU for gpuN)",
    )
    parser.add_argument(
        "--repeats",
        type=arguments.count,
        default=5,
        metavar="N",
        help="timed runs, of which the median counts (default: 5)",
    )
    parser.add_argument(
        "--threads",
        type=arguments.count,
        metavar="N",
        help="intra-op threads of each CPU device, as many as it was profiled with (default: as "
        "profile; with --pipeline 1)",
    )
    parser.add_argument(
        "--trace", metavar="FILE", help="file to write what was measured to, as a Chrome trace"
    )
    run_pipeline.add_arguments(parser)
    arguments.add_json(parser, "the report")
    arguments.add_log(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Run a model under a schedule, print the report and return the exit code."""
    from talos_opt.cli import files, frameworks, schedules
    from talos_opt.tasks.models import run as run_model

    files.require_writable(args.trace, (".json",))
    if run_pipeline.asked_for(args):
        return run_pipeline.run(args)
    (file,) = schedules.open_schedules([args.schedule])
    measured: list[Callable[[], tuple[Problem, Schedule]]] = []
    asked = dict(vars(frameworks.model_arguments(args)))
    del asked["processes"], asked["time_limit"], asked["devices"]
    report = run_model(
        asked.pop("target"), file, framework=args.framework, on_measured=measured.append, **asked
    )
    for note in report.notes:
        complain(f"note: {args.schedule}: {note}")
    if args.trace:
        from talos_opt.formats.chrome_trace import write_schedule_trace

        write_schedule_trace(*measured[0](), args.trace)
    if args.json:
        emit_json(json.dumps(report.to_dict(), indent=1))
    else:
        emit(describe(report))
    if not report.outputs_equal:
        complain(
            f"error: the outputs differ from the plain model's, by up to {report.max_abs_error:.3g}"
        )
        return exits.NO_SCHEDULE
    return exits.SOLVED


def describe(report: RunReport) -> str:
    """Return the text that ``run`` prints."""
    from talos_opt.frameworks.common.contention import stretched
    from talos_opt.frameworks.common.disturbance import note_of

    ratio = report.measured_s / report.predicted_s if report.predicted_s > 0 else float("nan")
    alone, beside = stretched(report)
    ops = [
        f"{number(times)} times as long as predicted {when}"
        for times, when in ((alone, "alone"), (beside, "while other devices computed"))
        if times is not None
    ]
    spread = f"{number(ratio)} times as long, spread {report.spread:.0%}"
    lines = [
        ("outputs", "equal" if report.outputs_equal else "differ"),
        ("largest error", f"{report.max_abs_error:.3g}"),
        ("predicted", quantity(report.predicted_s, "s")),
        ("measured", f"{quantity(report.measured_s, 's')}, {spread}"),
        ("ops", ", ".join(ops)),
        ("single device", f"{quantity(report.single_device_s, 's')}, the whole model on one"),
        ("transfers", f"{report.transfers}, {report.moved_bytes} bytes"),
        (
            "devices",
            ", ".join(f"{visible(name)}: {where}" for name, where in report.devices.items()),
        ),
    ]
    note = note_of(report.others)
    if note:
        lines.append(("machine", note))
    longest = sorted(report.ops, key=lambda op: op.measured_s, reverse=True)[:SHOWN]
    rows = [
        (op.op, op.device, quantity(op.predicted_s, "s"), quantity(op.measured_s, "s"))
        for op in longest
    ]
    heading = ("longest ops", "device", "predicted", "measured")
    head = "\n".join(f"{name:<13}  {value}" for name, value in lines)
    return f"{head}\n\n{table(heading, rows, left=(0, 1))}"
