"""Why an op sits where it sits and runs when it runs, and what else could be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt.analysis.causes import Cause, Causes, Step, critical_path, find_causes
from talos_opt.analysis.deliveries import arrivals, departures
from talos_opt.analysis.moves import Move, MoveError, companions, resimulated, try_move
from talos_opt.analysis.prices import Price, price
from talos_opt.analysis.slack import find_slacks, path_ahead
from talos_opt.analysis.turnaround import Turnaround
from talos_opt.core.metrics import objective_value
from talos_opt.core.origins import origin_of
from talos_opt.core.problem import Ints, Problem
from talos_opt.core.schedule import Schedule

SCHEMA = "talos-explanation/1"

#: Called with the share of the work that is done and what is being done.
Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Arrival:
    """One input of an op.

    Parameters
    ----------
    op, tensor : int
        Producer, and which of its tensors it is.
    bytes : int
        That the op reads.
    produced, arrived : float
        When the producer ended, and when its output was on the op's device.
    transfers : tuple of int
        Rows of the transfers that brought it, by time.
    """

    op: int
    tensor: int
    bytes: int
    produced: float
    arrived: float
    transfers: tuple[int, ...]


@dataclass(frozen=True)
class Explanation:
    """All that can be said about one op of a schedule; times in the graph's unit.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
    causes : Causes
    op : int
    produced, arrived : float
        When the last input was produced (or the model released), and when it was on the device.
    inputs : tuple of Arrival
        Last to arrive first.
    meanwhile : tuple of int
        Ops that ran on the device between `arrived` and the start, by start.
    prices : tuple of Price
        Per device that it could run on.
    colocated : tuple of int
        Other ops of its group, which move with it.
    moves : tuple of Move
        Per other device.
    value : float
        Of the objective.
    again : float or None
        Value of the placement simulated in the order of its starts, without any move: what the
        moves' values compare with.
    again_reason : str
        Why there is none.
    slack : float
        See `talos_opt.analysis.slack`.
    before : tuple of Step
        Chain of ops that waited for each other, up to this op, which is the last.
    after : tuple of Step
        What the op would hold up, up to the op that the objective waits for.
    """

    problem: Problem
    schedule: Schedule
    causes: Causes
    op: int
    produced: float
    arrived: float
    inputs: tuple[Arrival, ...]
    meanwhile: tuple[int, ...]
    prices: tuple[Price, ...]
    colocated: tuple[int, ...]
    moves: tuple[Move, ...]
    value: float
    again: float | None
    again_reason: str
    slack: float
    before: tuple[Step, ...]
    after: tuple[Step, ...]

    @property
    def cause(self) -> Cause:
        """Why the op started no sooner."""
        return Cause(int(self.causes.cause[self.op]))

    def change(self, move: Move) -> float | None:
        """Return what a move adds to the objective; None where either value is unknown."""
        return None if move.value is None or self.again is None else move.value - self.again

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as plain Python values."""
        return _Plain(self).document()


def explain(
    problem: Problem, schedule: Schedule, op: int, *, report: Report | None = None
) -> Explanation:
    """Explain one op of a feasible schedule.

    Each move is a simulation of the whole schedule: a second for each device for 20,000 ops.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        One that `talos_opt.core.feasibility.check` has passed.
    op : int
    report : callable, optional
        Told of the progress.
    """
    tell = report or (lambda share, doing: None)
    tell(0.0, "what waited for what")
    causes, slacks = find_causes(problem, schedule), find_slacks(problem, schedule)
    inputs = _inputs(problem, schedule, op)
    ready = float(Turnaround(problem, schedule).ready[op])
    arrived = max([ready, *(item.arrived for item in inputs)])
    tell(0.1, "the same placement")
    again, reason = _again(problem, schedule)
    here, moves = int(schedule.device[op]), []
    for d, name in enumerate(problem.device_ids):
        if d != here:
            tell(0.1 + 0.9 * (d + 1) / (len(problem.device_ids) + 1), f"a move to {name}")
            moves.append(try_move(problem, schedule, op, d))
    return Explanation(
        problem,
        schedule,
        causes,
        op,
        produced=ready,
        arrived=arrived,
        inputs=inputs,
        meanwhile=_meanwhile(problem, schedule, op, arrived),
        prices=price(problem, schedule, op),
        colocated=tuple(i for i in companions(problem, op).tolist() if i != op),
        moves=tuple(moves),
        value=objective_value(problem, schedule),
        again=again,
        again_reason=reason,
        slack=float(slacks.op[op]),
        before=critical_path(problem, schedule, causes, to=op),
        after=path_ahead(slacks, causes, op),
    )


def _again(problem: Problem, schedule: Schedule) -> tuple[float | None, str]:
    try:
        return objective_value(problem, resimulated(problem, schedule)), ""
    except MoveError as error:
        return None, str(error)


