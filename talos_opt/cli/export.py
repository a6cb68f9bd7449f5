"""``talos-opt export``: a schedule in the form that another tool takes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from talos_opt.cli import arguments, exits, export_kubernetes
from talos_opt.cli.output import complain, emit_written
from talos_opt.cli.signals import Signals
from talos_opt.core import plugins
from talos_opt.tasks import exporting
from talos_opt.tasks.exporting import EXPORTERS


class _Forms:
    """Names of all forms; those of other packages are looked for when another one is asked for."""

    def __contains__(self, name: object) -> bool:
        return name in EXPORTERS or name in list(self)

    def __iter__(self) -> Iterator[str]:
        yield from EXPORTERS
        yield from plugins.without(plugins.EXPORTS, EXPORTERS)


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    forms = "; ".join(f"{name}, {item.summary}" for name, item in EXPORTERS.items())
    parser = commands.add_parser(
        "export",
        help="write a schedule in the form that another tool takes",
        description="Write the placement of a schedule in the form that another tool takes.",
        epilog=f"Forms: {forms}.",
        allow_abbrev=False,
    )
    arguments.add_graph_and_schedule(parser)
    parser.add_argument(
        "--to",
        dest="form",
        required=True,
        choices=_Forms(),
        metavar=f"{{{','.join(EXPORTERS)}}}",
        help="form to write",
    )
    arguments.add_target(parser, "file to write; - writes to standard output", required=True)
    arguments.add_json(parser, "what was written")
    parser.add_argument(
        "--map",
        type=arguments.assignments,
        action=arguments.Merging,
        metavar="DEVICE=NAME,...",
        help="what the other tool calls a device. In a device-map such as gpu0=1,host=cpu "
        "(default: N for gpuN, cpu and disk for devices of that kind); in tf-device-scopes such "
        "as gpu0=/device:GPU:1 (default: /device:GPU:N for gpuN, /device:CPU:0 and on for CPUs); "
        "in llama-cpp such as rtx-3090=CUDA1 (default: CUDA0 and on for GPUs in their order, CPU); "
        "in ort-annotations such as gpu0=cuda, openvino-affinities gpu0=GPU.1 (default: by kind); "
        "in kubernetes the node, such as gpu0=node1 (default: any)",
    )
    parser.add_argument(
        "--model",
        metavar="FILE",
        help="file of the model, as it was given to profile: for the forms of ONNX",
    )
    parser.add_argument(
        "--regroup",
        action="store_true",
        help="exchange the placements of layers that are alike, so that each device has its layers "
        "in a row (llama-cpp)",
    )
    export_kubernetes.add_arguments(parser)
    arguments.add_cluster(parser)
    arguments.add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Export a schedule and return the exit code."""
    from talos_opt.cli import files, schedules
    from talos_opt.core.errors import InputError

    exporter = exporting.exporter_of(args.form)
    if not exporter.jobs:
        export_kubernetes.refuse(args)
    exporting.refuse(args.form, exporter, names=args.map, model=args.model, regroup=args.regroup)
    if exporter.of_model:
        _require_onnx(args)
    files.require_target(args, exporter.suffixes)
    graph = schedules.graph_of(args)
    if graph is None:
        raise InputError(f"one file is given, {args.schedule}, expected GRAPH SCHEDULE")
    (file,) = schedules.open_schedules([args.schedule])
    problem = schedules.read_graph(args, graph, file)
    schedules.refuse_bundles(problem, file, "export")
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    jobs = export_kubernetes.jobs_of(args, problem) if exporter.jobs else {}
    found = exporting.export(
        problem, schedule, args.form, args.output,
        names=args.map, model=args.model, regroup=args.regroup, **jobs,
    )  # fmt: skip
    for note in found.notes:
        complain(f"note: {note}")
    written = found.facts
    counts = {what: count for what, count in written.items() if isinstance(count, int)}
    texts = [f"{what}: {text}" for what, text in written.items() if what not in counts]
    listed = ", ".join(f"{n} {what[:-1] if n == 1 else what}" for what, n in counts.items())
    emit_written(args, written, "\n".join([f"{args.output}: {listed}", *texts]))
    return exits.SOLVED


def _require_onnx(args: argparse.Namespace) -> None:
    """Refuse what the forms of ONNX cannot do without, before anything is read."""
    from talos_opt.core.errors import InputError
    from talos_opt.formats.source import STREAM
    from talos_opt.frameworks import choosing

    if args.output == STREAM:
        raise InputError("- is standard output, expected a file or folder to write")
    choosing.require_libraries("onnx")
