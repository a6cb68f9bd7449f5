"""talos-graph/1: what every field becomes, and one clear error for everything that is wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import FormatError, GraphError, InputError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.formats import read_problem

from .samples import DELETE, FULL, small, spoil


def read_text(tmp_path: Path, text: str, name: str = "graph.yaml", **options: Any) -> Problem:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_problem(path, **options)


def complaint(tmp_path: Path, text: str, name: str = "graph.yaml") -> InputError:
    with pytest.raises(InputError) as caught:
        read_text(tmp_path, text, name)
    assert str(tmp_path) in str(caught.value)
    return caught.value


def test_every_field(tmp_path: Path) -> None:
    problem = read_text(tmp_path, FULL)
    assert problem.graph == Graph(
        name="example",
        description="two models",
        time_unit="ms",
        known={"toct": 9, "source": "nowhere"},
        models=(
            Model(
                "m1",
                (
                    Op("op1", {"cpu": 5.0, "gpu": 1.0}, Memory(2**20, 2**21, 0), type="Conv2D"),
                    Op(
                        "op2",
                        {"cpu": 1.0, "gpu": 3.0, "gpu1": 2.5},
                        Memory(weights=4096),
                        (Input("op1"),),
                    ),
                    Op(
                        "op3",
                        {"cpu": 3.0, "gpu": 2.0},
                        inputs=(Input("op2", 4096), Input("op1")),
                        colocate="g1",
                        devices=("gpu",),
                        attrs={"shape": [8, 3], "flops": 12.5, "fused": True, "note": None},
                    ),
                ),
                weight=1.5,
                release=2.0,
            ),
            Model(
                "7",
                (
                    Op("1", {"cpu": 1.0}, devices=("cpu0",)),
                    Op("2", {"cpu": 1.0}, inputs=(Input("1"),), devices=("cpu",)),
                ),
            ),
        ),
    )
    assert problem.cluster == Cluster(
        devices=(
            Device("cpu0", "cpu", slots=8),
            Device("gpu0", "gpu", 11 * 2**30, 0.9, copy_engine=False),
            Device("gpu1", "gpu", 2 * 10**9),
        ),
        links=(
            Link("cpu", "gpu", 0.01, 12e9, duplex="half"),
            Link("gpu0", "gpu1", 0.02, 25e9, one_way=True),
            Link("gpu", "gpu", via="cpu0"),
        ),
        reference="cpu",
        contention="serial",
    )
    assert problem.memory_rule is MemoryRule.PEAK
    assert problem.objective is Objective.TOCT


def test_defaults(tmp_path: Path) -> None:
    text = """\
    schema: talos-graph/1
    cluster: {devices: [{id: a, kind: gpu}]}
    models: [{id: m, ops: [{id: x, time: {gpu: 1}}]}]
    """
    problem = read_text(tmp_path, text, "my.graph.yml")
    assert problem.graph == Graph("my.graph", (Model("m", (Op("x", {"gpu": 1.0}),)),), "us")
    assert problem.cluster == Cluster((Device("a", "gpu"),))
    assert problem.cluster.reference == "gpu"
    assert problem.memory_rule is MemoryRule.STATIC


def test_the_caller_chooses_the_objective(tmp_path: Path) -> None:
    assert read_text(tmp_path, FULL, objective="makespan").objective is Objective.MAKESPAN
    with pytest.raises(InputError, match="objective is 'fast', expected one of toct"):
        read_text(tmp_path, FULL, objective="fast")


def test_a_single_model_is_named_like_its_file(tmp_path: Path) -> None:
    text = """\
    schema: talos-graph/1
    cluster: {devices: [{id: a, kind: gpu}]}
    ops:
      - {id: x, time: {gpu: 1}}
    """
    problem = read_text(tmp_path, text, "net.json.yaml")
    assert (problem.graph.name, problem.graph.models[0].id) == ("net.json", "net.json")
    problem = read_text(tmp_path, f"name: other\n{text.replace('    ', '')}", "net.yaml")
    assert (problem.graph.name, problem.graph.models[0].id) == ("other", "net")


def test_numbers_as_text_and_yaml_traps(tmp_path: Path) -> None:
    text = """\
    schema: talos-graph/1
    cluster: {devices: [{id: no, kind: on, memory: 1e9, slots: "2"}]}
    models: [{id: yes, weight: "1e2", ops: [{id: off, time: {on: 1e3}, memory: "1.5 kB"}]}]
    """
    problem = read_text(tmp_path, text)
    assert problem.cluster.devices == (Device("no", "on", 10**9, slots=2),)
    op = Op("off", {"on": 1000.0}, Memory(1500))
    assert problem.graph.models == (Model("yes", (op,), weight=100.0),)


# ---- what is wrong in the values ---------------------------------------------------------------

OPS = "models.0.ops"
WRONG = [
    # path to spoil, value, path in the message, words in the message
    ("schema", DELETE, None, "has no schema, expected 'schema: talos-graph/1'"),
    ("schema", "talos-graph/2", "schema", "'talos-graph/2', expected 'talos-graph/1'"),
    ("schema", "talos-schedule/1", "schema", "'talos-schedule/1', expected 'talos-graph/1'"),
    ("extra", 1, "extra", "unknown key 'extra', expected one of cluster, description"),
    ("time_units", "ms", "time_units", "did you mean 'time_unit'?"),
    ("time_unit", "min", "time_unit", "'min', expected one of us, ms, s"),
    ("time_unit", ["ms"], "time_unit", "a list, expected text"),
    ("memory_rule", "dynamic", "memory_rule", "'dynamic', expected one of static, peak"),
    ("memory_rule", {}, "memory_rule", "a mapping, expected text"),
    ("name", None, "name", "name is empty, expected a name"),
    ("name", True, "name", "name is True, expected a name"),
    ("description", 5, "description", "5, expected text"),
    ("known", [1], "known", "a list, expected a mapping"),
    ("known", {"toct": math.inf}, "known.toct", "inf, expected a finite number"),
    ("ops", [], "ops", "models and ops, expected one of them"),
    ("models", DELETE, None, "no models"),
    ("models", [], "models", "no models, expected at least one"),
    ("models", {}, "models", "a mapping, expected a list"),
    ("models.0", 5, "models[0]", "a model is 5, expected a mapping"),
    ("models.0.id", "a/b", "models[0].id", "'a/b' must be non-empty and hold no '/'"),
    ("models.0.id", "", "models[0].id", "'', expected a name"),
    ("models.0.id", DELETE, "models[0]", "no 'id'"),
    ("models.0.weight", -1, "models[0].weight", "-1, expected a number of at least 0"),
    ("models.0.weight", True, "models[0].weight", "True, expected a number"),
    ("models.0.release", "12:30", "models[0].release", "'12:30', expected a number"),
    ("models.0.release", math.nan, "models[0].release", "nan, expected a finite number"),
    ("models.0.ops", [], "models[0].ops", "no ops, expected at least one"),
    ("models.0.ops", DELETE, "models[0]", "a model has no 'ops'"),
    ("models.0.priority", 1, "models[0].priority", "unknown key 'priority'"),
    (f"{OPS}.1", "b", "models[0].ops[1]", "an op is 'b', expected a mapping"),
    (f"{OPS}.1.id", "a", "models[0].ops[1].id", "'a' is used twice in model 'm1'"),
    (f"{OPS}.1.id", None, "models[0].ops[1].id", "empty, expected a name"),
    (f"{OPS}.1.id", False, "models[0].ops[1].id", "False, expected a name"),
    (f"{OPS}.1.id", 1.5, "models[0].ops[1].id", "1.5, expected a name (put it in quotes)"),
    (f"{OPS}.1.type", 3, "models[0].ops[1].type", "3, expected text"),
    (f"{OPS}.1.time", DELETE, "models[0].ops[1]", "an op has no 'time'"),
    (f"{OPS}.1.time", 5, "models[0].ops[1].time", "5, expected a mapping from device kind or id"),
    (f"{OPS}.1.time", {}, "models[0].ops[1].time", "can run on no device"),
    (f"{OPS}.1.time", {"tpu": 1}, "models[0].ops[1].time", "can run on no device"),
    (f"{OPS}.1.time.cpu", -1, "models[0].ops[1].time.cpu", "-1, expected a number of at least 0"),
    (f"{OPS}.1.time.cpu", math.nan, "models[0].ops[1].time.cpu", "nan, expected a finite"),
    (f"{OPS}.1.time.cpu", math.inf, "models[0].ops[1].time.cpu", "inf, expected a finite"),
    (f"{OPS}.1.time.cpu", "nan", "models[0].ops[1].time.cpu", "'nan', expected a finite"),
    (f"{OPS}.1.time.cpu", "fast", "models[0].ops[1].time.cpu", "'fast', expected a number"),
    (f"{OPS}.1.time.cpu", None, "models[0].ops[1].time.cpu", "empty, expected a number"),
    (f"{OPS}.1.time.cpu", [1], "models[0].ops[1].time.cpu", "a list, expected a number"),
    (f"{OPS}.1.tiem", 1, "models[0].ops[1].tiem", "did you mean 'time'?"),
    (f"{OPS}.1.memory", "4 parsec", "models[0].ops[1].memory", "'4 parsec', expected a number of"),
    (f"{OPS}.1.memory", "4kib", "models[0].ops[1].memory", "'4kib'"),
    (f"{OPS}.1.memory", -4, "models[0].ops[1].memory", "-4, expected a number of at least 0"),
    (f"{OPS}.1.memory", 10**18, "models[0].ops[1].memory", "expected at most"),
    (f"{OPS}.2.memory", "2GiB", "models[0].ops[2].memory", "gpu0 512.00 MiB"),
    (f"{OPS}.1.memory", None, "models[0].ops[1].memory", "empty"),
    (f"{OPS}.0.memory.output", True, "models[0].ops[0].memory.output", "True"),
    (f"{OPS}.0.memory.size", 1, "models[0].ops[0].memory.size", "output, weights, workspace"),
    (f"{OPS}.1.inputs", "a", "models[0].ops[1].inputs", "'a', expected a list"),
    (f"{OPS}.1.inputs", None, "models[0].ops[1].inputs", "empty, expected a list"),
    (f"{OPS}.1.inputs", ["x"], "models[0].ops[1].inputs[0]", "'b' reads 'x', which model"),
    (f"{OPS}.1.inputs", ["b"], "models[0].ops[1].inputs", "cycle: b -> b"),
    (f"{OPS}.1.inputs", ["c"], "models[0].ops[2].inputs", "has a cycle"),
    (f"{OPS}.1.inputs", ["a", "a"], "models[0].ops[1].inputs[1]", "lists input 'a' twice"),
    (f"{OPS}.1.inputs", [None], "models[0].ops[1].inputs[0]", "empty, expected a name"),
    (f"{OPS}.2.inputs.0.bytes", -1, "models[0].ops[2].inputs[0].bytes", "-1"),
    (f"{OPS}.2.inputs.0.op", DELETE, "models[0].ops[2].inputs[0]", "an input has no 'op'"),
    (f"{OPS}.2.inputs.0.size", 1, "models[0].ops[2].inputs[0].size", "expected one of bytes, op"),
    (f"{OPS}.2.colocate", [], "models[0].ops[2].colocate", "a list, expected a name"),
    (f"{OPS}.2.devices", [], "models[0].ops[2].devices", "empty list, expected at least one"),
    (f"{OPS}.2.devices", ["tpu"], "models[0].ops[2].devices[0]", "pinned to 'tpu'"),
    (f"{OPS}.2.devices", ["cpu0"], "models[0].ops[2].time", "can run on no device"),
    (f"{OPS}.2.devices", {"gpu": 1}, "models[0].ops[2].devices", "a mapping, expected a name"),
    (f"{OPS}.2.device", "gpu0", "models[0].ops[2]", "device and devices, expected one"),
    (f"{OPS}.2.slots", 0, "models[0].ops[2].slots", "0, expected a number above 0"),
    (f"{OPS}.2.slots", 1.5, "models[0].ops[2].slots", "1.5, expected a whole number"),
    (f"{OPS}.2.slots", 3, "models[0].ops[2].time", "needs 3 slot(s)"),
    (f"{OPS}.2.attrs", "x", "models[0].ops[2].attrs", "'x', expected a mapping"),
    (f"{OPS}.2.attrs.shape", [1, math.nan], "models[0].ops[2].attrs.shape[1]", "nan"),
    # ---- the cluster
    ("cluster", DELETE, None, "has no cluster"),
    ("cluster", 5, "cluster", "the cluster is 5, expected a mapping"),
    ("cluster", "nowhere.yaml", "cluster", "nowhere.yaml does not exist"),
    ("cluster.schema", "talos-graph/1", "cluster.schema", "expected 'talos-cluster/1'"),
    ("cluster.description", 1, "cluster.description", "1, expected text"),
    ("cluster.deices", [], "cluster.deices", "did you mean 'devices'?"),
    ("cluster.reference", "tpu", "cluster.reference", "'tpu', expected a device kind (cpu, gpu)"),
    ("cluster.contention", "some", "cluster.contention", "'some', expected none or serial"),
    ("cluster.devices", DELETE, "cluster", "no 'devices'"),
    ("cluster.devices", [], "cluster.devices", "no devices, expected at least one"),
    ("cluster.devices", {}, "cluster.devices", "a mapping, expected a list"),
    ("cluster.devices.1", "gpu", "cluster.devices[1]", "'gpu', expected a mapping"),
    ("cluster.devices.1.id", "cpu0", "cluster.devices[1].id", "'cpu0' is used twice"),
    ("cluster.devices.1.id", "cpu", "cluster.devices[1].id", "both a device id and another"),
    ("cluster.devices.1.id", DELETE, "cluster.devices[1]", "a device has no 'id'"),
    ("cluster.devices.1.kind", None, "cluster.devices[1].kind", "empty, expected a name"),
    ("cluster.devices.1.memory", "lots", "cluster.devices[1].memory", "'lots', expected"),
    ("cluster.devices.1.memory", None, "cluster.devices[1].memory", "empty, expected a number"),
    ("cluster.devices.1.memory_fraction", 0, "cluster.devices[1].memory_fraction", "above 0"),
    ("cluster.devices.1.memory_fraction", 1.1, "cluster.devices[1].memory_fraction", "at most 1"),
    ("cluster.devices.1.slots", 0, "cluster.devices[1].slots", "above 0"),
    ("cluster.devices.1.slots", "many", "cluster.devices[1].slots", "'many', expected a number"),
    ("cluster.devices.1.copy_engine", "no", "cluster.devices[1].copy_engine", "true or false"),
    ("cluster.devices.1.copy_engine", 1, "cluster.devices[1].copy_engine", "true or false"),
    ("cluster.devices.1.speed", 2, "cluster.devices[1].speed", "unknown key 'speed'"),
    ("cluster.links", None, "cluster.links", "empty, expected a list"),
    ("cluster.links.0", [], "cluster.links[0]", "a list, expected a mapping"),
    ("cluster.links.0.between", "cpu", "cluster.links[0].between", "'cpu', expected a list"),
    ("cluster.links.0.between", ["cpu"], "cluster.links[0].between", "1 ends, expected two"),
    ("cluster.links.0.between", ["cpu", 1.5], "cluster.links[0].between[1]", "1.5"),
    ("cluster.links.0.between", ["cpu", "tpu"], "cluster.links[0]", "'tpu' is not a device"),
    ("cluster.links.0.between", DELETE, "cluster.links[0]", "no ends, expected between"),
    ("cluster.links.0.from", "cpu", "cluster.links[0]", "between and from, expected between"),
    ("cluster.links.0.bandwidth", 0, "cluster.links[0].bandwidth", "0, expected a number above 0"),
    ("cluster.links.0.bandwidth", "0GB/s", "cluster.links[0].bandwidth", "above 0"),
    ("cluster.links.0.bandwidth", -5, "cluster.links[0].bandwidth", "-5"),
    ("cluster.links.0.bandwidth", "12Gb/s", "cluster.links[0].bandwidth", "such as 12GB/s"),
    ("cluster.links.0.bandwidth", math.inf, "cluster.links[0].bandwidth", "inf, expected"),
    ("cluster.links.0.latency", -1, "cluster.links[0].latency", "-1"),
    ("cluster.links.0.duplex", "both", "cluster.links[0].duplex", "'both', expected full or half"),
    ("cluster.links.0.via", "cpu0", "cluster.links[0].latency", "has no latency of its own"),
    ("cluster.links.0.speed", 1, "cluster.links[0].speed", "unknown key 'speed'"),
    ("cluster.links.0", {"between": ["cpu", "gpu"], "via": "x"}, "cluster.links[0].via", "'x'"),
]


@pytest.mark.parametrize(("where", "value", "path", "words"), WRONG)
def test_wrong_values(tmp_path: Path, where: str, value: Any, path: str | None, words: str) -> None:
    document = small()
    spoil(document, where, value)
    error = complaint(tmp_path, json.dumps(document, indent=1), "graph.json")
    assert words in error.message
    assert error.path == path
    assert error.source == str(tmp_path / "graph.json")
    if path is not None and "." in path:
        assert error.line is not None
        assert error.line > 1


def test_a_link_one_way_needs_both_ends(tmp_path: Path) -> None:
    document = small()
    document["cluster"]["links"] = [{"from": "cpu0", "latency": 1}]
    error = complaint(tmp_path, json.dumps(document))
    assert "a link has from, expected between: [a, b], or from: a and to: b" in error.message


def test_via_without_hops(tmp_path: Path) -> None:
    document = small()
    document["cluster"]["devices"].append({"id": "gpu1", "kind": "gpu"})
    document["cluster"]["links"] = [{"between": ["gpu", "gpu"], "via": "cpu0"}]
    error = complaint(tmp_path, json.dumps(document))
    assert "gpu0 -> gpu1 goes via cpu0, but there is no direct link gpu0 -> cpu0" in str(error)
    assert error.path == "cluster.links[0].via"


def test_two_models_of_one_name(tmp_path: Path) -> None:
    document = small()
    document["models"] *= 2
    error = complaint(tmp_path, json.dumps(document))
    assert error.path == "models[1].id"


@pytest.mark.parametrize("document", [[], 5, "text", None, True])
def test_no_mapping(tmp_path: Path, document: Any) -> None:
    error = complaint(tmp_path, json.dumps(document), "graph.json")
    assert "expected a mapping" in error.message


def test_the_line_of_a_value_in_yaml(tmp_path: Path) -> None:
    text = FULL.replace("time: {cpu: 3, gpu: 2}", "time:\n          cpu: 3\n          gpu: -2")
    error = complaint(tmp_path, text)
    where = f"{tmp_path / 'graph.yaml'}:27: models[0].ops[2].time.gpu: "
    assert str(error) == f"{where}time of op 'op3' is -2, expected a number of at least 0"


def test_paths_in_a_file_of_one_model(tmp_path: Path) -> None:
    text = """\
