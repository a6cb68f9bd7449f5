"""Sums that must fit: bytes into 64 bits, times into floats with room to spare."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talos_opt import api, formats
from talos_opt.core import units
from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import GraphError, InputError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.limits import BYTES_BELOW, exact_sum
from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.formats.columnar import SCHEMA
from talos_opt.formats.npz import write_members

MOST = units.MAX_BYTES
CPU = Cluster((Device("c", "cpu"),))


def graph(*ops: Op, **model: Any) -> Graph:
    return Graph("g", (Model("m", ops, **model),))


def op(name: str = "a", time: float = 1.0, **given: Any) -> Op:
    return Op(name, {"cpu": time}, **given)


@pytest.mark.parametrize("part", ["weights", "output", "workspace"])
def test_bytes_that_would_wrap_are_refused(part: str) -> None:
    ops = tuple(op(f"o{i}", memory=Memory(**{part: MOST})) for i in range(2048))
    with pytest.raises(GraphError, match=r"bytes add up to 18446744073709551616 .*4 EiB.*m/o0 has"):
        Problem(graph(*ops), Cluster((Device("c", "cpu", memory=MOST),)))


def test_bytes_just_below_the_limit_are_added_up_exactly() -> None:
    ops = [op(f"o{i}", memory=Memory(weights=MOST)) for i in range(511)]
    ops.append(op("last", memory=Memory(weights=MOST - 1)))
    problem = Problem(graph(*ops), CPU)
    result = api.solve(problem, "single")
    assert result.metrics is not None
    assert result.metrics.static_memory == {"c": BYTES_BELOW - 1}
    with pytest.raises(GraphError, match="bytes add up to"):
        Problem(graph(*ops[:-1], op("last", memory=Memory(weights=MOST))), CPU)


def test_copies_on_other_devices_count() -> None:
    ops = (op(memory=Memory(output=MOST)), *(op(f"r{i}", inputs=(Input("a"),)) for i in range(9)))
    for rule in MemoryRule:
        few = Cluster(tuple(Device(f"c{d}", "cpu") for d in range(4)))
        Problem(graph(*ops), few, memory_rule=rule)
        many = Cluster(tuple(Device(f"c{d}", "cpu") for d in range(512)))
        with pytest.raises(GraphError, match=r"models\[0\].ops\[0\].memory: bytes add up"):
            Problem(graph(*ops), many, memory_rule=rule)


def test_memory_of_many_devices_would_wrap() -> None:
    devices = tuple(Device(f"c{d}", "cpu", memory=MOST) for d in range(512))
    with pytest.raises(GraphError, match=r"cluster.devices\[0\].memory: .*adds up to"):
        Problem(graph(op()), Cluster(devices))
    Problem(graph(op()), Cluster((*devices[1:], Device("free", "cpu"))))


def test_sums_are_exact() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 2**55, 5000)
    assert exact_sum(sizes) == sum(sizes.tolist())
    assert exact_sum(np.zeros(0, dtype=np.int64)) == 0


@pytest.mark.parametrize("value", [5e-324, 1e-310, 1e-300, 9e-151, 2e150, 1e308])
@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda x: graph(op(time=x)), "time.cpu: time of op 'a'"),
        (lambda x: graph(op(), weight=x), "weight: weight is"),
        (lambda x: graph(op(), release=x), "release: release is"),
        (
            lambda x: Cluster((Device("c", "cpu"), Device("d", "d")), (Link("c", "d", x),)),
            "latency: latency is",
        ),
        (
            lambda x: Cluster((Device("c", "cpu"), Device("d", "d")), (Link("c", "d", 0, x),)),
            "bandwidth: bandwidth is",
        ),
    ],
)
def test_numbers_without_room_are_refused(make: Any, where: str, value: float) -> None:
    with pytest.raises(GraphError, match=f"^{where}.*from 1e-150 to 1e\\+150"):
        make(value)
    for fine in (1e-100, 0.1, 1e100):
        make(fine)


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (graph(op("a", 1e149), op("b", 1e149, slots=20)), r"models\[0\].ops\[1\].time: .*m/b"),
        (graph(op(), release=1e149, weight=20), r"models\[0\].release: .*release of model 'm'"),
        (graph(op(time=1e80), weight=1e81), r"models\[0\].weight: .*weight of model 'm'"),
    ],
)
def test_times_that_add_up_to_too_much(given: Graph, where: str) -> None:
    with pytest.raises(GraphError, match=where + ".*has the largest share"):
        Problem(given, Cluster((Device("c", "cpu", slots=20),)))


def test_hops_must_be_finite() -> None:
    def cluster(bandwidth: float) -> Cluster:
        return Cluster((Device("c", "cpu"), Device("g", "gpu")), (Link("c", "g", 0, bandwidth),))

    ops = (op(memory=Memory(output=MOST)), Op("b", {"gpu": 1}, inputs=(Input("a"),)))
    with pytest.raises(
        GraphError, match=r"bytes of op m/a take .* from c to g.*bandwidth is too s"
    ):
        Problem(graph(*ops), cluster(1e-140))
    with pytest.raises(GraphError, match=r"cluster.links: times add up .*what the links take"):
        Problem(graph(*ops), cluster(1e-128))
    assert math.isfinite(Problem(graph(*ops), cluster(1e-100)).arrays.transfer_time(0, 1, MOST))


def test_all_values_are_finite_at_both_ends() -> None:
    for scale in (1e-140, 1e140):
        problem = Problem(graph(op("a", scale), op("b", 2 * scale), weight=1e-5), CPU)
        result = api.solve(problem, "single")
        assert result.metrics is not None
        assert result.value == pytest.approx(3e-5 * scale)
        assert all(math.isfinite(value or 0) for value in result.metrics.model_speedup.values())


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("time", np.array([[1e308]]), r"ops\[0\].time.cpu: time of op '0' is 1e\+308"),
        ("time", np.array([[5e-324]]), r"ops\[0\].time.cpu: time of op '0' is 5e-324"),
        ("weight", 1e-300, r"models\[0\].weight: weight is 1e-300"),
        ("release", 1e300, r"models\[0\].release: release is 1e\+300"),
    ],
)
def test_columns_are_held_to_the_same(tmp_path: Path, key: str, value: Any, where: str) -> None:
    model = {"id": "m", "ops": 1} | ({} if key == "time" else {key: value})
    header = {
        "schema": SCHEMA,
        "models": [model],
        "time_keys": ["cpu"],
        "cluster": {"devices": [{"id": "c", "kind": "cpu"}]},
    }
    columns = {
        "time": value if key == "time" else np.ones((1, 1)),
        "input_ptr": np.zeros(2, dtype=np.int64),
        "input_op": np.zeros(0, dtype=np.int64),
    }
    write_members(header, columns, tmp_path / "g.npz")
    with pytest.raises(InputError, match=where):
        formats.read_problem(tmp_path / "g.npz")


def test_a_fraction_is_the_decimal_that_was_written() -> None:
    for fraction, memory, usable in [
        (0.29, 100, 29),
        (0.57, 100, 57),
        (0.9, 11 * 2**30, 10630044057),
        (1 / 3, 3, 0),
        (0.07, 2**53, 630503947831869),
    ]:
        assert Device("g", "gpu", memory, fraction).usable_memory == usable
    for k in range(1, 101):
        assert Device("g", "gpu", 100, k / 100).usable_memory == k


def test_devices_keep_what_was_checked() -> None:
    device = Device("g", "gpu", "4GiB", "0.5", np.int64(2))  # type: ignore[arg-type]
    assert (device.usable_memory, device.slots) == (2**31, 2)
    assert replace(device, memory=1.9).memory == 1  # type: ignore[arg-type]
