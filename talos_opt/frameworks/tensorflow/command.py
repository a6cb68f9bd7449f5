"""What ``talos-opt profile`` and ``run`` do for TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.schedule import ScheduleFile
from talos_opt.frameworks.choosing import ModelArguments
from talos_opt.frameworks.common.profile import Profile
from talos_opt.frameworks.common.running import RunReport
from talos_opt.frameworks.tensorflow.capture import capture
from talos_opt.frameworks.tensorflow.loading import example_inputs, load_model
from talos_opt.frameworks.tensorflow.profile import profile_model
from talos_opt.frameworks.tensorflow.run import measured, run_schedule


def profile(
    args: ModelArguments,
    progress: Callable[[float, str], None],
    cancel: Event,
) -> Profile:
    """Load the model that the arguments name, and profile it."""
    model = load_model(args.target, args.seed)
    return profile_model(
        model,
        example_inputs(model, args.input or (), args.seed, args.inputs),
        mode=args.mode,
        devices=args.devices,
        logical_devices=args.logical_devices,
        threads=args.threads,
        max_time_s=args.time_limit,
        progress=progress,
        cancel=cancel,
    )


def run(
    args: ModelArguments, file: ScheduleFile
) -> tuple[RunReport, Callable[[], tuple[Problem, Schedule]]]:
    """Load the model that the arguments name, and run it under a schedule.

    Returns
    -------
    RunReport
    callable
        Makes problem and schedule of what was measured.
    """
    model = load_model(args.target, args.seed)
    inputs = example_inputs(model, args.input or (), args.seed, args.inputs)
    captured = capture(model, inputs, args.mode)
    report = run_schedule(
        captured,
        inputs,
        file,
        args.map,
        logical_devices=args.logical_devices,
        threads=args.fixed_threads,
        repeats=args.repeats,
    )
    name = str(file.document.get("graph") or "measured")
    return report, lambda: measured(captured, report, name)
