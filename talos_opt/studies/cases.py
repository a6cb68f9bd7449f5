"""The cases of a study: each a resolved problem, with a name that equal ones share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from talos_opt import formats
from talos_opt.core import units
from talos_opt.core.errors import GraphError, InputError
from talos_opt.core.granularity import Granularity, by_module
from talos_opt.core.problem import Problem
from talos_opt.formats.cluster_reader import cluster_from
from talos_opt.formats.graph_writer import document_of
from talos_opt.formats.source import Source
from talos_opt.formats.talos import read_problem
from talos_opt.studies.parameters import VARIANT
from talos_opt.studies.paths import assign, leads_to
from talos_opt.studies.study import Study

#: Before the digest, so that another way of making it would be told apart.
KIND = "case-1"


@dataclass(frozen=True)
class Case:
    """One solve of a study.

    Parameters
    ----------
    number : int
        From 1, in the order of the study.
    graph, cluster : str
        As the study names them; an empty cluster is the graph's own.
    objective, solver : str
    seed : int
    parameters : mapping of str to object
        What was given to each path.
    time_limit : float
        Seconds.
    price : float or None
        Sum over the devices; None where the study has no prices.
    document : mapping
        The problem as talos-graph/1, resolved; shares what it can with those of other cases.
    fingerprint : str
        The same for the same problem, objective, solver, seed and time limit.
    position : tuple of int
        In the grid of the parameters; empty where there is none.
    """

    number: int
    graph: str
    cluster: str
    objective: str
    solver: str
    seed: int
    parameters: Mapping[str, Any]
    time_limit: float
    price: float | None
    document: Mapping[str, Any] = field(repr=False)
    fingerprint: str
    position: tuple[int, ...] = ()


def list_cases(study: Study) -> list[Case]:
    """Return the cases of a study, in its order.

    Raises
    ------
    InputError
        If a graph or cluster cannot be read, or a path matches nothing in one.
    """
    with study.source.blamed():
        return _list_cases(study)


def _list_cases(study: Study) -> list[Case]:
    cases: list[Case] = []
    hashes = _Hashes()
    used: set[str] = set()
    positions = study.parameters.positions or ((),) * len(study.parameters.rows)
    for graph, cluster, objective in product(
        study.graphs, study.clusters or ("",), study.objectives or ("",)
    ):
        base, found = _base(study, graph, cluster, objective)
        variants = list(_variants(study, base, used))
        for solver, seed, k in product(study.solvers, study.seeds, range(len(variants))):
            row, document, price = variants[k]
            whole = hashes.of(document)
            name = _fingerprint(whole, found, solver, seed, study.time_limit)
            case = Case(
                len(cases) + 1, graph, cluster, found, solver, seed, row, study.time_limit, price,
                document, name, positions[k],
            )  # fmt: skip
            cases.append(case)
    unused = [name for name in study.prices if name not in used]
    if unused:
        where = f"prices.{unused[0]}"
        raise GraphError(f"no cluster has a device or kind {unused[0]!r}", path=where)
    return cases


def _base(study: Study, graph: str, cluster: str, objective: str) -> tuple[dict[str, Any], str]:
    """Read a graph with a cluster; return its document, with prices, and its objective."""
    problem = formats.read_problem(
        study.source.folder / graph,
        cluster=study.source.folder / cluster if cluster else None,
        objective=objective or None,
    )
    if objective:
        problem = problem.with_objective(objective)
    if study.granularity is Granularity.MODULE:
        problem = by_module(problem, study.no_split)
    return document_of(problem) | {"prices": dict(study.prices)}, problem.objective.value


def _variants(
    study: Study, base: Mapping[str, Any], used: set[str]
) -> Iterator[tuple[Mapping[str, Any], dict[str, Any], float | None]]:
    """Yield the values, the document and the price of each set of parameters."""
    used |= {name for device in base["cluster"]["devices"] for name in _priced(device)}
    read: set[str] = set()
    for row in study.parameters.rows:
        document = dict(base)
        # Counts first: what is said of devices holds for the new ones too.
        for path, value in sorted(row.items(), key=lambda item: "." in item[0]):
            if path == VARIANT:
                continue
            try:
                document = assign(document, path, value)
            except InputError as error:
                raise GraphError(error.message, path=f"parameters.{path}") from None
        prices = document.pop("prices")
        try:
            document = _resolved(document, base, read)
        except InputError as error:
            _blame(error, row)  # else it is the reason why this case fails
        yield row, document, _price(document["cluster"], prices, used)


def _resolved(document: dict[str, Any], base: Mapping[str, Any], read: set[str]) -> dict[str, Any]:
    """Return a document as the writer has it, whatever the study writes: 1kB is 1000.

    Parameters
    ----------
    document, base : mapping
    read : set of str
        What of documents beside models and cluster has been read before, which is added to.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if document["models"] is not base["models"]:
        return document_of(_read(document))
    # Reading all ops would change nothing.
    cluster = cluster_from(document["cluster"], "cluster").to_dict()
    rest = {key: value for key, value in document.items() if key not in ("models", "cluster")}
    text = json.dumps(rest, sort_keys=True)
    if text not in read and any(value is not base.get(key) for key, value in rest.items()):
        _read(document | {"cluster": base["cluster"]})
    read.add(text)
    return document | {"cluster": cluster}


def _read(document: Mapping[str, Any]) -> Problem:
    text = json.dumps(document).encode()
    return read_problem(Source("the case", Path("case.json"), text))


def _blame(error: InputError, row: Mapping[str, Any]) -> None:
    """Refuse a study in which a value is wrong that a parameter has put there.

    Raises
    ------
    GraphError
    """
    for path in row:
        if path != VARIANT and leads_to(path, error.path or ""):
            raise GraphError(error.message, path=f"parameters.{path}") from None


def _price(cluster: Mapping[str, Any], prices: Mapping[str, Any], used: set[str]) -> float | None:
    """Sum of the devices' prices; that of an id comes before that of a kind."""
    if not prices:
        return None
    total = 0.0
    for device in cluster["devices"]:
        used.update(_priced(device))
        name = next((name for name in _priced(device) if name in prices), None)
        if name is not None:
            where = f"parameters.prices.{name}"
            total += units.number(prices[name], "a price", path=where)
    return total


def _priced(device: Mapping[str, Any]) -> tuple[str, str]:
    """Names under which a device may have a price, the first first."""
    return device["id"], device["kind"]


class _Hashes:
    """Hashes of documents, in which models that several share are hashed once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, str]] = {}

    def of(self, document: Mapping[str, Any]) -> str:
        models = document["models"]
        if id(models) not in self._known:
            self._known[id(models)] = models, _digest(models)  # kept alive, so the id stays its own
        rest = {key: value for key, value in document.items() if key not in _NO_PART}
        return _digest([rest, self._known[id(models)][1]])


#: What does not change the problem.
_NO_PART = ("models", "description", "known")


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _fingerprint(problem: str, objective: str, solver: str, seed: int, time_limit: float) -> str:
    return f"{KIND}:{_digest([problem, objective, solver, seed, time_limit])}"
