"""Profile a model: its ops with bytes and FLOPs, their times on devices, as one problem."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from threading import Event

import numpy as np

from talos_opt.core.machine import available_cores
from talos_opt.frameworks.common.inputs import InputSpec
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
from talos_opt.frameworks.common.targets import Target
from talos_opt.frameworks.common.threads import fastest, require_threads
from talos_opt.frameworks.onnx.capture import capture
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.contention import measure_contention
from talos_opt.frameworks.onnx.devices import parse_targets, provider_of
from talos_opt.frameworks.onnx.facts import facts_of
from talos_opt.frameworks.onnx.links import measure_links
from talos_opt.frameworks.onnx.measuring import measure
from talos_opt.frameworks.onnx.ops import describe_ops, main_dtype
from talos_opt.frameworks.onnx.reading import Source


def profile_model(
    source: Source,
    specs: Sequence[InputSpec],
    values: Mapping[str, np.ndarray],
    *,
    devices: Sequence[str] = ("cpu",),
    optimized: bool = True,
    threads: int | str | None = None,
    max_time_s: float = 120.0,
    name: str | None = None,
    progress: ProgressCallback | None = None,
    cancel: Event | None = None,
) -> Profile:
    """Capture a model and find out what its ops cost on devices.

    Parameters
    ----------
    source : Source
        As `reading.read_model` returns it.
    specs : sequence of InputSpec
        Of the inputs, as `inputs.specs_of` returns them.
    values : mapping of str to np.ndarray
        Inputs by name, as `inputs.draw` returns them.
    devices : sequence of str
        See `devices.parse_targets`.
    optimized : bool
        Whether the ops are those of the graph as the runtime optimises it, or those of the file.
    threads : int or 'auto', optional
        Intra-op threads of each CPU device; 'auto': the number with the shortest time per op;
        default: the cores, shared out among the devices on the CPU.
    max_time_s : float
        Cap on the time that is spent measuring, on all devices together.
    name : str, optional
        Of the model; default: that of its file.
    progress : callable, optional
    cancel : threading.Event, optional
        Once set, measuring ends and the profile is made of what there is.

    Raises
    ------
    InputError
        If the model cannot be captured, or a device is unknown or not there.
    """
    targets = parse_targets(devices)
    require_threads(threads)
    report = progress or silent
    report(0.0, "capturing")
    there = {t.id: provider_of(t.local) for t in targets if t.local is not None}
    level = level_for(targets, source, optimized=optimized)
    captured = capture(source, specs, values, level=level, run=bool(there))
    cpus = sum(provider.is_cpu for provider in there.values())

    def measure_on(
        local: str, budget: Budget, share: Callable[[float], None]
    ) -> tuple[Measured, int | None]:
        provider = provider_of(local)
        used = _threads(captured, values, budget, threads, cpus) if provider.is_cpu else None
        measured = measure(captured, provider, values, budget, threads=used, progress=share)
        return measured, used

    locals_ = {target.id: target.local for target in targets if target.local is not None}
    found = measure_each(
        locals_.values(), measure_on, max_time_s=max_time_s, cancel=cancel, report=report
    )
    profile = Profile(
        name=name or captured.name,
        framework="onnx",
        mode="inference",
        ops=describe_ops(captured),
        devices=(),
        facts=facts_of(captured),
        notes=captured.notes,
    )
    for target in targets:
        if target.local is not None:
            profile = with_device(profile, target, *found[target.local])
    report(1.0, "measuring links")
    profile = dataclasses.replace(profile, links=measure_links(there))
    if not any(measured.stopped for measured, _ in found.values()):
        report(1.0, "measuring contention")
        used = next((count for _, count in found.values() if count is not None), None)
        contention = measure_contention(captured, there, values, used, max_time_s)
        profile = dataclasses.replace(profile, contention=contention)
    return with_sheets(profile, targets, main_dtype(captured))


def level_for(targets: Sequence[Target], source: Source, *, optimized: bool = True) -> str:
    """Return how far a graph is optimised that is for some devices.

    For CPUs of this machine alone as far as a plain session does it; else only as far as what comes
    of it runs on other devices, too. The runtime optimises for its CPU, which computes in 32 bits
    what is in 16: for other devices such a graph is left as it is.
    """
    here = all(target.local == "cpu" for target in targets)
    if source.is_half and not (here and optimized):
        return "file"
    if not optimized:
        return "none"
    return "all" if here else "extended"


def _threads(
    captured: Captured,
    values: Mapping[str, np.ndarray],
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
    cpu = provider_of("cpu")

    def cost(count: int) -> float:
        return measure(captured, cpu, values, budget, threads=count, rounds=3).sum_s

    return fastest(cost, budget, each)


__all__ = ["ProgressCallback", "level_for", "profile_model"]
