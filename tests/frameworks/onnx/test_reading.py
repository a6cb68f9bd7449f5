"""Models from files: what is refused, in one line, and what inputs they are run on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h

from talos_opt.cli.main import main
from talos_opt.core.errors import InputError
from talos_opt.frameworks.onnx.facts import facts_in, require_same_model
from talos_opt.frameworks.onnx.inputs import (
    as_text,
    declared_inputs,
    draw,
    parse_dims,
    read_arrays,
    specs_of,
    split_text,
)
from talos_opt.frameworks.onnx.reading import read_model
from tests.frameworks.onnx import nets

Capture = pytest.CaptureFixture[str]


def _with_data(folder: Path) -> Path:
    """Save a model whose weights are in a file of their own."""
    path = folder / "data.onnx"
    onnx.save(
        nets.mlp(), str(path),
        save_as_external_data=True, location="data.bin", size_threshold=128,
    )  # fmt: skip
    return path


def missing_data(folder: Path) -> Path:
    path = _with_data(folder)
    (folder / "data.bin").unlink()
    return path


def short_data(folder: Path) -> Path:
    path = _with_data(folder)
    (folder / "data.bin").write_bytes(b"\0" * 100)
    return path


def no_model(folder: Path) -> Path:
    path = folder / "text.onnx"
    path.write_text("no model at all\n")
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.onnx"
    path.write_bytes(b"")
    return path


def truncated(folder: Path) -> Path:
    path = nets.saved(nets.mlp(), folder)
    path.write_bytes(path.read_bytes()[:5000])
    return path


def one_op(node: onnx.NodeProto, **options: object) -> onnx.ModelProto:
    return nets.model([node], [nets.value("x", [2, 2])], [nets.value("y", [2, 2])], **options)


def unknown_domain(folder: Path) -> Path:
    node = h.make_node("Fancy", ["x"], ["y"], name="odd", domain="org.example")
    return nets.saved(one_op(node, domains=["org.example"]), folder)


def unknown_op(folder: Path) -> Path:
    return nets.saved(one_op(h.make_node("Fancy", ["x"], ["y"], name="odd")), folder)


def located(**entries: str) -> Callable[[Path], Path]:
    """Return what saves a model that says of a weight's file what is given."""

    def make(folder: Path) -> Path:
        path = _with_data(folder)
        made = onnx.load(str(path), load_external_data=False)
        for entry in made.graph.initializer[0].external_data:
            entry.value = entries.get(entry.key, entry.value)
        path.write_bytes(made.SerializeToString())
        return path

    return make


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.onnx")
    return folder / "pipe.onnx"


def held(tensor: onnx.TensorProto) -> Callable[[Path], Path]:
    made = nets.mlp()
    made.graph.initializer.append(tensor)
    return lambda folder: nets.saved(made, folder)


def wired(*nodes: tuple[str, str], inputs: int = T.FLOAT) -> Callable[[Path], Path]:
    """Return what saves a model of ops that each read and make a value."""
    ops = [
        h.make_node("Relu", [read], [made], name=f"op{k}") for k, (read, made) in enumerate(nodes)
    ]
    made = nets.model(ops, [nets.value("x", [2], inputs)], [nets.value("y", [2])])
    return lambda folder: nets.saved(made, folder)


def sparse_result(folder: Path) -> Path:
    made = one_op(h.make_node("Relu", ["x"], ["r"]))
    values, places = nets.array("y", [1.0], "float32"), nets.array("at", [2])
    made.graph.sparse_initializer.append(h.make_sparse_tensor(values, places, [2, 2]))
    return nets.saved(made, folder)


def old(folder: Path) -> Path:
    return nets.saved(one_op(h.make_node("Relu", ["x"], ["y"]), opset=7), folder)


def constant(folder: Path) -> Path:
    made = nets.model(
        [h.make_node("Relu", ["w"], ["y"])], [], [nets.value("y", [4])], [nets.weight("w", 4)]
    )
    return nets.saved(made, folder)


def dynamic(folder: Path) -> Path:
    return nets.saved(nets.mlp(), folder)


def nameless(folder: Path) -> Path:
    node = h.make_node("Relu", ["x"], ["y"])
    made = nets.model([node], [nets.value("x", [None, 2])], [nets.value("y", None)])
    return nets.saved(made, folder)


