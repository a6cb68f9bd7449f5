"""What ``talos-opt profile`` and ``run`` do for ONNX."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from threading import Event

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.inputs import InputSpec
from talos_opt.frameworks.common.profile import Profile
from talos_opt.frameworks.onnx.inputs import (
    declared_inputs,
    draw,
    parse_dims,
    read_arrays,
    specs_of,
)
from talos_opt.frameworks.onnx.profile import profile_model
from talos_opt.frameworks.onnx.reading import Source, read_model


def profile(
    args: argparse.Namespace, progress: Callable[[float, str], None], cancel: Event
) -> Profile:
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


def _inputs(
    args: argparse.Namespace, source: Source, given: Sequence[str]
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
