"""Kubernetes manifests: amounts by hand, names that are legal, and Kubernetes' own schemas."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import talos_opt
from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats import kubernetes
from talos_opt.formats.kubernetes import Manifests, Settings, Shares, manifests, write_manifests
from talos_opt.formats.kubernetes_names import exact_quantity, legal_name, unique_names
from talos_opt.formats.kubernetes_needs import hundredths, model_needs
from tests.builders import device, op, problem, schedule

MODELS = sorted((Path(__file__).resolve().parents[2] / "models").glob("*.yaml"))
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def two_models() -> tuple[Problem, Schedule]:
    """Model a runs side by side on two slots of a CPU and on a GPU; b uses that GPU too."""
    given = problem(
        {
            "a": [
                op("x", 2, weights=2**20, output=64),
                op("y", 2, weights=2**20, output=64),
                op("z", 1, "x y", weights=1000, workspace=24),
            ],
            "b": [op("w", 3, weights=5000)],
        },
        [device("cpu0", slots=2), device("gpu0", 2**30)],
    )
    placed = schedule(
        given,
        {"a/x": ("cpu0", 0), "a/y": ("cpu0", 0), "a/z": ("gpu0", 2), "b/w": ("gpu0", 3)},
        [("a/x", "cpu0", "gpu0", 2, 2, 64), ("a/y", "cpu0", "gpu0", 2, 2, 64)],
    )
    return given, placed


RUN = {name: ["torch", f"nets:{name}", "--input", "4x3"] for name in "ab"}


def made(shares: str = "plain", run: Mapping[str, Any] = RUN, **more: Any) -> Manifests:
    settings = Settings("registry/nets:1", run, Shares(shares), **more)
    return manifests(*two_models(), settings)


def pod(item: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = item["spec"]
    return spec if item["kind"] == "SharePod" else spec["template"]["spec"]


def container(item: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod(item)["containers"]
    return dict(only)


def test_needs_are_slots_bytes_and_shares_of_the_load() -> None:
    first, second = model_needs(*two_models())
    cpu, gpu = first.devices
    assert (cpu.slots, cpu.bytes, cpu.load) == (2, 2 * (2**20 + 64), 1)
    assert (gpu.slots, gpu.bytes, gpu.load) == (1, 1024, Fraction(1, 4))
    assert (first.cores, first.host_bytes) == (2, 2 * (2**20 + 64))
    (other,) = second.devices
    assert (other.bytes, other.load) == (5000, Fraction(3, 4))
    assert (second.cores, second.host_bytes) == (1, 0)


def test_whole_gpus_are_asked_for_and_said_where_the_plan_shares_one() -> None:
    found = made()
    assert [item["kind"] for item in found.objects] == ["ConfigMap", "Job"] * 2
    assert [item["metadata"]["name"] for item in found.objects[1::2]] == ["test-a", "test-b"]
    first = container(found.objects[1])
    assert first["resources"] == {
        "requests": {"cpu": "2", "memory": str(2 * (2**20 + 64))},
        "limits": {"nvidia.com/gpu": "1"},
    }
    assert first["command"] == ["talos-opt", "run"]
    assert first["args"] == [
        *("torch", "nets:a", "--input", "4x3"),
        *("--schedule", "/etc/talos-opt/schedule.json", "--map", "gpu0=cuda:0"),
    ]
    assert container(found.objects[3])["resources"]["requests"] == {"cpu": "1"}
    (note,) = found.notes
    assert "2 GPUs in all, where the plan has 1" in note


def test_sharepods_have_the_annotations_of_kubeshare() -> None:
    found = made("kubeshare")
    for item, request, size in zip(
        found.objects[1::2], ("0.25", "0.75"), ("1024", "5000"), strict=True
    ):
        assert (item["apiVersion"], item["kind"]) == ("kubeshare.nthu/v1", "SharePod")
        annotations = item["metadata"]["annotations"]
        assert annotations["kubeshare/gpu_request"] == request
        assert annotations["kubeshare/gpu_limit"] == "1.0"
        assert annotations["kubeshare/gpu_mem"] == size
        assert "limits" not in container(item)["resources"]
    assert found.notes == ()


def test_hami_takes_mebibytes_and_percent() -> None:
    limits = [container(item)["resources"]["limits"] for item in made("hami").objects[1::2]]
    assert limits == [
        {"nvidia.com/gpu": "1", "nvidia.com/gpumem": "1", "nvidia.com/gpucores": percent}
        for percent in ("25", "75")
    ]


def test_config_maps_hold_the_schedule_of_one_model() -> None:
    given, _ = two_models()
    first = made().objects[0]
    document = json.loads(first["data"]["schedule.json"])
    assert {row["model"] for row in document["ops"]} == {"a"}
    assert [(row["op"], row["bytes"]) for row in document["transfers"]] == [("x", 64), ("y", 64)]
    assert document["graph"] == given.graph.name
    assert pod(made().objects[1])["volumes"][0]["configMap"]["name"] == "test-a"


def test_long_schedules_are_packed_and_too_long_ones_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = made().objects[0]["data"]["schedule.json"]
    monkeypatch.setattr(kubernetes, "_MOST_TEXT", 100)
    packed = made()
    data = base64.b64decode(packed.objects[0]["binaryData"]["schedule.json.gz"])
    assert gzip.decompress(data).decode() == text
    assert "/etc/talos-opt/schedule.json.gz" in container(packed.objects[1])["args"]
    monkeypatch.setattr(kubernetes, "MOST_BYTES", 50)
    with pytest.raises(InputError, match=r"model 'a' takes .* bytes packed, expected at most 50"):
        made()


def test_a_model_goes_to_the_node_of_its_devices() -> None:
    both = made(nodes={"cpu0": "n1", "gpu0": "n1"})
    for item in both.objects[1::2]:
        assert pod(item)["nodeSelector"] == {"kubernetes.io/hostname": "n1"}
    assert "nodeSelector" not in pod(made().objects[1])
    with pytest.raises(InputError, match="cpu0 on n1, gpu0 on any node"):
        made(nodes={"cpu0": "n1"})
    with pytest.raises(InputError, match="the name of a node is 'n 1'"):
        made(nodes={"cpu0": "n 1"})


def test_arguments_are_taken_literally_and_a_map_stays() -> None:
    words = ["torch", "nets:a", "--input", "$(HOME)", "--map", "gpu0=cpu"]
    args = container(made(run=RUN | {"a": words}).objects[1])["args"]
    assert expanded(args[3]) == "$(HOME)"
    assert args.count("--map") == 1


@pytest.mark.parametrize("word", ["$(HOME)", "$$(HOME)", "a$$b", "$X", "c$", "$$", "a$b(c)", "$(x"])
def test_no_dollar_of_an_argument_is_expanded(word: str) -> None:
    words = ["torch", "nets:a", "--input", word]
    assert expanded(container(made(run=RUN | {"a": words}).objects[1])["args"][3]) == word


def expanded(text: str) -> str:
    """What Kubernetes makes of an argument (docs of `EnvVar` and `Container.args`)."""
    variables = {"HOME": "/root"}

    def meant(found: re.Match[str]) -> str:
        name = found.group(1)
        return "$" if name is None else variables.get(name, found.group())

    return re.sub(r"\$(?:\$|\(([^)]*)\))", meant, text)


def test_processors_that_are_called_otherwise_are_mapped() -> None:
    given = problem([op("x", {"host": 1, "cpu": 1})], [talos_opt.Device("host", "cpu")])
    placed = schedule(given, {"x": ("host", 0)})
    for framework, expected in (("torch", "host=cpu"), ("tensorflow", "host=cpu:0")):
        found = manifests(given, placed, Settings("i", {"m": [framework, "a:b"]}))
        assert container(found.objects[1])["args"][-2:] == ["--map", expected]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": {"a": RUN["a"]}}, "it is not said what model 'b' runs"),
        ({"run": RUN | {"c": RUN["a"]}}, "no model 'c', expected one of a, b"),
        ({"run": RUN | {"a": ["jax", "nets:a"]}}, "model 'a' runs 'jax nets:a', expected a fram"),
        ({"run": RUN | {"a": ["torch"]}}, "expected a framework"),
        ({"run": RUN | {"a": ["torch", "a:b", "--schedule", "x"]}}, "runs with --schedule"),
    ],
)
def test_what_jobs_run_is_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(**changes)


def test_images_are_named_in_one_word() -> None:
    for image in ("", "a b"):
        with pytest.raises(InputError, match="expected the name of a container image"):
            Settings(image, RUN)


def test_a_share_is_of_one_gpu() -> None:
    given = problem([op("x", 1), op("y", 1)], "gpu0 gpu1")
    placed = schedule(given, {"x": ("gpu0", 0), "y": ("gpu1", 0)})
    run = {"m": ["torch", "a:b"]}
    with pytest.raises(InputError, match=r"model 'm' uses 2 GPUs \(gpu0, gpu1\): a SharePod"):
        manifests(given, placed, Settings("i", run, Shares.KUBESHARE))
    job = manifests(given, placed, Settings("i", run, Shares.HAMI)).objects[1]
    assert container(job)["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert container(job)["args"][-1] == "gpu0=cuda:0,gpu1=cuda:1"


def test_memory_that_models_use_in_turn_is_pointed_out() -> None:
    ops = {name: [op("x", 1, workspace=60)] for name in "ab"}
    given = problem(ops, [device("gpu0", 100)])
    placed = schedule(given, {"a/x": ("gpu0", 0), "b/x": ("gpu0", 1)})
    notes = manifests(given, placed, Settings("i", RUN, Shares.HAMI)).notes
    assert notes == (
        "the Jobs on gpu0 ask for 120 bytes together, where it has 100: in the plan models use "
        "the same memory one after the other",
    )


# ---- names, quantities, text --------------------------------------------------------------


@given(st.lists(st.text(max_size=12), min_size=2, max_size=2, unique=True))
def test_names_are_labels_and_differ(texts: list[str]) -> None:
    first, second = map(legal_name, texts)
    assert LABEL.fullmatch(first)
    assert LABEL.fullmatch(second)
    assert first != second


@pytest.mark.parametrize(
    ("parts", "start"),
    [
        (("graph", "model-1"), "graph-model-1"),
        (("Graph", "ResNet_50"), "graph-resnet-50-"),
        (("Übung", "模型"), "ubung-"),
        (("模型",), "model-"),
        (("a" * 60, "b" * 60), "a" * 54 + "-"),
        (("-x-",), "x-"),
    ],
)
def test_what_is_legal_of_a_name_stays(parts: tuple[str, ...], start: str) -> None:
    name = legal_name(*parts)
    assert name.startswith(start)
    assert LABEL.fullmatch(name)


def test_parts_are_told_apart_and_taken_names_numbered() -> None:
    assert legal_name("A-b", "c") != legal_name("A", "b-c")
    long = "x" * 63
    assert unique_names(["a-b", "a-b", long, long]) == ["a-b", "a-b-2", long, f"{'x' * 61}-2"]


@given(st.integers(0, 2**62))
def test_quantities_are_exact(size: int) -> None:
    match = re.fullmatch(r"(\d+)([KMGT]i)?", exact_quantity(size))
    assert match is not None
    unit = 1024 ** (["", "Ki", "Mi", "Gi", "Ti"].index(match[2] or ""))
    assert int(match[1]) * unit == size


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=120))
def test_hundredths_are_no_more_than_there_are(parts: list[int]) -> None:
    total = max(1, sum(parts))
    found = hundredths([Fraction(part, total) for part in parts])
    assert sum(found) <= max(100, len(parts))
    assert min(found) >= 1


@pytest.mark.parametrize("name", ["m.yaml", "m.json"])
def test_texts_stay_texts_for_any_reader(tmp_path: Path, name: str) -> None:
    awkward = ("1e3", "on", "0x1F", "12:30", "~", "null", "2024-01-01", "ü模", "a: b #c", ".inf")
    given = problem({text: [op("x")] for text in awkward}, "cpu0")
    placed = schedule(given, {f"{text}/x": ("cpu0", k) for k, text in enumerate(awkward)})
    run = {text: ["torch", "a:b", text] for text in awkward}
    found = manifests(given, placed, Settings("1e3", run))
    write_manifests(found, tmp_path / name)
    text = (tmp_path / name).read_text()
    if name.endswith("json"):
        assert json.loads(text)["items"] == list(found.objects)
        return
    assert list(yaml.safe_load_all(text)) == list(found.objects)
    assert 'image: "1e3"' in text  # a number in YAML 1.2


# ---- Kubernetes' own schemas --------------------------------------------------------------


@pytest.fixture(scope="module")
def validate() -> Any:
    """Validate an object strictly, for the newest three versions that there are schemas for."""
    utils = pytest.importorskip("kubernetes_validate.utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))
        versions = sorted(set(utils.all_versions()), key=lambda v: [*map(int, v.split("."))])[-3:]
        assert len(versions) == 3

        def check(item: dict[str, Any]) -> None:
            if item["kind"] == "SharePod":  # it has the spec of a pod
                item = item | {"apiVersion": "v1", "kind": "Pod"}
            for version in versions:
                utils.validate(item, version, strict=True)

        yield check


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_manifests_of_all_models_pass_kubernetes_schemas(path: Path, validate: Any) -> None:
    given = talos_opt.read(path)
    placed = talos_opt.solve(given, "single").schedule
    assert placed is not None
    run = {model: ["torch", "nets:net"] for model in given.graph.model_ids}
    for shares in Shares:
        found = manifests(given, placed, Settings("registry/nets:1", run, shares))
        assert found.count("ConfigMap") == len(run)
        assert found.count("Job") + found.count("SharePod") == len(run)
        for item in found.objects:
            assert LABEL.fullmatch(item["metadata"]["name"])
            validate(item)


def test_the_schemas_refuse_what_is_wrong(validate: Any) -> None:
    job = made().objects[1]
    validate(job)
    with pytest.raises(Exception, match="imagee"):
        validate(job | {"spec": {"template": {"spec": {"containers": [{"imagee": "x"}]}}}})
