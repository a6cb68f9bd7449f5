"""Which case starts from the answer of which: neighbours along one parameter, one after another.

The order is fixed before anything runs. A case never starts before the one that it starts from has
ended, so that what a study finds does not depend on when it was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from talos_opt import api
from talos_opt.core.errors import InputError
from talos_opt.core.units import size
from talos_opt.studies.cases import Case

#: Solvers that search from a schedule that they are given, beside those that prove optima. The
#: others follow a rule of their own, and what they find should be theirs.
_SEARCHING = ("fast", "shop", "large", "coarse", "beam", "lns", "relax")


def list_chains(cases: Sequence[Case], workers: int) -> list[list[Case]]:
    """Return the cases in chains, in each of which a case may start from the one before it.

    Parameters
    ----------
    cases : sequence of Case
    workers : int
        Chains are cut, so that there are at least as many where the cases suffice.
    """
    searching = {info.name for info in api.solvers() if info.exact} | set(_SEARCHING)
    axis = _axis(cases)
    lines: dict[object, list[Case]] = {}
    for case in cases:
        lines.setdefault(_line(case, axis if case.solver in searching else None), []).append(case)
    name = "" if axis is None else list(cases[0].parameters)[axis]
    chains = [_ordered(line, name) for line in lines.values()]
    pieces = -(-workers // max(1, len(chains)))
    return [part for chain in chains for part in _cut(chain, pieces)]


def _axis(cases: Sequence[Case]) -> int | None:
    """Return the parameter that chains run along: a memory, else the last that has two values."""
    positions = [case.position for case in cases]
    names = list(cases[0].parameters)
    varied = [k for k in range(len(positions[0])) if any(position[k] for position in positions)]
    memory = [k for k in varied if _is_memory(names[k])]
    chosen = memory or varied
    return chosen[-1] if chosen else None


def _is_memory(name: str) -> bool:
    return name.startswith("cluster.devices[") and name.endswith("].memory")


def _line(case: Case, axis: int | None) -> object:
    if axis is None:
        return case.number
    rest = case.position[:axis] + case.position[axis + 1 :]
    return (case.graph, case.cluster, case.objective, case.solver, case.seed, axis, rest)


def _ordered(line: list[Case], name: str) -> list[Case]:
    """Return a line with the largest memory first, whose bounds hold for all that follow."""
    if len(line) < 2 or not _is_memory(name):
        return line
    try:
        return sorted(line, key=lambda case: -size(case.parameters[name], "memory"))
    except InputError:  # scaled: as the study lists them
        return line


def _cut(chain: list[Case], pieces: int) -> list[list[Case]]:
    pieces = min(pieces, len(chain))
    edges = [len(chain) * k // pieces for k in range(pieces + 1)]
    return [chain[a:b] for a, b in pairwise(edges)]


def relaxes(wide: Mapping[str, Any], tight: Mapping[str, Any]) -> bool:
    """Tell whether one problem is another with at least as much memory, and equal otherwise.

    Then each schedule of `tight` is one of `wide`, so a bound of `wide` holds for `tight`.
    """
    if any(wide.get(key) != tight.get(key) for key in {*wide, *tight} - {"cluster", "description"}):
        return False
    first, second = wide["cluster"], tight["cluster"]
    if {**first, "devices": 0} != {**second, "devices": 0}:
        return False
    if len(first["devices"]) != len(second["devices"]):
        return False
    return all(
        {**a, "memory": 0} == {**b, "memory": 0} and _room(a) >= _room(b)
        for a, b in zip(first["devices"], second["devices"], strict=True)
    )


def _room(device: Mapping[str, Any]) -> float:
    """Return the capacity of a device in bytes; infinite where nothing limits it."""
    return size(device["memory"], "memory", capacity=True) if "memory" in device else float("inf")
