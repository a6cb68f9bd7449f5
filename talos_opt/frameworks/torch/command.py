"""What ``talos-opt profile`` and ``run`` do for PyTorch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from threading import Event

from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.schedule import ScheduleFile
from talos_opt.frameworks.choosing import ModelArguments
from talos_opt.frameworks.common.pipelined import PipelineReport
from talos_opt.frameworks.common.profile import Profile
from talos_opt.frameworks.common.running import RunReport
from talos_opt.frameworks.torch.arguments import Arguments
from talos_opt.frameworks.torch.capture import capture
from talos_opt.frameworks.torch.loading import load_callable, make_arguments
from talos_opt.frameworks.torch.pipeline_run import run_pipeline
from talos_opt.frameworks.torch.profile import profile_module
from talos_opt.frameworks.torch.run import measured_schedule, run_schedule
from talos_opt.frameworks.torch.targets import parse_targets


def profile(args: ModelArguments, progress: Callable[[float, str], None], cancel: Event) -> Profile:
    """Load the model that the arguments name, and profile it.

    Where no device is measured it is made on the meta device, without memory.
    """
    targets = parse_targets(args.devices)
    measured = any(target.local is not None for target in targets)
    place = "cpu" if measured else "meta"
    # Inputs first: a spec that is wrong is told at once, a model may take its time.
    inputs = make_arguments(args.input or (), args.inputs, place, args.seed)
    return profile_module(
        load_callable(args.target, None if measured else place),
        inputs,
        mode=args.mode,
        devices=args.devices,
        threads=args.threads,
        processes=args.processes,
        max_time_s=args.time_limit,
        name=args.target.rpartition(":")[2],
        progress=progress,
        cancel=cancel,
    )


def run(
    args: ModelArguments, file: ScheduleFile
) -> tuple[RunReport, Callable[[], tuple[Problem, Schedule]]]:
    """Load the model that the arguments name, and run it under a schedule.

    It runs on other inputs than those that it was captured with, if it takes any.
    """
    inputs = _inputs(args)
    captured = capture(load_callable(args.target), inputs, args.mode)
    report = run_schedule(
        captured,
        inputs if captured.other is None else captured.other,
        file,
        args.map,
        repeats=args.repeats,
        threads=args.fixed_threads,
    )
    name = str(file.document.get("graph") or "measured")
    return report, lambda: measured_schedule(captured, report, name)


def run_as_pipeline(
    args: argparse.Namespace,
    problem: Problem,
    schedule: Schedule,
    progress: Callable[[float, str], None],
) -> PipelineReport:
    """Load the model that the arguments name, and run it as a pipeline of processes."""
    return run_pipeline(
        partial(load_callable, args.target),
        _inputs(args),
        problem,
        schedule,
        args.map,
        order=args.pipeline,
        microbatches=args.microbatches,
        mode=args.mode,
        repeats=args.repeats,
        threads=args.threads or 1,
        port=args.port,
        timeout_s=args.timeout,
        progress=progress,
    )


def _inputs(args: ModelArguments | argparse.Namespace) -> Arguments:
    if not args.input and args.inputs is None:
        raise InputError(
            "a schedule does not hold the model's inputs: give each with --input, as to profile"
        )
    return make_arguments(args.input or (), args.inputs, seed=args.seed)
