"""``talos-opt warmup``: compile kernels before they are needed."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import complain, emit, emit_json
from talos_opt.cli.progress import ProgressBar
from talos_opt.cli.signals import Signals


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "warmup",
        help="compile the solvers' inner loops into the cache",
        description="Compile the inner loops of all solvers, which is done once on a machine, "
        "and keep them in numba's cache: the folder that NUMBA_CACHE_DIR names, or else "
        "__pycache__ of the package, or the user's cache folder.",
        allow_abbrev=False,
    )
    arguments.add_json(parser, "where they are")
    arguments.add_log(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Compile, print where the kernels are and how long it took, and return the exit code."""
    from talos_opt import api

    began = time.monotonic()
    with ProgressBar() as bar:
        folder = signals.run(
            lambda: api.compile_kernels(bar.report, signals.cancel),
            bar.draw,
            "what has been compiled so far",
        )
    if folder is None:
        complain("interrupted; what has been compiled so far is kept")
        return exits.INTERRUPTED
    seconds = time.monotonic() - began
    if args.json:
        document = {"schema": "talos-warmup/1", "folder": str(folder), "seconds": seconds}
        emit_json(json.dumps(document, indent=1))
    else:
        emit(f"compiled kernels are in {folder} ({seconds:.1f} s)")
    return exits.SOLVED
