"""Which framework profiles and runs a model: the one place that chooses between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from threading import Event
from typing import TYPE_CHECKING, Protocol, cast

from talos_opt.core.errors import DependencyError, InputError
from talos_opt.core.extras import how_to_install

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule
    from talos_opt.formats.schedule import ScheduleFile
    from talos_opt.frameworks.common.profile import Profile
    from talos_opt.frameworks.common.running import RunReport

#: Those that there are.
FRAMEWORKS = ("torch", "tensorflow", "onnx")
#: What a framework needs, where that is not its own library alone.
_LIBRARIES = {"onnx": ("onnx", "onnxruntime")}


@dataclass(frozen=True)
class ModelArguments:
    """What a model is profiled or run with; `talos_opt.profile` and `talos_opt.run` say what.

    Of ``None`` and what is empty, each framework has a default of its own.
    """

    target: str
    input: Sequence[str] = ()
    inputs: str | None = None
    mode: str = "inference"
    seed: int = 0
    devices: Sequence[str] = ("cpu",)
    threads: int | str | None = None
    processes: bool = False
    time_limit: float = 120.0
    logical_devices: int | None = None
    dim: Sequence[str] = ()
    optimized: bool | None = None
    map: Mapping[str, str] | None = None
    repeats: int = 5

    @property
    def fixed_threads(self) -> int | None:
        """The number of threads, if it is one: a run does not look for the best."""
        return self.threads if isinstance(self.threads, int) else None


class Framework(Protocol):
    """What ``talos_opt.frameworks.NAME.command`` has."""

    def profile(
        self, args: ModelArguments, progress: Callable[[float, str], None], cancel: Event
    ) -> Profile:
        """Load the model that the arguments name, and profile it."""

    def run(
        self, args: ModelArguments, file: ScheduleFile
    ) -> tuple[RunReport, Callable[[], tuple[Problem, Schedule]]]:
        """Load and run it under a schedule; what was measured is made a schedule when asked."""


def require_arguments(name: str, args: ModelArguments) -> None:
    """Refuse what is given to a framework that has no use for it.

    Raises
    ------
    InputError
    """
    onnx = name == "onnx"
    if name not in FRAMEWORKS:
        raise InputError(f"framework is {name!r}, expected one of {', '.join(FRAMEWORKS)}")
    if name != "tensorflow" and args.logical_devices is not None:
        raise InputError(f"--logical-devices splits the CPU for tensorflow, not for {name}")
    if onnx and args.mode != "inference":
        raise InputError("--mode training is not for onnx, whose models are for inference")
    if not onnx and args.dim:
        raise InputError(f"--dim gives a size that an ONNX model leaves open, not for {name}")
    if not onnx and args.optimized is not None:
        raise InputError(f"--optimized is for onnx, not for {name}")
    if name != "torch" and args.processes:
        raise InputError(f"--processes is about pipelines of torch, not of {name}")


def load(name: str) -> Framework:
    """Return a framework.

    Raises
    ------
    DependencyError
        If its library is not installed, or broken.
    """
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
    for library in _LIBRARIES.get(name, (name,)):
        if find_spec(library) is None:
            raise DependencyError(f"{library} is not installed: {how_to_install(name)}")
