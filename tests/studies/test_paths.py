"""Paths into a document: what they reach, what they leave alone, and what matches nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from talos_opt.core.errors import GraphError
from talos_opt.studies.paths import assign, leads_to


def document() -> dict[str, Any]:
    return {
        "name": "two",
        "prices": {},
        "cluster": {
            "reference": "gpu",
            "devices": [
                {"id": "cpu0", "kind": "cpu"},
                {"id": "gpu0", "kind": "gpu", "memory": 100},
                {"id": "gpu1", "kind": "gpu", "memory": 100},
            ],
            "links": [
                {"between": ["cpu", "gpu"], "bandwidth": 1e9},
                {"between": ["gpu", "gpu"], "via": "cpu0"},
            ],
        },
        "models": [
            {"id": "a", "weight": 1.0, "ops": [{"id": "x", "type": "Conv", "time": {"gpu": 4}}]},
            {"id": "b", "weight": 1.0, "ops": [{"id": "1", "time": {"cpu": 3}},
                                               {"id": "y", "time": {"cpu": 5.0}}]},
        ],
    }  # fmt: skip


def get(found: dict[str, Any], *steps: Any) -> Any:
    value: Any = found
    for step in steps:
        value = value[step]
    return value


@pytest.mark.parametrize(
    ("path", "value", "places"),
    [
        ("cluster.devices[gpu].memory", 7, {("cluster", "devices", 1, "memory"): 7,
                                            ("cluster", "devices", 2, "memory"): 7}),
        ("cluster.devices[gpu1].memory", 7, {("cluster", "devices", 1, "memory"): 100,
                                             ("cluster", "devices", 2, "memory"): 7}),
        ("cluster.devices[0].memory", 7, {("cluster", "devices", 0, "memory"): 7}),
        ("cluster.links[*].bandwidth", 2.0, {("cluster", "links", 0, "bandwidth"): 2.0}),
        ("cluster.links[cpu].latency", 3, {("cluster", "links", 0, "latency"): 3}),
        ("models[*].weight", 2, {("models", 0, "weight"): 2, ("models", 1, "weight"): 2}),
        ("models[*].ops[Conv].time.gpu", {"scale": 0.5},
         {("models", 0, "ops", 0, "time", "gpu"): 2}),
        ("models[b].ops[1].time[*]", 9, {("models", 1, "ops", 0, "time", "cpu"): 9,
                                         ("models", 1, "ops", 1, "time", "cpu"): 5.0}),
        ("models[b].ops[-1].time[cpu]", {"scale": 2}, {("models", 1, "ops", 1, "time", "cpu"): 10}),
        ("models[a].ops[x].memory.weights", 5, {("models", 0, "ops", 0, "memory", "weights"): 5}),
        ("prices.gpu", 2.5, {("prices", "gpu"): 2.5}),
        ("memory_rule", "peak", {("memory_rule",): "peak"}),
    ],
    ids=str,
)  # fmt: skip
def test_a_path_reaches(path: str, value: object, places: dict[tuple[Any, ...], object]) -> None:
    before = document()
    kept = copy.deepcopy(before)
    found = assign(before, path, value)
    assert {place: get(found, *place) for place in places} == places
    assert before == kept
    untouched = "models" if path.startswith("cluster") else "cluster"
    assert found[untouched] is before[untouched]


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("cluster.devices[tpu].memory", "matches nothing"),
        ("cluster.devices[7].memory", "matches nothing"),
        ("cluster.devices[gpu].memroy", "matches nothing"),
        ("cluster.device[gpu].memory", "matches nothing"),
        ("models[c].weight", "matches nothing"),
        ("models[*].ops[*].time.tpu", "matches nothing"),
        ("pipeline.microbatches", "matches nothing"),
        ("tpu", "matches nothing"),
        ("ops[*].time.gpu", "begins with 'ops'"),
        ("cluster..devices", "is not a path"),
        ("[0].cluster", "is not a path"),
        ("cluster.devices[gpu", "is not a path"),
    ],
)
def test_a_path_that_matches_nothing_is_refused(path: str, complaint: str) -> None:
    with pytest.raises(GraphError, match=complaint):
        assign(document(), path, 1)


def test_only_numbers_are_scaled() -> None:
    with pytest.raises(GraphError, match="expected a number to scale"):
        assign(document(), "cluster.reference", {"scale": 2})


def test_a_count_adds_devices_like_the_last_one() -> None:
    found = assign(document(), "gpu", 4)["cluster"]["devices"]
    assert [device["id"] for device in found] == ["cpu0", "gpu0", "gpu1", "gpu2", "gpu3"]
    assert {device["memory"] for device in found[1:]} == {100}


def test_a_count_takes_devices_and_their_links() -> None:
    one = document()
    one["cluster"]["links"].append({"from": "gpu0", "to": "gpu1"})
    found = assign(one, "gpu", 1)["cluster"]
    assert [device["id"] for device in found["devices"]] == ["cpu0", "gpu0"]
    assert len(found["links"]) == 2
    none = assign(one, "gpu", 0)["cluster"]
    assert [device["id"] for device in none["devices"]] == ["cpu0"]
    assert none["links"] == []
    assert "reference" not in none


def test_a_device_with_links_of_its_own_is_not_copied() -> None:
    one = document()
    one["cluster"]["links"].append({"from": "gpu0", "to": "gpu1"})
    with pytest.raises(GraphError, match="a link names device 'gpu1'"):
        assign(one, "gpu", 3)
    with pytest.raises(GraphError, match=r"count of 'gpu' is 1\.5"):
        assign(one, "gpu", 1.5)


@pytest.mark.parametrize(
    ("text", "place", "leads"),
    [
        ("cluster.devices[gpu].memory", "cluster.devices[1].memory", True),
        ("cluster.devices[gpu].memory", "cluster.devices[1].memory_fraction", False),
        ("models[*].ops[*].time.gpu", "models[0].ops[12].time.gpu", True),
        ("models[*].ops[*].memory.weights", "models[0].ops[12]", False),
        ("pipeline", "pipeline.microbatches", True),
        ("stages", "pipeline.stages", False),
    ],
)
def test_an_error_is_that_of_the_path_that_leads_to_its_place(
    text: str, place: str, leads: bool
) -> None:
    assert leads_to(text, place) is leads
