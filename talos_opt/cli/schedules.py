"""Reading a graph with schedules of it: what most commands that show schedules begin with."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from talos_opt.cli import arguments
from talos_opt.cli.output import complain

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem
    from talos_opt.formats.schedule import ScheduleFile


def open_schedules(
    paths: Sequence[str], refusal: str = "the schedule must be a file"
) -> list[ScheduleFile]:
    """Open schedule files.

    Parameters
    ----------
    paths : sequence of str
    refusal : str
        What to say of standard input.

    Raises
    ------
    InputError
        If one is standard input, cannot be read, or is no schedule.
    """
    from talos_opt.core.errors import InputError
    from talos_opt.formats.schedule import ScheduleFile
    from talos_opt.formats.source import STREAM

    if STREAM in paths:
        raise InputError(f"{refusal}; only the graph is read from -")
    return [ScheduleFile(path) for path in paths]


def read_graph(args: argparse.Namespace, graph: str, stated: Mapping[str, Any]) -> Problem:
    """Read the graph as arguments, or else a schedule's document, say.

    An msr workload is read by its objective, which the schedule knows.
    """
    from talos_opt.cli.solve import read_problem

    return read_problem(args, graph, args.objective or stated_objective(stated))


def stated_objective(stated: Mapping[str, Any]) -> str | None:
    """Return the objective that a schedule's document names, if there is such a one."""
    name = stated.get("objective")
    return name if name in arguments.OBJECTIVES else None


def note_other_graph(problem: Problem, stated: Mapping[str, Any], path: str = "") -> None:
    """Say so where a schedule's document names another graph."""
    name = stated.get("graph", problem.graph.name)
    if name != problem.graph.name:
        complain(f"note: {path}{': ' if path else ''}the schedule is for graph {name!r}")
