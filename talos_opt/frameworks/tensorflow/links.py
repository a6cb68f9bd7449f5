"""How fast tensors move between devices that are there: measured by sending them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from talos_opt.frameworks.common.links import slower_way
from talos_opt.frameworks.common.profile import LinkProfile
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.devices import is_gpu, logical_cpus
from talos_opt.frameworks.tensorflow.placing import Placed, Slot
from talos_opt.frameworks.tensorflow.session import Session
from talos_opt.frameworks.tensorflow.stats import read_runs

_REPEATS = 15


def measure_links(devices: Mapping[str, str]) -> tuple[LinkProfile, ...]:
    """Return a link for each pair of devices.

    Logical devices of one CPU share its memory, so that a message takes its time and its bytes
    none.

    Parameters
    ----------
    devices : mapping of str to str
        TensorFlow's names by id.
    """
    known: dict[frozenset[str], tuple[float, float]] = {}
    found: list[LinkProfile] = []
    for (a, first), (b, second) in combinations(devices.items(), 2):
        # All pairs of logical CPUs are alike, and there may be many.
        kinds = frozenset(("CPU",)) if not is_gpu(first + second) else frozenset((first, second))
        if kinds not in known:
            latency, bandwidth = slower_way(first, second, _send_time)
            shared = not is_gpu(first + second)
            known[kinds] = latency, math.inf if shared else bandwidth
        latency, bandwidth = known[kinds]
        found.append(LinkProfile(a, b, latency, bandwidth))
    return tuple(found)


def _send_time(source: str, target: str, size: int) -> float:
    """Return the seconds from the end of what makes a tensor to the start of what reads it."""
    values = {"value": np.zeros(size, dtype=np.uint8)}
    with Session(
        _message(source, target), values, cpus=logical_cpus((source, target)), concurrency=2
    ) as session:
        session.run()
        times = []
        for _ in range(_REPEATS):
            runs = read_runs(session.trace())
            times.append(max(0.0, runs["reader"].start_s - runs["maker"].end_s))
    return statistics.median(times)


def _message(source: str, target: str) -> Placed:
    """Return a graph in which one device makes a tensor and another one reads it."""
    graph_def: Any = tf.compat.v1.GraphDef()

    def add(kind: str, name: str, device: str, inputs: tuple[str, ...], attr: str) -> None:
        node = graph_def.node.add(name=name, op=kind, device=device, input=inputs)
        if attr:
            node.attr[attr].type = tf.uint8.as_datatype_enum

    add("VarHandleOp", "handle", source, (), "dtype")
    graph_def.node[0].attr["shape"].shape.unknown_rank = True
    graph_def.node[0].attr["shared_name"].s = b"handle"
    add("Placeholder", "value", source, (), "dtype")
    add("AssignVariableOp", "write", source, ("handle", "value"), "dtype")
    add("ReadVariableOp", "maker", source, ("handle",), "dtype")
    add("Identity", "reader", target, ("maker",), "T")
    add("NoOp", "step", target, ("^reader",), "")
    slot = Slot("value", "write", "value", "maker:0")
    return Placed(graph_def, ("step",), (slot,), (), {})
