"""Graphs to networkx and back, and graphs that users make there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings

from talos_opt.core.errors import GraphError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.problem import Problem

from ..strategies import problems

FULL = Graph(
    "full",
    (
        Model(
            "m1",
            (
                Op("c", {"gpu": 2.5}, inputs=(Input("b"), Input("a", 7)), devices=("gpu0", "cpu")),
                Op("b", {"cpu": 1.0, "gpu": 0.0}, inputs=(Input("a", 0),), colocate="g", slots=2),
                Op("a", {"cpu": 3.0}, Memory(1, 2, 3), type="Conv2D", attrs={"shape": [1, 2]}),
            ),
            weight=2.5,
            release=1.0,
        ),
        Model("m2", (Op("a/b", {"cpu": 1.0}),)),
    ),
    time_unit="ms",
    known={"toct": 9},
    description="two models",
)


def chain(**first: Any) -> nx.DiGraph[Any]:
    """Return two nodes and an edge; the first node has attributes of its own."""
    graph: nx.DiGraph[Any] = nx.DiGraph()
    graph.add_node("a", **({"time": {"cpu": 1}} | first))
    graph.add_node("b", time={"cpu": 2})
    graph.add_edge("a", "b")
    return graph


def test_nodes_edges_and_attributes() -> None:
    graph = FULL.to_networkx()
    assert isinstance(graph, nx.DiGraph)
    assert list(graph) == ["m1/c", "m1/b", "m1/a", "m2/a/b"]
    assert dict(graph.edges) == {
        ("m1/b", "m1/c"): {},
        ("m1/a", "m1/c"): {"bytes": 7},
        ("m1/a", "m1/b"): {"bytes": 0},
    }
    assert graph.nodes["m1/a"] == {
        "model": "m1",
        "op": "a",
        "type": "Conv2D",
        "time": {"cpu": 3.0},
        "weights": 1,
        "output": 2,
        "workspace": 3,
        "slots": 1,
        "attrs": {"shape": [1, 2]},
    }
    assert graph.nodes["m1/c"]["devices"] == ["gpu0", "cpu"]
    assert graph.nodes["m1/b"]["colocate"] == "g"
    assert graph.graph == {
        "name": "full",
        "time_unit": "ms",
        "description": "two models",
        "known": {"toct": 9},
        "models": {"m1": {"weight": 2.5, "release": 1.0}, "m2": {"weight": 1.0, "release": 0.0}},
    }


def test_round_trip() -> None:
    assert Graph.from_networkx(FULL.to_networkx()) == FULL


@settings(max_examples=100)
@given(problems())
def test_round_trip_of_random_graphs(problem: Problem) -> None:
    back = Graph.from_networkx(problem.graph.to_networkx())
    assert back == problem.graph
    assert repr(asdict(back)) == repr(asdict(problem.graph))


def test_changing_the_copy_leaves_the_graph_alone() -> None:
    graph = FULL.to_networkx()
    graph.nodes["m1/a"]["time"]["cpu"] = 99
    graph.graph["known"]["toct"] = 0
    assert FULL.models[0].ops[2].time == {"cpu": 3.0}
    assert FULL.known == {"toct": 9}


def test_a_users_own_graph() -> None:
    graph: nx.DiGraph[Any] = nx.DiGraph()
    graph.add_node(("conv", 1), time={"cpu": 5, "gpu": 1}, memory="1MiB", color="red")
    graph.add_node(2, time={"gpu": np.float32(0.5)}, memory={"output": np.int64(8)}, op="two")
    graph.add_node("z", time={"cpu": np.int64(1)}, weights=np.int32(5), devices={"cpu", "b"})
    graph.add_edge(("conv", 1), 2, bytes=np.int64(16))
    graph.add_edge(2, "z", weight=3)
    assert Graph.from_networkx(graph) == Graph(
        "graph",
        (
            Model(
                "graph",
                (
                    Op("('conv', 1)", {"cpu": 5.0, "gpu": 1.0}, Memory(2**20)),
                    Op("two", {"gpu": 0.5}, Memory(output=8), (Input("('conv', 1)", 16),)),
                    Op("z", {"cpu": 1.0}, Memory(5), (Input("two"),), devices=("b", "cpu")),
                ),
            ),
        ),
    )


def test_name_and_settings() -> None:
    graph = chain()
    graph.graph |= {"name": "mine", "time_unit": "s", "models": {"mine": {"weight": 3}}}
    found = Graph.from_networkx(graph)
    assert (found.name, found.models[0].id, found.time_unit) == ("mine", "mine", "s")
    assert found.models[0].weight == 3.0
    assert Graph.from_networkx(chain(), name="x").name == "x"


def test_several_models() -> None:
    graph = nx.union(chain(), chain(), rename=("x-", "y-"))
    for node in graph:
        graph.nodes[node]["model"] = str(node)[0]
    assert [(model.id, len(model.ops)) for model in Graph.from_networkx(graph).models] == [
        ("x", 2),
        ("y", 2),
    ]
    graph.add_edge("x-a", "y-b")
    with pytest.raises(GraphError, match="'x-a' -> 'y-b' joins models 'x' and 'y'"):
        Graph.from_networkx(graph)


def cyclic() -> nx.DiGraph[Any]:
    graph = chain()
    graph.add_edge("b", "a")
    return graph


def with_edge(**data: Any) -> nx.DiGraph[Any]:
    graph = chain()
    graph.edges["a", "b"].update(data)
    return graph


def with_graph(**data: Any) -> nx.DiGraph[Any]:
    graph = chain()
    graph.graph.update(data)
    return graph


def untimed() -> nx.DiGraph[Any]:
    graph = chain()
    del graph.nodes["b"]["time"]
    return graph


@pytest.mark.parametrize(
    ("graph", "path", "words"),
    [
        (nx.Graph(), None, "found a Graph, expected a networkx.DiGraph"),
        (nx.MultiDiGraph(), None, "found a MultiDiGraph, expected a networkx.DiGraph"),
        ("text", None, "found a str, expected a networkx.DiGraph"),
        (nx.DiGraph(), "models", "no models"),
        (untimed(), "nodes['b']", "an op has no 'time'"),
        (chain(time=5), "nodes['a'].time", "5, expected a mapping from device kind"),
        (chain(time={"cpu": -1}), "nodes['a'].time.cpu", "-1, expected"),
        (chain(time={"cpu": np.float64("nan")}), "nodes['a'].time.cpu", "nan, expected"),
        (chain(memory="much"), "nodes['a'].memory", "'much', expected"),
        (chain(memory=1, output=2), "nodes['a'].memory", "memory and output, expected one or"),
        (chain(weights=-1), "nodes['a'].memory.weights", "-1, expected"),
        (chain(slots=0), "nodes['a'].slots", "0, expected"),
        (chain(model=None), "nodes['a'].model", "empty, expected a name"),
        (chain(op=""), "nodes['a'].op", "'', expected a name"),
        (chain(op="b"), "nodes['b'].id", "'b' is used twice"),
        (chain(attrs={"x": object()}), "nodes['a'].attrs.x", "holds a value of type object"),
        (with_edge(bytes="x"), "nodes['b'].inputs[0].bytes", "'x', expected"),
        (with_graph(time_unit="h"), "time_unit", "'h', expected one of us, ms, s"),
        (with_graph(models=[1]), "models", "a list, expected a mapping"),
        (with_graph(models={"x": {}}), "models['x'].ops", "no ops"),
        (with_graph(name="m", models={"m": {"weight": -1}}), "models['m'].weight", "-1, expected"),
        (with_graph(name="a/b"), "models['a/b'].id", "hold no '/'"),
        (with_graph(known=5), "known", "5, expected a mapping"),
        (cyclic(), "nodes['b'].inputs", "cycle"),
    ],
)
def test_refused(graph: Any, path: str | None, words: str) -> None:
    with pytest.raises(GraphError) as caught:
        Graph.from_networkx(graph)
    assert words in caught.value.message
    assert caught.value.path == path