def text(folder: Path) -> Path:
    made = nets.model(
        [h.make_node("Identity", ["x"], ["y"])],
        [nets.value("x", [1], T.STRING)],
        [nets.value("y", [1], T.STRING)],
    )
    return nets.saved(made, folder)


@pytest.mark.parametrize(
    ("make", "words", "complaint"),
    [
        (lambda folder: folder / "none.onnx", [], "there is no such file"),
        (lambda folder: folder, [], "is a folder, expected an ONNX file"),
        (pipe, [], "is a pipe or a device, expected an ONNX file"),
        (no_model, [], "is not an ONNX model, or only the beginning of one"),
        (empty, [], "it has no graph with an output"),
        (truncated, [], "only the beginning of one: 5000 bytes"),
        (missing_data, ["--dim", "batch=2"], "weight 'w1' is in data.bin, which is missing"),
        (short_data, ["--dim", "batch=2"], "of data.bin, which has 100"),
        (located(location="../data.bin"), [], "expected a file in the model's folder"),
        (located(location="/data.bin"), [], "is in /data.bin, expected a file in the model's"),
        (located(offset="all"), [], "'w1' is at offset 'all', length '16384' of 'data.bin'"),
        (located(offset="-4"), [], "is at offset '-4'"),
        (located(length="64"), [], "length '64' of 'data.bin', expected 16384 bytes"),
        (held(T(name="odd", data_type=99, dims=[2])), [], "weight 'odd' is of type 99"),
        (held(T(name="odd", data_type=1, dims=[-2])), [], "of type 1 and shape [-2]"),
        (wired(("x", "y"), inputs=77), [], "'x' is of type 77, which is none of ONNX"),
        (wired(("z", "y")), [], "op 'op0' reads 'z', which nothing makes"),
        (wired(("x", "z")), [], "nothing makes 'y', which the model returns"),
        (wired(("x", "y"), ("x", "y")), [], "'y' is made twice"),
        (wired(("x", "z"), ("y", "a"), ("a", "y")), [], "op 'op1' reads, by way of others, what"),
        (sparse_result, [], "returns 'y', a sparse weight; expected tensors"),
        (unknown_domain, [], "op 'odd' is a Fancy of the domain 'org.example'"),
        (unknown_op, [], "ONNX Runtime refuses it: "),
        (old, [], "is of opset 7, expected 9 to "),
        (constant, [], "all it returns is constant"),
        (dynamic, [], "size 0 of input x: batchx64:float32 is open: give it with --dim batch=SIZE"),
        (dynamic, ["--dim", "batch"], "not of the form NAME=SIZE"),
        (dynamic, ["--dim", "time=2"], "not an open size of an input: open sizes are batch"),
        (dynamic, ["--dim", "batch=2", "--dim", "batch=3"], "'batch' is given twice"),
        (dynamic, ["--input", "z=2x64"], "the model has no input 'z'; it takes x: batchx64"),
        (dynamic, ["--input", "2x63"], "input x is given as 2x63, and the model takes x: batchx64"),
        (dynamic, ["--input", "2x64:int64"], "given as int64, and the model takes x: batchx64"),
        (dynamic, ["--input", "2x64", "--input", "2x64"], "input 1 is given, and the model takes"),
        (dynamic, ["--input", "2x64", "--dim", "batch=3"], "is 2 in input x and 3 elsewhere"),
        (dynamic, ["--dim", "batch=2", "--devices", "tpu"], "device 'tpu' is unknown"),
        (dynamic, ["--dim", "batch=2", "--devices", "cuda:0"], "has no CUDAExecutionProvider here"),
        (dynamic, ["--mode", "training"], "models are for inference"),
        (nameless, [], "has no name, so give --input x=SHAPE"),
        (text, [], "input 'x' is text"),
    ],
)
def test_bad_input_ends_in_one_line_and_writes_nothing(
    make: object, words: list[str], complaint: str, tmp_path: Path, capfd: Capture
) -> None:
    graph = tmp_path / "g.yaml"
    path = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(["profile", "onnx", str(path), *words, "-o", str(graph)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert complaint in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_arguments_of_onnx_are_refused_elsewhere(capsys: Capture) -> None:
    assert main(["profile", "torch", "a:b", "--dim", "batch=2"]) == 2
    assert "--dim gives a size that an ONNX model leaves open" in capsys.readouterr().err
    assert main(["profile", "torch", "a:b", "--no-optimized"]) == 2
    assert "--optimized is for onnx, not for torch" in capsys.readouterr().err


def test_open_sizes_follow_from_inputs_that_are_given() -> None:
    made = nets.model(
        [h.make_node("Add", ["x", "m"], ["y"])],
        [nets.value("x", ["batch", 3]), nets.value("m", ["batch", 1], T.FLOAT)],
        [nets.value("y", ["batch", 3])],
    )
    specs = specs_of(declared_inputs(made), ["x=5x3:float32:0-1"], {})
    assert [spec.shape for spec in specs] == [(5, 3), (5, 1)]
    text = as_text(specs)
    assert text == "x=5x3:float32:0-1, m=5x1:float32"
    assert specs_of(declared_inputs(made), split_text(text), {}) == specs


def test_inputs_have_any_name_type_and_size_and_are_read_back() -> None:
    names = ("a, b", "c=d", "in:0", "e; f")
    types = (T.UINT32, T.FLOAT8E5M2, T.INT4, T.BFLOAT16)
    made = nets.model(
        [h.make_node("Identity", [names[0]], ["y"])],
        [nets.value(n, ["past", 2], t) for n, t in zip(names, types, strict=True)],
        [nets.value("y", None)],
    )
    declared = declared_inputs(made)
    specs = specs_of(declared, ["in:0=0x2:int4:-3-3"], parse_dims(["past=0"]))
    assert [spec.shape for spec in specs] == [(0, 2)] * 4
    assert specs_of(declared, split_text(as_text(specs)), {}) == specs
    facts = facts_in(
        f"onnx inference; inputs: {as_text(specs)}; graph: optimised all; cpu: measured"
    )
    assert facts == {"inputs": as_text(specs), "graph": "optimised all"}
    for bad in ("in:0=1x2:int4:0-8", "a, b=1x2:uint32:-1-3"):
        with pytest.raises(InputError, match="are not values of"):
            specs_of(declared, [bad], {"past": 1})
    drawn = draw(specs_of(declared, (), {"past": 3}))
    assert [str(drawn[name].dtype) for name in names] == [
        "uint32", "float8_e5m2", "int4", "bfloat16"
    ]  # fmt: skip


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    source = read_model(str(nets.saved(nets.mlp(), tmp_path, "a; sha256 b.onnx")))
    facts = facts_in(f"onnx; model: a; sha256 b.onnx sha256 {source.digest}; graph: optimised all")
    require_same_model(source, facts)
    with pytest.raises(InputError, match=r"was made for a; sha256 b\.onnx of 0123"):
        require_same_model(source, facts | {"model": "a; sha256 b.onnx sha256 0123"})


def test_values_are_drawn_by_the_seed_and_in_their_range() -> None:
    made = nets.model(
        [h.make_node("Gather", ["t", "i"], ["y"])],
        [nets.value("i", ["n"], T.INT64), nets.value("t", [50, 2], T.FLOAT16)],
        [nets.value("y", None)],
    )
    declared = declared_inputs(made)
    specs = specs_of(declared, ["i=40:int64:7-49"], {})
    first, again = draw(specs, 3), draw(specs, 3)
    assert first["i"].min() >= 7
    assert first["i"].max() > 30
    assert first["t"].dtype == np.float16
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert specs_of(declared, (), parse_dims(["n=4"]))[0].high == 1  # valid as an id


def test_inputs_from_a_file(tmp_path: Path) -> None:
    declared = declared_inputs(nets.mlp())
    np.savez(tmp_path / "in.npz", x=np.ones((3, 64), dtype=np.float32))
    specs, values = read_arrays(declared, str(tmp_path / "in.npz"))
    assert specs[0].shape == values["x"].shape == (3, 64)
    np.savez(tmp_path / "bad.npz", x=np.ones((3, 64)))
    with pytest.raises(InputError, match="input x is float64; expected x: batchx64:float32"):
        read_arrays(declared, str(tmp_path / "bad.npz"))
    np.savez(tmp_path / "other.npz", z=np.ones(3))
    with pytest.raises(InputError, match="'z' is not a further input"):
        read_arrays(declared, str(tmp_path / "other.npz"))


def test_weights_in_files_of_their_own_are_not_read(tmp_path: Path) -> None:
    source = read_model(str(_with_data(tmp_path)))
    assert source.path.stat().st_size < 5000
    assert not any(
        tensor.raw_data for tensor in source.proto.graph.initializer if tensor.dims == [64, 64]
    )
    assert len(source.digest) == 16
