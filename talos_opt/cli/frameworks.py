"""What commands ask of the framework that their arguments name."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule
    from talos_opt.frameworks.choosing import ModelArguments
    from talos_opt.frameworks.common.pipelined import PipelineReport


class Pipelines(Protocol):
    """What only torch has: ``talos_opt.frameworks.torch.command`` runs pipelines."""

    def run_as_pipeline(
        self,
        args: argparse.Namespace,
        problem: Problem,
        schedule: Schedule,
        progress: Callable[[float, str], None],
    ) -> PipelineReport:
        """Load the model and run it as a pipeline of processes."""


def load_torch(args: argparse.Namespace) -> Pipelines:
    """Return torch, as `talos_opt.frameworks.choosing.load` does."""
    from talos_opt.frameworks import choosing

    choosing.require_arguments(args.framework, model_arguments(args))
    return cast(Pipelines, choosing.load(args.framework))


def model_arguments(args: argparse.Namespace) -> ModelArguments:
    """Return what the command line says about a model."""
    from talos_opt.frameworks.choosing import ModelArguments

    names = [item.name for item in fields(ModelArguments) if getattr(args, item.name, None)]
    given = {name: getattr(args, name) for name in names}
    if getattr(args, "optimized", None) is not None:
        given["optimized"] = args.optimized
    return ModelArguments(**{"target": args.target, **given})
