"""`talos_opt.profile` and `talos_opt.run`: from a real model to a graph, and back to a run."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from talos_opt.core import logs
from talos_opt.core.errors import InputError
from talos_opt.formats.schedule import ScheduleFile
from talos_opt.frameworks import choosing
from talos_opt.frameworks.choosing import ModelArguments

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.core.schedule import Schedule
    from talos_opt.frameworks.common.profile import Profile
    from talos_opt.frameworks.common.running import RunReport


def profile(
    model: str | os.PathLike[str],
    input: Sequence[str] = (),
    *,
    framework: str = "torch",
    inputs: str | None = None,
    mode: str = "inference",
    devices: Sequence[str] = ("cpu",),
    threads: int | str | None = None,
    processes: bool = False,
    time_limit: float = 120.0,
    seed: int = 0,
    logical_devices: int | None = None,
    dim: Sequence[str] = (),
    optimized: bool | None = None,
    memory_fraction: float = 0.9,
    reserve: int = 0,
    on_progress: Callable[[float, str], None] | None = None,
    cancel: threading.Event | None = None,
) -> Profile:
    """Measure a model: ``talos-opt profile``.

    A module, model or session that exists already is measured by ``profile_module`` of
    `talos_opt.frameworks.torch` and ``profile_model`` of those of TensorFlow and ONNX; traces of
    one are read by `talos_opt.profile_traces`.

    Parameters
    ----------
    model : str or path
        What makes it, ``MODULE:CALLABLE`` such as ``./net.py:make``; for TensorFlow also a
        SavedModel or a ``.keras`` file, for ONNX the ``.onnx`` file.
    input : sequence of str
        An example of each input, such as ``8x3x224x224`` or ``ids=1x128:int64:0-30521``.
    framework : {'torch', 'tensorflow', 'onnx'}
    inputs : str, optional
        In place of `input`, a file of all inputs, or a callable.
    mode : {'inference', 'training'}
    devices : sequence of str
        ``cpu``, ``cuda:0``, or ``gpu0=estimate:a100`` for one of the catalogue.
    threads : int or 'auto', optional
        Intra-op threads on the CPU.
    processes : bool
        Whether CPU devices are to be processes (torch).
    time_limit : float
        Seconds of measuring, on all devices together.
    seed : int
        Of the inputs' values and of random weights.
    logical_devices : int, optional
        How many devices the CPU is split into (TensorFlow).
    dim : sequence of str
        Sizes that the model leaves open, ``batch=8`` (ONNX).
    optimized : bool, optional
        Whether ops are those after the runtime's optimisation (ONNX); default: they are.
    memory_fraction : float
        Share of each device's memory that a schedule may fill.
    reserve : int
        Bytes that are left free of that.
    on_progress : callable, optional
        Called with the share that is done (0 to 1), and what is being done.
    cancel : threading.Event, optional
        Set it, from another thread, to make the profile of what has been measured.

    Returns
    -------
    Profile
        ``profile.problem()`` is what `talos_opt.solve` takes; times in it are in seconds.

    Raises
    ------
    DependencyError
        If the framework is not installed, or broken.
    InputError
        If the model cannot be loaded or captured, a device is unknown, or an argument is not one of
        the framework's.
    """
    asked = ModelArguments(
        os.fspath(model), input, inputs, mode, seed, devices, threads, processes, time_limit,
        logical_devices, dim, optimized,
    )  # fmt: skip
    choosing.require_arguments(framework, asked)
    tell = on_progress or (lambda share, doing: None)
    about: dict[str, Any] = {"framework": framework, "model": asked.target}
    logs.tell("start", f"profiling {asked.target}", **about, devices=list(devices))
    found = choosing.load(framework).profile(asked, tell, cancel or threading.Event())
    logs.tell("end", f"profiled {asked.target}", **about, ops=len(found.ops))
    return found.with_room(memory_fraction, reserve)


def run(
    model: str | os.PathLike[str],
    schedule: str | os.PathLike[str] | ScheduleFile,
    input: Sequence[str] = (),
    *,
    framework: str = "torch",
    inputs: str | None = None,
    mode: str = "inference",
    map: Mapping[str, str] | None = None,
    repeats: int = 5,
    threads: int | None = None,
    seed: int = 0,
    logical_devices: int | None = None,
    dim: Sequence[str] = (),
    optimized: bool | None = None,
    on_measured: Callable[[Callable[[], tuple[Problem, Schedule]]], None] | None = None,
) -> RunReport:
    """Run a model under the placement of a schedule, beside the plain model: ``talos-opt run``.

    A module that is called and trained under a schedule is made by ``place_module`` of
    `talos_opt.frameworks.torch`, and ``place_model`` of that of TensorFlow.

    Parameters
    ----------
    model, input, framework, inputs, mode, seed, logical_devices, dim, optimized
        As for `profile`, and the same as there.
    schedule : path or ScheduleFile
        Of the model's graph.
    map : mapping of str to str, optional
        The framework's device for each device of the schedule.
    repeats : int
        Timed runs, of which the median counts.
    threads : int, optional
        Intra-op threads of each CPU device.
    on_measured : callable, optional
        Called with a function that makes problem and schedule of what was measured, for
        `talos_opt.write_trace`.

    Returns
    -------
    RunReport
        Whether the outputs are equal, and predicted and measured times in seconds.

    Raises
    ------
    DependencyError, InputError
        As `profile`; or if the schedule is of another model.
    """
    asked = ModelArguments(
        os.fspath(model), input, inputs, mode, seed, threads=threads,
        logical_devices=logical_devices, dim=dim, optimized=optimized, map=map, repeats=repeats,
    )  # fmt: skip
    choosing.require_arguments(framework, asked)
    if not isinstance(schedule, ScheduleFile | str | os.PathLike):
        raise InputError(
            f"schedule is of type {type(schedule).__name__}, expected the path of a schedule, such "
            "as talos_opt.write_schedule writes"
        )
    file = schedule if isinstance(schedule, ScheduleFile) else ScheduleFile(schedule)
    known = file.devices  # a file that holds no schedule is refused before the model is loaded
    for name in map or ():
        if name not in known:
            raise InputError(
                f"--map names the unknown device {name!r}, expected one of {', '.join(known)}"
            )
    about: dict[str, Any] = {"framework": framework, "model": asked.target}
    logs.tell("start", f"running {asked.target} under {file.name}", **about, schedule=file.name)
    report, measured = choosing.load(framework).run(asked, file)
    logs.tell(
        "end", f"outputs {'equal' if report.outputs_equal else 'differ'}", **about,
        outputs_equal=report.outputs_equal, predicted_s=report.predicted_s,
        measured_s=report.measured_s,
    )  # fmt: skip
    if on_measured is not None:
        on_measured(measured)
    return report
