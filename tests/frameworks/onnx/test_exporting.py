"""Schedules as other runtimes take them: they load what is written, and it says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper as h

import talos_opt
from talos_opt.cli.main import main
from talos_opt.core.errors import InputError
from talos_opt.frameworks.onnx.openvino import apply_affinities
from tests.frameworks.onnx import nets
from tests.frameworks.onnx.nets import value, weight

Capture = pytest.CaptureFixture[str]


class Solved(NamedTuple):
    """Files of a model, its graph and a schedule, and the device of every op."""

    folder: Path
    model: Path
    graph: Path
    schedule: Path
    device: dict[str, str]


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Solved:
    """Two branches for a CPU and a GPU, the second one on the GPU but for its first op."""
    folder = tmp_path_factory.mktemp("exporting")
    path = nets.saved(nets.two_branches(32, 2, 4), folder, "branches.onnx")
    graph, schedule = folder / "g.json", folder / "s.json"
    words = ["--devices", "host=estimate:xeon-8480+,gpu0=estimate:t4", "--no-optimized"]
    assert main(["profile", "onnx", str(path), *words, "-o", str(graph)]) == 0
    document = json.loads(graph.read_text())
    device = {}
    for op in document["models"][0]["ops"]:
        there = op["id"] in ("b.act0", "b.1", "b.act1", "join")
        op["devices"] = [device.setdefault(op["id"], "gpu0" if there else "host")]
    graph.write_text(json.dumps(document))
    assert main(["solve", str(graph), "--time-limit", "1", "-o", str(schedule)]) == 0
    return Solved(folder, path, graph, schedule, device)


def export(solved: Solved, form: str, target: str, *words: str) -> int:
    return main(
        ["export", str(solved.graph), str(solved.schedule), "--to", form,
         "--model", str(solved.model), "-o", str(solved.folder / target), *words]
    )  # fmt: skip


def inputs() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((4, 32)).astype("float32")}


def plain(path: Path, options: onnxruntime.SessionOptions | None = None) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs())[0]


def test_the_runtime_takes_the_annotated_model_and_its_settings(
    solved: Solved, capsys: Capture
) -> None:
    assert export(solved, "ort-annotations", "annotated.onnx", "--map", "gpu0=cuda", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    settings = document["session.layer_assignment_settings"]
    assert settings == "cpu(=host); cuda(=gpu0)"
    made = onnx.load(solved.folder / "annotated.onnx")
    marks = {
        node.name: prop.value
        for node in made.graph.node
        for prop in node.metadata_props
        if prop.key == "layer_ann"
    }
    assert marks == solved.device
    assert {p.key: p.value for p in made.metadata_props}["session.layer_assignment_settings"] == (
        settings
    )
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.layer_assignment_settings", settings)
    onnx.checker.check_model(made, full_check=True)
    found = plain(solved.folder / "annotated.onnx", options)
    assert np.allclose(found, plain(solved.model), atol=1e-5)


def test_devices_that_the_settings_cannot_name_are_refused(
    solved: Solved, tmp_path: Path, capsys: Capture
) -> None:
    graph, schedule = tmp_path / "g.json", tmp_path / "s.json"
    graph.write_text(solved.graph.read_text().replace("gpu0", "gpu(0)"))
    schedule.write_text(solved.schedule.read_text().replace("gpu0", "gpu(0)"))
    other = solved._replace(graph=graph, schedule=schedule, folder=tmp_path)
    capsys.readouterr()
    assert export(other, "ort-annotations", "a.onnx") == 2
    assert "'gpu(0)' cannot be an annotation of a device" in capsys.readouterr().err
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize(
    ("form", "name", "complaint"),
    [
        ("ort-annotations", "gpu0=cuda);cpu(x", "'cuda);cpu(x' cannot be a designator of a device"),
        ("ort-annotations", "gpu7=cuda", "the unknown device 'gpu7', expected one of host, gpu0"),
        ("openvino-affinities", "gpu7=GPU", "the unknown device 'gpu7'"),
        ("onnx-stages", "gpu0=cuda", "--map is of no use for onnx-stages"),
        ("onnx-split", "gpu0=cuda", "--map is of no use for onnx-split"),
    ],
)
def test_names_that_are_of_no_use_are_refused(
    form: str, name: str, complaint: str, solved: Solved, capsys: Capture
) -> None:
    target = "no.json" if form == "openvino-affinities" else "no.onnx"
    capsys.readouterr()
    assert export(solved, form, target, "--map", name) == 2
    assert complaint in capsys.readouterr().err
    assert not (solved.folder / target).exists()


def test_stages_are_those_of_the_pipeline(solved: Solved) -> None:
    assert export(solved, "onnx-stages", "stages.onnx") == 0
    made = onnx.load(solved.folder / "stages.onnx")
    assert made.ir_version >= 11
    (configuration,) = made.configuration
    assert list(configuration.device) == ["host", "gpu0"]
    assert configuration.num_devices == 2
    for node in made.graph.node:
        (own,) = node.device_configurations
        assert own.configuration_id == configuration.name
        assert configuration.device[own.pipeline_stage] == solved.device[node.name]
    onnx.checker.check_model(made)
    assert np.allclose(plain(solved.folder / "stages.onnx"), plain(solved.model), atol=1e-5)


def test_a_placement_that_goes_back_has_no_stages(
    solved: Solved, tmp_path: Path, capsys: Capture
) -> None:
    document = json.loads(solved.graph.read_text())
    for op in document["models"][0]["ops"]:
        op["devices"] = ["host" if op["id"] in ("join", "b.0") else op["devices"][0]]
    graph, schedule = tmp_path / "g.json", tmp_path / "s.json"
    graph.write_text(json.dumps(document))
    assert main(["solve", str(graph), "--time-limit", "1", "-o", str(schedule)]) == 0
    capsys.readouterr()
    other = solved._replace(graph=graph, schedule=schedule, folder=tmp_path)
    assert export(other, "onnx-stages", "stages.onnx") == 2
    assert "a device that was left is entered again: solve with --stages acyclic" in (
        capsys.readouterr().err
    )


def test_pieces_chained_by_the_manifest_give_the_same_outputs(solved: Solved) -> None:
    assert export(solved, "onnx-split", "pieces") == 0
    folder = solved.folder / "pieces"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len(manifest["pieces"]) >= 2
    assert [op for row in manifest["pieces"] for op in row["ops"]]
    held: dict[str, np.ndarray] = inputs()
    made_by: dict[str, str | None] = dict.fromkeys(manifest["inputs"])
    for row in manifest["pieces"]:
        assert all(solved.device[op] == row["device"] for op in row["ops"])
        assert all(made_by[name] == maker for name, maker in row["inputs"].items())
        session = onnxruntime.InferenceSession(
            str(folder / row["file"]), providers=["CPUExecutionProvider"]
        )
        made = session.run(row["outputs"], {name: held[name] for name in row["inputs"]})
        held.update(zip(row["outputs"], made, strict=True))
        made_by |= dict.fromkeys(row["outputs"], row["file"])
    assert manifest["outputs"] == {"y": made_by["y"]}
    assert np.allclose(held["y"], plain(solved.model), atol=1e-5)


def test_a_split_is_written_whole_or_not_at_all(solved: Solved, capsys: Capture) -> None:
    (solved.folder / "taken").mkdir()
    before = sorted(solved.folder.iterdir())
    capsys.readouterr()
    assert export(solved, "onnx-split", "taken") == 2
    assert export(solved, "onnx-split", "no/such/folder") == 2
    assert sorted(solved.folder.iterdir()) == before
    assert list((solved.folder / "taken").iterdir()) == []


def test_affinities_name_nodes_and_results(solved: Solved) -> None:
    assert export(solved, "openvino-affinities", "affinities.json", "--map", "gpu0=GPU.1") == 0
    found = json.loads((solved.folder / "affinities.json").read_text())
    names = {"host": "CPU", "gpu0": "GPU.1"}
    assert found == {op: names[d] for op, d in solved.device.items()} | {"y": "GPU.1"}


def test_openvino_compiles_with_the_affinities(solved: Solved) -> None:
    openvino = pytest.importorskip("openvino", reason="needs openvino")
    assert export(solved, "openvino-affinities", "ov.json", "--map", "gpu0=CPU") == 0
    model = openvino.Core().read_model(solved.model)
    found = json.loads((solved.folder / "ov.json").read_text())
    assert apply_affinities(model, found) == len(solved.device)
    # Some CPUs would compute in bfloat16.
    compiled = openvino.Core().compile_model(
        model, "HETERO:CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    assert np.allclose(compiled(inputs())[0], plain(solved.model), atol=1e-4)


class _Op:
    """As much of an op of OpenVINO as affinities need."""

    def __init__(self, name: str, *read: _Op) -> None:
        self.name, self.read, self.readers, self.info = name, read, [], {}
        for op in read:
            op.readers.append(self)

    get_name = get_friendly_name = lambda self: self.name
    get_node = get_source_output = lambda self: self
    get_rt_info = lambda self: self.info  # noqa: E731
    outputs = lambda self: [self]  # noqa: E731
    get_target_inputs = lambda self: self.readers  # noqa: E731
    inputs = lambda self: list(self.read)  # noqa: E731


class _Model(NamedTuple):
    ops: list[_Op]

    def get_ordered_ops(self) -> list[_Op]:
        return self.ops


def test_what_has_no_name_of_the_file_goes_with_what_reads_it() -> None:
    x, w = _Op("x"), _Op("constant")
    part = _Op("part of gemm", x, w)
    gemm = _Op("gemm", part)
    tail = _Op("tail", gemm)
    result = _Op("result", tail)
    ops = [x, w, part, gemm, tail, result]
    assert apply_affinities(_Model(ops), {"gemm": "GPU", "tail": "CPU"}) == 2
    assert [op.info["affinity"] for op in ops] == ["GPU"] * 4 + ["CPU"] * 2
    with pytest.raises(InputError, match="it is another model"):
        apply_affinities(_Model(ops), {"other": "CPU"})


def test_what_cannot_be_exported(solved: Solved, tmp_path: Path, capsys: Capture) -> None:
    def complaint(form: str, *words: str, other: Solved = solved, target: str = "o.onnx") -> str:
        capsys.readouterr()
        assert export(other, form, target, *words) == 2
        assert not (other.folder / target).exists()
        return capsys.readouterr().err

    mlp = nets.saved(nets.mlp(), tmp_path, "mlp.onnx")
    assert "and the schedule was made for branches.onnx of" in complaint(
        "ort-annotations", other=solved._replace(model=mlp)
    )
    assert "--model is of no use for vllm" in complaint("vllm", target="o.env")
    assert "- is standard output, expected a file or folder" in complaint("onnx-stages", "-o", "-")
    words = ["export", str(solved.graph), str(solved.schedule), "--to", "onnx-split", "-o", "p"]
    assert main(words) == 2
    assert "onnx-split needs the model: --model net.onnx" in capsys.readouterr().err
    torch = tmp_path / "g.json"
    torch.write_text(solved.graph.read_text().replace("graph: optimised", "captured by:"))
    assert "was not made by 'talos-opt profile onnx'" in complaint(
        "ort-annotations", other=solved._replace(graph=torch)
    )


def test_the_runtimes_own_ops_are_not_for_openvino(tmp_path: Path, capsys: Capture) -> None:
    made = nets.model(
        [
            h.make_node("Conv", ["x", "w"], ["a"], name="conv", kernel_shape=[1, 1]),
            h.make_node("Relu", ["a"], ["y"], name="act"),
        ],
        [value("x", [1, 4, 4, 4])],
        [value("y", [1, 4, 4, 4])],
        [weight("w", 4, 4, 1, 1)],
    )
    path = nets.saved(made, tmp_path)
    graph, schedule = tmp_path / "g.json", tmp_path / "s.json"
    assert main(["profile", "onnx", str(path), "--devices", "estimate:t4", "-o", str(graph)]) == 0
    assert len(talos_opt.read(graph).ops) == 1
    assert main(["solve", str(graph), "--time-limit", "1", "-o", str(schedule)]) == 0
    capsys.readouterr()
    solved = Solved(tmp_path, path, graph, schedule, {})
    assert export(solved, "openvino-affinities", "a.json") == 2
    assert "which OpenVINO does not read: profile with --no-optimized" in capsys.readouterr().err
