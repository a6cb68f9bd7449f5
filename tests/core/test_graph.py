"""Graphs are validated on construction; every error names the place."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from typing import Any

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


BAD_NUMBERS = [-1, math.nan, math.inf, "much", None, True, [1]]


@pytest.mark.parametrize("bad", BAD_NUMBERS)
def test_times_are_finite_numbers_of_at_least_zero(bad: object) -> None:
    with pytest.raises(GraphError, match=r"^time.gpu: time of op 'b' is .*, expected a"):
        Op("b", {"cpu": 1, "gpu": bad})  # type: ignore[dict-item]
    for key in ("weight", "release"):
        with pytest.raises(GraphError, match=rf"^{key}: {key} is .*, expected a"):
            Model("m", (op("a"),), **{key: bad})  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [*BAD_NUMBERS[:4], True, 2**60])
def test_sizes_are_bytes(bad: object) -> None:
    for part in ("weights", "output", "workspace"):
        with pytest.raises(GraphError, match=rf"^{part}: {part} is .*, expected "):
            Memory(**{part: bad})  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"^bytes: bytes is .*, expected "):
        Input("a", bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "two", None])
def test_slots_are_whole_and_at_least_one(bad: object) -> None:
    with pytest.raises(GraphError, match=r"^slots: slots is .*, expected a"):
        Op("a", {"cpu": 1}, slots=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"id": ""}, "id: id is '', expected a name"),
        ({"id": 3}, "id: id is 3, expected a name"),
        (
            {"time": [1]},
            r"time: time of op 'a' is a list, expected a mapping .* \{cpu: 5, gpu: 1\}",
        ),
        ({"time": {0: 1}}, "time: a device of time is 0, expected a name"),
        ({"memory": 5}, "memory: memory of op 'a' is 5, expected a Memory"),
        ({"inputs": "b"}, "inputs: inputs is 'b', expected a sequence of Input"),
        ({"inputs": ("b",)}, r"inputs\[0\]: inputs\[0\] is 'b', expected Input"),
        ({"type": 3}, "type: type is 3, expected text"),
        ({"colocate": 3}, "colocate: colocate is 3, expected a name"),
        ({"devices": 3}, "devices: devices of op 'a' is 3, expected names of devices"),
        ({"devices": ()}, "devices: devices of op 'a' is a list, expected at least one"),
        ({"devices": ("gpu", "")}, r"devices\[1\]: a device is '', expected a name"),
        ({"attrs": [1]}, "attrs: attrs is a list, expected a mapping"),
    ],
)
def test_ops_that_cannot_be(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(GraphError, match=f"^{complaint}"):
        replace(Op("a", {"cpu": 1}), **change)  # type: ignore[arg-type]


def test_values_are_parsed_and_kept_as_plain_numbers() -> None:
    item = Op(
        np.str_("a"),
        {"cpu": np.float32(1.5), "gpu": np.int64(2), "npu": "3"},  # type: ignore[dict-item]
        Memory(np.int64(3), "4KiB", 1.5),  # type: ignore[arg-type]
        slots=np.int64(2),  # type: ignore[arg-type]
        devices="gpu",  # type: ignore[arg-type]
    )
    assert repr(item.time) == "{'cpu': 1.5, 'gpu': 2.0, 'npu': 3.0}"
    assert repr(item.memory) == "Memory(weights=3, output=4096, workspace=2)"
    assert repr((item.id, item.slots, item.devices)) == "('a', 2, ('gpu',))"
    model = Model("m", [item], weight="2", release=np.int64(3))  # type: ignore[arg-type]
    assert repr((model.weight, model.release, model.ops == (item,))) == "(2.0, 3.0, True)"
    assert repr(Input("a", np.uint8(7))) == "Input(op='a', bytes=7, output=None)"  # type: ignore[arg-type]


def test_models_and_graphs_are_made_of_their_parts() -> None:
    for bad, complaint in (
        (lambda: Model(3, (op("a"),)), "^id: model id is 3, expected text"),
        (lambda: Model("m", op("a")), r"^ops: ops is Op\(.* expected a sequence of Op"),
        (lambda: Model("m", ("a",)), r"^ops\[0\]: ops\[0\] is 'a', expected Op"),
        (lambda: Graph("g", ("m",)), r"^models\[0\]: models\[0\] is 'm', expected Model"),
        (lambda: Graph(3, (Model("m", (op("a"),)),)), "^name: name is 3, expected text"),
    ):
        with pytest.raises(GraphError, match=complaint):
            bad()  # type: ignore[no-untyped-call]


def test_equal_graphs_have_one_hash() -> None:
    assert hash(fig1().graph) == hash(fig1().graph)
    assert len({fig1(), fig1(), fig1("makespan")}) == 2


def test_texts_are_plain_and_zero_has_no_sign() -> None:
    item = Op("a", {"cpu": -0.0}, type=np.str_("t"))
    model = Model(np.str_("m"), (item,), release=-0.0)
    graph = Graph(np.str_("g"), (model,), np.str_("ms"), description=np.str_("d"))
    found = (item.time["cpu"], item.type, model.id, model.release)
    assert repr(found) == "(0.0, 't', 'm', 0.0)"
    assert repr((graph.name, graph.time_unit, graph.description)) == "('g', 'ms', 'd')"


@pytest.mark.parametrize("unit", [["ms"], {}, None, 1])
def test_a_time_unit_that_is_not_text_is_refused(unit: Any) -> None:
    with pytest.raises(GraphError, match=r"^time_unit: time_unit is .*, expected text"):
        Graph("g", (Model("m", (op("a"),)),), unit)
