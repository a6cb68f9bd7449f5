"""What ``talos-opt profile`` and ``run`` do for PyTorch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from threading import Event

from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.schedule import ScheduleFile
from talos_opt.frameworks.common.inputs import InputSpec
from talos_opt.frameworks.common.profile import Profile
from talos_opt.frameworks.common.running import RunReport
from talos_opt.frameworks.torch.capture import capture
from talos_opt.frameworks.torch.loading import load_callable, make_inputs
from talos_opt.frameworks.torch.profile import profile_module
from talos_opt.frameworks.torch.run import measured_schedule, run_schedule
from talos_opt.frameworks.torch.targets import parse_targets


def profile(
    args: argparse.Namespace, progress: Callable[[float, str], None], cancel: Event
) -> Profile:
    """Load the model that the arguments name, and profile it.

    Where no device is measured it is made on the meta device, without memory.
    """
    specs = [InputSpec.parse(text) for text in args.input or ()]
    targets = parse_targets(args.devices)
    measured = any(target.local is not None for target in targets)
    place = "cpu" if measured else "meta"
    module = load_callable(args.target, None if measured else place)
    return profile_module(
        module,
        make_inputs(specs, place, args.seed),
        mode=args.mode,
        devices=args.devices,
        threads=args.threads,
        max_time_s=args.time_limit,
        name=args.target.rpartition(":")[2],
        progress=progress,
        cancel=cancel,
    )


def run(
    args: argparse.Namespace, file: ScheduleFile
) -> tuple[RunReport, Callable[[], tuple[Problem, Schedule]]]:
    """Load the model that the arguments name, and run it under a schedule."""
    if not args.input:
        raise InputError(
            "a schedule does not hold the model's inputs: give each with --input, as to profile"
        )
    module = load_callable(args.target)
    inputs = make_inputs(args.input, seed=args.seed)
    captured = capture(module, inputs, args.mode)
    report = run_schedule(
        captured, inputs, file, args.map, repeats=args.repeats, threads=args.threads
    )
    name = str(file.document.get("graph") or "measured")
    return report, lambda: measured_schedule(captured, report, name)
