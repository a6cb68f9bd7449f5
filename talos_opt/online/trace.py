"""Models that arrive over time, as a file tells it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talos_opt import formats
from talos_opt.core import units
from talos_opt.core.cluster import Cluster
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import Graph, Model
from talos_opt.core.plain import Keys, as_list, as_name
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.formats.source import Source, open_source

SCHEMA = "talos-trace/1"
KEYS = Keys("arrivals", "schema name cluster objective memory_rule")
ARRIVAL_KEYS = Keys("graph", "at weight name model")


@dataclass(frozen=True)
class Arrival:
    """Models that arrive together.

    Parameters
    ----------
    at : float
        In the trace's time unit.
    models : tuple of str
        Their ids in the trace.
    """

    at: float
    models: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """Models in the order in which they arrive, on one cluster.

    Parameters
    ----------
    name : str
    problem : Problem
        All models, each released when it arrives: what somebody solves who knows all of them
        beforehand.
    arrivals : tuple of Arrival
        In order of time, at different times.
    """

    name: str
    problem: Problem
    arrivals: tuple[Arrival, ...]

    def arrived(self, count: int) -> Problem:
        """Return the problem of the first arrivals."""
        models = sum(len(arrival.models) for arrival in self.arrivals[:count])
        graph = dataclasses.replace(
            self.problem.graph, models=tuple(self.problem.graph.models)[:models]
        )
        return dataclasses.replace(self.problem, graph=graph)


def make_trace(problem: Problem, name: str = "") -> Trace:
    """Return the trace of a problem's models, which arrive when they are released.

    Parameters
    ----------
    problem : Problem
        Its objective knows times.
    name : str
        Default: that of the graph.
    """
    models = sorted(problem.graph.models, key=lambda model: model.release)
    graph = dataclasses.replace(problem.graph, models=tuple(models))
    times: dict[float, list[str]] = {}
    for model in models:
        times.setdefault(model.release, []).append(model.id)
    arrivals = tuple(Arrival(at, tuple(ids)) for at, ids in times.items())
    whole = dataclasses.replace(problem, graph=graph)
    return Trace(name or problem.graph.name, whole, arrivals)


def read_trace(path: str | os.PathLike[str], objective: Objective | str | None = None) -> Trace:
    """Read a trace.

    Parameters
    ----------
    path : path
        docs/online.md describes the file. Paths in it are relative to its folder.
    objective : str, optional
        In place of the file's.

    Raises
    ------
    InputError
        Names the file, the line and the key.
    """
    source = open_source(path)
    with source.blamed():
        record = KEYS.check(source.document, "the trace", "")
        if record.get("schema", SCHEMA) != SCHEMA:
            raise GraphError(f"schema is {record['schema']!r}, expected {SCHEMA!r}", path="schema")
        name = as_name(record["name"], "name", "name") if "name" in record else source.stem
        rows = as_list(record["arrivals"], "arrivals", "arrivals")
        if not rows:
            raise GraphError("arrivals is empty, expected one at least", path="arrivals")
        given = as_name(record["cluster"], "cluster", "cluster") if "cluster" in record else None
        found = _Reader(source, given)
        for k, row in enumerate(rows):
            found.add(row, f"arrivals[{k}]")
        asked = {"objective": objective or record.get("objective", Objective.TOCT)}
        if "memory_rule" in record:
            asked["memory_rule"] = rule = record["memory_rule"]
            if rule not in (MemoryRule.STATIC, MemoryRule.PEAK):
                raise GraphError(
                    f"memory_rule is {units.describe(rule)}, expected static or peak",
                    path="memory_rule",
                )
        problem = found.problem(name, **asked)
        if not problem.objective.is_timed:
            raise GraphError(
                f"objective {problem.objective} is not about when ops end, expected toct or "
                "makespan",
                path="objective",
            )
        return make_trace(problem, name)


class _Reader:
    """Collects models from the graphs of a trace."""

    def __init__(self, source: Source, cluster: str | None) -> None:
        self.source = source
        #: Of all graphs; None until the first one is read, whose own it is.
        self.cluster: Cluster | Path | None = None
        if cluster is not None:
            self.cluster = source.folder / cluster
        self.read: dict[str, Problem] = {}
        self.models: list[Model] = []
        self.unit = ""

    def add(self, row: object, path: str) -> None:
        """Read an arrival."""
        record = ARRIVAL_KEYS.check(row, "an arrival", path)
        graph = as_name(record["graph"], "graph", f"{path}.graph")
        problem = self._problem(graph, path)
        at = units.moment(record.get("at", 0.0), self.unit, "at", path=f"{path}.at")
        models = self._chosen(problem, record, path)
        for model in models:
            name = model.id
            if "name" in record:
                name = as_name(record["name"], "name", f"{path}.name")
                name = name if len(models) == 1 else f"{name}.{model.id}"
            changes: dict[str, Any] = {"id": self._free(name), "release": at}
            if "weight" in record:
                weight = record["weight"]
                changes["weight"] = units.magnitude(weight, "weight", path=f"{path}.weight")
            self.models.append(dataclasses.replace(model, **changes))

    def problem(self, name: str, **asked: Any) -> Problem:
        """Return all models on the cluster."""
        assert isinstance(self.cluster, Cluster), "a trace has a graph"
        graph = Graph(name, tuple(self.models), self.unit)
        whole = Problem(graph, self.cluster, memory_rule=_rule_of(self.read.values()))
        return dataclasses.replace(whole, **asked)

    def _problem(self, graph: str, path: str) -> Problem:
        if graph not in self.read:
            problem = formats.read_problem(
                self.source.folder / graph, cluster=self.cluster, objective=Objective.TOCT
            )
            self.cluster = problem.cluster
            if self.unit and problem.graph.time_unit != self.unit:
                raise GraphError(
                    f"{graph} is in {problem.graph.time_unit}, the graphs before are in "
                    f"{self.unit}: expected one time unit",
                    path=f"{path}.graph",
                )
            self.unit = problem.graph.time_unit
            self.read[graph] = problem
        return self.read[graph]

    def _chosen(self, problem: Problem, record: Mapping[str, Any], path: str) -> list[Model]:
        models = list(problem.graph.models)
        if "model" not in record:
            return models
        wanted = as_name(record["model"], "model", f"{path}.model")
        found = [model for model in models if model.id == wanted]
        if not found:
            known = ", ".join(problem.graph.model_ids)
            raise GraphError(
                f"{record['graph']} has no model {wanted!r}, expected one of {known}",
                path=f"{path}.model",
            )
        return found

    def _free(self, name: str) -> str:
        """Return a name that no model has yet: the same again has a number."""
        known = {model.id for model in self.models}
        found, k = name, 1
        while found in known:
            k += 1
            found = f"{name}-{k}"
        return found


def _rule_of(problems: Iterable[Problem]) -> MemoryRule:
    """Return the memory rule of some graphs: peak if one of them says so."""
    rules = {problem.memory_rule for problem in problems}
    return MemoryRule.PEAK if MemoryRule.PEAK in rules else MemoryRule.STATIC
