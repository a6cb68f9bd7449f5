"""Arguments that only models of ONNX take; no framework is imported for them."""

from __future__ import annotations

import argparse


def add_onnx(parser: argparse.ArgumentParser) -> None:
    """Add the sizes that a model leaves open, and whether its graph is taken as optimised."""
    parser.add_argument(
        "--dim",
        action="append",
        metavar="NAME=SIZE",
        help="size that an ONNX model leaves open, by its name, such as batch=8; may be repeated",
    )
    parser.add_argument(
        "--optimized",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="place the ops of an ONNX model as ONNX Runtime optimises it (default), or those of "
        "the file (run: as the schedule says)",
    )


def refused(args: argparse.Namespace) -> str | None:
    """Return what of these arguments is given to another framework, or the other way round."""
    onnx = args.framework == "onnx"
    if onnx and args.mode != "inference":
        return "--mode training is not for onnx, whose models are for inference"
    if not onnx and args.dim:
        return f"--dim gives a size that an ONNX model leaves open, not for {args.framework}"
    if not onnx and args.optimized is not None:
        return f"--optimized is for onnx, not for {args.framework}"
    return None
