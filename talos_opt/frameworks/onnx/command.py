"""What ``talos-opt profile`` and ``run`` do for ONNX."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from threading import Event

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.schedule import ScheduleFile
from talos_opt.frameworks.choosing import ModelArguments
from talos_opt.frameworks.common.inputs import InputSpec
from talos_opt.frameworks.common.profile import Profile
from talos_opt.frameworks.common.running import INPUTS, RunReport
from talos_opt.frameworks.onnx.capture import capture
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.facts import (
    GRAPH,
    facts_in,
    require_same_model,
    version_note,
)
from talos_opt.frameworks.onnx.inputs import (
    declared_inputs,
    draw,
    parse_dims,
    read_arrays,
    specs_of,
    split_text,
)
from talos_opt.frameworks.onnx.profile import level_for, profile_model
from talos_opt.frameworks.onnx.reading import Source, read_model
from talos_opt.frameworks.onnx.run import measured, run_schedule
from talos_opt.frameworks.onnx.sessions import LEVELS


def profile(args: ModelArguments, progress: Callable[[float, str], None], cancel: Event) -> Profile:
    """Read the model that the arguments name, and profile it."""
    source = read_model(args.target)
    specs, values = _inputs(args, source, args.input or ())
    return profile_model(
        source,
        specs,
        values,
        devices=args.devices,
        optimized=args.optimized is not False,
        threads=args.threads,
        max_time_s=args.time_limit,
        progress=progress,
        cancel=cancel,
    )


def run(
    args: ModelArguments, file: ScheduleFile
) -> tuple[RunReport, Callable[[], tuple[Problem, Schedule]]]:
    """Read the model that the arguments name, and run it under a schedule.

    Inputs, and how far the graph is optimised, are what the schedule's graph was profiled with,
    unless the arguments say otherwise.
    """
    facts = facts_in(file.made.description)
    captured, values = _captured(args, facts)
    version = version_note(facts)
    try:
        report = run_schedule(
            captured, values, file, args.map, threads=args.fixed_threads, repeats=args.repeats
        )
    except InputError as error:
        raise InputError(f"{error}; {version}") if version else error from None
    name = str(file.document.get("graph") or "measured")
    report = dataclasses.replace(report, notes=(*report.notes, *filter(None, [version])))
    return report, lambda: measured(captured, report, name)


def _captured(
    args: ModelArguments, facts: Mapping[str, str]
) -> tuple[Captured, dict[str, np.ndarray]]:
    """Return the model that the arguments name as it was when a graph was profiled.

    Raises
    ------
    InputError
        If it is another model.
    """
    source = read_model(args.target)
    require_same_model(source, facts)
    given = args.input or ()
    if not given and not args.dim and args.inputs is None and facts.get(INPUTS):
        given = split_text(facts[INPUTS])
    specs, values = _inputs(args, source, given)
    level = facts.get(GRAPH, "").removeprefix("optimised ")
    if args.optimized is not None or level not in LEVELS:
        level = level_for((), source, optimized=args.optimized is not False)
    return capture(source, specs, values, level=level), values


def _inputs(
    args: ModelArguments, source: Source, given: Sequence[str]
) -> tuple[list[InputSpec], dict[str, np.ndarray]]:
    """Return what the model is run on: drawn, or from a file or a callable."""
    declared = declared_inputs(source.proto)
    if args.inputs is not None:
        if args.input or args.dim:
            raise InputError(
                "--inputs gives all inputs: --input and --dim cannot be combined with it"
            )
        return read_arrays(declared, args.inputs)
    specs = specs_of(declared, given, parse_dims(args.dim or ()))
    return specs, draw(specs, args.seed)
