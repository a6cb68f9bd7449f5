"""`talos_opt.join_models`: several graphs as one, whose models share the devices of the first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from talos_opt import formats
from talos_opt.core import replanning, units
from talos_opt.core.errors import InputError
from talos_opt.core.given import require_problem
from talos_opt.core.problem import Problem


def join_models(
    problem: Problem,
    others: Sequence[Problem | str | os.PathLike[str]],
    *,
    format: str | None = None,
) -> Problem:
    """Put the models of several graphs into one: ``talos-opt convert --add``.

    Parameters
    ----------
    problem : Problem
        Whose devices and rules hold for all.
    others : sequence of Problem or path
        Their clusters do not matter, but for times by device id; a file need not name one.
    format : str, optional
        Of the files; default: from their suffix and contents.

    Returns
    -------
    Problem
        Its graph has the names of all with ``+`` in between, and no ``known`` values.

    Raises
    ------
    InputError
        If a graph cannot be read, the time units differ, or two models have the same id.
    """
    require_problem(problem)
    if isinstance(others, str | os.PathLike | Problem):
        raise InputError(f"others is {units.describe(others)}, expected a list")
    read = [
        other
        if isinstance(other, Problem)
        else formats.read_problem(other, cluster=problem.cluster, format=format)
        for other in others
    ]
    joined = replanning.join_models(problem, read, 0.0)
    name = "+".join(one.graph.name for one in (problem, *read))
    return replace(joined, graph=replace(joined.graph, name=name))
