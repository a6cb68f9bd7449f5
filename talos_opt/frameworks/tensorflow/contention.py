"""How much logical CPU devices slow each other down when they run a model at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import numpy as np

from talos_opt.frameworks.common.contention import Contention, beside, times_longer
from talos_opt.frameworks.tensorflow.captured import Captured
from talos_opt.frameworks.tensorflow.devices import CPU, is_gpu
from talos_opt.frameworks.tensorflow.placing import place
from talos_opt.frameworks.tensorflow.session import Session


def measure_contention(
    captured: Captured,
    devices: Mapping[str, str],
    inputs: Sequence[np.ndarray],
    threads: int | None,
    max_time_s: float,
) -> Contention | None:
    """Return what devices do to each other while all of them run a model.

    Each device is a session of its own here, with a thread pool of its own.

    Parameters
    ----------
    captured : Captured
    devices : mapping of str to str
        TensorFlow's names by id; those of the CPU are alike, and GPUs are left out.
    inputs : sequence of np.ndarray
    threads : int, optional
        Intra-op threads of each; default: all cores.
    max_time_s : float
        See `beside`.

    Returns
    -------
    Contention or None
        None of fewer than two devices of the CPU. Ops are started by TensorFlow's own threads,
        which share no lock.
    """
    cpus = [name for name, string in devices.items() if not is_gpu(string)]
    if len(cpus) < 2 or not captured.op_ids():
        return None
    values = captured.values(inputs)
    placed = place(captured, dict.fromkeys(captured.op_ids(), "here"), {"here": CPU})
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(Session(placed, values, threads=threads, concurrency=1))
            for _ in cpus
        ]
        first, *others = [session.run for session in sessions]
        pair = beside(first, others, max_time_s)
    whole = dict.fromkeys(cpus, times_longer(*pair))
    return Contention(whole, 0.0, whole)
