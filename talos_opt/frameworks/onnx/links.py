"""How fast tensors move between devices that are there: measured by handing them over."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from talos_opt.frameworks.common.links import slower_way
from talos_opt.frameworks.common.profile import LinkProfile
from talos_opt.frameworks.onnx.backend import ort, ox
from talos_opt.frameworks.onnx.devices import CPU, Provider
from talos_opt.frameworks.onnx.sessions import options_of, session_of, value_on

_REPEATS = 15
#: Times that a value goes back and forth between two sessions.
_TURNS = 50


def measure_links(devices: Mapping[str, Provider]) -> tuple[LinkProfile, ...]:
    """Return a link for each pair of devices.

    Sessions on one CPU share its memory, so that a value that is handed over takes its time, and
    its bytes none.

    Parameters
    ----------
    devices : mapping of str to Provider
        By id.
    """
    known: dict[frozenset[Provider], tuple[float, float]] = {}
    found: list[LinkProfile] = []
    for (a, first), (b, second) in combinations(devices.items(), 2):
        pair = frozenset((first, second))
        if pair not in known:
            if first.is_cpu and second.is_cpu:
                known[pair] = handover_s(), math.inf
            else:
                known[pair] = slower_way(first, second, _copy_time)
        found.append(LinkProfile(a, b, *known[pair]))
    return tuple(found)


def handover_s() -> float:
    """Return what it takes until a thread has a value that another thread's session has made.

    From sessions of one short op that take turns, less what their runs take.
    """
    run = _short_run()
    ready = [threading.Lock(), threading.Lock()]
    for lock in ready:
        lock.acquire()

    def reader() -> None:
        for _ in range(_TURNS):
            ready[0].acquire()
            run()
            ready[1].release()

    alone: list[float] = []
    turns: list[float] = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        for _ in range(2 * _TURNS):
            run()
        alone.append((time.perf_counter() - begin) / (2 * _TURNS))
        other = threading.Thread(target=reader, daemon=True)
        other.start()
        begin = time.perf_counter()
        for _ in range(_TURNS):
            run()
            ready[0].release()
            ready[1].acquire()
        turns.append((time.perf_counter() - begin) / (2 * _TURNS))
        other.join()
    return max(1e-7, statistics.median(turns) - statistics.median(alone))


def _short_run() -> Any:
    node = ox.helper.make_node("Neg", ["x"], ["y"])
    info = ox.helper.make_tensor_value_info
    graph = ox.helper.make_graph(
        [node], "turn", [info("x", ox.TensorProto.FLOAT, [1])],
        [info("y", ox.TensorProto.FLOAT, [1])],
    )  # fmt: skip
    model = ox.helper.make_model(graph, opset_imports=[ox.helper.make_opsetid("", 13)])
    model.ir_version = 8
    session = session_of(model, options_of(threads=1))
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", value_on(CPU, np.ones(1, dtype=np.float32)))

    def run() -> None:
        binding.bind_output("y", "cpu")
        session.run_with_iobinding(binding)

    return run


def _copy_time(source: Provider, target: Provider, size: int) -> float:
    """Return the seconds that a copy of so many bytes takes, by the runtime's own copies."""
    values = np.zeros(size, dtype=np.uint8)
    held = value_on(source, values)
    there = value_on(target, values)
    times = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        ort.copy_tensors([held], [there])
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
