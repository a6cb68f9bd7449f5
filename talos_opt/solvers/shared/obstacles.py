"""Cheap proofs that a problem has no feasible schedule, in words a user can act on."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import UNLIMITED, Ints, MemoryRule, Problem
from talos_opt.core.units import format_bytes
from talos_opt.solvers.shared.moments import Moment, fullest_moment
from talos_opt.solvers.shared.stages import stage_groups


def find_obstacle(problem: Problem) -> str:
    """Return why no schedule can exist, or an empty string if nothing obvious stands in the way.

    Looks at colocation groups whose ops share no device, groups too large for every device, and
    sets of groups that together outgrow the only devices they may use; and devices that have to be
    used by more forward ops than there are.
    """
    arrays = problem.arrays
    nowhere = np.flatnonzero(~arrays.allowed.any(axis=1))
    if len(nowhere):
        return _describe_homeless(problem, int(nowhere[0]))
    if arrays.division is not None:  # members of bundles hold less than what is counted here
        return _describe_unused(problem)
    need = group_memory(problem)
    fits = arrays.allowed & (need[:, None] <= arrays.capacity[None, :])
    crowded = np.flatnonzero(~fits.any(axis=1))
    if len(crowded):
        return _describe_too_large(problem, int(crowded[0]), need)
    unused = _describe_unused(problem)
    return unused or _describe_total(problem, need, fits) or _describe_moment(problem)


def group_memory(problem: Problem) -> Ints:
    """Bytes that each colocation group holds on its device at the least (g,)."""
    arrays = problem.arrays
    if problem.memory_rule is MemoryRule.STATIC:
        return arrays.group_held + arrays.group_workspace
    return arrays.group_weights


def _members(problem: Problem, group: int) -> str:
    names = [problem.names[i] for i in problem.arrays.members[group]]
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def _describe_homeless(problem: Problem, group: int) -> str:
    arrays, ids = problem.arrays, problem.device_ids
    homes = [
        f"{problem.names[i]}: {', '.join(ids[d] for d in np.flatnonzero(np.isfinite(row)))}"
        for i, row in ((i, arrays.time[i]) for i in arrays.members[group][:6].tolist())
    ]
    return (
        f"the ops of colocation group {problem.ops[int(arrays.members[group][0])].colocate!r} "
        f"have nowhere to go together: no device can run them all ({'; '.join(homes)})"
    )


def _describe_too_large(problem: Problem, group: int, need: Ints) -> str:
    arrays = problem.arrays
    size = int(need[group])
    short = ", ".join(
        f"{problem.device_ids[d]} is short by {size - int(arrays.capacity[d])} bytes "
        f"({format_bytes(size - int(arrays.capacity[d]))})"
        for d in np.flatnonzero(arrays.allowed[group])
    )
    return (
        f"{_members(problem, group)} must share one device and need {size} bytes "
        f"({format_bytes(size)}): {short}"
    )


def _describe_unused(problem: Problem) -> str:
    """Where all devices are to be used, each takes a group that has a forward op."""
    arrays = problem.arrays
    if not problem.stages.use_all:
        return ""
    groups = stage_groups(arrays)
    if len(groups) < arrays.device_count:
        return (
            f"use_all asks for a forward op on each of {arrays.device_count} devices, and only "
            f"{len(groups)} can be apart: use fewer devices, or leave out use_all"
        )
    for d in np.flatnonzero(~arrays.allowed[groups].any(axis=0)).tolist():
        return f"use_all asks for a forward op on {problem.device_ids[d]}, which can run none"
    return ""


def _describe_total(problem: Problem, need: Ints, fits: np.ndarray) -> str:
    """Groups confined to a set of limited devices must fit into it together.

    Every set that some group is confined to is tried; under the static rule the largest
    workspace is counted with its group, so only weights and outputs are summed here.
    """
    arrays = problem.arrays
    static = problem.memory_rule is MemoryRule.STATIC
    held = arrays.group_held if static else arrays.group_weights
    for homes in distinct_rows(fits):
        if (arrays.capacity[homes] >= UNLIMITED).any():
            continue
        confined = ~(fits & ~homes).any(axis=1)
        total, room = int(held[confined].sum()), int(arrays.capacity[homes].sum())
        if total > room:
            names = ", ".join(problem.device_ids[d] for d in np.flatnonzero(homes))
            return (
                f"{int(confined.sum())} op groups can only go to {names} and need {total} bytes "
                f"({format_bytes(total)}) there; the usable memory is {room} bytes: short by "
                f"{total - room} bytes ({format_bytes(total - room)})"
            )
    return ""


def _describe_moment(problem: Problem) -> str:
    """What has to be in memory while some op runs must fit all devices together."""
    arrays = problem.arrays
    # Devices that run nothing count too: a tensor may wait there on its way to another one.
    if problem.memory_rule is MemoryRule.STATIC or (arrays.capacity >= UNLIMITED).any():
        return ""
    moment, room = fullest_moment(arrays), sum(arrays.capacity.tolist())
    if moment is None or moment.held <= room:
        return ""
    return describe_moment(problem, moment)


def describe_moment(problem: Problem, moment: Moment) -> str:
    """Say what all devices together are short of while some op runs."""
    room = sum(problem.arrays.capacity.tolist())
    return (
        f"while {problem.names[moment.op]} runs, its inputs and output, and what was made before "
        f"it and is read after it, need {moment.held} bytes ({format_bytes(moment.held)}) with all "
        f"weights, in every order; the usable memory of all devices is {room} bytes: short by "
        f"{moment.held - room} bytes ({format_bytes(moment.held - room)})"
    )


def distinct_rows(rows: np.ndarray) -> np.ndarray:
    """Return each row once; numpy's own way takes seconds for a million rows."""
    packed = np.packbits(rows, axis=1)
    codes = np.zeros(len(rows), dtype=np.int64)  # only told apart where they differ
    for column in packed.T:
        _, codes = np.unique(codes * 256 + column, return_inverse=True)
    return np.asarray(rows[np.unique(codes, return_index=True)[1]])
