"""The graph files of ``models/``: true to the published networks, well formed, up to date."""

from __future__ import annotations

import sys
from functools import cache
from itertools import permutations, product
from math import inf, prod
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # models/ is no part of the installed package

from models.zoo import __main__ as command  # noqa: E402
from models.zoo import bert, cnn, inception  # noqa: E402
from models.zoo.catalogue import FILES, GraphFile  # noqa: E402
from models.zoo.clusters import cluster_files  # noqa: E402
from models.zoo.layers import Layers  # noqa: E402
from models.zoo.networks import network  # noqa: E402
from models.zoo.readme import static_bytes  # noqa: E402
from models.zoo.roofline import CPU, GPU, time_us  # noqa: E402

TORCHVISION = "torchvision's table of classification models: num_params, GFLOPS (multiply-adds)"

PUBLISHED = [
    # build, parameters, thousand millions of multiply-adds for one sample, their source
    (cnn.alexnet, 61_100_840, 0.71, TORCHVISION),
    (cnn.vgg19, 143_667_240, 19.63, TORCHVISION),
    (cnn.squeezenet1_0, 1_248_424, 0.82, TORCHVISION),
    (cnn.squeezenet1_1, 1_235_496, 0.35, TORCHVISION),
    (cnn.resnet50, 25_557_032, 4.09, TORCHVISION),
    (inception.googlenet, 6_624_904, 1.50, TORCHVISION),
    # Its table counts the auxiliary classifier's 3,326,696 parameters, which inference leaves out.
    (inception.inception_v3, 27_161_264 - 3_326_696, 5.71, TORCHVISION),
    # The released bert-base-uncased with its pooler; half of the 22.5e9 operations of Jiao et al.,
    # "TinyBERT" (2020), Table 1, which are for 128 tokens and given to three digits.
    (bert.bert_base, 109_482_240, 22.5 / 2, "Devlin et al. 2019; Jiao et al. 2020"),
]

TRAINING = ["resnet50_training", "bert_base_training"]

EARLY = ("input", "conv1", "bn1", "relu1", "pool1", "s2", "s3")


def by_name(file: GraphFile) -> str:
    return file.name