schema: talos-graph/1
cluster: {devices: [{id: a, kind: gpu, memory: 1kB}]}
ops:
  - {id: x, time: {gpu: 1}}
  - {id: y, time: {gpu: 1}, inputs: [x]%s}
"""
    cases = [
        (", memory: 2kB", "ops[1].memory", "more than any device"),
        (", slots: x", "ops[1].slots", "'x'"),
        (", devices: b", "ops[1].devices[0]", "pinned to 'b'"),
    ]
    for addition, path, words in cases:
        error = complaint(tmp_path, text % addition)
        assert (error.path, error.line) == (path, 5)
        assert words in error.message
    error = complaint(tmp_path, (text % "").replace("[x]", "[z]"))
    assert (error.path, error.line) == ("ops[1].inputs[0]", 5)


# ---- what is wrong with the file ---------------------------------------------------------------


def test_a_file_cut_in_the_middle(tmp_path: Path) -> None:
    for name, text in (
        ("graph.yaml", FULL[: FULL.index("gpu: 3") + 3]),
        ("graph.json", json.dumps(small(), indent=1)[:700]),
    ):
        error = complaint(tmp_path, text, name)
        assert isinstance(error, FormatError)
        assert error.line is not None
        assert abs(error.line - text.count("\n") - 1) <= 1


def test_a_yaml_bomb(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 100)]
    error = complaint(tmp_path, "schema: talos-graph/1\n" + "\n".join(lines))
    assert "aliases stand for more than" in error.message
    assert error.line is not None


@pytest.mark.parametrize("name", ["graph.yaml", "graph.json", "graph.txt"])
def test_deep_nesting(tmp_path: Path, name: str) -> None:
    for unit in ("[", '{"a":'):
        error = complaint(tmp_path, unit * 100_000, name)
        assert "nested" in error.message


def test_deep_free_data(tmp_path: Path) -> None:
    document = small()
    document["known"] = {"x": json.loads("[" * 40 + "]" * 40)}
    error = complaint(tmp_path, json.dumps(document), "graph.json")
    assert "known is nested deeper than 32 levels" in error.message


def test_duplicate_keys(tmp_path: Path) -> None:
    error = complaint(tmp_path, FULL + "known: {}\n")
    assert "key 'known' is given twice" in error.message
    assert error.line == 36
    text = json.dumps(small(), indent=1).replace('"kind": "cpu"', '"id": "x"')
    error = complaint(tmp_path, text, "graph.json")
    assert "key 'id' is given twice" in error.message
    assert error.line == text[: text.index('"id": "x"')].count("\n") + 1


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xfe\xfa"])
def test_no_text(tmp_path: Path, data: bytes) -> None:
    for name in ("graph.yaml", "graph.json", "graph"):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(FormatError, match=name):
            read_problem(path)


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is a directory"):
        read_problem(tmp_path)


# ---- clusters in files of their own ------------------------------------------------------------

CLUSTER = """\
schema: talos-cluster/1
name: lab
description: one machine
devices:
  - {id: c, kind: cpu}
  - {id: g, kind: gpu}
