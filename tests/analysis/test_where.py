"""The table of modules by device: short, in order, and with the sums of the schedule."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import numpy as np
import pytest

from talos_opt.analysis.where import ROWS, ModuleRow, modules_by_device
from talos_opt.core.graph import Op
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from tests.builders import op, problem

DEVICES = "cpu0 gpu0 gpu1"


def placed(
    where: Sequence[tuple[str, str]], *, time: float = 2, model: str = "m"
) -> tuple[Problem, Schedule]:
    """Place ops of the given modules, one after the other; each has 8 bytes of weights."""
    return scheduled({model: where}, time)


def scheduled(
    models: dict[str, Sequence[tuple[str, str]]], time: float = 2
) -> tuple[Problem, Schedule]:
    made = problem(
        {
            name: [_op(k, path, time) for k, (path, _) in enumerate(ops)]
            for name, ops in models.items()
        },
        DEVICES,
    )
    ids = made.device_ids
    device = np.array([ids.index(d) for ops in models.values() for _, d in ops])
    return made, simulate(made, device, np.arange(len(device)))


def _op(k: int, path: str, time: float) -> Op:
    return dataclasses.replace(op(f"o{k}", time, weights=8), attrs={"module": path})


def shown(rows: Sequence[ModuleRow]) -> list[str]:
    return [f"{row.module} {row.device} {row.ops}{'' if row.whole else ' part'}" for row in rows]


def test_the_outermost_modules_that_are_on_one_device() -> None:
    where = [("embed", "gpu0"), ("enc.a.x", "gpu0"), ("enc.a.y", "gpu0"), ("enc.b", "gpu0")]
    rows = modules_by_device(*placed([*where, ("head.a", "gpu1"), ("head", "gpu1"), ("", "cpu0")]))
    assert shown(rows) == ["m cpu0 1 part", "embed gpu0 1", "enc gpu0 3", "head gpu1 2"]
    assert rows[2] == ModuleRow("enc", "gpu0", 3, 6.0, 24, whole=True)


def test_numbers_in_a_row_that_are_placed_alike_share_a_row() -> None:
    where = [(f"layers.{k}.{part}", d) for k in range(12) for part, d in
             (("attn", "gpu0"), ("mlp", "gpu0" if k < 6 else "gpu1"))]  # fmt: skip
    where += [("block1", "gpu0"), ("block2", "gpu0"), ("block4", "gpu0")]
    assert shown(modules_by_device(*placed(where))) == [
        "layers.0-5 gpu0 12",
        "layers.6-11.attn gpu0 6",
        "layers.6-11.mlp gpu1 6",
        "block1-2 gpu0 2",
        "block4 gpu0 1",
    ]


def test_one_device_and_graphs_without_modules() -> None:
    (row,) = modules_by_device(*placed([("a", "gpu0"), ("b.c", "gpu0")]))
    assert row == ModuleRow("m", "gpu0", 2, 4.0, 16, whole=True)
    assert shown(modules_by_device(*placed([("", "gpu0"), ("", "cpu0")]))) == [
        "m gpu0 1 part", "m cpu0 1 part",
    ]  # fmt: skip
    two = scheduled({"m1": [("a", "gpu0"), ("b", "gpu1")], "m2": [("a", "cpu0")]})
    assert shown(modules_by_device(*two)) == ["m1.a gpu0 1", "m1.b gpu1 1", "m2 cpu0 1"]


def test_a_view_of_what_is_elsewhere_does_not_part_a_module() -> None:
    """A view goes where its base is, though another module asks for it."""
    base = dataclasses.replace(_op(0, "a.x", 2), colocate="base")
    view = dataclasses.replace(
        op("view", 0), colocate="base", attrs={"module": "b.y", "view_of": "o0"}
    )
    ops = [base, view, _op(1, "b.y", 2), _op(2, "b.z", 2), _op(3, "a.x", 2)]
    given = problem(ops, DEVICES)
    rows = modules_by_device(given, simulate(given, np.array([1, 1, 2, 2, 1]), np.arange(5)))
    assert shown(rows) == ["a gpu0 2", "b gpu1 2", " gpu0 1 part"]
    assert sum(row.time for row in rows) == 8


def test_a_few_ops_elsewhere_do_not_scatter_the_table() -> None:
    where = [(f"layers.{k}", d) for k in range(40) for d in ["gpu0"] * 120]
    for k in range(0, 40, 2):
        where[120 * k] = (f"layers.{k}", "cpu0")
    rows = modules_by_device(*placed(where))
    assert shown(rows) == ["m gpu0 4780 part", " cpu0 20 part"]


@pytest.mark.parametrize("seed", range(12))
def test_rows_add_up_and_stay_few(seed: int) -> None:
    rng = random.Random(seed)
    names = ["a", "b", "layers.0", "layers.1", "layers.2", "layers.10", "deep.er.x1", "deep.er.x2"]
    loose = rng.random()
    where = [
        (f"{rng.choice(names)}.{rng.choice('pqr')}" if rng.random() < 0.9 else "",
         rng.choice(DEVICES.split()) if rng.random() < loose else "gpu0")
        for _ in range(rng.randrange(1, 120))
    ]  # fmt: skip
    made, schedule = placed(where, time=rng.random())
    for limit in (3, ROWS):
        rows = modules_by_device(made, schedule, limit)
        assert len(rows) <= limit
        for d, name in enumerate(made.device_ids):
            here = schedule.device == d
            mine = [row for row in rows if row.device == name]
            assert sum(row.ops for row in mine) == here.sum()
            assert sum(row.weights for row in mine) == 8 * here.sum()
            taken = float((schedule.end - schedule.start)[here].sum())
            assert sum(row.time for row in mine) == pytest.approx(taken)
        if limit == ROWS:
            continue
        for row in rows:
            inside = [d for path, d in where if f"{path}.".startswith(f"{row.module}.")]
            if row.whole and inside:
                assert set(inside) == {row.device}
