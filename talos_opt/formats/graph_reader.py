"""Plain data to a problem: talos-graph/1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from talos_opt.core import units
from talos_opt.core.bundles import Bundles
from talos_opt.core.cluster import Cluster
from talos_opt.core.errors import FormatError, GraphError, InputError
from talos_opt.core.graph import Graph, Model
from talos_opt.core.plain import (
    Keys,
    as_list,
    as_mapping,
    as_name,
    as_plain,
    as_text,
    join,
    made,
)
from talos_opt.core.problem import MemoryRule, Objective, Pipelining, Problem, Stages
from talos_opt.core.records import read_op
from talos_opt.formats.cluster_reader import cluster_beside
from talos_opt.formats.source import Source

SCHEMA = "talos-graph/1"

GRAPH_KEYS = Keys(
    "schema", "name description time_unit memory_rule stages pipeline cluster models ops known"
)
MODEL_KEYS = Keys("id ops", "weight release")


def problem_from(
    source: Source,
    *,
    cluster: Cluster | None,
    objective: Objective | str | None,
    bundles: Bundles | str | Mapping[str, Any] | None = None,
) -> Problem:
    """Return the problem in a talos-graph/1 file.

    Parameters
    ----------
    source : Source
    cluster : Cluster, optional
        Takes the place of the file's own, which is not read then.
    objective : Objective or str, optional
        Default: toct.
    bundles : Bundles, mapping or 'all', optional
        In place of what the file's cluster says.

    Raises
    ------
    InputError
        Names file, line and path.
    """
    with source.blamed():
        record = _check_schema(source.document)
        graph = _graph(record, _models(record, source), source)
        if cluster is None:
            if "cluster" not in record:
                raise GraphError(
                    "the graph has no cluster, expected 'cluster' in the file, "
                    "or a cluster file given beside it (--cluster)"
                )
            cluster = cluster_beside(record["cluster"], source, bundles)
        rule = as_text(record.get("memory_rule", MemoryRule.STATIC), "memory_rule", "memory_rule")
        with _paths_of_file(record):
            return Problem(
                graph,
                cluster,
                objective or Objective.TOCT,  # type: ignore[arg-type]
                rule,  # type: ignore[arg-type]  # checked by Problem
                stages=Stages.of(record.get("stages", "any")),
                pipeline=Pipelining.of(record["pipeline"]) if "pipeline" in record else None,
            )


def _check_schema(document: object) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise FormatError(f"holds {units.describe(document)}, expected a mapping: {SCHEMA}")
    if "schema" not in document:
        raise FormatError(f"has no schema, expected 'schema: {SCHEMA}' at the top of a graph")
    if document["schema"] != SCHEMA:
        raise FormatError(
            f"schema is {units.describe(document['schema'])}, expected {SCHEMA!r}", path="schema"
        )
    return GRAPH_KEYS.check(document, "the graph", "")


@contextmanager
def _paths_of_file(record: Mapping[str, Any]) -> Iterator[None]:
    """Name ops as the file does: one with `ops` at its top has no list of models."""
    try:
        yield
    except InputError as error:
        path = error.path
        if path is not None and "ops" in record:
            path = path.removeprefix("models[0].")
        raise type(error)(error.message, path=path) from None


def _graph(record: Mapping[str, Any], models: tuple[Model, ...], source: Source) -> Graph:
    optional: dict[str, Any] = {}
    if "time_unit" in record:
        optional["time_unit"] = as_text(record["time_unit"], "time_unit", "time_unit")
    if "description" in record:
        optional["description"] = as_text(record["description"], "description", "description")
    if "known" in record:
        known = as_mapping(record["known"], "known", "known")
        optional["known"] = as_plain(known, "known", "known")
    name = as_name(record["name"], "name", "name") if "name" in record else source.stem
    return Graph(name, models, **optional)


def _models(record: Mapping[str, Any], source: Source) -> tuple[Model, ...]:
    if "ops" in record and "models" in record:
        raise GraphError("the graph has models and ops, expected one of them", path="ops")
    if "ops" in record:
        return (_model({"id": source.stem, "ops": record["ops"]}, ""),)
    if "models" not in record:
        raise GraphError("the graph has no models, expected models, or ops of a single model")
    rows = as_list(record["models"], "models", "models")
    return tuple(_model(row, f"models[{j}]") for j, row in enumerate(rows))


def _model(value: object, path: str) -> Model:
    record = MODEL_KEYS.check(value, "a model", path)
    where = join(path, "ops")
    rows = as_list(record["ops"], "ops", where)
    given = {key: record[key] for key in ("weight", "release") if key in record}
    name = as_name(record["id"], "id", f"{path}.id")
    ops = tuple(read_op(row, f"{where}[{i}]") for i, row in enumerate(rows))
    return made(Model, path, id=name, ops=ops, **given)
