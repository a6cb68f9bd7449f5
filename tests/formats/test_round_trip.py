"""What is written is read back, to the last bit."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.formats import read_problem, write_problem

from ..strategies import problems
from .samples import FULL

MODELS = Path(__file__).resolve().parents[2] / "models"
SUFFIXES = [".yaml", ".json", ".yaml.gz", ".json.gz"]


def survives(problem: Problem, folder: Path, suffix: str) -> None:
    path = folder / f"g{suffix}"
    write_problem(problem, path)
    found = read_problem(path, objective=problem.objective)
    assert found == problem
    # Equal is not enough: 1 equals 1.0, and a name of digits must stay text.
    assert repr(asdict(found.graph)) == repr(asdict(problem.graph))
    assert repr(asdict(found.cluster)) == repr(asdict(problem.cluster))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_example(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "full.yaml").write_text(FULL)
    survives(read_problem(tmp_path / "full.yaml"), tmp_path, suffix)


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_projects_own_models(tmp_path: Path, path: Path) -> None:
    problem = read_problem(path)
    for suffix in (".yaml", ".json"):
        survives(problem, tmp_path, suffix)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problems(stages=True))
def test_random_problems(tmp_path: Path, problem: Problem) -> None:
    for suffix in (".yaml", ".json"):
        survives(problem, tmp_path, suffix)


# ---- names and numbers that files trip over ----------------------------------------------------

_letters = st.characters(exclude_categories=("Cs",), exclude_characters="/")
names = st.text(_letters, min_size=1, max_size=8) | st.sampled_from(
    ["no", "Yes", "null", "~", "true", "1", "1e9", "12:30", "-", "a: b", "# a", "<<", "=", "é\n"]
)
amounts = st.just(0.0) | st.floats(1e-60, 1e60)
amounts |= st.sampled_from([0.1 + 0.2, 1e-70, 1e-7, 1e16, 123456789.125])
sizes = st.integers(0, 2**53)
attrs = st.dictionaries(names, st.none() | st.booleans() | st.integers() | amounts | names)


@st.composite
def odd_problems(draw: st.DrawFn) -> Problem:
    """Draw a problem with unusual names and numbers; its structure is a chain."""
    kind, other = draw(st.lists(names, min_size=2, max_size=2, unique=True))
    devices = (
        Device(f"{kind} 0", kind, None, draw(st.floats(0.001, 1)), draw(st.integers(1, 99))),
        Device(f"{other} 1", other, draw(sizes), copy_engine=draw(st.booleans())),
    )
    link = Link(kind, f"{other} 1", draw(amounts), draw(amounts.filter(bool) | st.just(math.inf)))
    cluster = Cluster(devices, draw(st.sampled_from([None, (), (link,)])), draw(st.just(kind)))
    ids = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    ops = tuple(
        Op(
            name,
            {kind: draw(amounts), other: draw(amounts)},
            draw(st.builds(Memory, sizes, sizes, sizes)),
            () if k == 0 else (Input(ids[k - 1], draw(st.none() | sizes)),),
            draw(names | st.just("")),
            draw(st.none() | names),
            draw(st.none() | st.just((kind,))),
            attrs=draw(attrs),
        )
        for k, name in enumerate(ids)
    )
    model = Model(draw(names), ops, draw(amounts), draw(amounts))
    known: Any = draw(st.just({}) | st.dictionaries(names, amounts, max_size=2))
    unit = draw(st.sampled_from(["us", "ms", "s"]))
    graph = Graph(draw(names), (model,), unit, known, draw(names | st.just("")))
    return Problem(graph, cluster)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_odd_names_and_numbers(tmp_path: Path, data: st.DataObject) -> None:
    try:
        problem = data.draw(odd_problems())
    except GraphError:  # two names that clash
        assume(False)
    for suffix in (".yaml", ".json"):
        survives(problem, tmp_path, suffix)
