"""FLOPs and bytes of nodes, against numbers calculated by hand."""

from __future__ import annotations

import pytest
from onnx import TensorProto as T
from onnx import helper as h

from talos_opt.frameworks.common.op_classes import class_of
from talos_opt.frameworks.onnx import costs, dtypes
from talos_opt.frameworks.onnx.costs import Sizes
from talos_opt.frameworks.onnx.shapes import Tensor

#: Type, attributes, shapes read, shapes made, operations.
CASES = [
    ("Conv", {}, [(1, 3, 8, 8), (16, 3, 3, 3)], [(1, 16, 6, 6)], 2 * 16 * 36 * 27),
    ("Conv", {"group": 4}, [(2, 4, 8, 8), (4, 1, 3, 3)], [(2, 4, 6, 6)], 2 * 2 * 4 * 36 * 9),
    ("FusedConv", {}, [(1, 3, 8, 8), (16, 3, 1, 1)], [(1, 16, 8, 8)], 2 * 16 * 64 * 3),
    (
        "QLinearConv", {}, [(1, 3, 8, 8), (), (), (8, 3, 3, 3)], [(1, 8, 6, 6)],
        2 * 8 * 36 * 27,
    ),
    ("ConvTranspose", {}, [(1, 4, 5, 5), (4, 2, 3, 3)], [(1, 2, 7, 7)], 2 * 100 * 18),
    ("MatMul", {}, [(2, 3, 4), (4, 5)], [(2, 3, 5)], 2 * 30 * 4),
    ("Gemm", {"transA": 1}, [(4, 3), (4, 5)], [(3, 5)], 2 * 15 * 4),
    ("FusedMatMul", {"transA": 1}, [(2, 4, 3), (2, 4, 5)], [(2, 3, 5)], 2 * 30 * 4),
    ("QGemm", {}, [(3, 4), (), (), (4, 5)], [(3, 5)], 2 * 15 * 4),
    ("MatMulNBits", {"K": 64, "N": 5}, [(3, 64), (5, 2, 16)], [(3, 5)], 2 * 15 * 64),
    ("Einsum", {"equation": "bij,bjk->bik"}, [(2, 3, 4), (2, 4, 5)], [(2, 3, 5)], 2 * 2 * 60),
    (  # both batches are broadcast
        "Einsum", {"equation": "...ij, ...jk -> ...ik"}, [(7, 3, 4), (2, 1, 4, 5)],
        [(2, 7, 3, 5)], 2 * 14 * 60,
    ),
    ("DFT", {}, [(1, 64, 1)], [(1, 64, 2)], 5 * 64 * 6),
    (
        "LSTM", {"hidden_size": 8}, [(7, 2, 3), (1, 32, 3), (1, 32, 8)], [(7, 1, 2, 8)],
        2 * 7 * 2 * 32 * 11,
    ),
    ("MaxPool", {"kernel_shape": [3, 3]}, [(1, 2, 9, 9)], [(1, 2, 3, 3)], 18 * 9),
    ("GlobalAveragePool", {}, [(1, 2, 9, 9)], [(1, 2, 1, 1)], 162),
    ("ReduceMean", {}, [(4, 6)], [(4, 1)], 24),
    ("Relu", {}, [(4, 6)], [(4, 6)], 24),
    ("Transpose", {}, [(4, 6)], [(6, 4)], 0),
    (
        "MultiHeadAttention", {"num_heads": 2}, [(1, 5, 8), (1, 7, 8), (1, 7, 8)], [(1, 5, 8)],
        2 * 7 * (40 + 40),
    ),
    (
        "GroupQueryAttention", {}, [(1, 1, 8), (1, 1, 4), (1, 1, 4)],
        [(1, 1, 8), (1, 2, 9, 2), (1, 2, 9, 2)], 2 * 9 * (8 + 8),
    ),
    (  # keys and values in one
        "MultiHeadAttention", {"num_heads": 2}, [(1, 5, 8), (1, 7, 2, 2, 4)], [(1, 5, 8)],
        2 * 7 * (40 + 40),
    ),
    (  # queries, keys and values in one
        "GroupQueryAttention", {}, [(1, 3, 16)],
        [(1, 3, 8), (1, 2, 9, 2), (1, 2, 9, 2)], 2 * 9 * (24 + 24),
    ),
    (  # scales, and keys and values of 2 positions before
        "QAttention", {"num_heads": 2},
        [(1, 4, 8), (8, 24), (24,), (), (1,), (1, 6), (), (), (2, 1, 2, 2, 4)],
        [(1, 4, 8), (2, 1, 2, 6, 4)], 2 * 4 * 8 * 24 + 4 * 4 * 6 * 8,
    ),
]  # fmt: skip


def tensors(shapes: list, dtype: int = T.FLOAT) -> tuple[Tensor, ...]:
    return tuple(Tensor(dtype, shape) for shape in shapes)


