"""``talos-opt check --ran``: what a runtime did by itself, beside a schedule of ours."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments
from talos_opt.reports.texts.tables import quantity, table, visible

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule
    from talos_opt.frameworks.onnx.ran import Ran


def add_ran(parser: argparse.ArgumentParser) -> None:
    """Add the profile of what ran, and where its placement goes."""
    parser.add_argument(
        "--ran",
        metavar="PROFILE",
        help="profile that ONNX Runtime wrote of some runs: compare the placement that it chose",
    )
    parser.add_argument(
        "--map",
        type=arguments.assignments,
        action=arguments.Merging,
        metavar="PROVIDER=DEVICE,...",
        help="the graph's device for each execution provider, such as CUDAExecutionProvider=gpu0 "
        "(default: the first of kind cpu, and the first of another kind)",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="file to write the placement that ran to (--ran)"
    )


def require_together(args: argparse.Namespace) -> None:
    """Refuse arguments that only say something of a profile where there is none.

    Raises
    ------
    InputError
    """
    from talos_opt.cli import files
    from talos_opt.core.errors import InputError

    for name in ("map", "output"):
        if args.ran is None and getattr(args, name) is not None:
            raise InputError(f"{'-o' if name == 'output' else '--map'} needs --ran PROFILE")
    files.require_writable(args.output, (*files.SUFFIXES, ".npz"))


def read(args: argparse.Namespace, problem: Problem) -> Ran:
    """Return what the profile shows, and write it where it is asked for."""
    from pathlib import Path

    from talos_opt import formats
    from talos_opt.core.result import Result, Status
    from talos_opt.frameworks.onnx.events import read_profile
    from talos_opt.frameworks.onnx.ran import what_ran

    found = what_ran(problem, read_profile(Path(args.ran)), args.map)
    if args.output:
        result = Result(
            problem=problem,
            status=Status.FEASIBLE,
            schedule=found.schedule,
            lower_bound=0.0,  # nothing was proven here
            solver="onnxruntime",
            notes=("as ONNX Runtime placed it",),
        )
        formats.write_schedule(result, args.output)
    return found


def document(found: Ran, problem: Problem, schedule: Schedule) -> dict[str, Any]:
    """Return what ``--json`` prints of it."""
    from talos_opt import api
    from talos_opt.core.metrics import measure

    return {
        "value": measure(problem, found.schedule).value(problem.objective),
        "measured_s": found.measured_s,
        "ops": dict(found.ops),
        "elsewhere": _elsewhere(found, schedule),
        "missing": list(found.missing),
        "violations": [str(item) for item in api.check(problem, found.schedule)],
    }


def describe(found: Ran, problem: Problem, schedule: Schedule) -> str:
    """Return the text of both placements, one beside the other."""
    from talos_opt import api
    from talos_opt.core.metrics import measure
    from talos_opt.core.shares import value_unit
    from talos_opt.core.units import format_bytes

    ours = schedule.device.tolist()
    rows = []
    for name, placed in (("this schedule", schedule), ("as it ran", found.schedule)):
        metrics = measure(problem, placed)
        devices = placed.device.tolist()
        counts = ", ".join(
            f"{visible(device)} {devices.count(d)}" for d, device in enumerate(problem.device_ids)
        )
        value = quantity(metrics.value(problem.objective), value_unit(problem, problem.objective))
        rows.append((name, value, format_bytes(metrics.transferred_bytes), counts))
    heading = ("placement", problem.objective.value, "moved", "ops")
    lines = [
        table(heading, rows, left=(0, 3)),
        f"{_elsewhere(found, schedule)} of {len(ours)} ops ran elsewhere; measured "
        f"{found.measured_s * 1e3:.4g} ms",
    ]
    if found.missing:
        shown = ", ".join(found.missing[:3]) + (", ..." if len(found.missing) > 3 else "")
        lines.append(
            f"not in the profile, and so where what they read is: {len(found.missing)} of the ops, "
            f"{visible(shown)}"
        )
    lines += [f"as it ran: {visible(str(item))}" for item in api.check(problem, found.schedule)]
    return "\n".join(lines)


def _elsewhere(found: Ran, schedule: Schedule) -> int:
    pairs = zip(found.schedule.device.tolist(), schedule.device.tolist(), strict=True)
    return sum(a != b for a, b in pairs)
