"""The answer: a device, a start and an end for every op, and the transfers in between.

A schedule is columnar, aligned with the ops of its problem; `named_ops` and `named_transfers`
give the view that files and people use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from talos_opt.core import frames
from talos_opt.core.errors import ScheduleError
from talos_opt.core.graph import SEPARATOR
from talos_opt.core.problem import Floats, Ints, Problem

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd


class ScheduledOp(NamedTuple):
    """One op of a schedule, by name."""

    model: str
    op: str
    device: str
    start: float
    end: float


class Transfer(NamedTuple):
    """One hop of one tensor, by name; `output` is empty where the op does not name its outputs."""

    model: str
    op: str
    source: str
    target: str
    start: float
    end: float
    bytes: int
    output: str = ""


class TransferRow(NamedTuple):
    """One hop of one tensor, by array position; tensor -1: the only one of the op, its number."""

    op: int
    source: int
    target: int
    start: float
    end: float
    bytes: int
    tensor: int = -1


@dataclass(frozen=True)
class Transfers:
    """Columns of t transfers; each is one hop of one tensor.

    Parameters
    ----------
    op : (t,) int
        Op whose output moves.
    source, target : (t,) int
        Devices.
    start, end : (t,) float
        In the graph's time unit.
    bytes : (t,) int
    tensor : (t,) int, optional
        Which tensor moves (`Arrays.tensor_op`); default: that of the op's number, where each op
        makes one.
    """

    op: Ints
    source: Ints
    target: Ints
    start: Floats
    end: Floats
    bytes: Ints
    tensor: Ints = None  # type: ignore[assignment]  # an array from __post_init__ on

    def __post_init__(self) -> None:
        if self.tensor is None:
            object.__setattr__(self, "tensor", self.op)

    @classmethod
    def from_rows(cls, rows: Sequence[TransferRow]) -> Transfers:
        """Build the columns from rows, ordered by start time."""
        rows = sorted(rows, key=lambda row: (row.start, row.end, row.op, row.target, row.tensor))
        columns = list(zip(*rows, strict=True)) or [()] * 7
        whole, real = np.int64, np.float64
        return cls(
            op=np.array(columns[0], dtype=whole),
            source=np.array(columns[1], dtype=whole),
            target=np.array(columns[2], dtype=whole),
            start=np.array(columns[3], dtype=real),
            end=np.array(columns[4], dtype=real),
            bytes=np.array(columns[5], dtype=whole),
            tensor=np.array(
                [row.op if row.tensor < 0 else row.tensor for row in rows], dtype=whole
            ),
        )

    def __repr__(self) -> str:
        return f"Transfers({len(self.op)} of {int(self.bytes.sum())} bytes)"

    def rows(self) -> Iterator[TransferRow]:
        """Yield the transfers as rows."""
        columns = (
            self.op,
            self.source,
            self.target,
            self.start,
            self.end,
            self.bytes,
            self.tensor,
        )
        for row in zip(*(column.tolist() for column in columns), strict=True):
            yield TransferRow(*row)

    def __len__(self) -> int:
        return len(self.op)


@dataclass(frozen=True)
class Schedule:
    """A placement with times.

    Parameters
    ----------
    device : (n,) int
        Device of every op of the problem.
    start, end : (n,) float
        In the graph's time unit.
    transfers : Transfers
    """

    device: Ints
    start: Floats
    end: Floats
    transfers: Transfers

    def __post_init__(self) -> None:
        for column in (self.device, self.start, self.end, *vars(self.transfers).values()):
            column.setflags(write=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()  # pickling forgets that arrays are read-only

    def __repr__(self) -> str:
        end = f"{self.makespan:g}" if len(self.end) else "-"
        return f"Schedule({len(self.device)} ops, {len(self.transfers)} transfers, makespan={end})"

    @property
    def makespan(self) -> float:
        """Latest end of an op."""
        return float(self.end.max())

    def require_of(self, problem: Problem) -> None:
        """Refuse a problem with other ops or devices; rules are for `feasibility.check`.

        Raises
        ------
        ScheduleError
        """
        count, devices = problem.graph.op_count, len(problem.device_ids)
        if len(self.device) != count:
            raise ScheduleError(
                f"the schedule has {len(self.device)} ops, the problem has {count}: expected a "
                "schedule of this graph"
            )
        if count and not 0 <= int(self.device.min()) <= int(self.device.max()) < devices:
            raise ScheduleError(
                f"the schedule uses devices beyond the {devices} of the problem: expected a "
                "schedule on this cluster"
            )

    def named_ops(self, problem: Problem) -> Iterator[ScheduledOp]:
        """Yield the ops by name, in file order."""
        ids = problem.device_ids
        columns = (self.device.tolist(), self.start.tolist(), self.end.tolist())
        for name, device, start, end in zip(problem.names, *columns, strict=True):
            model, op = name.split(SEPARATOR, 1)
            yield ScheduledOp(model, op, ids[device], start, end)

    def named_transfers(self, problem: Problem) -> Iterator[Transfer]:
        """Yield the transfers by name, by start time."""
        ids = problem.device_ids
        for row in self.transfers.rows():
            model, op = problem.names[row.op].split(SEPARATOR, 1)
            yield Transfer(
                model,
                op,
                ids[row.source],
                ids[row.target],
                row.start,
                row.end,
                row.bytes,
                problem.output_name(row.tensor),
            )

    def placement(self, problem: Problem) -> dict[str, str]:
        """Return the device id of every ``MODEL/OP``."""
        ids = problem.device_ids
        return {
            name: ids[device]
            for name, device in zip(problem.names, self.device.tolist(), strict=True)
        }

    def to_frame(self, problem: Problem, rows: str = "ops") -> pd.DataFrame:
        """Return the schedule as a `pandas.DataFrame`.

        Parameters
        ----------
        problem : Problem
            Whose schedule it is.
        rows : {'ops', 'transfers'}
            A row for each op, with ``model``, ``op``, ``type``, ``module``, ``device``, ``start``
            and ``end``; or one for each transfer, with ``model``, ``op`` and ``output`` of what
            moves, ``from``, ``to``, ``start``, ``end`` and ``bytes``.

        Returns
        -------
        pandas.DataFrame
            Ops in the order of the graph, transfers by start. Times are in the graph's unit, which
            ``attrs`` of the table names.

        Raises
        ------
        DependencyError
            If pandas is missing.
        """
        self.require_of(problem)
        return frames.to_frame(problem, self, rows)

    def to_networkx(self, problem: Problem) -> nx.DiGraph[Any]:
        """Return the graph of the problem with ``device``, ``start`` and ``end`` on its nodes.

        Parameters
        ----------
        problem : Problem
            Whose schedule it is.

        Returns
        -------
        networkx.DiGraph
            As that of `Graph.to_networkx`. As a graph again (`Graph.from_networkx`), its ops are
            pinned to their devices.
        """
        self.require_of(problem)
        return frames.to_networkx(problem, self)
