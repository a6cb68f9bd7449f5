"""The cases of a study: each a resolved problem, with a name that equal ones share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from talos_opt import formats
from talos_opt.core.errors import GraphError, InputError
from talos_opt.core.granularity import Granularity, by_module
from talos_opt.formats.cluster_reader import cluster_from
from talos_opt.formats.graph_writer import document_of
from talos_opt.formats.source import Source
from talos_opt.formats.talos import read_problem
from talos_opt.studies.parameters import VARIANT
from talos_opt.studies.paths import assign
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
        document = _resolved(document, base)
        yield row, document, _price(document["cluster"], prices, used)


def _resolved(document: dict[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as the writer has it, whatever the study writes: 1kB is 1000.

    What cannot be read stays as it is; it becomes the reason why its case fails.
    """
    with suppress(InputError):
        if document["models"] is base["models"]:  # reading all ops would change nothing
            return document | {"cluster": cluster_from(document["cluster"], "").to_dict()}
        text = json.dumps(document).encode()
        return document_of(read_problem(Source("the case", Path("case.json"), text)))
    return document


def _price(cluster: Mapping[str, Any], prices: Mapping[str, Any], used: set[str]) -> float | None:
    """Sum of the devices' prices; that of an id comes before that of a kind."""
    if not prices:
        return None
    total = 0.0
    for device in cluster["devices"]:
        for name in (device["id"], device["kind"]):
            if name in prices:
                used.add(name)
        total += float(prices.get(device["id"], prices.get(device["kind"], 0.0)))
    return total


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
