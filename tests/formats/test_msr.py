"""Workloads of the NeurIPS 2020 paper."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Memory
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.formats import read_problem, write_problem

from .samples import DELETE, MSR, SHARED, msr, needs_msr, spoil


def read(tmp_path: Path, document: Any, **options: Any) -> Problem:
    path = tmp_path / "work.json"
    path.write_text(json.dumps(document, indent=1))
    return read_problem(path, **options)


def test_latency_workload(tmp_path: Path) -> None:
    problem = read(tmp_path, MSR)
    assert problem.objective is Objective.MAKESPAN
    assert problem.memory_rule is MemoryRule.STATIC
    assert problem.graph.name == problem.graph.models[0].id == "work"
    assert problem.graph.time_unit == "ms"
    assert problem.cluster.devices == (
        Device("cpu0", "cpu", slots=4),
        Device("acc0", "acc", 1000),
        Device("acc1", "acc", 1000),
    )
    bandwidth = problem.cluster.links[0].bandwidth if problem.cluster.links else 0
    assert problem.cluster.links == (
        Link("cpu", "acc", bandwidth=bandwidth),
        Link("acc", "acc", via="cpu0"),
    )
    first, second, third, last = problem.ops
    assert [op.id for op in problem.ops] == ["10", "3", "4", "5"]
    assert first.time == {"cpu": 0.5}
    assert second.time == {"cpu": 10.0, "acc": 1.0}
    assert [op.memory for op in problem.ops] == [Memory(w) for w in (0, 600, 301, 200)]
    assert [op.colocate for op in problem.ops] == [None, "5", "5", None]
    assert [edge.op for edge in last.inputs] == ["3", "4"]
    assert first.attrs == {"name": "in"}
    assert first.phase == "forward"
    assert third.attrs == {}
    assert third.phase == "backward"


def test_throughput_workload(tmp_path: Path) -> None:
    for objective in ("bottleneck", Objective.BOTTLENECK):
        problem = read(tmp_path, MSR, objective=objective)
        assert problem.objective is Objective.BOTTLENECK
        assert [device.copy_engine for device in problem.cluster.devices] == [True, False, False]
    assert all(d.copy_engine for d in read(tmp_path, MSR, objective="toct").cluster.devices)


def costs(problem: Problem, document: dict[str, Any]) -> list[tuple[float, float]]:
    """Return the file's cost and the time of a hop between host and accelerator, per edge."""
    arrays = problem.arrays
    found = {
        (problem.ops[s].id, problem.ops[t].id): arrays.transfer_time(0, 1, int(size))
        for s, t, size in zip(arrays.edge_src, arrays.edge_dst, arrays.edge_bytes, strict=True)
    }
    edges = document["edges"]
    return [(e["cost"], found[str(e["sourceId"]), str(e["destId"])]) for e in edges]


def test_a_hop_takes_the_cost(tmp_path: Path) -> None:
    problem = read(tmp_path, MSR)
    for cost, time in costs(problem, MSR):
        assert time == pytest.approx(cost, rel=0, abs=0.3 * 2**-39)
    arrays = problem.arrays
    assert arrays.path(1, 2) == ((1, 0), (0, 2))
    assert arrays.transfer_time(1, 0, 99) == arrays.transfer_time(0, 1, 99)


@pytest.mark.parametrize(
    ("given", "exact"),
    [
        ((1000 * 12345 / 2**31, 0.0, 1000 / 2**31), True),  # bytes at 2 GiB/s
        ((1000 * 3 / 2**34, 174.0), False),
        ((0.5, 0.125, 191.375, 0.0), True),  # short in binary
        ((2.0**-30, 1023.0), True),
        ((0.0, 0.0, 0.0), True),
        ((2.0**-30, 2.0**30), False),
        ((1e-140, 2e-140), False),
        ((1e140, 3.0), False),
        ((1e-150, 1.0), False),
    ],
)
def test_costs_of_every_size(tmp_path: Path, given: tuple[float, ...], exact: bool) -> None:
    document = msr()
    for edge, cost in zip(document["edges"], (*given, *given[:2]), strict=False):
        edge["cost"] = cost
    problem = read(tmp_path, document)
    tolerance = 0.0 if exact else max(given) * 2**-39 + 2.0**-480
    for cost, time in costs(problem, document):
        assert abs(time - cost) <= tolerance
    assert int(problem.arrays.edge_bytes.sum()) < 2**53


def test_an_edge_given_twice_counts_once_with_its_larger_cost(tmp_path: Path) -> None:
    document = msr()
    document["edges"].append({"sourceId": 3, "destId": 4, "cost": 0.75})
    problem = read(tmp_path, document)
    assert len(problem.arrays.edge_src) == 4
    assert costs(problem, document)[-1][1] == pytest.approx(0.75)


def test_without_cores_or_accelerators(tmp_path: Path) -> None:
    document = msr()
    document["maxCPUs"] = 0
    with pytest.raises(InputError, match="op work/10 can run on no device"):
        read(tmp_path, document)
    document["nodes"][0]["supportedOnFpga"] = 1
    problem = read(tmp_path, document)
    assert not np.isfinite(problem.arrays.time[:, 0]).any()
    document = msr()
    document["maxFPGAs"] = 0
    assert read(tmp_path, document).device_ids == ("cpu0",)


def test_another_cluster(tmp_path: Path) -> None:
    cluster = Cluster((Device("h", "cpu"), Device("a", "acc")))
    assert read(tmp_path, MSR, cluster=cluster).cluster == cluster


