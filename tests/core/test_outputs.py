"""Ops that make several tensors: what travels, what lives for how long, and what files say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import talos_opt
from talos_opt.core.columns import ALL_OUTPUTS
from talos_opt.core.errors import GraphError, ScheduleError
from talos_opt.core.feasibility import check
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.occupancy import memory_intervals
from talos_opt.core.problem import Problem
from talos_opt.core.simulator import simulate
from talos_opt.core.transfers import plan_transfers
from tests.builders import link, problem

TIME = {"cpu": 1.0, "gpu": 1.0}


def maker(**outputs: int) -> Op:
    return Op("a", TIME, outputs=outputs)


def reader(name: str, *inputs: Input) -> Op:
    return Op(name, TIME, inputs=inputs)


def cut(*readers: Op, rule: str = "static") -> Problem:
    """An op with x of 2 bytes and y of 6 on the cpu, readers on the gpu, a byte per unit."""
    ops = [maker(x=2, y=6), *readers]
    return problem(ops, "cpu0 gpu0", [link("cpu gpu", 0.0, 1.0)], rule=rule)


def away(given: Problem) -> np.ndarray:
    return np.array([0] + [1] * (given.arrays.op_count - 1))


def test_only_the_tensor_that_is_read_travels() -> None:
    given = cut(reader("b", Input("a", output="x")))
    answer = simulate(given, away(given), [0, 1])
    assert [row[:6] for row in answer.transfers.rows()] == [(0, 0, 1, 1, 3, 2)]
    assert answer.makespan == 4
    assert not check(given, answer)


def test_each_tensor_travels_once_to_a_device() -> None:
    given = cut(
        reader("b", Input("a", output="x")),
        reader("c", Input("a", output="y")),
        reader("d", Input("a", output="x"), Input("a", output="y")),
    )
    hops = plan_transfers(given, away(given))
    assert [{t: hop.bytes for t, hop in row.items()} for row in hops[:2]] == [{1: 2}, {1: 6}]
    answer = simulate(given, away(given), [0, 1, 2, 3])
    assert sorted(answer.transfers.bytes.tolist()) == [2, 6]
    assert not check(given, answer)


def test_an_input_without_a_name_reads_all_outputs() -> None:
    given = cut(reader("b", Input("a")))
    assert given.arrays.edge_tensor.tolist() == [0, 1]
    assert simulate(given, away(given), [0, 1]).transfers.bytes.sum() == 8


def test_an_input_of_no_bytes_waits_and_reads_nothing() -> None:
    given = cut(reader("b", Input("a", 0)))
    assert given.arrays.edge_tensor.tolist() == [0]
    assert simulate(given, away(given), [0, 1]).makespan == 2


@pytest.mark.parametrize("named", ["x", "y"])
def test_waiting_for_an_op_beside_reading_its_output_adds_nothing(named: str) -> None:
    given = cut(reader("b", Input("a", output=named), Input("a", 0)))
    assert given.arrays.edge_tensor.tolist() == ["xy".index(named)]
    with pytest.raises(GraphError, match="lists input 'a' twice"):
        cut(reader("b", Input("a", 0), Input("a", 0)))


def test_inputs_that_stand_for_too_many_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talos_opt.core.column_checks._MOST_EDGES", 3)
    with pytest.raises(GraphError, match="stand for 4 edges, expected at most 3: name the outputs"):
        cut(reader("b", Input("a")), reader("c", Input("a")))


def test_a_tensor_lives_until_its_own_last_reader() -> None:
    given = problem(
        [
            maker(x=2, y=6),
            reader("b", Input("a", output="y")),
            reader("c", Input("b"), Input("a", output="x")),
        ],
        "cpu0",
        rule="peak",
    )
    answer = simulate(given, np.zeros(3, dtype=np.int64), [0, 1, 2])
    held = memory_intervals(given, answer)
    assert [
        (s, e) for s, e, size in zip(held.start, held.end, held.amount, strict=True) if size
    ] == [
        (0, 3),
        (0, 2),
    ]


def test_the_static_rule_counts_all_outputs() -> None:
    given = problem([maker(x=2, y=6)], "cpu0 gpu0")
    assert given.arrays.output.tolist() == [8]
    assert given.ops[0].memory == Memory(output=8)


def test_a_transfer_of_another_ops_tensor_is_found() -> None:
    given = cut(reader("b", Input("a", output="x")))
    good = simulate(given, away(given), [0, 1])
    moves = talos_opt.Transfers(
        *(getattr(good.transfers, name) for name in ("op", "source", "target")),
        good.transfers.start, good.transfers.end, good.transfers.bytes, np.array([1]),
    )  # fmt: skip
    broken = check(given, talos_opt.Schedule(good.device, good.start, good.end, moves))
    assert {item.rule for item in broken} == {"transfer"}
    assert any("m/a:x from cpu0 to gpu0 is missing" in item.message for item in broken)


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".npz"])
def test_files_keep_outputs_and_schedules_name_them(tmp_path: Path, suffix: str) -> None:
    given = cut(reader("b", Input("a", output="y")), reader("c", Input("a", 1, "x"), Input("b")))
    graph, answer = tmp_path / f"graph{suffix}", tmp_path / f"schedule{suffix}"
    talos_opt.write_problem(given, graph)
    again = talos_opt.read(graph)
    assert again.ops == given.ops
    result = talos_opt.solve(again, solver="heft", time_limit=5)
    talos_opt.write_schedule(result, answer)
    assert talos_opt.read_schedule(answer, again).transfers.rows
    forced = simulate(again, away(again), [0, 1, 2])
    from dataclasses import replace

    talos_opt.write_schedule(replace(result, schedule=forced), answer)
    found = talos_opt.read_schedule(answer, again)
    assert list(found.transfers.rows()) == list(forced.transfers.rows())
    assert not check(again, found)


def test_networkx_keeps_outputs() -> None:
    given = cut(reader("b", Input("a", output="y"), Input("a", 1, "x")), reader("c", Input("a")))
    bridged = Graph.from_networkx(given.graph.to_networkx())
    assert bridged.models == given.graph.models


def test_columns_say_which_output_is_read() -> None:
    given = cut(reader("b", Input("a", output="y")), reader("c", Input("a")))
    columns = given.graph.columns
    assert columns.input_output is not None
    assert columns.input_output.tolist() == [1, ALL_OUTPUTS]
    assert (
        given.graph.fingerprint
        == cut(reader("b", Input("a")), reader("c", Input("a"))).graph.fingerprint
    )


@pytest.mark.parametrize(
    ("ops", "path", "message"),
    [
        ([maker(x=1, y=2), reader("b", Input("a", output="z"))], "inputs[0]", "one of x, y"),
        ([Op("a", TIME), reader("b", Input("a", output="x"))], "inputs[0]", "names no outputs"),
        ([maker(x=1, y=2), reader("b", Input("a", 3))], "inputs[0]", "but not which output"),
        (
            [maker(x=1, y=2), reader("b", Input("a", output="x"), Input("a"))],
            "inputs[1]",
            "lists input 'a' twice",
        ),
    ],
)
def test_inputs_that_read_what_is_not_made(ops: list[Op], path: str, message: str) -> None:
    with pytest.raises(GraphError, match=re.escape(message)) as caught:
        Model("m", tuple(ops))
    assert caught.value.path == f"ops[1].{path}"


def test_outputs_that_cannot_be() -> None:
    with pytest.raises(GraphError, match="one or the other") as caught:
        Op("a", TIME, Memory(output=5), outputs={"x": 2})
    assert caught.value.path == "memory.output"
    with pytest.raises(GraphError, match="a mapping from name to bytes"):
        Op("a", TIME, outputs=[3])  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="output of op 'a'") as caught:
        Op("a", TIME, outputs={"x": -1})
    assert caught.value.path == "outputs.x"


@pytest.mark.parametrize(
    ("output", "message"),
    [({}, "names no output, expected one of x, y"), ({"output": "z"}, "has no output 'z'")],
)
def test_schedules_that_name_no_such_output(
    tmp_path: Path, output: dict[str, str], message: str
) -> None:
    import json

    given = cut(reader("b", Input("a", output="x")))
    rows = [
        {"model": "m", "op": name, "device": where, "start": start, "end": start + 1}
        for name, where, start in (("a", "cpu0", 0), ("b", "gpu0", 3))
    ]
    move = {"model": "m", "op": "a", "from": "cpu0", "to": "gpu0", "start": 1, "end": 3, "bytes": 2}
    target = tmp_path / "s.json"
    document = {"schema": "talos-schedule/1", "ops": rows, "transfers": [move | output]}
    target.write_text(json.dumps(document))
    with pytest.raises(ScheduleError, match=message):
        talos_opt.read_schedule(target, given)