"""
BARE = """\
schema: talos-graph/1
%smodels: [{id: m, ops: [{id: x, time: {gpu: 1}}]}]
"""


def put_cluster(tmp_path: Path, text: str = CLUSTER) -> Path:
    folder = tmp_path / "clusters"
    folder.mkdir(exist_ok=True)
    path = folder / "lab.yaml"
    path.write_text(text)
    return path


def test_cluster_file_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_cluster(tmp_path)
    expected = Cluster((Device("c", "cpu"), Device("g", "gpu")))
    assert read_text(tmp_path, BARE % "cluster: clusters/lab.yaml\n").cluster == expected
    monkeypatch.chdir(tmp_path)
    assert read_problem("graph.yaml").cluster == expected


def test_absolute_cluster_file(tmp_path: Path) -> None:
    path = put_cluster(tmp_path)
    assert len(read_text(tmp_path, BARE % f"cluster: {path}\n").cluster.devices) == 2


def test_a_given_cluster_takes_the_place_of_the_files_own(tmp_path: Path) -> None:
    path = put_cluster(tmp_path)
    for own in ("", "cluster: nowhere.yaml\n", "cluster: 5\n"):
        problem = read_text(tmp_path, BARE % own, cluster=path)
        assert problem.device_ids == ("c", "g")
        assert read_problem(tmp_path / "graph.yaml", cluster=problem.cluster) == problem


def test_errors_in_a_cluster_file_name_that_file(tmp_path: Path) -> None:
    path = put_cluster(tmp_path, CLUSTER.replace("kind: gpu", "kind: gpu, slots: 0"))
    for options in ({}, {"cluster": path}):
        with pytest.raises(GraphError) as caught:
            read_text(tmp_path, BARE % "cluster: clusters/lab.yaml\n", **options)
        assert (caught.value.source, caught.value.line) == (str(path), 6)
        assert caught.value.path == "devices[1].slots"


def test_errors_between_graph_and_cluster_name_the_graph(tmp_path: Path) -> None:
    put_cluster(tmp_path)
    text = (BARE % "cluster: clusters/lab.yaml\n").replace("gpu: 1", "tpu: 1")
    error = complaint(tmp_path, text)
    assert error.path == "models[0].ops[0].time"
    assert error.line == 3


def test_a_missing_cluster_file_names_both(tmp_path: Path) -> None:
    error = complaint(tmp_path, BARE % "cluster: nowhere.yaml\n")
    assert error.source == str(tmp_path / "graph.yaml")
    assert error.line == 2
    assert str(tmp_path / "nowhere.yaml") in error.message
    with pytest.raises(FormatError, match=r"^nowhere\.yaml: does not exist"):
        read_text(tmp_path, BARE % "", cluster="nowhere.yaml")


def test_a_graph_is_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="'talos-graph/1', expected 'talos-cluster/1'"):
        read_text(tmp_path, FULL, cluster=tmp_path / "graph.yaml")
