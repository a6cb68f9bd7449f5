"""``talos-opt export``: a schedule in the form that another tool takes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import emit
from talos_opt.cli.signals import Signals

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule


@dataclass(frozen=True)
class Exporter:
    """A form that schedules can be exported to.

    Parameters
    ----------
    summary : str
        For the help.
    suffixes : tuple of str
        Of the files.
    write : callable
        Writes problem and schedule as the arguments ask for; returns a line about it.
    """

    summary: str
    suffixes: tuple[str, ...]
    write: Callable[[Problem, Schedule, argparse.Namespace], str]


def _device_map(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> str:
    from talos_opt.formats.device_map import device_map_of, write_device_map

    names = {d: int(t) if t.isdecimal() else t for d, t in (args.map or {}).items()}
    arguments.require_devices(names, problem.device_ids)
    found = device_map_of(problem, schedule, names)
    write_device_map(found, args.output)
    return f"{len(found)} modules on {len(set(found.values()))} devices"


def _device_scopes(problem: Problem, schedule: Schedule, args: argparse.Namespace) -> str:
    from talos_opt.formats.device_scopes import device_scopes_of, write_device_scopes

    names = args.map or {}
    arguments.require_devices(names, problem.device_ids)
    found = device_scopes_of(problem, schedule, names)
    write_device_scopes(found, args.output)
    used = len(set(schedule.device.tolist()))
    return f"{len(schedule.device)} nodes on {used} device{'' if used == 1 else 's'}"


#: All forms, by the name that ``--to`` takes.
EXPORTERS: dict[str, Exporter] = {
    "device-map": Exporter(
        "the device_map of Hugging Face accelerate and transformers, as JSON",
        (".json",),
        _device_map,
    ),
    "tf-device-scopes": Exporter(
        "the device of each node of a TensorFlow graph, as JSON",
        (".json",),
        _device_scopes,
    ),
}


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
    parser.add_argument(
        "schedule", metavar="SCHEDULE", help="talos-schedule/1 file, or its columns (.npz)"
    )
    parser.add_argument(
        "--to",
        dest="form",
        required=True,
        choices=tuple(EXPORTERS),
        help="form to write",
    )
    parser.add_argument(
        "--graph",
        metavar="GRAPH",
        required=True,
        help="graph file that the schedule is of; - reads standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        help="file to write; - writes to standard output",
    )
    parser.add_argument(
        "--map",
        type=arguments.assignments,
        metavar="DEVICE=NAME,...",
        help="what the other tool calls a device. In a device-map such as gpu0=1,host=cpu "
        "(default: N for gpuN, cpu and disk for devices of that kind); in tf-device-scopes such "
        "as gpu0=/device:GPU:1 (default: /device:GPU:N for gpuN, /device:CPU:0 and on for CPUs)",
    )
    parser.add_argument(
        "--cluster",
        metavar="FILE",
        help="cluster file to use instead of the one that the graph names",
    )
    arguments.add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Export a schedule and return the exit code."""
    from talos_opt.cli import files, schedules
    from talos_opt.formats.source import STREAM

    exporter = EXPORTERS[args.form]
    if args.output != STREAM:
        files.require_writable(args.output, exporter.suffixes)
    (file,) = schedules.open_schedules([args.schedule])
    problem = schedules.read_graph(args, args.graph, file)
    schedule = file.schedule(problem)
    schedules.note_other_graph(problem, file)
    told = exporter.write(problem, schedule, args)
    if args.output != STREAM:
        emit(f"{args.output}: {told}")
    return exits.SOLVED
