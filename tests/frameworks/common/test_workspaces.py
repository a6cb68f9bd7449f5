"""Workspaces that nobody measured, against sizes worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest

from talos_opt.frameworks.common.catalogue import lookup
from talos_opt.frameworks.common.profile import DeviceProfile, OpProfile, Profile
from talos_opt.frameworks.common.workspaces import (
    BLAS_BYTES,
    HOPPER_BLAS_BYTES,
    with_workspaces,
    workspace_bytes,
)

MIB = 2**20


def op(kind: str, shape: object = (), flops: float = 1.0, **more: object) -> OpProfile:
    facts = {"shape": shape, "dtype": more.pop("dtype", "float32")}
    return OpProfile("x", kind, (), {}, flops, **{"moved_bytes": 8, **more}, facts=facts)  # type: ignore[arg-type]


#: 3 x 3 over 16 channels, to 8 x 32 x 10 x 12: a sample's patches are 16 * 9 * 120 values.
PRODUCTS = 2.0 * 8 * 32 * 10 * 12 * 16 * 9
PATCHES = 16 * 9 * 10 * 12


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (op("aten.conv2d", [8, 32, 10, 12], PRODUCTS), 4 * PATCHES),
        (op("Conv2D", [[8, 10, 12, 32]], PRODUCTS, dtype=["float16"]), 2 * PATCHES),
        (
            op("aten.convolution_backward", [[8, 32, 10, 12], [32, 16, 3, 3]], 2 * PRODUCTS),
            4 * PATCHES,
        ),
        # Scores of 2 x 4 heads, 10 queries and 10 keys, before softmax and after it.
        (
            op(
                "aten._scaled_dot_product_attention_math", [2, 4, 10, 8],
                2.0 * 2 * 4 * 10 * 10 * (8 + 8),
            ),
            2 * 4 * (2 * 4 * 10 * 10),
        ),
        (op("aten.scaled_dot_product_attention", [2, 4, 10, 8]), 4 * 2 * 4 * 10),
        (op("aten.sort", [100], output=400, unread=800), 1200),
        (op("aten.fft_rfft", [100], output=800), 800),
        (op("aten.sum", [1], moved_bytes=4 * 5120), 4 * 10),
        (op("aten.linear", [8, 8]), 0),
        (op("aten.relu", [8, 8]), 0),
        (op("aten.view", [8, 8], 0.0, moved_bytes=0), 0),
        (op("aten.conv2d", None, PRODUCTS), 0),
        (op("aten.conv2d", [[None, 10, 12, 32]], PRODUCTS), 0),
    ],
    ids=lambda value: value.type if isinstance(value, OpProfile) else str(value),
)  # fmt: skip
def test_by_hand(given: OpProfile, size: int) -> None:
    assert workspace_bytes(given) == size
    if given.type != "aten.linear":
        assert workspace_bytes(given, lookup("a100")) == size


def test_products_use_what_is_set_aside_on_the_device() -> None:
    given = op("aten.linear", [8, 8])
    assert BLAS_BYTES == 8519680
    assert workspace_bytes(given, lookup("a100")) == BLAS_BYTES
    assert workspace_bytes(given, lookup("h200")) == HOPPER_BLAS_BYTES == 32 * MIB
    assert workspace_bytes(given, lookup("epyc-9654")) == 0


def test_a_graph_says_what_was_estimated_and_never_less_than_was_measured() -> None:
    product, relu = op("aten.linear", [8, 8]), op("aten.relu", [8, 8])
    ops = (
        dataclasses.replace(product, id="a", workspace=BLAS_BYTES + 1),
        dataclasses.replace(product, id="b", workspace=5),
        dataclasses.replace(product, id="c"),
        dataclasses.replace(relu, id="d"),
        dataclasses.replace(op("aten.sort", output=400), id="e"),
    )
    cpu = DeviceProfile("cpu", "cpu")
    profile = Profile("net", "torch", "inference", ops, (cpu,))
    found = [op.record() for op in with_workspaces(profile, {"gpu0": lookup("a100")}).ops]
    sizes = [each.memory.workspace for each in found]
    assert sizes == [BLAS_BYTES + 1, BLAS_BYTES, BLAS_BYTES, 0, 400]
    marks = [each.attrs.get("workspace") for each in found]
    assert marks == [None, "estimated", "estimated", None, "estimated"]
    here = with_workspaces(profile, {})
    assert [each.workspace for each in here.ops] == [BLAS_BYTES + 1, 5, 0, 0, 400]
