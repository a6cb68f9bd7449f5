"""Problems and schedules of captured models without profiling: times are made up."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np

from talos_opt.core.problem import Problem
from talos_opt.core.result import Result, Status
from talos_opt.core.simulator import simulate
from talos_opt.frameworks.common.profile import DeviceProfile, LinkProfile, Profile, Timing
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.ops import describe_ops

DEVICES = ("cpu0", "gpu0", "gpu1")

#: All devices of a schedule are the host.
ON_CPU = {"gpu0": "cpu", "gpu1": "cpu"}


def problem_of(captured: Captured, *, via: bool = True) -> Problem:
    """Return a problem on a CPU and two GPUs, which meet over the CPU if `via`."""
    ops = tuple(
        dataclasses.replace(
            op, timings={d: Timing(1e-5 * (k % 5 + 1), 1e-5 * (k % 5 + 1)) for d in DEVICES}
        )
        for k, op in enumerate(describe_ops(captured))
    )
    devices = tuple(DeviceProfile(d, d.rstrip("01")) for d in DEVICES)
    links = [LinkProfile("cpu0", d, 1e-6, 1e9) for d in DEVICES[1:]]
    if not via:
        links.append(LinkProfile("gpu0", "gpu1", 1e-6, 1e9))
    return Profile("model", "torch", captured.mode, ops, devices, tuple(links)).problem()


def random_schedule(problem: Problem, seed: int) -> dict[str, Any]:
    """Return the document of a random placement, its ops in a random order of priority."""
    rng = random.Random(seed)
    groups = problem.arrays.group.tolist()
    count = len(problem.device_ids)
    chosen = {group: rng.randrange(count) for group in sorted(set(groups))}
    device = np.array([chosen[group] for group in groups])
    priority = [rng.random() for _ in groups]
    schedule = simulate(problem, device, priority)
    return Result(problem, Status.FEASIBLE, schedule, 0.0, "random").to_dict()


def moves(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the transfers that move something: those of no bytes keep what a view is of alive."""
    return [row for row in document["transfers"] if row["bytes"]]
