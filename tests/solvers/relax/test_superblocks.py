"""The superblock bound by hand."""

from __future__ import annotations

import pytest

from talos_opt.core.problem import Problem
from talos_opt.solvers.bounds import root_bound
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.relax.superblocks import Partition, partitions, prove_bottleneck
from tests.builders import device, link, op
from tests.builders import problem as make
from tests.naive import brute_force


def pair(transfer: float) -> Problem:
    """Two devices, and two pairs of ops that exchange a tensor each."""
    ops = [
        op("a", {"gpu": 2}, output=1),
        op("b", {"gpu": 1}, "a"),
        op("c", {"gpu": 2}, output=1),
        op("d", {"gpu": 3}, "c b:0"),
    ]
    devices = [device(f"gpu{k}", copy_engine=False) for k in range(2)]
    return make(ops, devices, [link("gpu gpu", 0.0, 1 / transfer)], objective="bottleneck")


def proven(problem: Problem, seconds: float = 10.0) -> float:
    run = Run(problem, time_limit=seconds, workers=1)
    registry.create("single").solve(problem, run)
    prove_bottleneck(problem, run, "relax")
    return run.lower_bound


@pytest.mark.parametrize("transfer", [0.5, 2.0])
def test_a_connected_graph_cannot_be_spread_for_nothing(transfer: float) -> None:
    problem = pair(transfer)
    best = brute_force(problem)[0]
    assert root_bound(problem) == pytest.approx(4.0)
    assert proven(problem) == pytest.approx(best, rel=1e-5)


def test_devices_that_differ_are_blocks_of_their_own() -> None:
    devices = [device("cpu0"), *(device(f"gpu{k}") for k in range(4))]
    ops = [op("a", {"cpu": 5, "gpu": 1}), op("b", {"cpu": 5, "gpu": 1}, "a")]
    problem = make(ops, devices, [link("cpu gpu"), link("gpu gpu")], objective="bottleneck")
    assert partitions(problem) == [
        Partition(((1,), (2, 3, 4), (0,)), ((0, 1),)),
        Partition(((1,), (2,), (3,), (4,), (0,)), ((0, 1, 2, 3),)),
    ]


def test_memory_of_a_block_is_that_of_its_devices() -> None:
    """The ops that fit beside each other are too few for the accelerators: the host must help."""
    ops = [op(f"o{i}", {"gpu": 1, "cpu": 4}, weights=2) for i in range(7)]
    devices = [device("cpu0"), *(device(f"gpu{k}", 5) for k in range(3))]
    problem = make(ops, devices, objective="bottleneck")
    assert proven(problem) == pytest.approx(4.0, rel=1e-5)


def test_only_the_bytes_that_the_reader_elsewhere_names_travel() -> None:
    ops = [
        op("a", {"gpu": 2}, output=8),
        op("b", {"gpu": 3}, "a:1"),
        op("c", {"gpu": 1}, "a:8"),
    ]
    devices = [device(f"gpu{k}", copy_engine=False) for k in range(2)]
    problem = make(ops, devices, [link("gpu gpu", 0.0, 1.0)], objective="bottleneck")
    assert brute_force(problem)[0] == 4  # b alone: 3 + 1; a and c: 3 + 1
    assert proven(problem) == pytest.approx(4.0, rel=1e-5)
