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