@pytest.mark.parametrize(("kind", "attributes", "read", "made", "expected"), CASES)
def test_flops(kind: str, attributes: dict, read: list, made: list, expected: int) -> None:
    node = h.make_node(kind, ["x"] * len(read), ["y"] * len(made), **attributes)
    assert costs.flops(node, Sizes(tensors(read), tensors(made))) == expected


def test_the_runtimes_own_attention_projects_too() -> None:
    node = h.make_node("Attention", ["x", "w"], ["y"], domain="com.microsoft", num_heads=2)
    sizes = Sizes(tensors([(1, 5, 8), (8, 24)]), tensors([(1, 5, 8)]))
    assert costs.flops(node, sizes) == 2 * 5 * 8 * 24 + 4 * 5 * 5 * 8


def test_without_shapes_there_are_no_flops_and_loops_are_added_up_elsewhere() -> None:
    open_sizes = Sizes((Tensor(T.FLOAT), None), (Tensor(T.FLOAT),))
    assert costs.flops(h.make_node("MatMul", ["a", "b"], ["y"]), open_sizes) is None
    assert costs.flops(h.make_node("Loop", ["a"], ["y"]), open_sizes) is None


def test_lookups_read_what_they_return_and_sizes_nothing() -> None:
    table, ids, found = (1000, 16), (5,), (5, 16)
    sizes = Sizes((Tensor(T.FLOAT, table), Tensor(T.INT64, ids)), (Tensor(T.FLOAT, found),))
    assert costs.read_bytes(h.make_node("Gather", ["t", "i"], ["y"]), sizes) == 5 * 16 * 4 + 5 * 8
    tables = [(2, 5), (2, 5), (1000, 16), (512, 16), (2, 16)]
    embedded = Sizes(tensors(tables), tensors([(2, 5, 16)]))
    node = h.make_node("EmbedLayerNormalization", list("abcde"), ["y"], domain="com.microsoft")
    assert costs.read_bytes(node, embedded) == 2 * 40 + 2 * 640 + 128
    shape = Sizes((Tensor(T.FLOAT, table),), (Tensor(T.INT64, (2,)),))
    assert costs.read_bytes(h.make_node("Shape", ["t"], ["y"]), shape) == 0
    assert costs.made_bytes(shape) == 16


def test_a_mixture_reads_the_experts_that_its_tokens_choose() -> None:
    node = h.make_node("MoE", ["x", "r", "a", "", "b"], ["y"], domain="com.microsoft", k=2)
    first, second = Tensor(T.FLOAT, (8, 32, 16)), Tensor(T.FLOAT, (8, 16, 32))

    def sizes(tokens: int) -> Sizes:
        x, router = tensors([(tokens, 16), (tokens, 8)])
        return Sizes((x, router, first, None, second), tensors([(tokens, 16)]))

    assert costs.flops(node, sizes(3)) == 2 * 3 * 2 * (2 * 16 * 32)
    each = 2 * 4 * 16 * 32
    assert costs.read_bytes(node, sizes(3)) == 3 * 4 * (16 + 8) + 6 * each
    assert costs.read_bytes(node, sizes(100)) == 100 * 4 * (16 + 8) + 8 * each


@pytest.mark.parametrize(
    ("dtype", "shape", "expected"),
    [
        (T.FLOAT, (3, 5), 60),
        (T.FLOAT16, (3, 5), 30),
        (T.BFLOAT16, (), 2),
        (T.INT8, (3, 5), 15),
        (T.INT4, (3, 5), 8),
        (T.UINT4, (2,), 1),
        (T.FLOAT8E4M3FN, (3,), 3),
        (T.BOOL, (9,), 9),
        (T.COMPLEX64, (2,), 16),
        (T.STRING, (2,), 0),
    ],
)
def test_bytes_are_true(dtype: int, shape: tuple, expected: int) -> None:
    assert dtypes.nbytes(dtype, shape) == expected


def test_names_of_types_go_both_ways() -> None:
    for code in T.DataType.values():
        if code:
            assert dtypes.code_of(dtypes.name_of(code)) == code
    assert dtypes.code_of("float") == dtypes.code_of("tensor(float)") == T.FLOAT


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("com.microsoft.FusedConv", "conv"),
        ("com.microsoft.nchwc.Conv", "conv"),
        ("QLinearConv", "conv"),
        ("ConvInteger", "conv"),
        ("com.microsoft.MatMulNBits", "matmul"),
        ("Gemm", "matmul"),
        ("LSTM", "matmul"),
        ("com.microsoft.MultiHeadAttention", "attention"),
        ("com.microsoft.QMoE", "batch_matmul"),
        ("com.microsoft.SkipLayerNormalization", "normal"),
        ("GlobalAveragePool", "normal"),
        ("GatherElements", "gather"),
        ("Reshape", "view"),
        ("Relu", "elementwise"),
    ],
)
def test_classes_of_types(type_: str, expected: str) -> None:
    assert class_of(type_) == expected
