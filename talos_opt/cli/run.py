"""``talos-opt run``: run a model under the placement of a schedule."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit
from talos_opt.cli.signals import Signals
from talos_opt.cli.text import number, table

if TYPE_CHECKING:
    from talos_opt.frameworks.torch.run import RunReport

#: Ops that are listed: those that took longest.
SHOWN = 10


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "run",
        help="run a model under the placement of a schedule",
        description="Capture a model, run it under the placement of a schedule, compare its "
        "outputs with those of the plain model, and its times with the predicted ones.",
        epilog="The exit code is 1 if the outputs differ from those of the plain model.",
        allow_abbrev=False,
    )
    parser.add_argument("framework", metavar="FRAMEWORK", choices=("torch",), help="torch")
    parser.add_argument(
        "target",
        metavar="MODULE:CALLABLE",
        help="what makes the model, such as torchvision.models:resnet50 or ./net.py:make",
    )
    parser.add_argument(
        "--schedule",
        metavar="SCHEDULE",
        required=True,
        help="talos-schedule/1 file of the model's graph, as profile and solve make it",
    )
    parser.add_argument(
        "--input",
        action="append",
        metavar="SHAPE[:DTYPE[:LOW-HIGH]]",
        help="example input, as it was given to profile, such as 8x3x224x224 or "
        "1x128:int64:0-30521; once for each input of the model",
    )
    parser.add_argument(
        "--mode",
        choices=("inference", "training"),
        default="inference",
        help="what was profiled: a forward pass (default), or one with gradients",
    )
    parser.add_argument(
        "--map",
        type=arguments.assignments,
        metavar="DEVICE=DEVICE,...",
        help="torch device of each device of the schedule, such as gpu0=cuda:0,gpu1=cpu "
        "(default: cpu for cpu*, cuda:N for gpuN)",
    )
    parser.add_argument(
        "--repeats",
        type=arguments.count,
        default=5,
        metavar="N",
        help="timed runs, of which the median counts (default: 5)",
    )
    parser.add_argument(
        "--seed", type=arguments.seed, default=0, metavar="N", help="of the inputs' values "
        "(default: 0)",
    )  # fmt: skip
    parser.add_argument(
        "--trace", metavar="FILE", help="file to write what was measured to, as a Chrome trace"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the report as JSON on standard output, and nothing else there",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Run a model under a schedule, print the report and return the exit code."""
    from talos_opt import formats
    from talos_opt.cli import files
    from talos_opt.core.errors import InputError

    files.require_writable(args.trace, (".json",))
    document = formats.read_schedule_document(args.schedule)
    if not args.input:
        raise InputError(
            "a schedule does not hold the model's inputs: give each by --input, as to profile"
        )
    if "ops" not in document:
        raise InputError("holds columns, expected talos-schedule/1 as JSON or YAML")
    arguments.require_devices(args.map or (), _devices(document))
    report, captured = _measure(args, document)
    if args.trace:
        from talos_opt.formats.chrome_trace import write_schedule_trace
        from talos_opt.frameworks.torch.run import measured_schedule

        name = str(document.get("graph") or "measured")
        write_schedule_trace(*measured_schedule(captured, report, name), args.trace)
    emit(json.dumps(report.to_dict(), indent=1) if args.json else describe(report))
    if not report.outputs_equal:
        complain(
            f"error: the outputs differ from the plain model's, by up to {report.max_abs_error:.3g}"
        )
        return exits.NO_SCHEDULE
    return exits.SOLVED


def _devices(document: dict[str, Any]) -> list[str]:
    """Return the devices that a schedule knows of, in use or not."""
    known = [str(row.get("device")) for row in document["ops"] or ()]
    for row in document.get("transfers") or ():
        known += [str(row.get("from")), str(row.get("to"))]
    metrics = document.get("metrics")
    idle = metrics.get("idle_time") if isinstance(metrics, dict) else None
    return list(dict.fromkeys([*known, *(idle if isinstance(idle, dict) else ())]))


def _measure(args: argparse.Namespace, document: dict[str, Any]) -> tuple[RunReport, Any]:
    """Load, capture and run."""
    from talos_opt.core.errors import DependencyError

    try:
        import torch  # noqa: F401
    except ImportError:
        raise DependencyError(
            "torch is not installed: pip install 'talos-opt[torch]' brings it"
        ) from None
    from talos_opt.frameworks.torch.capture import capture
    from talos_opt.frameworks.torch.loading import load_callable, make_inputs
    from talos_opt.frameworks.torch.run import run_schedule

    module = load_callable(args.target)
    inputs = make_inputs(args.input, seed=args.seed)
    captured = capture(module, inputs, args.mode)
    report = run_schedule(captured, inputs, document, args.map, repeats=args.repeats)
    return report, captured


def describe(report: RunReport) -> str:
    """Return the text that ``run`` prints."""
    ratio = report.measured_s / report.predicted_s if report.predicted_s > 0 else float("nan")
    lines = [
        ("outputs", "equal" if report.outputs_equal else "differ"),
        ("largest error", f"{report.max_abs_error:.3g}"),
        ("predicted", f"{number(report.predicted_s * 1e3)} ms"),
        ("measured", f"{number(report.measured_s * 1e3)} ms, {number(ratio)} times as long"),
        ("single device", f"{number(report.single_device_s * 1e3)} ms, the plain model"),
        ("transfers", f"{report.transfers}, {report.moved_bytes} bytes"),
        ("devices", ", ".join(f"{name}: {where}" for name, where in report.devices.items())),
    ]
    longest = sorted(report.ops, key=lambda op: op.measured_s, reverse=True)[:SHOWN]
    rows = [
        (op.op, op.device, number(op.predicted_s * 1e6), number(op.measured_s * 1e6))
        for op in longest
    ]
    heading = ("longest ops", "device", "predicted us", "measured us")
    head = "\n".join(f"{name:<13}  {value}" for name, value in lines)
    return f"{head}\n\n{table(heading, rows, left=(0, 1))}"
