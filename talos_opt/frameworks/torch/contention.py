"""How much torch devices slow each other down when they run a model at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import torch

from talos_opt.frameworks.common.contention import Contention, apart, beside, times_longer
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.execute import Executor, alone
from talos_opt.frameworks.torch.handover import chain
from talos_opt.frameworks.torch.threads import threads_set

#: Ops of the chain that shows what Python's lock takes.
LENGTH = 200


def measure_contention(
    captured: Captured,
    devices: Mapping[str, torch.device],
    inputs: Sequence[torch.Tensor],
    lengths: Mapping[str, Sequence[float]],
    threads: int | None = None,
    max_time_s: float = 60.0,
) -> Contention | None:
    """Return what devices do to each other while all of them run a model.

    Parameters
    ----------
    captured : Captured
    devices : mapping of str to torch.device
        By id; those that are one torch device are alike.
    inputs : sequence of torch.Tensor
    lengths : mapping of str to sequence of float
        Seconds of the model's ops on each device.
    threads : int, optional
        Intra-op threads of each CPU device; default: as they are set.
    max_time_s : float
        See `beside`.

    Returns
    -------
    Contention or None
        None where nothing can be said: of fewer than two devices, or where one lacks the memory.
    """
    if len(devices) < 2 or not captured.ops():
        return None
    with nullcontext() if threads is None else threads_set(threads):
        try:
            pairs = _pairs(captured, devices, captured.flat_values(inputs), max_time_s)
        except torch.OutOfMemoryError:
            return None
        short = chain(LENGTH)
        chains = _pairs(short, devices, short.flat_values([torch.ones(1)]), max_time_s)
    whole = {name: times_longer(*pair) for name, pair in pairs.items()}
    # Each op of the slowest device meets one of another.
    own, together = max(chains.values())
    return apart(whole, lengths, max(0.0, together - own) / LENGTH)


def _pairs(
    captured: Captured,
    devices: Mapping[str, torch.device],
    values: Sequence[torch.Tensor],
    max_time_s: float,
) -> dict[str, tuple[float, float]]:
    """Return what a step takes on every device alone, and beside all others."""
    executors = {name: alone(captured, there, values) for name, there in devices.items()}
    found: dict[torch.device, tuple[float, float]] = {}
    for name, there in devices.items():
        if there not in found:
            others = [e.run for other, e in executors.items() if other != name]
            found[there] = beside(_step(executors[name]), others, max_time_s)
    return {name: found[there] for name, there in devices.items()}


def _step(executor: Executor) -> Callable[[], float]:
    return lambda: executor.run().wall_s
