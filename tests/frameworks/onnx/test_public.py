"""Published models: read, described, cut in two by chance, and run with equal outputs."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import pytest

from talos_opt.core.errors import InputError
from talos_opt.frameworks.onnx.devices import CPU
from talos_opt.frameworks.onnx.execute import Executor
from talos_opt.frameworks.onnx.inputs import draw
from talos_opt.frameworks.onnx.ops import describe_ops
from talos_opt.frameworks.onnx.pieces import cut
from talos_opt.frameworks.onnx.sessions import session_of
from tests.frameworks.onnx import nets

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "files" / "onnx"
PACKAGE = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
#: Inputs as the command takes them, and what is known: bytes of weights in the file, multiply-adds.
MODELS = {
    "silero_vad": (["input=1x512", "state=2x1x128", "sr=scalar:int64:16000-16000"], None),
    "magika_standard_v3_3": (["bytes=1x2048:int32:0-255"], None),
    "ultraface_rfb_320": ([], 105.5e6),
    "light_squeezenet": ([], 350.7e6),
    "light_shufflenet": ([], None),
}


def file_of(name: str) -> Path:
    folder = PACKAGE if (PACKAGE / f"{name}.onnx").is_file() else SHARED
    if not (folder / f"{name}.onnx").is_file():
        pytest.skip("the public models (../shared/data/files/onnx) are not here")
    return folder / f"{name}.onnx"


@pytest.mark.parametrize("name", MODELS)
def test_a_published_model_goes_the_whole_road(name: str, tmp_path: Path) -> None:
    path, (given, products) = file_of(name), MODELS[name]
    captured = nets.captured(path, tmp_path, given, level="all")
    ops = describe_ops(captured)
    assert all(op.facts["shape"][0] is not None for op in ops)
    assert all(op.flops is not None for op in ops)
    assert sum(op.weights for op in ops) > 1e6
    # A branch that is not taken cannot have its sizes.
    assert any("sizes open" in note for note in captured.notes) == (name == "silero_vad")
    if products is not None:
        assert sum(op.flops or 0 for op in ops) / 2 == pytest.approx(products, rel=0.01)
    values = draw(captured.specs)
    rng = random.Random(name)
    group = {op.id: op.colocate or op.id for op in ops}
    device = {leader: rng.choice("ab") for leader in group.values()}
    pieces = cut(captured, {op: device[leader] for op, leader in group.items()})
    plan = Executor(captured, pieces, dict.fromkeys("ab", CPU), values, threads=1)
    _, found = plan.run()
    plan.close()
    expected = session_of(path, level="all").run(None, values)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_branch_with_684_nodes_is_one_op(tmp_path: Path) -> None:
    path = file_of("silero_vad")
    captured = nets.captured(path, tmp_path, MODELS["silero_vad"][0], level="none")
    choose = next(op for op in describe_ops(captured) if op.type == "If")
    assert len(captured.inner()) == 684
    assert choose.launches > 20
    assert choose.weights > 2e6


def test_an_open_size_says_how_it_is_given(tmp_path: Path) -> None:
    path = file_of("magika_standard_v3_3")
    with pytest.raises(InputError, match="give it with --dim unk__214=SIZE"):
        nets.captured(path, tmp_path)
    two = nets.captured(path, tmp_path, dims=["unk__214=2"], level="extended", run=False)
    one = nets.captured(path, tmp_path, dims=["unk__214=1"], level="extended", run=False)
    flops = [sum(op.flops or 0 for op in describe_ops(captured)) for captured in (one, two)]
    assert flops[1] == pytest.approx(2 * flops[0], rel=0.01)