def test_format_by_name_and_by_content(tmp_path: Path) -> None:
    assert read(tmp_path, MSR, format="msr") == read(tmp_path, MSR)
    with pytest.raises(InputError, match="has no schema"):
        read(tmp_path, MSR, format="talos")
    with pytest.raises(InputError, match="the workload has no 'nodes'"):
        read(tmp_path, {"schema": "talos-graph/1"}, format="msr")


@pytest.mark.parametrize("name", ["graph.yaml", "graph.json.gz"])
def test_converts_to_the_projects_own_format(tmp_path: Path, name: str) -> None:
    for objective in ("makespan", "bottleneck"):
        problem = read(tmp_path, MSR, objective=objective)
        write_problem(problem, tmp_path / name)
        assert read_problem(tmp_path / name, objective=objective) == problem


WRONG = [
    ("maxCPUs", DELETE, None, "the workload has no 'maxCPUs'"),
    ("maxCPUs", 1.5, "maxCPUs", "1.5, expected a whole number"),
    ("maxFPGAs", -1, "maxFPGAs", "-1, expected a number of at least 0"),
    ("maxFPGAs", 10**9, "maxFPGAs", "expected a whole number up to 10000"),
    ("maxSizePerFPGA", "big", "maxSizePerFPGA", "'big', expected a number of bytes"),
    ("nodes", {}, "nodes", "a mapping, expected a list"),
    ("nodes", [], "edges[0].sourceId", "'10', expected the id of a node"),
    ("nodes.1", 5, "nodes[1]", "a node is 5, expected a mapping"),
    ("nodes.1.id", DELETE, "nodes[1]", "a node has no 'id'"),
    ("nodes.1.id", None, "nodes[1].id", "empty, expected a name"),
    ("nodes.1.cpuLatency", DELETE, "nodes[1]", "no 'cpuLatency'"),
    ("nodes.1.cpuLatency", math.nan, "nodes[1].cpuLatency", "nan, expected a finite number"),
    ("nodes.1.fpgaLatency", -1, "nodes[1].fpgaLatency", "-1, expected"),
    ("nodes.1.supportedOnFpga", "yes", "nodes[1].supportedOnFpga", "'yes', expected 0, 1"),
    ("nodes.1.size", -1, "nodes[1].size", "-1, expected"),
    ("nodes.1.colorClass", [], "nodes[1].colorClass", "a list, expected a name"),
    ("nodes.1.note", math.inf, "nodes[1].note", "inf, expected a finite number"),
    ("edges", 5, "edges", "5, expected a list"),
    ("edges.1", [], "edges[1]", "an edge is a list"),
    ("edges.1.cost", DELETE, "edges[1]", "an edge has no 'cost'"),
    ("edges.1.cost", -0.5, "edges[1].cost", "-0.5, expected"),
    ("edges.1.destId", 77, "edges[1].destId", "'77', expected the id of a node"),
    ("edges.1.sourceId", 5, "nodes[3].inputs", "has a cycle"),
]


@pytest.mark.parametrize(("where", "value", "path", "words"), WRONG)
def test_wrong_values(tmp_path: Path, where: str, value: Any, path: str | None, words: str) -> None:
    document = msr()
    spoil(document, where, value)
    with pytest.raises(InputError) as caught:
        read(tmp_path, document)
    error = caught.value
    assert words in error.message
    assert error.path == path
    assert error.source == str(tmp_path / "work.json")
    assert (error.line is not None) == (path is not None)


def test_two_nodes_of_one_id(tmp_path: Path) -> None:
    document = msr()
    document["nodes"].append(document["nodes"][1])
    with pytest.raises(InputError, match="'3' is used twice") as caught:
        read(tmp_path, document)
    assert caught.value.path == "nodes[4].id"


def test_a_node_too_big_for_every_device(tmp_path: Path) -> None:
    document = msr()
    document["maxCPUs"] = 0
    document["nodes"][0]["supportedOnFpga"] = 1
    document["nodes"][2]["size"] = 1001
    with pytest.raises(InputError, match=r"\(1001 bytes\)") as caught:
        read(tmp_path, document)
    assert caught.value.path == "nodes[2].memory"


# ---- the public files --------------------------------------------------------------------------

NAMES = (
    sorted(path.relative_to(SHARED / "msr") for path in (SHARED / "msr").glob("*/*.json"))
    if (SHARED / "msr").is_dir()
    else []
)


@needs_msr
@pytest.mark.parametrize("name", NAMES, ids=str)
def test_public_workloads(name: Path) -> None:
    path = SHARED / "msr" / name
    throughput = name.parts[0] == "throughput"
    problem = read_problem(path, objective="bottleneck" if throughput else None)
    document = json.loads(path.read_text())
    assert problem.arrays.op_count == len(document["nodes"])
    assert len(problem.arrays.edge_src) == len(document["edges"])
    assert problem.arrays.device_count == 1 + document["maxFPGAs"]
    assert problem.cluster.devices[0].slots == document["maxCPUs"]
    assert {d.memory for d in problem.cluster.devices[1:]} == {int(document["maxSizePerFPGA"])}
    assert {d.copy_engine for d in problem.cluster.devices[1:]} == {not throughput}
    assert all(cost == time for cost, time in costs(problem, document))
    colors = [node.get("colorClass") for node in document["nodes"]]
    alone = colors.count(None)
    assert problem.arrays.group_count == len({*colors} - {None}) + alone