@cache
def load(path: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((ROOT / "models" / path).read_text(), Loader=loader)


@pytest.mark.parametrize(("build", "params", "gmacs", "source"), PUBLISHED)
def test_networks_have_the_published_size(
    build: Any, params: int, gmacs: float, source: str
) -> None:
    net = Layers(build.__name__, batch=1)
    build(net)
    assert sum(op.params for op in net.ops.values()) == params, source
    assert sum(op.macs for op in net.ops.values()) / 1e9 == pytest.approx(gmacs, rel=0.01), source


def test_files_on_disk_are_what_the_script_makes() -> None:
    assert command.stale_files() == []
    assert command.main(["--check"]) == 0


def test_check_names_stale_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clusters").mkdir()
    (tmp_path / "README.md").write_text((ROOT / "models/README.md").read_text())
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    assert command.main([]) == 0
    assert command.main(["--check"]) == 0
    with (tmp_path / "alexnet.yaml").open("a") as file:
        file.write("# edited\n")
    (tmp_path / "clusters/cpu-gpu.yaml").unlink()
    assert command.main(["--check"]) == 1
    stale = capsys.readouterr().out.split("\n")
    assert stale == ["stale: models/clusters/cpu-gpu.yaml", "stale: models/alexnet.yaml", ""]


def test_folder_stays_small() -> None:
    assert sum(file.stat().st_size for file in (ROOT / "models").glob("**/*.yaml")) < 1.5e6


@pytest.mark.parametrize("file", FILES, ids=by_name)
def test_graph_is_well_formed(file: GraphFile) -> None:
    graph = load(f"{file.name}.yaml")
    assert graph["schema"] == "talos-graph/1"
    assert graph["name"] == file.name
    assert graph["time_unit"] == "us"
    assert "Assumed" in graph["description"]
    assert "known" not in graph
    assert [model["id"] for model in graph["models"]] == [entry.name for entry in file.entries]
    for model, entry in zip(graph["models"], file.entries, strict=True):
        assert (model["weight"], model["release"]) == (entry.weight, entry.release)
        check_model(model)


def check_model(model: dict[str, Any]) -> None:
    ops = {op["id"]: op for op in model["ops"]}
    assert len(ops) == len(model["ops"])
    dag: nx.DiGraph[str] = nx.DiGraph()
    for op in ops.values():
        assert set(op) <= {"id", "type", "time", "memory", "inputs", "colocate", "attrs"}
        assert all(time > 0 for time in op["time"].values())
        assert op["time"].keys() == {"cpu", "gpu"}
        memory = op.get("memory", {})
        assert all(isinstance(size, int) and size > 0 for size in memory.values())
        assert memory.get("output", 0) == 4 * prod(op["attrs"]["shape"])
        assert op.get("colocate", model["id"]).startswith(model["id"])
        dag.add_node(op["id"])
        for edge in op.get("inputs", []):
            producer = edge["op"] if isinstance(edge, dict) else edge
            assert ops[producer]["memory"]["output"] > 0
            dag.add_edge(producer, op["id"])
    assert nx.is_directed_acyclic_graph(dag)
    assert nx.number_weakly_connected_components(dag) == 1


@pytest.mark.parametrize("file", FILES, ids=by_name)
def test_cluster_can_run_the_graph(file: GraphFile) -> None:
    cluster = load(load(f"{file.name}.yaml")["cluster"])
    assert {device["kind"] for device in cluster["devices"]} == {"cpu", "gpu"}
    assert cluster["reference"] == "cpu"


@pytest.mark.parametrize("path", cluster_files())
def test_clusters_connect_all_devices(path: str) -> None:
    cluster = load(path)
    kinds = [device["kind"] for device in cluster["devices"]]
    joined = [link["between"] for link in cluster["links"]]
    assert ["cpu", "gpu"] in joined
    assert (["gpu", "gpu"] in joined) == (kinds.count("gpu") > 1)


@pytest.mark.parametrize("name", TRAINING)
def test_every_weight_is_learnt_where_it_lies(name: str) -> None:
    ops = {op["id"]: op for op in load(f"{name}.yaml")["models"][0]["ops"]}
    learnt = [op for op in network(name, 2).ops.values() if op.params]
    assert learnt
    for op in learnt:
        parts = [ops[op.id], ops[f"{op.id}.grad_weight"], ops[f"{op.id}.update"]]
        parts += [ops[part] for part in [f"{op.id}.grad_input"] if part in ops]
        assert {part["colocate"] for part in parts} == {f"{name}.{op.id}"}
        assert parts[1]["memory"]["output"] == 4 * op.params
        assert parts[2]["inputs"][0] == f"{op.id}.grad_weight"
        assert parts[2]["inputs"][1:] == [{"op": part["id"], "bytes": 0} for part in parts[3:]]


@pytest.mark.parametrize("name", TRAINING)
def test_gradients_have_the_shape_of_what_they_belong_to(name: str) -> None:
    net = network(name, 2)
    suffixes = (".grad_input", ".grad", ".grad_left", ".grad_right", ".grad_sum")
    seen = 0
    for op in net.ops.values():
        stem, dot, suffix = op.id.rpartition(".")
        if dot + suffix not in suffixes:
            continue
        seen += 1
        forward = net.ops[stem]
        target = {".grad_sum": stem, ".grad_right": forward.inputs[-1].op}.get(
            dot + suffix, forward.inputs[0].op
        )
        assert op.shape == net.shape(target), op.id
    assert seen > 100


@pytest.mark.parametrize(
    ("name", "forward"),
    [("resnet50_training", cnn.resnet50), ("bert_base_training", bert.bert_base)],
)
def test_training_does_the_forward_work_three_times(name: str, forward: Any) -> None:
    once = Layers("forward", batch=2)
    forward(once)
    total = sum(op.macs for op in network(name, 2).ops.values())
    # Two products go back for each one forth, but for the gradient of the images, which none needs.
    assert total == pytest.approx(3 * sum(op.macs for op in once.ops.values()), rel=0.02)


def test_large_training_must_spread_over_both_gpus() -> None:
    file = next(file for file in FILES if file.name == "memory_bound_training")
    usable = 0.9 * 11 * 2**30
    resnet, language = (list(entry.network.ops.values()) for entry in file.entries)
    assert static_bytes(resnet) > usable
    # One split that fits: the ResNet up to its third stage here, all else there.
    early = [op for op in resnet if op.id.startswith(EARLY)]
    late = [op for op in resnet if not op.id.startswith(EARLY)]
    assert {op.group for op in late} & {op.group for op in early} == {None}
    assert static_bytes(early) <= usable
    assert static_bytes(late + language) <= usable


def test_times_follow_the_roofline() -> None:
    net = Layers("tiny", batch=1)
    small = net.ops[net.relu("small", net.input("x", 4, 2, 2))]
    # 4 x 2 x 2 numbers are read and written: 128 bytes hardly add to the overheads.
    assert (time_us(small, CPU), time_us(small, GPU)) == (2.0, 8.0)
    large = net.ops[net.conv("large", net.input("y", 256, 56, 56), 256, 3, padding=1)]
    seconds = 2 * 256 * 56 * 56 * 256 * 9 / (0.3 * 921.6e9)
    assert time_us(large, CPU) == round(2 + 1e6 * seconds, 2)
    assert 10 < time_us(large, CPU) / time_us(large, GPU) < 50


def test_speedups_are_spread() -> None:
    ops = load("googlenet.yaml")["models"][0]["ops"]
    speedups = sorted(op["time"]["cpu"] / op["time"]["gpu"] for op in ops)
    assert speedups[0] < 1
    assert 2 < speedups[len(speedups) // 2] < 20
    assert 20 < speedups[-1] < 50


def test_a_layer_must_read_what_exists() -> None:
    with pytest.raises(ValueError, match="unknown"):
        Layers("broken", batch=1).add("a", "ReLU", "elementwise", (1,), "nothing")


def test_fig1_optimum_by_enumeration() -> None:
    graph = load("fig1.yaml")
    ops = {op["id"]: (model["id"], op) for model in graph["models"] for op in model["ops"]}
    orders = [
        order
        for order in permutations(ops)
        if all(
            order.index(x) < order.index(name)
            for name, (_, op) in ops.items()
            for x in op.get("inputs", [])
        )
    ]
    best = {"toct": inf, "makespan": inf}
    for kinds in product(("cpu", "gpu"), repeat=len(ops)):
        device = dict(zip(ops, kinds, strict=True))
        for order in orders:
            completion = completions(order, device, ops)
            best["toct"] = min(best["toct"], sum(completion.values()))
            best["makespan"] = min(best["makespan"], *[max(completion.values())])
    assert best == {key: graph["known"][key] for key in best}


def completions(
    order: tuple[str, ...], device: dict[str, str], ops: dict[str, Any]
) -> dict[str, float]:
    """Start ops in the given order, each as soon as its device and its inputs are ready."""
    free = {"cpu": 0.0, "gpu": 0.0}
    end: dict[str, float] = {}
    completion: dict[str, float] = {}
    for name in order:
        model, op = ops[name]
        where = device[name]
        start = max([free[where], *(end[x] for x in op.get("inputs", []))])
        end[name] = free[where] = start + op["time"][where]
        completion[model] = max(completion.get(model, 0.0), end[name])
    return completion
