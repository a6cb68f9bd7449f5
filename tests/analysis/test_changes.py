"""Single changes: which a schedule suggests, and that each changes one thing."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from talos_opt.analysis.breakdown import break_down
from talos_opt.analysis.changes import Change, single_changes
from talos_opt.core.graph import Graph, Model
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.studies.single_changes import carried_over
from tests.builders import device, fig1, link, op, problem


def small(objective: str = "toct", rule: str = "static") -> tuple[Problem, Schedule]:
    """Two models on a CPU and a GPU that is full, with a transfer of 4 s between them."""
    models = {
        "m": [replace(op("a", 1, output=4), type="Conv"), replace(op("b", 2, "a"), type="Add")],
        "n": [replace(op("c", 1), type="Conv")],
    }
    given = problem(
        models,
        [device("cpu0"), device("gpu0", 4)],
        [link("cpu gpu", 0, 1), link("gpu0 > cpu0", 0, 1)],
        objective=objective,
        rule=rule,
        weight={"m": 3.0},
    )
    # a, which fills the GPU, is sent to the CPU.
    return given, simulate(given, np.array([1, 0, 0]), [0, 2, 1])


def by_kind(given: Problem, answer: Schedule) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for change in single_changes(break_down(given, answer)):
        found.setdefault(change.kind, []).append(change)
    return found


def test_each_change_is_one_thing() -> None:
    given, answer = small()
    found = by_kind(given, answer)
    (faster,) = found["link"]
    assert faster.label == "link gpu0 -> cpu0 twice as fast"
    assert [item.bandwidth for item in faster.problem.cluster.links or ()] == [1, 2]
    (larger,) = found["memory"]
    assert larger.label == "memory of gpu0 + 1 B"
    assert [item.memory for item in larger.problem.cluster.devices] == [None, 5]
    assert [change.label for change in found["device"]] == ["one more cpu", "one more gpu"]
    assert found["device"][1].problem.device_ids == ("cpu0", "gpu0", "gpu1")
    assert {change.label for change in found["ops"]} == {
        "all Conv ops twice as fast", "all Add ops twice as fast",
    }  # fmt: skip
    (conv,) = (change for change in found["ops"] if "Conv" in change.label)
    assert conv.problem.arrays.time[:, 0].tolist() == [0.5, 2, 0.5]
    (heavier,) = found["weight"]
    assert heavier.problem.arrays.model_weight.tolist() == [6, 1]
    assert given.arrays.model_weight.tolist() == [3, 1]
    for change in chain(*found.values()):
        assert carried_over(change.problem, answer) is not None


def test_a_new_device_has_the_times_and_links_of_the_one_it_is_like() -> None:
    ops = (op("a", {"gpu0": 1.0}, output=2), op("b", {"gpu0": 3.0, "cpu": 1.0}, "a"))
    given = problem(ops, "cpu0 gpu0", [link("gpu0 cpu0", 0, 1)])
    answer = simulate(given, np.array([1, 1]), [0, 1])
    (change,) = by_kind(given, answer)["device"]
    assert change.label == "one more gpu"
    assert change.problem.arrays.time[:, 2].tolist() == [1, 3]
    # As the link of gpu0; there is none between the two.
    assert np.isfinite(change.problem.arrays.latency[0, 2])
    assert change.problem.cluster.rule_of("gpu1", "cpu0") == 1
    assert change.problem.cluster.rule_of("gpu1", "gpu0") is None


def test_a_device_that_is_called_as_its_kind_gets_no_company() -> None:
    given = problem([op("a", {"gpu": 1.0})], [device("gpu")])
    assert "device" not in by_kind(given, simulate(given, np.array([0]), [0]))


@pytest.mark.parametrize("objective", ["makespan", "bottleneck", "memory"])
def test_only_toct_has_weights(objective: str) -> None:
    assert "weight" not in by_kind(*small(objective))


def test_ops_without_a_type_are_named() -> None:
    answer = simulate(fig1(), np.array([1, 0, 1, 0, 1, 0]), [0, 3, 4, 1, 2, 5])
    labels = [change.label for change in by_kind(fig1(), answer)["ops"]]
    assert labels == ["op m2/op4 twice as fast", "op m1/op2 twice as fast"]


def test_a_graph_in_which_nothing_takes_time_suggests_nothing_of_time() -> None:
    model = Model("m", (op("a", 0),))
    given = Problem(Graph("none", (model,), "s"), problem([op("a", 0)]).cluster)
    assert by_kind(given, simulate(given, np.array([0]), [0])) == {}
