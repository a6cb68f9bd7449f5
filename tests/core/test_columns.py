"""Graphs as columns: the same graph as its objects, and the same complaints."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.column_checks import check_columns
from talos_opt.core.columns import NONE, WHOLE_OUTPUT, Columns, Texts
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import ColumnarModels, Graph
from talos_opt.core.problem import Problem
from talos_opt.core.topology import build_topology
from tests.builders import fig1, op, problem
from tests.strategies import large_problems, problems

anything = st.one_of(problems(max_ops=7), large_problems(max_ops=40))


def columnar(given: Problem) -> Problem:
    """Return the same problem, its models made from columns."""
    models = ColumnarModels(given.graph.columns)
    return replace(given, graph=replace(given.graph, models=models))


@given(anything)
def test_objects_survive_columns(given: Problem) -> None:
    check_columns(given.graph.columns)
    other = columnar(given)
    assert other.graph == given.graph
    assert other == given
    assert tuple(other.graph.models) == given.graph.models
    assert (other.ops, other.names) == (given.ops, given.names)


@given(anything)
def test_arrays_are_the_same_without_objects(given: Problem) -> None:
    other = columnar(given)
    for item in fields(given.arrays):
        if item.name == "division":  # of bundles, which no graph alone has
            continue
        ours, theirs = getattr(other.arrays, item.name), getattr(given.arrays, item.name)
        assert np.array_equal(ours, theirs), item.name
        assert ours.dtype == theirs.dtype, item.name
    assert np.array_equal(other.reference_times, given.reference_times)
    assert other.graph.op_count == given.graph.op_count
    assert other.graph.model_ids == tuple(model.id for model in given.graph.models)


def test_nothing_is_built_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = fig1().graph.columns

    def refuse(columns: Columns, j: int) -> Any:
        raise AssertionError("an object was built")

    monkeypatch.setattr("talos_opt.core.graph.build_model", refuse)
    given = Problem(Graph("g", ColumnarModels(columns), "ms"), fig1().cluster)
    assert given.names == fig1().names
    assert given.graph.op_count == 6
    assert given.find_op("op3") == fig1().find_op("op3")
    assert given.with_objective("makespan").arrays is given.arrays
    with pytest.raises(AssertionError, match="an object was built"):
        _ = given.ops


def test_models_are_a_sequence() -> None:
    given = problem({"m1": [op("a")], "m2": [op("a"), op("b", inputs="a")]})
    models = ColumnarModels(given.graph.columns)
    assert len(models) == 2
    assert models[-1] == given.graph.models[1]
    assert models[0:2] == given.graph.models
    assert models[1] is models[1]
    assert models == given.graph.models
    assert given.graph.models == models
    assert repr(models) == "ColumnarModels(2 models, 3 ops)"
    assert models != 3
    with pytest.raises(IndexError):
        models[2]


def test_texts() -> None:
    items = ["a", "", "öß", "long one"]
    texts = Texts.join(items)
    assert len(texts) == 4
    assert [texts[i] for i in range(4)] == items
    assert texts.slice(1, 3) == items[1:3]


# ---- topology ------------------------------------------------------------------------------


def naive_levels(count: int, edges: list[tuple[int, int]]) -> list[int]:
    level = [0] * count
    for _ in range(count):
        for source, reader in edges:
            level[reader] = max(level[reader], level[source] + 1)
    return level


@given(st.integers(0, 2**32), st.sampled_from([(30, 40), (12, 12), (400, 900), (1, 0)]))
def test_levels_of_random_graphs(seed: int, size: tuple[int, int]) -> None:
    draw, (count, wanted) = random.Random(seed), size
    names = list(range(count))
    draw.shuffle(names)  # numbers say nothing about the order
    pairs = {tuple(sorted(draw.sample(range(count), 2))) for _ in range(wanted)}
    edges = sorted((names[a], names[b]) for a, b in pairs)
    mixed = draw.sample(edges, len(edges))
    producer, reader = (np.array([e[k] for e in mixed], dtype=np.int64) for k in (0, 1))
    found = build_topology(count, producer, reader, producer * 1000 + reader)
    assert list(zip(found.edge_src.tolist(), found.edge_dst.tolist(), strict=True)) == edges
    assert found.edge_bytes.tolist() == [a * 1000 + b for a, b in edges]
    assert found.level.tolist() == naive_levels(count, edges)
    assert found.order.tolist() == sorted(range(count), key=lambda i: (found.level[i], i))
    assert not found.missing.any()


def test_deep_and_wide_levels() -> None:
    # A chain, a fan that is wider than what is walked op by op, and a chain again.
    count = 1000
    wide = range(100, 900)
    edges = [(i, i + 1) for i in range(99)]
    edges += [(99, i) for i in wide] + [(i, 900) for i in wide]
    edges += [(i, i + 1) for i in range(900, 999)]
    producer, reader = (np.array([e[k] for e in edges], dtype=np.int64) for k in (0, 1))
    found = build_topology(count, producer, reader, np.zeros(len(edges), dtype=np.int64))
    assert found.order.tolist() == list(range(count))
    assert found.level.tolist() == [*range(100), *[100] * 800, *range(101, 201)]


def test_what_is_on_a_cycle_or_behind_it_is_left_over() -> None:
    edges = [(0, 1), (1, 2), (2, 1), (2, 3)]
    producer, reader = (np.array([e[k] for e in edges], dtype=np.int64) for k in (0, 1))
    found = build_topology(4, producer, reader, np.zeros(4, dtype=np.int64))
    assert found.order.tolist() == [0]
    assert (found.missing > 0).tolist() == [False, True, True, True]


# ---- checks --------------------------------------------------------------------------------


def spoilt(**change: Any) -> Columns:
    given = problem(
        {
            "m1": [op("a", {"cpu": 1.0}, output=4), op("b", {"cpu": 2.0}, "a:3")],
            "m2": [op("a", {"gpu": 1.0}), op("b", 1, "a"), op("c", 1, "a b")],
        }
    )
    columns = replace(given.graph.columns, **{k: v for k, v in change.items() if k[0] != "_"})
    return columns


def changed(name: str, index: Any, value: Any) -> dict[str, Any]:
    array = getattr(spoilt(), name).copy()
    array[index] = value
    return {name: array}


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"model_ids": ("m1", "")}, "models[1].id", "must be non-empty"),
        ({"model_ids": ("m1", "m1")}, "models[1].id", "'m1' is used twice"),
        ({"model_ids": ("m1", "a/b")}, "models[1].id", "hold no '/'"),
        (changed("model_weight", 1, -1.0), "models[1].weight", "expected a number of at least 0"),
        (changed("release", 0, np.inf), "models[0].release", "expected a finite number"),
        ({"model_ptr": np.array([0, 0, 5])}, "models[0].ops", "'m1' has no ops"),
        (
            {"ids": Texts.join(["a", "b", "a", "b", "a"])},
            "models[1].ops[2].id",
            "'a' is used twice",
        ),
        ({"ids": Texts.join(["a", "b", "", "b", "c"])}, "models[1].ops[0].id", "is empty"),
        (changed("time", (1, 0), -1.0), "models[0].ops[1].time.cpu", "'b' is -1.0, expected a fin"),
        (changed("time", (2, 1), np.inf), "models[1].ops[0].time.gpu", "'a' is inf"),
        (changed("weights", 4, -5), "models[1].ops[2].memory.weights", "'c' is -5"),
        (changed("output", 0, 2**60), "models[0].ops[0].memory.output", "at most 9007199254740992"),
        (changed("workspace", 0, -1), "models[0].ops[0].memory.workspace", "is -1"),
        (changed("slots", 3, 0), "models[1].ops[1].slots", "'b' is 0, expected a number from 1"),
        (changed("type", 0, 1), "models[0].ops[0].type", "number 1, expected one from 0 to 0"),
        (changed("group", 0, 0), "models[0].ops[0].colocate", "number 0, expected one from -1"),
        (changed("pin", 1, -2), "models[0].ops[1].devices", "number -2"),
        (changed("input_op", 0, 2), "models[0].ops[1].inputs[0]", "number 2, expected one of its"),
        (changed("input_op", 2, -1), "models[1].ops[2].inputs[0]", "'c' reads op number -1"),
        (changed("input_bytes", 0, -2), "models[0].ops[1].inputs[0]", "is -2, expected a whole"),
        (changed("input_op", 3, 2), "models[1].ops[2].inputs[1]", "lists input 'a' twice"),
        (changed("input_op", 0, 1), "models[0].ops[1].inputs", "has a cycle: b -> b"),
        (changed("input_op", 1, 4), "models[1].ops[2].inputs", "has a cycle: c -> b -> c"),
    ],
)
def test_columns_that_contradict_themselves(
    change: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(GraphError) as caught:
        check_columns(spoilt(**change))
    assert caught.value.path == path
    assert message in caught.value.message


def test_what_is_spoilt_above_is_sound_before() -> None:
    columns = spoilt()
    check_columns(columns)
    assert columns.input_bytes.tolist() == [3, WHOLE_OUTPUT, WHOLE_OUTPUT, WHOLE_OUTPUT]
    assert columns.group.tolist() == [NONE] * 5


def test_a_long_cycle_is_shortened() -> None:
    count = 40
    given = problem([op(f"o{i}", 1, f"o{i - 1}" if i else "") for i in range(count)])
    columns = given.graph.columns
    ptr = np.arange(count + 1)
    looped = replace(columns, input_ptr=ptr, input_op=(np.arange(count) - 1) % count,
                     input_bytes=np.full(count, WHOLE_OUTPUT))  # fmt: skip
    with pytest.raises(GraphError, match=r"cycle: .* -> \.\.\. 29 more \.\.\. -> "):
        check_columns(looped)
