"""What was measured, as a schedule that can be looked at: all ops on each device, in a row."""

from __future__ import annotations

import dataclasses

import numpy as np

from talos_opt.core.graph import Graph, Model
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.frameworks.common.profile import Profile


def side_by_side(profile: Profile) -> tuple[Problem, Schedule]:
    """Return the profiled model once for each measured device, its ops one after the other.

    Estimated devices are left out, unless nothing was measured.

    Parameters
    ----------
    profile : Profile

    Returns
    -------
    Problem
        Each model goes by its device's id.
    Schedule
    """
    problem = profile.problem()
    chosen = [d.id for d in profile.devices if not d.estimated] or [d.id for d in profile.devices]
    ops = problem.graph.models[0].ops
    models = tuple(
        Model(device, tuple(dataclasses.replace(op, devices=(device,)) for op in ops))
        for device in chosen
    )
    graph = Graph(profile.name, models, problem.graph.time_unit)
    copies = dataclasses.replace(problem, graph=graph)
    index = {device: k for k, device in enumerate(problem.device_ids)}
    placement = np.repeat([index[device] for device in chosen], len(ops))
    order = np.tile(np.arange(len(ops)), len(chosen))
    return copies, simulate(copies, placement, order, insertion=False)
