"""Format ``chain``: one op a line, ``NAME TIME``, each of which reads the one before it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from talos_opt import Cluster, Device, FormatError, Graph, Input, Model, Op, Problem

summary = "chains of ops, one on each line"
suffixes = (".chain",)


def recognises(source: Any) -> bool:
    """Tell whether a file is of this format."""
    return source.suffix in suffixes


def read_problem(source: Any, *, cluster: Any = None, objective: Any = None) -> Problem:
    """Read a problem; the file knows nothing of devices."""
    cluster = cluster or Cluster((Device("cpu0", "cpu"),))
    ops: list[Op] = []
    for k, line in enumerate(source.text.splitlines(), 1):
        name, _, time = line.partition(" ")
        try:
            times = dict.fromkeys(cluster.kinds, float(time))
        except ValueError:
            raise FormatError(f"{line!r}, expected NAME TIME", source=source.name, line=k) from None
        ops.append(Op(name, times, inputs=tuple(Input(op.id) for op in ops[-1:])))
    graph = Graph(source.stem, (Model("chain", tuple(ops)),))
    return Problem(graph, cluster, objective or "makespan")


def write_problem(problem: Problem, target: str | os.PathLike[str]) -> None:
    """Write a problem."""
    rows = (f"{op.id} {min(op.time.values())}\n" for op in problem.graph.models[0].ops)
    Path(target).write_text("".join(rows))