def _inputs(problem: Problem, schedule: Schedule, op: int) -> tuple[Arrival, ...]:
    arrays = problem.arrays
    reads, sent = arrivals(problem, schedule), departures(problem, schedule)
    found = []
    for edge in arrays.in_edge[arrays.in_ptr[op] : arrays.in_ptr[op + 1]].tolist():
        hops: list[int] = []
        row = int(reads.transfer[edge])
        while row >= 0:
            hops.insert(0, row)
            row = int(sent.transfer[row])
        producer = int(arrays.edge_src[edge])
        found.append(
            Arrival(
                producer,
                int(arrays.edge_tensor[edge]),
                int(arrays.edge_bytes[edge]),
                float(schedule.end[producer]),
                float(reads.time[edge]),
                tuple(hops),
            )
        )
    return tuple(sorted(found, key=lambda item: (-item.arrived, item.tensor)))


def _meanwhile(problem: Problem, schedule: Schedule, op: int, since: float) -> tuple[int, ...]:
    """Return what ran on an op's device while its inputs were there."""
    start, end = schedule.start, schedule.end
    shared = (schedule.device == schedule.device[op]) & (start < schedule.start[op]) & (end > since)
    shared &= end > start
    shared[op] = False
    rows: Ints = np.flatnonzero(shared)
    return tuple(rows[np.argsort(start[rows], kind="stable")].tolist())


class _Plain:
    """Names for numbers."""

    def __init__(self, told: Explanation) -> None:
        self.told = told
        self.problem, self.schedule = told.problem, told.schedule
        self.names, self.ids = told.problem.names, told.problem.device_ids

    def document(self) -> dict[str, Any]:
        told, problem = self.told, self.problem
        arrays, op = problem.arrays, told.op
        columns = problem.graph.columns
        causes = told.causes
        return {
            "schema": SCHEMA,
            "graph": problem.graph.name,
            "time_unit": problem.graph.time_unit,
            **self._op(op),
            "type": columns.types[columns.type[op]],
            **origin_of(columns, op).known(),
            "slots": int(arrays.demand[op]),
            "memory": {
                "weights": int(arrays.weights[op]),
                "output": int(arrays.output[op]),
                "workspace": int(arrays.workspace[op]),
            },
            "produced": told.produced,
            "arrived": told.arrived,
            "cause": self._cause(told.cause, int(causes.by[op]), int(causes.transfer[op])),
            "inputs": [self._input(item) for item in told.inputs],
            "meanwhile": [self._op(i) for i in told.meanwhile],
            "prices": [self._price(item) for item in told.prices],
            "objective": problem.objective.value,
            "value": told.value,
            "value_again": told.again,
            "value_again_reason": told.again_reason or None,
            "colocated": [self.names[i] for i in told.colocated],
            "moves": [
                {
                    "device": self.ids[move.device],
                    "value": move.value,
                    "change": told.change(move),
                    "reason": move.reason or None,
                }
                for move in told.moves
            ],
            "slack": told.slack if math.isfinite(told.slack) else None,
            "before": [self._step(step) for step in told.before],
            "after": [self._step(step) for step in told.after],
        }

    def _op(self, i: int) -> dict[str, Any]:
        return {
            "op": self.names[i],
            "device": self.ids[self.schedule.device[i]],
            "start": float(self.schedule.start[i]),
            "end": float(self.schedule.end[i]),
        }

    def _cause(self, cause: Cause, by: int, transfer: int) -> dict[str, Any]:
        return {
            "kind": cause.name.lower(),
            "op": self.names[by] if by >= 0 else None,
            "transfer": self._transfers([transfer])[0] if transfer >= 0 else None,
        }

    def _transfers(self, rows: Iterable[int]) -> list[dict[str, Any]]:
        moves, causes = self.schedule.transfers, self.told.causes
        return [
            {
                "op": self.names[moves.op[k]],
                **self._output(int(moves.tensor[k])),
                "from": self.ids[moves.source[k]],
                "to": self.ids[moves.target[k]],
                "start": float(moves.start[k]),
                "end": float(moves.end[k]),
                "bytes": int(moves.bytes[k]),
                "cause": Cause(int(causes.hop_cause[k])).name.lower(),
            }
            for k in rows
        ]

    def _output(self, tensor: int) -> dict[str, str]:
        name = self.problem.output_name(tensor)
        return {"output": name} if name else {}

    def _input(self, item: Arrival) -> dict[str, Any]:
        return {
            "op": self.names[item.op],
            **self._output(item.tensor),
            "device": self.ids[self.schedule.device[item.op]],
            "bytes": item.bytes,
            "produced": item.produced,
            "arrived": item.arrived,
            "transfers": self._transfers(item.transfers),
        }

    def _price(self, item: Price) -> dict[str, Any]:
        return {
            "device": self.ids[item.device],
            "ran": item.ran,
            "wait": item.wait,
            "comm": item.comm,
            "exec": item.exec,
            "max_pt": item.max_pt,
            "cost": item.cost,
            "speedup": item.speedup,
        }

    def _step(self, step: Step) -> dict[str, Any]:
        return {
            **self._op(step.op),
            "cause": step.cause.name.lower(),
            "transfers": self._transfers(step.transfers),
        }
