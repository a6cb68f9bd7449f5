"""Ops of a module share a device: which modules, and what becomes of groups that there were."""

from __future__ import annotations

from dataclasses import replace

import pytest

from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import GraphError
from talos_opt.core.granularity import by_module
from talos_opt.core.graph import Graph, Memory, Model, Op
from talos_opt.core.problem import Problem

CLUSTER = Cluster((Device("cpu0", "cpu"), Device("gpu0", "gpu")))


def problem(*rows: tuple[str, str | None], models: int = 1, weights: int = 0) -> Problem:
    """Ops a, b, c ... with the module and the group of each."""
    ops = tuple(
        Op(
            chr(ord("a") + k),
            {"cpu": 1, "gpu": 1},
            Memory(weights),
            colocate=group,
            attrs={"module": module} if module else {},
        )
        for k, (module, group) in enumerate(rows)
    )
    graph = Graph("g", tuple(Model(f"m{j}", ops) for j in range(models)))
    return Problem(graph, CLUSTER)


def together(found: Problem) -> list[str]:
    """Names of ops by group, such as ``ab c``; the same in whatever order."""
    groups: dict[int, str] = {}
    for op, group in zip(found.ops, found.arrays.group.tolist(), strict=True):
        groups[group] = groups.get(group, "") + op.id
    return sorted(groups.values())


def test_ops_of_a_leaf_module_are_together_and_others_free() -> None:
    given = problem(("x.one", None), ("x.one", None), ("x.two", None), ("x", None), ("", None))
    assert together(by_module(given)) == ["ab", "c", "d", "e"]


def test_what_holds_weights_of_a_module_with_parts_is_together() -> None:
    given = problem(("x.one", None), ("x", None), ("x", None), ("", None), ("", None), weights=1)
    assert together(by_module(given)) == ["a", "bc", "de"]


def test_patterns_keep_modules_with_parts_whole() -> None:
    given = problem(("x.0.a", None), ("x.0.b", None), ("x.0", None), ("x.1.a", None), ("y", None))
    assert together(by_module(given, ["x.*"])) == ["abc", "d", "e"]
    assert together(by_module(given, ["x"])) == ["abcd", "e"]
    assert together(by_module(given, ["x.1"])) == ["a", "b", "c", "d", "e"]


def test_groups_that_there_were_still_hold() -> None:
    given = problem(
        ("embed", "tied"), ("mid", None), ("head", "tied"), ("head", None), ("", "tied")
    )
    assert together(by_module(given)) == ["acde", "b"]
    chained = problem(("p", "g"), ("q", "g"), ("q", "h"), ("r", "h"), ("s", None))
    assert together(by_module(chained)) == ["abcd", "e"]


def test_modules_of_two_models_are_apart_but_shared_groups_join_them() -> None:
    assert together(by_module(problem(("x", None), ("x", None), models=2))) == ["ab", "ab"]
    assert together(by_module(problem(("x", "g"), ("x", None), models=2))) == ["abab"]


def test_a_view_follows_its_base_and_binds_no_modules() -> None:
    given = problem(("x", "x"), ("y", None), ("y", "x"), ("x", None))
    assert together(by_module(given)) == ["abcd"]
    (model,) = given.graph.models
    view = replace(model.ops[2], attrs={"module": "y", "view_of": "a"})
    models = (replace(model, ops=(*model.ops[:2], view, *model.ops[3:])),)
    given = replace(given, graph=replace(given.graph, models=models))
    assert together(by_module(given)) == ["acd", "b"]


@pytest.mark.parametrize(
    ("rows", "patterns", "message"),
    [
        ([("", None)], [], "no op says which module"),
        ([("x.a", None)], ["y.*"], "no module is called 'y.\\*', such as 'x.a'"),
        (
            [("x.0.a", "tied"), ("x.1.b", None), ("x.1.c", "tied")],
            ["x.*"],
            "modules 'x.0' and 'x.1' have to share a device",
        ),
    ],
)
def test_errors(rows: list[tuple[str, str | None]], patterns: list[str], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        by_module(problem(*rows), patterns)


def test_a_group_called_like_a_module_stays_a_group_of_its_own() -> None:
    coarse = by_module(problem((None, "m0/enc"), ("enc", None), ("enc", None)))
    assert coarse.arrays.group.tolist() == [0, 1, 1]
    named = ["m0/enc", "m0/enc (module)", "m0/enc (module)"]
    assert [item.colocate for item in coarse.ops] == named
