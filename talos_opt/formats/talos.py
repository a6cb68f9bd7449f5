"""The project's own format, talos-graph/1, as YAML or JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from talos_opt.core.bundles import Bundles
from talos_opt.core.cluster import Cluster
from talos_opt.core.problem import Objective, Problem
from talos_opt.formats import emit
from talos_opt.formats.graph_reader import problem_from
from talos_opt.formats.graph_writer import document_of
from talos_opt.formats.source import STREAM, Source, split_suffix
from talos_opt.formats.target import write_lines


def recognises(source: Source) -> bool:
    """Whether a file says that it is written in this format."""
    document = source.document
    return isinstance(document, dict) and "schema" in document


def read_problem(
    source: Source,
    *,
    cluster: Cluster | None = None,
    objective: Objective | str | None = None,
    bundles: Bundles | str | Mapping[str, Any] | None = None,
) -> Problem:
    """Read a problem; the objective is the caller's, by default toct."""
    return problem_from(source, cluster=cluster, objective=objective, bundles=bundles)


def write_problem(problem: Problem, target: str | os.PathLike[str]) -> None:
    """Write a problem as YAML or JSON, by the suffix; on standard output as YAML."""
    name = os.fspath(target)
    suffix = ".yaml" if name == STREAM else split_suffix(name)[1]
    write_lines(emit.lines_of(document_of(problem), emit.GRAPH, suffix), target)
