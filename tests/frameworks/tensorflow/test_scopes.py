"""Device scopes in a GraphDef: truly run across two devices; and the traces of such runs, read."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talos_opt.analysis.speedups import compare
from talos_opt.core.errors import FormatError
from talos_opt.formats.chrome_trace import read_trace

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed"
)

ROOT = Path(__file__).resolve().parents[3]
A, B = "/device:CPU:0", "/device:CPU:1"
#: Graphs by hand, {node: [type, inputs, colocated with]}, with scopes and what should come of them.
CASES: dict[str, dict[str, Any]] = {
    "folded nodes follow their readers": {
        "nodes": {
            "c": ["Const", []], "read": ["Identity", ["c"]], "x": ["Placeholder", []],
            "mul": ["Mul", ["x", "read"]], "end": ["Identity", ["mul:0", "^barrier"]],
            "barrier": ["NoOp", ["^read"]],
        },
        "scopes": {"mul": B},
    },
    "the first reader in the order of the graph": {
        "nodes": {"c": ["Const", []], "p": ["Neg", ["c"]], "q": ["Neg", ["c"]]},
        "scopes": {"p": B, "q": A},
    },
    "data before control": {
        "nodes": {"c": ["Const", []], "w": ["Neg", ["^c"]], "r": ["Neg", ["c:0"]]},
        "scopes": {"w": A, "r": B},
    },
    "who waits, where nobody reads": {
        "nodes": {"init": ["NoOp", []], "late": ["NoOp", ["^init"]], "w": ["Neg", ["^late"]]},
        "scopes": {"w": B},
    },
    "a loop": {
        "nodes": {
            "enter": ["Enter", []], "merge": ["Merge", ["enter", "next"]],
            "next": ["NextIteration", ["merge"]], "body": ["Neg", ["merge"]],
        },
        "scopes": {"body": B},
    },
    "colocation that contradicts": {
        "nodes": {
            "p": ["Neg", []], "q": ["Neg", [], "p"], "r": ["Neg", [], "p", "q"],
        },
        "scopes": {"p": A, "q": B, "r": A},
    },
    "a node that is not there": {"nodes": {"p": ["Neg", []]}, "scopes": {"p": A, "lost": B}},
    "the same, taken lightly": {
        "nodes": {"p": ["Neg", []]}, "scopes": {"p": A, "lost": B}, "strict": False,
    },
    "scopes of several models": {"nodes": {"p": ["Neg", []]}, "scopes": {"m": {"p": A}}},
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    real: dict[str, Any]
    variable: dict[str, Any]
    cases: dict[str, dict[str, Any]]
    folder: Path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("traces")
    done = subprocess.run(
        [sys.executable, "-m", "tests.frameworks.tensorflow.scoped_runs", str(folder)],
        input=json.dumps(list(CASES.values())),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout)
    cases = dict(zip(CASES, answer["cases"], strict=True))
    return Found(answer["real"], answer["variable"], cases, folder)


def test_a_frozen_graph_runs_across_two_devices(found: Found) -> None:
    real = found.real
    assert real["untouched"]  # the graph that was given
    assert {real["devices"][name] for name in real["ops"]} == {A, B}
    assert all(real["devices"][name] == device for name, device in real["scopes"].items())
    assert len(real["one"]["partitions"]) == 1
    parts = real["two"]["partitions"]
    assert set(parts) == {"device:CPU:0", "device:CPU:1"}
    for name, device in real["scopes"].items():
        assert name in parts[device.removeprefix("/")]
    assert np.allclose(real["one"]["output"], real["two"]["output"], rtol=1e-5)


def test_each_tensor_is_sent_once_to_the_other_device(found: Found) -> None:
    devices, nodes = found.real["devices"], found.real["nodes"]
    # Nodes without a device run where the session feeds and fetches.
    where = {name: device or A for name, device in devices.items()}
    expected = {
        (source, where[name].removeprefix("/"))
        for name, (_, *inputs) in nodes.items()
        for text in inputs
        if not text.startswith("^") and where[source := text.partition(":")[0]] != where[name]
    }
    sends = [tuple(pair) for pair in found.real["two"]["sends"] if "/ctrl/_" not in pair[0]]
    assert len(expected) > 5
    assert sorted(sends) == sorted(expected)
    assert found.real["one"]["sends"] == []


def test_a_variable_is_read_where_it_is(found: Found) -> None:
    variable = found.variable
    assert variable["b"] == [2.0, 4.0, 6.0]
    devices, types = variable["devices"], variable["types"]
    around = [name for name, kind in types.items() if kind in ("VarHandleOp", "ReadVariableOp")]
    assert len(around) >= 3
    # The one named op that touches the variable decides: it writes it, and is on B.
    assert {devices[name] for name in around} == {B}
    assert devices["a"] == A


@pytest.mark.parametrize(
    ("case", "devices"),
    [
        (
            "folded nodes follow their readers",
            {"c": B, "read": B, "x": B, "mul": B, "end": "", "barrier": ""},
        ),
        ("the first reader in the order of the graph", {"c": B, "p": B, "q": A}),
        ("data before control", {"c": B, "w": A, "r": B}),
        ("who waits, where nobody reads", {"init": B, "late": B, "w": B}),
        ("a loop", {"enter": B, "merge": B, "next": B, "body": B}),
        ("the same, taken lightly", {"p": A}),
    ],
)
def test_nodes_that_are_not_named(found: Found, case: str, devices: dict[str, str]) -> None:
    assert found.cases[case]["devices"] == devices
    assert found.cases[case]["attributes"] == 0  # looking for some adds none


def test_colocation_is_kept_where_it_holds(found: Found) -> None:
    assert found.cases["colocation that contradicts"]["beside"] == {"r": ["loc:@p"]}


def test_what_does_not_belong_to_the_graph_is_refused(found: Found) -> None:
    lost = found.cases["a node that is not there"]["error"]
    assert lost == (
        "the graph has no node 'lost', which the scopes place on '/device:CPU:1'; it has 1 nodes"
    )
    several = found.cases["scopes of several models"]["error"]
    assert "the device of 'm' is a dict, expected text" in several


@pytest.mark.parametrize("memory", ["", "_memory"])
def test_timelines_hold_the_ops_of_each_device(found: Found, memory: str) -> None:
    real = found.real
    path = found.folder / f"timeline2{memory}.json"
    with pytest.raises(FormatError, match=r"ops of 2 processes .*CPU:.*CPU:.*name the process"):
        read_trace(path)
    for cpu in ("CPU:0", "CPU:1"):
        trace = read_trace(path, process=cpu)
        read = {op.name: op for op in trace.ops}
        here = [name for name, device in real["scopes"].items() if device == f"/device:{cpu}"]
        assert set(here) <= set(read)
        # What partitioning and the session add is not there; all else is a node of the graph.
        assert set(read) <= set(real["nodes"])
        for op in trace.ops:
            assert op.type.endswith(real["nodes"][op.name][0])
            assert op.process.endswith(f"{cpu} Compute")


def test_timelines_make_a_speedup_table(found: Found) -> None:
    plain = read_trace(found.folder / "timeline1.json")
    memory = read_trace(found.folder / "timeline1_memory.json")
    assert plain.ops == memory.ops  # one run, drawn twice
    table = compare(plain.ops, memory.ops)
    assert (table.speedup, table.reference_coverage, table.other_coverage) == (1, 1, 1)
    assert {"Mean", "AddV2"} <= {row.name for row in table.types}
    part = read_trace(found.folder / "timeline2.json", process="CPU:1")
    shared = {pair.name for pair in compare(plain.ops, part.ops).pairs}
    assert "functional_1/add_1/Add" in shared


def test_a_log_folder_of_the_profilers(found: Found) -> None:
    trace = read_trace(found.folder)
    assert trace.source.endswith(".trace.json.gz")
    read = {op.name: op for op in trace.ops}
    # TensorFlow fuses some; those that are left carry the names of nodes, and their types.
    nodes = {name: node[0] for name, node in found.real["nodes"].items()}
    known = set(read) & set(nodes)
    assert len(known) > 3
    assert "functional_1/add_1/Add" in known
    assert read["functional_1/add_1/Add"].type == "AddV2"
    assert {op.process for op in trace.ops} == {"/host:CPU"}
    assert all("::" not in op.name and op.type.isidentifier() for op in trace.ops)
