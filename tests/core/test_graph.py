"""Graphs are validated on construction; every error names the place."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from talos_opt.core.errors import GraphError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from tests.builders import fig1, op
from tests.clocks import Stopwatch


def test_fig1() -> None:
    graph = fig1().graph
    assert graph.op_count == 6
    assert dict(graph.models[1].index) == {"op4": 0, "op5": 1, "op6": 2}
    assert graph.models[1].ops[2].inputs == (Input("op4"), Input("op5"))
    assert pickle.loads(pickle.dumps(graph)) == graph


def test_ops_may_come_in_any_order() -> None:
    model = Model("m", (op("b", 1, "a"), op("a")))
    assert model.index["a"] == 1


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: Model("", (op("a"),)), "id: model id '' must be non-empty"),
        (lambda: Model("a/b", (op("a"),)), "id: model id 'a/b' must be non-empty and hold no '/'"),
        (lambda: Model("m", ()), "ops: model 'm' has no ops"),
        (lambda: Model("m", (op("a"),), weight=-1), "weight: weight is -1"),
        (lambda: Model("m", (op("a"),), weight=math.nan), "weight: weight is nan"),
        (lambda: Model("m", (op("a"),), release=math.inf), "release: release is inf"),
        (
            lambda: Model("m", (op("a"), op("b"), op("a"))),
            r"ops\[2\].id: op id 'a' is used twice in model 'm' \(first as ops\[0\]\)",
        ),
        (
            lambda: Model("m", (op("a"), op("b", 1, "a c"))),
            r"ops\[1\].inputs\[1\]: op 'b' reads 'c', which model 'm' does not have",
        ),
        (
            lambda: Model("m", (op("a"), op("b", 1, "a a"))),
            r"ops\[1\].inputs\[1\]: op 'b' lists input 'a' twice",
        ),
        (lambda: Model("m", (op("a", 1, "a"),)), "model 'm' has a cycle: a -> a, expected a DAG"),
        (
            lambda: Model("m", (op("x"), op("a", 1, "x c"), op("b", 1, "a"), op("c", 1, "b"))),
            r"ops\[\d\].inputs: model 'm' has a cycle: (a -> b -> c|b -> c -> a|c -> a -> b) -> ",
        ),
        (lambda: Graph("g", ()), "models: the graph has no models"),
        (
            lambda: Graph("g", (Model("m", (op("a"),)), Model("m", (op("a"),)))),
            r"models\[1\].id: model id 'm' is used twice",
        ),
        (lambda: Graph("g", (Model("m", (op("a"),)),), "h"), "time_unit is 'h', expected one of"),
    ],
)
def test_graphs_that_cannot_be(build: object, complaint: str) -> None:
    with pytest.raises(GraphError, match=complaint):
        build()  # type: ignore[operator]


@pytest.mark.timing
def test_many_inputs_of_one_op_take_no_time() -> None:
    names = [f"i{k}" for k in range(20_000)]
    ops = (*map(op, names), Op("z", {"cpu": 1}, inputs=tuple(map(Input, names))))
    watch = Stopwatch()
    Model("m", ops)
    watch.check(2.0)


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, "1", None, True])
def test_times_are_finite_numbers_of_at_least_zero(bad: object) -> None:
    with pytest.raises(
        GraphError, match=r"ops\[1\].time.gpu: time of op 'b' is .*, expected a fin"
    ):
        Model("m", (op("a"), Op("b", {"cpu": 1, "gpu": bad})))  # type: ignore[dict-item]


@pytest.mark.parametrize("bad", [-1, 1.5, math.nan, "1", True, 2**60])
def test_sizes_are_whole_bytes(bad: object) -> None:
    for part in ("weights", "output", "workspace"):
        memory = Memory(**{part: bad})  # type: ignore[arg-type]
        with pytest.raises(GraphError, match=rf"ops\[0\].memory.{part}: {part} of op 'a' is "):
            Model("m", (Op("a", {"cpu": 1}, memory),))
    edge = (Input("a", bad),)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"ops\[1\].inputs: bytes of input 'a' of op 'b' is "):
        Model("m", (op("a"), Op("b", {"cpu": 1}, inputs=edge)))


@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
def test_slots_are_whole_and_at_least_one(bad: object) -> None:
    with pytest.raises(GraphError, match=r"ops\[0\].slots: slots of op 'a' is "):
        Model("m", (Op("a", {"cpu": 1}, slots=bad),))  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers() -> None:
    memory = Memory(np.int64(3), np.int32(4))  # type: ignore[arg-type]
    time = {"cpu": np.float32(1.5), "gpu": np.int64(2)}
    assert Model("m", (Op("a", time, memory),)).ops[0].time["cpu"] == 1.5  # type: ignore[arg-type]
