"""Small models, built node by node, and how to read them from files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

from talos_opt.frameworks.onnx.capture import capture
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.inputs import declared_inputs, draw, parse_dims, specs_of
from talos_opt.frameworks.onnx.reading import read_model

RNG = np.random.default_rng(0)


def value(name: str, shape: Sequence[int | str | None] | None, dtype: int = T.FLOAT):
    return h.make_tensor_value_info(name, dtype, shape)


def weight(name: str, *shape: int, dtype: str = "float32") -> onnx.TensorProto:
    return numpy_helper.from_array((RNG.standard_normal(shape) / 8).astype(dtype), name)


def array(name: str, values: object, dtype: str = "int64") -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=dtype), name)


def model(nodes, inputs, outputs, weights=(), *, opset: int = 17, functions=(), domains=()):
    graph = h.make_graph(list(nodes), "net", list(inputs), list(outputs), list(weights))
    imports = [h.make_opsetid("", opset), *(h.make_opsetid(name, 1) for name in domains)]
    made = h.make_model(graph, opset_imports=imports, functions=list(functions))
    made.ir_version = 8
    return made


def saved(made: onnx.ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    path = folder / name
    path.write_bytes(made.SerializeToString())
    return path


def captured(
    made: onnx.ModelProto | Path,
    folder: Path,
    given: Sequence[str] = (),
    dims: Sequence[str] = (),
    **options: object,
) -> Captured:
    """Capture a model by way of a file, as the command does."""
    source = read_model(str(made if isinstance(made, Path) else saved(made, folder)))
    specs = specs_of(declared_inputs(source.proto), given, parse_dims(dims))
    return capture(source, specs, draw(specs), **options)


def mlp(width: int = 64) -> onnx.ModelProto:
    """Two layers, with a bias in one and an activation in between; the batch is open."""
    return model(
        [
            h.make_node("MatMul", ["x", "w1"], ["a"], name="first"),
            h.make_node("Relu", ["a"], ["b"], name="act"),
            h.make_node("Gemm", ["b", "w2", "c2"], ["y"], name="second"),
        ],
        [value("x", ["batch", width])],
        [value("y", ["batch", 10])],
        [weight("w1", width, width), weight("w2", width, 10), weight("c2", 10)],
    )


def two_branches(width: int = 512, depth: int = 3, batch: int = 64) -> onnx.ModelProto:
    """Two chains of products on one input, added at the end: each may be elsewhere."""
    nodes, weights = [], []
    for side in "ab":
        read = "x"
        for k in range(depth):
            weights.append(weight(f"w{side}{k}", width, width))
            nodes.append(
                h.make_node("MatMul", [read, f"w{side}{k}"], [f"{side}{k}"], name=f"{side}.{k}")
            )
            nodes.append(
                h.make_node("Tanh", [f"{side}{k}"], [f"t{side}{k}"], name=f"{side}.act{k}")
            )
            read = f"t{side}{k}"
    nodes.append(h.make_node("Add", [f"ta{depth - 1}", f"tb{depth - 1}"], ["y"], name="join"))
    return model(nodes, [value("x", [batch, width])], [value("y", [batch, width])], weights)


def branching() -> onnx.ModelProto:
    """An If whose branches read a weight from outside and hold one of their own."""
    then = h.make_graph(
        [h.make_node("MatMul", ["x", "w"], ["t"]), h.make_node("Relu", ["t"], ["then_out"])],
        "then", [], [value("then_out", [4, 8])],
    )  # fmt: skip
    other = h.make_graph(
        [h.make_node("Add", ["x", "inner"], ["else_out"])],
        "else", [], [value("else_out", [4, 8])], [weight("inner", 4, 8)],
    )  # fmt: skip
    return model(
        [
            h.make_node("If", ["flag"], ["z"], name="choose", then_branch=then, else_branch=other),
            h.make_node("Neg", ["z"], ["y"], name="negate"),
        ],
        [value("x", [4, 8]), value("flag", [], T.BOOL)],
        [value("y", [4, 8])],
        [weight("w", 8, 8)],
    )  # fmt: skip


def looping() -> onnx.ModelProto:
    """A Loop that multiplies by a weight of the graph around it, as often as an input says."""
    body = h.make_graph(
        [
            h.make_node("MatMul", ["s_in", "w"], ["s_out"]),
            h.make_node("Identity", ["c_in"], ["c_out"]),
        ],
        "body",
        [value("i", [], T.INT64), value("c_in", [], T.BOOL), value("s_in", [4, 8])],
        [value("c_out", [], T.BOOL), value("s_out", [4, 8])],
    )
    return model(
        [h.make_node("Loop", ["n", "", "x"], ["y"], name="repeat", body=body)],
        [value("x", [4, 8]), value("n", [], T.INT64)],
        [value("y", [4, 8])],
        [weight("w", 8, 8)],
    )
