"""How much torch devices slow each other down when they run a model at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import torch

from talos_opt.frameworks.common.contention import slowdown
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.execute import Executor, alone
from talos_opt.frameworks.torch.threads import threads_set


def measure_contention(
    captured: Captured,
    devices: Mapping[str, torch.device],
    inputs: Sequence[torch.Tensor],
    threads: int | None = None,
    max_time_s: float = 60.0,
) -> dict[str, float]:
    """Return how many times as long a model takes on each device while all others run it too.

    Parameters
    ----------
    captured : Captured
    devices : mapping of str to torch.device
        By id; those that are one torch device are alike.
    inputs : sequence of torch.Tensor
    threads : int, optional
        Intra-op threads of each CPU device; default: as they are set.
    max_time_s : float
        See `slowdown`.

    Returns
    -------
    dict of str to float
        Empty where nothing can be said: of fewer than two devices, or where one lacks the memory.
    """
    if len(devices) < 2 or not captured.ops():
        return {}
    values = captured.flat_values(inputs)
    with nullcontext() if threads is None else threads_set(threads):
        try:
            executors = {name: alone(captured, there, values) for name, there in devices.items()}
            found: dict[torch.device, float] = {}
            for name, there in devices.items():
                if there not in found:
                    others = [e.run for other, e in executors.items() if other != name]
                    found[there] = slowdown(_step(executors[name]), others, max_time_s)
        except torch.OutOfMemoryError:
            return {}
    return {name: found[there] for name, there in devices.items()}


def _step(executor: Executor) -> Callable[[], float]:
    return lambda: executor.run().wall_s
