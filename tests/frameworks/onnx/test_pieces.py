"""Placements cut into pieces: what belongs together, and that no two wait for each other."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper as h

from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.inputs import declared_inputs, specs_of
from talos_opt.frameworks.onnx.pieces import Piece, cut, order_of, piece_model
from talos_opt.frameworks.onnx.reading import Source
from talos_opt.frameworks.onnx.shapes import infer
from tests.frameworks.onnx import nets
from tests.frameworks.onnx.nets import value


def flat(made: onnx.ModelProto) -> Captured:
    """Return a model whose nodes have names as it stands, without the runtime."""
    source = Source(Path("net.onnx"), made, "0")
    specs = specs_of(declared_inputs(made), (), {})
    return Captured(source, made, Path(), tuple(specs), "none", infer(made))


def adders(reads: list[list[int]]) -> Captured:
    """Op k adds up what some earlier ops make, or reads the input of the model."""
    nodes = [
        h.make_node("Sum", [f"v{j}" for j in read] or ["x"], [f"v{k}"], name=f"op{k}")
        for k, read in enumerate(reads)
    ]
    ends = set(range(len(reads))) - {j for read in reads for j in read}
    outputs = [value(f"v{k}", [2]) for k in sorted(ends)]
    return flat(nets.model(nodes, [value("x", [2])], outputs))


CHAIN = [[], [0], [1], [2]]


def ops_of(pieces: list[Piece]) -> list[tuple[str, tuple[str, ...]]]:
    return [(piece.device, piece.ops) for piece in pieces]


def placed(devices: str) -> dict[str, str]:
    return {f"op{k}": device for k, device in enumerate(devices)}


def test_one_device_is_one_piece() -> None:
    (piece,) = cut(adders(CHAIN), placed("aaaa"))
    assert (piece.ops, piece.reads, piece.makes) == (("op0", "op1", "op2", "op3"), ("x",), ("v3",))


def test_a_chain_there_and_back_is_three() -> None:
    pieces = cut(adders(CHAIN), placed("abba"))
    assert ops_of(pieces) == [("a", ("op0",)), ("b", ("op1", "op2")), ("a", ("op3",))]
    assert [(piece.reads, piece.makes) for piece in pieces] == [
        (("x",), ("v0",)), (("v0",), ("v2",)), (("v2",), ("v3",))
    ]  # fmt: skip


def test_a_piece_does_not_wait_for_what_its_later_ops_read() -> None:
    """b computes op1 while a computes op2: if op3 were in its piece, op2 would wait for op1."""
    captured = adders([[], [0], [0], [1, 2]])
    times = {"op0": (0.0, 1.0), "op1": (1.0, 9.0), "op2": (1.0, 9.0), "op3": (9.0, 10.0)}
    assert ops_of(cut(captured, placed("abaa"), times)) == [
        ("a", ("op0",)), ("b", ("op1",)), ("a", ("op2",)), ("a", ("op3",)),
    ]  # fmt: skip


def test_a_piece_goes_on_while_nobody_waits_for_it() -> None:
    """b reads op0 only when a has done op1 by the schedule, so that both are one piece."""
    captured = adders([[], [], [0]])
    soon = {"op0": (0.0, 1.0), "op1": (1.0, 3.0), "op2": (2.0, 4.0)}
    assert len(cut(captured, placed("aab"), soon)) == 3
    late = soon | {"op2": (3.0, 4.0)}
    assert ops_of(cut(captured, placed("aab"), late))[0] == ("a", ("op0", "op1"))


def test_starts_that_contradict_the_graph_are_put_right() -> None:
    order = order_of(adders(CHAIN), {"op0": 9.0, "op1": 0.0, "op2": 0.0, "op3": 0.0})
    assert order == ["op0", "op1", "op2", "op3"]


@st.composite
def placements(draw: st.DrawFn) -> tuple[list[list[int]], str, list[float]]:
    count = draw(st.integers(1, 9))
    reads = [
        sorted(draw(st.sets(st.integers(0, k - 1), max_size=3))) if k else [] for k in range(count)
    ]
    devices = "".join(draw(st.sampled_from("abc")) for _ in range(count))
    return reads, devices, [float(draw(st.integers(0, 4))) for _ in range(count)]


@given(placements())
def test_pieces_never_wait_in_a_circle(case: tuple[list[list[int]], str, list[float]]) -> None:
    reads, devices, starts = case
    captured, where = adders(reads), placed(devices)
    pieces = cut(captured, where, {f"op{k}": (t, t + k % 3) for k, t in enumerate(starts)})
    assert sorted(op for piece in pieces for op in piece.ops) == sorted(where)
    assert all(where[op] == piece.device for piece in pieces for op in piece.ops)
    made: set[str] = {"x"}
    for piece in pieces:
        assert made.issuperset(piece.reads)  # each is behind what it reads, on its device too
        made.update(piece.makes)
    assert made.issuperset(captured.outputs)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(pieces)))
    for k, piece in enumerate(pieces):
        for j, other in enumerate(pieces):
            if set(piece.makes) & set(other.reads):
                graph.add_edge(k, j)
    assert nx.is_directed_acyclic_graph(graph)


def test_a_piece_is_a_model_with_its_own_weights_and_types() -> None:
    captured = flat(nets.two_branches(8, 1, 4))
    pieces = cut(captured, {op: "b" if op.startswith("b.") else "a" for op in captured.nodes})
    other = next(piece for piece in pieces if piece.device == "b")
    made = piece_model(captured, other)
    assert [tensor.name for tensor in made.graph.initializer] == ["wb0"]
    assert [v.name for v in made.graph.input] == ["x"]
    assert [v.name for v in made.graph.output] == ["tb0"]
    onnx.checker.check_model(made, full_check=True)


def test_a_value_without_a_type_cannot_be_cut() -> None:
    captured = adders(CHAIN)
    (piece, *_) = cut(captured, placed("abba"))
    lost = dict(captured.tensors)
    lost["v0"] = type(lost["v0"])()
    broken = Captured(captured.source, captured.proto, Path(), captured.specs, "none", lost)
    with pytest.raises(Exception, match="the type of 'v0' is not known"):
        piece_model(broken, piece)
