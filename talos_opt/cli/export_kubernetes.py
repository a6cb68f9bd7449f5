"""What ``export --to kubernetes`` takes beside a graph and a schedule."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments
from talos_opt.tasks.exporting import SHARES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from talos_opt.core.problem import Problem

_NAMES = ("image", "run_model", "shares")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to the parser of ``export``."""
    parser.add_argument(
        "--image",
        metavar="IMAGE",
        help="container image that Jobs run: with talos-opt, the framework and the models "
        "(kubernetes)",
    )
    parser.add_argument(
        "--run",
        dest="run_model",
        action="append",
        metavar="[MODEL=]ARGUMENTS",
        help="what talos-opt run takes for a model, such as 'torch models:resnet50 --input "
        "8x3x224x224'; once for each model (kubernetes)",
    )
    parser.add_argument(
        "--shares",
        choices=SHARES,
        help="how Jobs ask for GPUs: plain (default), whole ones as nvidia.com/gpu; kubeshare, "
        "shares of one by SharePods; hami, shares as nvidia.com/gpumem and gpucores (kubernetes)",
    )


def refuse(args: argparse.Namespace) -> None:
    """Refuse them for another form.

    Raises
    ------
    InputError
    """
    from talos_opt.core.errors import InputError

    for name in _NAMES:
        if getattr(args, name) is not None:
            flag = "run" if name == "run_model" else name
            raise InputError(f"--{flag} is of what Jobs run, not of {args.form}")


def jobs_of(args: argparse.Namespace, problem: Problem) -> dict[str, Any]:
    """Return what Jobs run, as `talos_opt.export` takes it.

    Raises
    ------
    InputError
        If the image is missing, or models and what they run do not go together.
    """
    from talos_opt.core.errors import InputError

    if args.image is None:
        raise InputError("kubernetes needs the image that Jobs run: --image registry/models:1")
    run = _runs(args.run_model or (), problem.graph.model_ids)
    return {"image": args.image, "run": run, "shares": args.shares or SHARES[0]}


def _runs(given: Sequence[str], models: Sequence[str]) -> dict[str, list[str]]:
    """Return the words that each model runs with; ``MODEL=`` may be left out for the only one."""
    from talos_opt.core.errors import InputError

    found: dict[str, list[str]] = {}
    for text in given:
        # A name may have a = itself: the longest one that fits is meant.
        model = max((m for m in models if text.startswith(f"{m}=")), key=len, default=None)
        rest = text if model is None else text[len(model) + 1 :]
        if model is None and text.split()[:1] and text.split()[0] not in arguments.FRAMEWORKS:
            named, equals, _ = text.partition("=")
            if equals and named.strip() == named and " " not in named:
                raise InputError(
                    f"--run names model {named!r}, expected one of {', '.join(models[:8])}"
                )
        if model is None:
            if len(models) > 1:
                raise InputError(
                    f"the graph has {len(models)} models, expected --run '{models[0]}={text}'"
                )
            model = models[0]
        if model in found:
            raise InputError(f"--run is given twice for model {model!r}")
        try:
            found[model] = shlex.split(rest)
        except ValueError as error:
            raise InputError(f"--run {text!r} cannot be read: {error}") from None
    return found
