"""Profile a model: its ops with bytes and FLOPs, their times on devices, as one problem."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from threading import Event

import numpy as np

from talos_opt.core.machine import available_cores
from talos_opt.frameworks.common.measuring import (
    Budget,
    Measured,
    ProgressCallback,
    measure_each,
    silent,
    with_device,
    with_sheets,
)
from talos_opt.frameworks.common.profile import Profile
from talos_opt.frameworks.common.running import INPUTS
from talos_opt.frameworks.common.threads import fastest, require_threads
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.capture import capture
from talos_opt.frameworks.tensorflow.captured import Captured, shapes_of
from talos_opt.frameworks.tensorflow.contention import measure_contention
from talos_opt.frameworks.tensorflow.devices import is_gpu
from talos_opt.frameworks.tensorflow.links import measure_links
from talos_opt.frameworks.tensorflow.measuring import measure
from talos_opt.frameworks.tensorflow.models import Model
from talos_opt.frameworks.tensorflow.ops import describe_ops, main_dtype
from talos_opt.frameworks.tensorflow.targets import parse_targets, strings_of


def profile_model(
    model: Model,
    inputs: Sequence[np.ndarray],
    *,
    mode: str = "inference",
    devices: Sequence[str] = ("cpu",),
    logical_devices: int | None = None,
    threads: int | str | None = None,
    max_time_s: float = 120.0,
    name: str | None = None,
    progress: ProgressCallback | None = None,
    cancel: Event | None = None,
) -> Profile:
    """Capture a model and find out what its ops cost on devices.

    Parameters
    ----------
    model : Model
        As `models.as_model` or `loading.load_model` return it.
    inputs : sequence of np.ndarray
        Example inputs by position.
    mode : {'inference', 'training'}
        Training: forwards, backwards, and a step of plain gradient descent.
    devices : sequence of str
        See `targets.parse_targets`.
    logical_devices : int, optional
        Devices that the CPU is split into.
    threads : int or 'auto', optional
        Intra-op threads of each CPU device; 'auto': the number with the shortest time per
        op; default: the cores, shared out among the logical devices.
    max_time_s : float
        Cap on the time that is spent measuring, on all devices together.
    name : str, optional
        Of the model; default: its own.
    progress : callable, optional
    cancel : threading.Event, optional
        Once set, measuring ends and the profile is made of what there is.

    Returns
    -------
    Profile

    Raises
    ------
    InputError
        If the model cannot be captured, or a device is unknown or not there.
    """
    targets = parse_targets(devices, logical_devices)
    require_threads(threads)
    report = progress or silent
    report(0.0, "capturing")
    captured = capture(model, inputs, mode)
    there = {target.id: target.local for target in targets if target.local is not None}
    cpus = sum(not is_gpu(local) for local in there.values())
    sizes: dict[str, int] = {}

    def measure_on(
        device: str, budget: Budget, share: Callable[[float], None]
    ) -> tuple[Measured, int | None]:
        used = None if is_gpu(device) else _threads(captured, device, inputs, budget, threads, cpus)
        measured, runs = measure(captured, device, inputs, budget, threads=used, progress=share)
        for op, run in runs.items():
            sizes.update((f"{op}:{port}", size) for port, size in run.output_bytes.items())
        return measured, used

    found = measure_each(
        there.values(), measure_on, max_time_s=max_time_s, cancel=cancel, report=report
    )
    profile = Profile(
        name=name or model.name,
        framework="tensorflow",
        mode=mode,
        ops=describe_ops(captured, sizes),
        devices=(),
        facts=_facts(captured, inputs),
        notes=captured.notes,
    )
    for target in targets:
        if target.local is not None:
            profile = with_device(profile, target, *found[target.local])
    report(1.0, "measuring links")
    links = measure_links(strings_of(targets))
    profile = dataclasses.replace(profile, links=links)
    if not any(measured.stopped for measured, _ in found.values()):
        report(1.0, "measuring contention")
        used = next((count for _, count in found.values() if count is not None), None)
        contention = measure_contention(captured, there, inputs, used, max_time_s)
        profile = dataclasses.replace(profile, contention=contention)
    return with_sheets(profile, targets, main_dtype(captured))


def _threads(
    captured: Captured,
    device: str,
    inputs: Sequence[np.ndarray],
    budget: Budget,
    threads: int | str | None,
    cpus: int,
) -> int:
    """Return the intra-op threads to measure with."""
    if isinstance(threads, int):
        return threads
    each = max(1, available_cores() // max(1, cpus))
    if threads is None:
        return each

    def cost(count: int) -> float:
        return measure(captured, device, inputs, budget, threads=count, rounds=3)[0].sum_s

    return fastest(cost, budget, each)


def _facts(captured: Captured, inputs: Sequence[np.ndarray]) -> dict[str, str]:
    return {INPUTS: shapes_of(inputs), "tensorflow": tf.__version__, "captured by": captured.by}


__all__ = ["ProgressCallback", "profile_model"]
