"""How much sessions on one CPU slow each other down when they run a model at the same time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from talos_opt.frameworks.common.contention import Contention, beside, times_longer
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.devices import CPU, Provider
from talos_opt.frameworks.onnx.sessions import Bound, options_of


def measure_contention(
    captured: Captured,
    devices: Mapping[str, Provider],
    values: Mapping[str, np.ndarray],
    threads: int | None,
    max_time_s: float,
) -> Contention | None:
    """Return what devices do to each other while all of them run a model.

    Parameters
    ----------
    captured : Captured
    devices : mapping of str to Provider
        By id; those of the CPU are alike, and others are left out.
    values : mapping of str to np.ndarray
        Inputs by name.
    threads : int, optional
        Intra-op threads of each; default: all cores.
    max_time_s : float
        See `beside`.

    Returns
    -------
    Contention or None
        None of fewer than two devices of the CPU. The runtime starts ops itself, without Python's
        lock.
    """
    cpus = [name for name, provider in devices.items() if provider.is_cpu]
    if len(cpus) < 2:
        return None
    first, *others = [
        Bound(captured.session(options_of(threads=threads)), CPU, values).run for _ in cpus
    ]
    whole = dict.fromkeys(cpus, times_longer(*beside(first, others, max_time_s)))
    return Contention(whole, 0.0, whole)
