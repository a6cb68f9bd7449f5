"""Where a module is and when it runs: all of its ops together, those of its parts too."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from talos_opt.analysis.deliveries import arrivals, departures
from talos_opt.analysis.slack import find_slacks
from talos_opt.analysis.where import ModuleRow, modules_by_device
from talos_opt.core.errors import InputError
from talos_opt.core.graph import SEPARATOR
from talos_opt.core.module_paths import fits, prefixes
from talos_opt.core.origins import origin_of
from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.schedule import Schedule

SCHEMA = "talos-module/1"

#: Modules that an error names.
_NAMED = 4


@dataclass(frozen=True, slots=True)
class OnDevice:
    """What a module has on one device; times in the graph's unit.

    Parameters
    ----------
    device : str
    ops : int
    time : float
        Sum of the times of the ops.
    weights : int
        Bytes.
    start, end : float
        When the first op begins and the last one ends.
    """

    device: str
    ops: int
    time: float
    weights: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Moved:
    """Transfers, each counted once.

    Parameters
    ----------
    transfers, bytes : int
    time : float
        Sum of how long they take, in the graph's unit.
    """

    transfers: int
    bytes: int
    time: float


@dataclass(frozen=True)
class ModuleStay:
    """What a schedule does with a module, or with all that a pattern names.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
    name : str
        As it was asked for.
    modules : tuple of str
        Paths of the modules, with their model in front where the graph has several.
    ops : (k,) int
        Their ops, in the order of the graph.
    devices : tuple of OnDevice
        Those that are used, in the cluster's order.
    parts : tuple of ModuleRow
        Where its parts are, as `modules_by_device` says it.
    received, sent, within : Moved
        What is moved for its ops from others, from its ops for others, and between its ops.
    slack : (k,) float
        How much later each op may start before the objective grows; infinite: at any time.
    """

    problem: Problem
    schedule: Schedule
    name: str
    modules: tuple[str, ...]
    ops: Ints
    devices: tuple[OnDevice, ...]
    parts: tuple[ModuleRow, ...]
    received: Moved
    sent: Moved
    within: Moved
    slack: Floats

    @property
    def start(self) -> float:
        """When its first op begins."""
        return float(self.schedule.start[self.ops].min())

    @property
    def end(self) -> float:
        """When its last op ends."""
        return float(self.schedule.end[self.ops].max())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain Python values."""
        problem, schedule = self.problem, self.schedule
        least = float(self.slack.min())
        rows = zip(
            self.ops.tolist(), schedule.device[self.ops].tolist(),
            schedule.start[self.ops].tolist(), schedule.end[self.ops].tolist(),
            self.slack.tolist(), strict=True,
        )  # fmt: skip
        return {
            "schema": SCHEMA,
            "graph": problem.graph.name,
            "time_unit": problem.graph.time_unit,
            "name": self.name,
            "modules": list(self.modules),
            "start": self.start,
            "end": self.end,
            "devices": [asdict(item) for item in self.devices],
            "parts": [asdict(item) for item in self.parts],
            "received": asdict(self.received),
            "sent": asdict(self.sent),
            "within": asdict(self.within),
            "slack": least if math.isfinite(least) else None,
            "ops": [
                {
                    "op": problem.names[i], "device": problem.device_ids[d], "start": start,
                    "end": end, "slack": slack if math.isfinite(slack) else None,
                }
                for i, d, start, end, slack in rows
            ],
        }  # fmt: skip


def explain_module(problem: Problem, schedule: Schedule, name: str) -> ModuleStay:
    """Explain where the ops of a module are, and when they run.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        A feasible one.
    name : str
        See `find_modules`.

    Raises
    ------
    InputError
        As `find_modules`.
    """
    found = find_modules(problem, name)
    ops = np.array(sorted(i for row in found.values() for i in row), dtype=np.int64)
    weights = problem.arrays.weights_at(schedule.device)
    devices = []
    for d, device in enumerate(problem.device_ids):
        here = ops[schedule.device[ops] == d]
        if len(here):
            start, end = schedule.start[here], schedule.end[here]
            devices.append(
                OnDevice(
                    device, len(here), float((end - start).sum()), int(weights[here].sum()),
                    float(start.min()), float(end.max()),
                )
            )  # fmt: skip
    received, sent, within = _moved(problem, schedule, ops)
    return ModuleStay(
        problem=problem,
        schedule=schedule,
        name=name,
        modules=tuple(found),
        ops=ops,
        devices=tuple(devices),
        parts=modules_by_device(problem, schedule, ops=ops.tolist()),
        received=received,
        sent=sent,
        within=within,
        slack=np.asarray(find_slacks(problem, schedule).op[ops]),
    )


def find_modules(problem: Problem, name: str) -> dict[str, list[int]]:
    """Return the ops of each module that a name means.

    Parameters
    ----------
    problem : Problem
    name : str
        Path of a module, ``transformer.h.0.mlp``, which has the ops of its parts too; a pattern of
        paths, in which ``*`` does not reach over a dot; either with ``MODEL/`` in front, for those
        of one model.

    Raises
    ------
    InputError
        If there is no such module; names some that are like it.
    """
    columns = problem.graph.columns
    several = len(columns.model_ids) > 1
    paths: dict[tuple[int, str], list[int]] = {}
    models = columns.model.tolist()
    for i in columns.attrs:
        path = origin_of(columns, i).module
        if path:
            paths.setdefault((models[i], path), []).append(i)
    found: dict[str, list[int]] = {}
    known: dict[str, None] = {}
    for (j, path), ops in paths.items():
        lead = f"{columns.model_ids[j]}{SEPARATOR}"
        wanted = name.removeprefix(lead)
        for prefix in prefixes(path):
            known[prefix] = None
            if prefix == wanted or fits(prefix, wanted):
                found.setdefault(lead + prefix if several else prefix, []).extend(ops)
                break
    if not found:
        raise InputError(_missing(name, list(known)))
    return found


def _missing(name: str, paths: list[str]) -> str:
    if not paths:
        return f"no op is called {name!r}, expected MODEL/OP"
    tail = name.rpartition(".")[2]
    like = [path for path in paths if path.rpartition(".")[2] == tail]
    near = like or difflib.get_close_matches(name, paths, _NAMED) or paths
    some = ", ".join(map(repr, near[:_NAMED]))
    return f"no op or module is called {name!r}, expected MODEL/OP or a module, such as {some}"


def _moved(problem: Problem, schedule: Schedule, ops: Ints) -> tuple[Moved, Moved, Moved]:
    """Return what is received, sent and moved within."""
    arrays = problem.arrays
    inside = np.zeros(arrays.op_count, dtype=bool)
    inside[ops] = True
    reads, sent = arrivals(problem, schedule), departures(problem, schedule)
    rows: tuple[set[int], set[int], set[int]] = (set(), set(), set())
    last = np.asarray(reads.transfer)
    source, target = inside[arrays.edge_src], inside[arrays.edge_dst]
    for edge in np.flatnonzero((source | target) & (last >= 0)).tolist():
        which = rows[2 if source[edge] and target[edge] else 1 if source[edge] else 0]
        row = int(last[edge])
        while row >= 0:
            which.add(row)
            row = int(sent.transfer[row])
    moves = schedule.transfers
    lengths = moves.end - moves.start
    received, passed, within = (_sum(moves.bytes, lengths, found) for found in rows)
    return received, passed, within


def _sum(sizes: Ints, lengths: Floats, rows: Iterable[int]) -> Moved:
    at: Sequence[int] = sorted(rows)
    return Moved(len(at), int(sizes[at].sum()), float(lengths[at].sum()))
