"""Profile a module: its ops with bytes and FLOPs, their times on devices, as one problem."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from threading import Event

import torch
from torch import nn

from talos_opt.core.errors import InputError
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
from talos_opt.frameworks.common.targets import Target
from talos_opt.frameworks.common.threads import fastest, require_threads
from talos_opt.frameworks.torch.capture import capture
from talos_opt.frameworks.torch.captured import Captured, Inputs
from talos_opt.frameworks.torch.contention import measure_contention
from talos_opt.frameworks.torch.dtypes import dtype_of
from talos_opt.frameworks.torch.links import measure_links
from talos_opt.frameworks.torch.ops import describe_ops
from talos_opt.frameworks.torch.targets import parse_targets
from talos_opt.frameworks.torch.threads import threads_each, threads_set
from talos_opt.frameworks.torch.timing import measure


def profile_module(
    module: nn.Module,
    inputs: Inputs,
    *,
    mode: str = "inference",
    devices: Sequence[str] = ("cpu",),
    threads: int | str | None = None,
    processes: bool = False,
    max_time_s: float = 120.0,
    name: str | None = None,
    progress: ProgressCallback | None = None,
    cancel: Event | None = None,
) -> Profile:
    """Capture a module and find out what its ops cost on devices.

    Parameters
    ----------
    module : torch.nn.Module
        On the CPU; on the meta device where no device is measured. Is left in the mode that it
        is profiled in.
    inputs : sequence, mapping or Arguments
        Example inputs as `capture` takes them, on the same device.
    mode : {'inference', 'training'}
        Training: forwards, backwards, and a step of plain gradient descent.
    devices : sequence of str
        See `targets.parse_targets`.
    threads : int or 'auto', optional
        Intra-op threads of each CPU device; 'auto': the number with the shortest time per
        op; default: torch's, shared out among the CPU devices that are asked for, as `run_schedule`
        does.
    processes : bool
        Whether CPU devices are to be processes, as in a pipeline (`pipeline_run`), not threads of
        one: their links are measured likewise, and contention not at all.
    max_time_s : float
        Cap on the time that is spent measuring, on all devices together. Ops that were not
        reached get the time of their like, and count as estimated.
    name : str, optional
        Of the model; default: the module's class.
    progress : callable, optional
    cancel : threading.Event, optional
        Once set, measuring ends and the profile is made of what there is. So it is after Ctrl-C.

    Returns
    -------
    Profile

    Raises
    ------
    InputError
        If the module cannot be captured, a device is unknown, or a device is to be measured with
        a module on the meta device.
    """
    targets = parse_targets(devices)
    _check(module, targets, threads)
    report = progress or silent
    report(0.0, "capturing")
    captured = capture(module, inputs, mode)
    report(0.0, "counting")
    profile = Profile(
        name=name or type(module).__name__,
        framework="torch",
        mode=mode,
        ops=describe_ops(captured),
        devices=(),
        facts=_facts(captured, processes),
        notes=captured.notes,
    )
    there = [target for target in targets if target.local is not None]
    tensors = captured.arguments.tensors
    profile = _measure_all(
        profile, captured, tensors, there, threads, processes, max_time_s, report, cancel
    )
    return with_sheets(profile, targets, dtype_of(module))


def _check(module: nn.Module, targets: Sequence[Target], threads: int | str | None) -> None:
    require_threads(threads)
    empty = next((n for n, p in module.named_parameters() if p.device.type == "meta"), None)
    measured = next((t.id for t in targets if t.local is not None), None)
    if empty is not None and measured is not None:
        raise InputError(
            f"{empty} is on the meta device, so the model cannot be measured on {measured}: ask "
            "for estimates only, or make the model on the CPU"
        )


def _facts(captured: Captured, processes: bool) -> dict[str, str]:
    by = captured.by if captured.other is None else f"{captured.by}, checked on a second input"
    return {
        INPUTS: captured.arguments.describe(),
        "torch": torch.__version__,
        "captured by": by,
        **({"CPU devices": "processes"} if processes else {}),
    }


def _measure_all(
    profile: Profile,
    captured: Captured,
    inputs: Sequence[torch.Tensor],
    targets: Sequence[Target],
    threads: int | str | None,
    processes: bool,
    max_time_s: float,
    report: ProgressCallback,
    cancel: Event | None,
) -> Profile:
    """Return the profile with the devices that are there; each torch device is measured once."""
    devices = {target.id: torch.device(target.local) for target in targets if target.local}
    if threads is None:
        threads = threads_each(sum(device.type == "cpu" for device in devices.values()))
    found = measure_each(
        devices.values(),
        lambda device, budget, share: _measure_on(captured, device, inputs, budget, threads, share),
        max_time_s=max_time_s,
        cancel=cancel,
        report=report,
    )
    for target in targets:
        profile = with_device(profile, target, *found[devices[target.id]])
    report(1.0, "measuring links")
    profile = dataclasses.replace(profile, links=measure_links(devices, processes=processes))
    if len(devices) < 2 or processes or any(measured.stopped for measured, _ in found.values()):
        return profile
    report(1.0, "measuring contention")
    used = next((count for _, count in found.values() if count is not None), None)
    lengths = {name: profile.times_s(name) for name in devices}
    contention = measure_contention(captured, devices, inputs, lengths, used, max_time_s)
    return dataclasses.replace(profile, contention=contention)


def _measure_on(
    captured: Captured,
    device: torch.device,
    inputs: Sequence[torch.Tensor],
    budget: Budget,
    threads: int | str | None,
    share: Callable[[float], None],
) -> tuple[Measured, int | None]:
    if device.type != "cpu":
        return measure(captured, device, inputs, budget, share), None
    count = threads if isinstance(threads, int) else None
    if threads == "auto":

        def cost(count: int) -> float:
            with threads_set(count):
                return measure(captured, device, inputs, budget, rounds=3).sum_s

        count = fastest(cost, budget, torch.get_num_threads())
    with threads_set(count) as used:
        return measure(captured, device, inputs, budget, share), used


__all__ = ["ProgressCallback", "profile_module"]
