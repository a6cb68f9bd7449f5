"""Which framework profiles and runs a model: the one place where commands choose between them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from threading import Event
from typing import TYPE_CHECKING, Protocol, cast

from talos_opt.cli.onnx_arguments import refused
from talos_opt.core.extras import how_to_install

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule
    from talos_opt.formats.schedule import ScheduleFile
    from talos_opt.frameworks.common.pipelined import PipelineReport
    from talos_opt.frameworks.common.profile import Profile
    from talos_opt.frameworks.common.running import RunReport


#: What a framework needs, where that is not its own library alone.
_LIBRARIES = {"onnx": ("onnx", "onnxruntime")}


class Framework(Protocol):
    """What ``talos_opt.frameworks.NAME.command`` has."""

    def profile(
        self, args: argparse.Namespace, progress: Callable[[float, str], None], cancel: Event
    ) -> Profile:
        """Load the model that the arguments name, and profile it."""

    def run(
        self, args: argparse.Namespace, file: ScheduleFile
    ) -> tuple[RunReport, Callable[[], tuple[Problem, Schedule]]]:
        """Load and run it under a schedule; what was measured is made a schedule when asked."""


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
    """Return torch, as `load` does."""
    return cast(Pipelines, load(args))


def load(args: argparse.Namespace) -> Framework:
    """Return the framework that the arguments ask for.

    Raises
    ------
    DependencyError
        If its library is not installed, or broken.
    InputError
        If an argument is not one of its.
    """
    from talos_opt.core.errors import DependencyError, InputError

    name = args.framework
    if name != "tensorflow" and args.logical_devices is not None:
        raise InputError(f"--logical-devices splits the CPU for tensorflow, not for {name}")
    misplaced = refused(args)
    if misplaced is not None:
        raise InputError(misplaced)
    if name != "torch" and getattr(args, "processes", False):
        raise InputError(f"--processes is about pipelines of torch, not of {name}")
    require_libraries(name)
    try:
        return cast(Framework, import_module(f"talos_opt.frameworks.{name}.command"))
    except ImportError as error:
        if (error.name or "").startswith("talos_opt"):
            raise
        raise DependencyError(f"{name} is installed, but cannot be imported: {error}") from error


def require_libraries(name: str) -> None:
    """Refuse a framework of which something is not installed.

    Raises
    ------
    DependencyError
    """
    from talos_opt.core.errors import DependencyError

    for library in _LIBRARIES.get(name, (name,)):
        if find_spec(library) is None:
            raise DependencyError(f"{library} is not installed: {how_to_install(name)}")
