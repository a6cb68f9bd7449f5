"""Files that the tests of this folder read, and a way to spoil them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"

needs_msr = pytest.mark.skipif(
    not (SHARED / "msr").is_dir(), reason=f"the public workloads are not in {SHARED / 'msr'}"
)

#: Every field of talos-graph/1, as the contract shows it, on lines that the tests know.
FULL = """\
schema: talos-graph/1
name: example
description: two models
time_unit: ms
memory_rule: peak
cluster:
  reference: cpu
  contention: serial
  devices:
    - {id: cpu0, kind: cpu, slots: 8}
    - {id: gpu0, kind: gpu, memory: 11GiB, memory_fraction: 0.9, copy_engine: false}
    - {id: gpu1, kind: gpu, memory: 2e9}
  links:
    - {between: [cpu, gpu], latency: 0.01, bandwidth: 12GB/s, duplex: half}
    - {from: gpu0, to: gpu1, latency: 0.02, bandwidth: 25e9}
    - {between: [gpu, gpu], via: cpu0}
models:
  - id: m1
    weight: 1.5
    release: 2
    ops:
      - {id: op1, type: Conv2D, time: {cpu: 5, gpu: 1}, memory: {weights: 1MiB, output: 2MiB}}
      - {id: op2, time: {cpu: 1, gpu: 3, gpu1: 2.5}, inputs: [op1], memory: 4KiB}
      - id: op3
        time: {cpu: 3, gpu: 2}
        inputs: [{op: op2, bytes: 4KiB}, op1]
        colocate: g1
        devices: [gpu]
        slots: 1
        attrs: {shape: [8, 3], flops: 12.5, fused: true, note: null}
  - id: 7
    ops:
      - {id: 1, time: {cpu: 1}, device: cpu0}
      - {id: 2, time: {cpu: 1}, devices: cpu, inputs: [1]}
known: {toct: 9, source: nowhere}
"""

SMALL: dict[str, Any] = {
    "schema": "talos-graph/1",
    "name": "small",
    "time_unit": "ms",
    "memory_rule": "static",
    "cluster": {
        "reference": "cpu",
        "contention": "none",
        "devices": [
            {"id": "cpu0", "kind": "cpu", "slots": 2},
            {"id": "gpu0", "kind": "gpu", "memory": "1GiB", "memory_fraction": 0.5},
        ],
        "links": [{"between": ["cpu", "gpu"], "latency": 0.5, "bandwidth": "1GB/s"}],
    },
    "models": [
        {
            "id": "m1",
            "weight": 1.0,
            "release": 0.0,
            "ops": [
                {"id": "a", "time": {"cpu": 5, "gpu": 1}, "memory": {"output": 1000}},
                {
                    "id": "b",
                    "type": "MatMul",
                    "time": {"cpu": 1, "gpu": 3},
                    "memory": "4KiB",
                    "inputs": ["a"],
                },
                {
                    "id": "c",
                    "time": {"gpu": 2},
                    "inputs": [{"op": "a", "bytes": 10}, "b"],
                    "colocate": "g",
                    "devices": ["gpu0"],
                    "slots": 1,
                    "attrs": {"shape": [1, 2]},
                },
            ],
        }
    ],
    "known": {"toct": 9},
}

#: A workload in the format of the NeurIPS 2020 paper, made up.
MSR: dict[str, Any] = {
    "maxSizePerFPGA": 1000.0,
    "maxFPGAs": 2,
    "maxCPUs": 4,
    "nodes": [
        {
            "name": "in",
            "id": 10,
            "supportedOnFpga": 0,
            "cpuLatency": 0.5,
            "fpgaLatency": 0,
            "isBackwardNode": False,
            "size": 0.0,
        },
        {
            "id": 3,
            "supportedOnFpga": 1,
            "cpuLatency": 10.0,
            "fpgaLatency": 1.0,
            "isBackwardNode": 0,
            "colorClass": 5,
            "size": 600.0,
        },
        {
            "id": 4,
            "supportedOnFpga": True,
            "cpuLatency": 20.0,
            "fpgaLatency": 2.0,
            "isBackwardNode": True,
            "colorClass": 5,
            "size": 300.5,
        },
        {
            "id": 5,
            "supportedOnFpga": 1,
            "cpuLatency": 30.0,
            "fpgaLatency": 3.0,
            "colorClass": None,
            "size": 200.0,
        },
    ],
    "edges": [
        {"sourceId": 10, "destId": 3, "cost": 0.1, "size": 7.0},
        {"sourceId": 3, "destId": 4, "cost": 0.3},
        {"sourceId": 3, "destId": 5, "cost": 0.3},
        {"sourceId": 4, "destId": 5, "cost": 0.0},
    ],
}


def small() -> dict[str, Any]:
    """Return a copy of SMALL to spoil."""
    return copy.deepcopy(SMALL)


def msr() -> dict[str, Any]:
    """Return a copy of MSR to spoil."""
    return copy.deepcopy(MSR)


def spoil(document: Any, path: str, value: Any) -> None:
    """Set (or, for DELETE, remove) what a path such as ``models.0.ops.1.time`` leads to."""
    *way, last = path.split(".")
    for step in way:
        document = document[int(step)] if isinstance(document, list) else document[step]
    key: Any = int(last) if isinstance(document, list) else last
    if value is DELETE:
        del document[key]
    else:
        document[key] = value


DELETE = object()
