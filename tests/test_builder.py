"""The builder makes what the data classes make, and refuses what is wrong where it is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import talos_opt
from talos_opt import Builder, Cluster, Device, Graph, GraphError, Input, Link, Memory, Model, Op
from talos_opt.core.problem import Problem

GIB = 2**30


def machine() -> Builder:
    m = Builder("net", time_unit="ms", objective="makespan")
    m.device("cpu0", "cpu")
    m.device("gpu0", "gpu", memory="8GiB")
    m.link("cpu", "gpu", bandwidth="12GB/s", latency=0.01)
    return m


def test_it_makes_what_the_data_classes_make() -> None:
    m = machine()
    a = m.op("a", {"cpu": 4, "gpu": 1}, outputs={"x": "1MiB", "y": "3MiB"}, weights="1GiB")
    b = m.op("b", 2, inputs=[a["x"]], type="Add", devices="gpu")
    m.op("c", {"gpu0": 1}, inputs=[a, b.read(100)], workspace=8)
    ops = (
        Op("a", {"cpu": 4, "gpu": 1}, Memory(GIB), outputs={"x": 2**20, "y": 3 * 2**20}),
        Op("b", {"cpu": 2, "gpu": 2}, inputs=(Input("a", output="x"),), type="Add",
           devices=("gpu",)),
        Op("c", {"gpu0": 1}, Memory(workspace=8), (Input("a"), Input("b", 100))),
    )  # fmt: skip
    cluster = Cluster(
        (Device("cpu0", "cpu"), Device("gpu0", "gpu", memory=8 * GIB)),
        (Link("cpu", "gpu", 0.01, 12e9),),
    )
    graph = Graph("net", (Model("model", ops),), time_unit="ms")
    assert m.problem() == Problem(graph, cluster, objective="makespan")
    result = m.solve(time_limit=5)
    assert result.status == "optimal"
    assert result.value == talos_opt.solve(Problem(graph, cluster, objective="makespan")).value
    assert repr(m) == "Builder('net': 2 devices, 3 ops)"


def test_models_with_weights_and_releases() -> None:
    m = Builder()
    m.device("d")
    m.model("first", weight=2)
    m.model("second", release=5)
    a = m.op("a", 1, model="first")
    m.op("b", 1, inputs=[a])
    m.op("a", 1, model="second")
    models = m.problem().graph.models
    assert [(x.id, x.weight, x.release, len(x.ops)) for x in models] == [
        ("first", 2, 0, 2),
        ("second", 1, 5, 1),
    ]


def elsewhere(id: str = "z") -> Any:
    other = machine()
    return other.op(id, 1)


def twice(m: Builder) -> object:
    b = m.op("b", 1)
    return m.op("c", 1, inputs=[b, b])


def bytes_of_all(m: Builder) -> object:
    b = m.op("b", 1, outputs={"x": 3, "y": 4})
    return m.op("c", 1, inputs=[b.read(2)])


CALLS: dict[str, tuple[Callable[[Builder], object], str]] = {
    "device twice": (lambda m: m.device("cpu0"), "called 'cpu0' already"),
    "kind that is a device": (lambda m: m.device("x", "cpu0"), "is the id of a device, 'cpu0'"),
    "memory": (lambda m: m.device("x", memory="much"), "device 'x': memory"),
    "field": (lambda m: m.device("x", cores=3), "device 'x': .*unexpected keyword.*'cores'"),
    "link": (lambda m: m.link("cpu", "tpu"), r"names 'tpu', expected a device \(cpu0, gpu0\)"),
    "bandwidth": (lambda m: m.link("cpu", "gpu", "fast"), "the link of 'cpu' and 'gpu': band"),
    "op twice": (lambda m: m.op("a", 1), "an op of model 'model' is called 'a' already"),
    "time": (lambda m: m.op("b", {"gpu": -1}), "time of op 'b'"),
    "place": (lambda m: m.op("b", {"tpu": 1}), "op 'b' names 'tpu'"),
    "pin": (lambda m: m.op("b", 1, devices="tpu"), "op 'b' names 'tpu'"),
    "input": (lambda m: m.op("b", 1, inputs=["a"]), "op 'b' reads 'a', expected what op"),
    "inputs": (lambda m: m.op("b", 1, inputs="a"), "inputs of op 'b' is 'a', expected a list"),
    "another": (lambda m: m.op("b", 1, inputs=[elsewhere()]), "is an op of another builder"),
    "another of this name": (
        lambda m: m.op("b", 1, inputs=[elsewhere("a")]),
        "is an op of another builder",
    ),
    "no inputs": (lambda m: m.op("b", 1, inputs=None), "inputs of op 'b' is empty, expected a li"),
    "input twice": (twice, "op 'c' lists input 'b' twice"),
    "bytes of all outputs": (bytes_of_all, "op 'c' names bytes of 'b', but not which output"),
    "memory of an op": (lambda m: m.op("b", 1, memory=3), "expected weights, output and workspace"),
    "link twice": (lambda m: m.link("cpu", "gpu"), "the link of 'cpu' and 'gpu' is given twice"),
    "link to itself": (lambda m: m.link("cpu0", "cpu0"), "leads from a device to itself"),
    "output": (lambda m: m.op("b", 1)["x"], "op 'b' has no output 'x', .*: none is named"),
    "bytes": (lambda m: m.op("b", 1).read("some"), "bytes is 'some'"),
    "model": (lambda m: m.op("b", 1, model="m"), "op 'b' is of model 'm', expected one of: model"),
    "model twice": (lambda m: m.model("model"), "a model is called 'model' already"),
    "weight": (lambda m: m.model("m", weight=-1), "weight"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_wrong_is_refused_at_the_call(name: str) -> None:
    call, message = CALLS[name]
    m = machine()
    m.op("a", 1)
    with pytest.raises(GraphError, match=message):
        call(m)
    m.problem()  # as it was, or with the op that was added before what is wrong


def test_rules_are_refused_at_the_start() -> None:
    for given in ({"objective": "fast"}, {"rule": 1}, {"time_unit": "h"}, {"contention": "some"}):
        with pytest.raises(GraphError):
            Builder("net", **given)


def test_models_that_are_mixed_up() -> None:
    m = machine()
    m.model("first")
    m.model("second")
    a, b = m.op("a", 1, model="first"), m.op("b", 1, model="second")
    with pytest.raises(GraphError, match="reads ops of model 'first', 'second'"):
        m.op("c", 1, inputs=[a, b])
    with pytest.raises(GraphError, match="reads nothing and names no model"):
        m.op("c", 1)
    with pytest.raises(GraphError, match="has no time on any device"):
        Builder().op("a", 1)
