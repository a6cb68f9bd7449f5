"""The fingerprint of a graph: of its ops and edges, and of nothing else."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.graph import ColumnarModels, Graph, Input, Memory, Model, Op
from talos_opt.core.problem import Problem
from tests.builders import fig1
from tests.strategies import problems


def changed(graph: Graph, i: int, **edit: Any) -> Graph:
    first, *rest = graph.models
    ops = tuple(replace(op, **edit) if k == i else op for k, op in enumerate(first.ops))
    return replace(graph, models=(replace(first, ops=ops), *rest))


def test_it_is_what_the_documentation_says() -> None:
    ops = (Op("b", {"cpu": 1}, inputs=(Input("a"),)), Op("a", {"cpu": 1}))
    graph = Graph("g", (Model("m", ops),))
    text = b"m/a\0m/b" + b"\0\0" + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    assert graph.fingerprint == "ops-edges-1:" + hashlib.sha256(text).hexdigest()
    # Stable across versions: a schedule of today is known tomorrow.
    assert graph.fingerprint.endswith("fe45a9874daa09b3")


@given(problems(), st.randoms(use_true_random=False))
def test_the_order_does_not_matter(problem: Problem, rng: random.Random) -> None:
    graph = problem.graph
    models = [
        replace(model, ops=tuple(rng.sample(model.ops, len(model.ops)))) for model in graph.models
    ]
    rng.shuffle(models)
    assert replace(graph, models=tuple(models)).fingerprint == graph.fingerprint
    assert replace(graph, models=ColumnarModels(graph.columns)).fingerprint == graph.fingerprint


def test_what_it_depends_on() -> None:
    graph = fig1().graph
    same = (
        replace(graph, name="other", time_unit="s"),
        changed(graph, 1, time={"cpu": 7.0}),
        changed(graph, 1, memory=Memory(1, 2, 3), colocate="g", slots=2, type="T"),
        changed(graph, 1, inputs=(Input("op1", 5),)),
    )
    assert {other.fingerprint for other in same} == {graph.fingerprint}
    others = (
        changed(graph, 1, inputs=()),
        changed(graph, 2, inputs=(Input("op1"),)),
        changed(graph, 2, id="op9"),
        replace(graph, models=graph.models[:1]),
        replace(graph, models=(replace(graph.models[0], id="x"), *graph.models[1:])),
    )
    assert len({other.fingerprint for other in (graph, *others)}) == 6
