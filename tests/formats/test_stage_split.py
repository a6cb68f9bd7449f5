"""Stages for other runtimes: layers counted, split points named, anything else refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.formats.stage_split import (
    layer_split,
    split_points,
    write_deepspeed,
    write_split_points,
    write_vllm,
)

CLUSTER = Cluster((Device("gpu0", "gpu"), Device("gpu1", "gpu"), Device("gpu2", "gpu")))


def placed(*rows: tuple[str, int], phases: tuple[str, ...] = ()) -> tuple[Problem, Schedule]:
    """An op with weights for each module and device; phases of the last ops."""
    all_phases = ("forward",) * (len(rows) - len(phases)) + phases
    ops = tuple(
        Op(f"op{k}", {"gpu": 1}, Memory(1), attrs={"module": path} if path else {}, phase=phase)
        for k, ((path, _), phase) in enumerate(zip(rows, all_phases, strict=True))
    )
    problem = Problem(Graph("g", (Model("m", ops),)), CLUSTER)
    device = np.array([d for _, d in rows], dtype=np.int64)
    return problem, Schedule(
        device, np.zeros(len(device)), np.ones(len(device)), Transfers.from_rows([])
    )


GOOD = (
    ("embed", 1), ("h.0.a", 1), ("h.0.b", 1), ("h.1", 1), ("h.2.experts.7", 0), ("h.3", 2),
    ("norm", 2), ("h.3", 0),
)  # fmt: skip


def test_layers_and_split_points(tmp_path: Path) -> None:
    case = placed(*GOOD, phases=("backward",))
    split = layer_split(*case)
    assert (split.layers, split.counts, split.devices) == ("h", (2, 1, 1), ("gpu1", "gpu0", "gpu2"))
    assert split.parts == [0, 2, 3, 4]
    begins, devices = split_points(*case)
    assert begins == ["h.2.experts.7", "h.3"]
    assert devices == ["gpu1", "gpu0", "gpu2"]
    write_vllm(split, tmp_path / "a.env")
    assert (tmp_path / "a.env").read_text().splitlines() == [
        "# h: stages on gpu1, gpu0, gpu2, in this order",
        "# vllm serve ... --pipeline-parallel-size 3",
        "VLLM_PP_LAYER_PARTITION=2,1,1",
    ]
    write_deepspeed(split, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["parts"] == split.parts
    write_split_points(begins, devices, tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text())["split_points"] == begins


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", 0)], "no op of graph 'g' belongs to a numbered module"),
        ([("h.0.a", 0), ("h.0.b", 1)], r"layer h\.0 is split: op 'op0' is on gpu0, op 'op1' on"),
        ([("0", 0), ("1", 1), ("2", 0)], "the layers on gpu0 are not consecutive"),
        ([("embed", 1), ("h.0", 0), ("h.1", 1)], "op 'op0' of module 'embed' is on gpu1, expected"),
        ([("h.0", 0), ("h.1", 1), ("head", 0)], "gpu1, the device of the last layers"),
    ],
)
def test_what_layers_do_not_say(rows: list[tuple[str, int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        layer_split(*placed(*rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("", 0)], "no op of graph 'g' says which module it belongs to"),
        ([("a", 0), ("b", 1), ("c", 0)], "'c' on gpu0 runs after ops on gpu1, and torch cuts"),
        ([("a", 0), ("a", 1)], "a stage begins inside module 'a', with op 'op1' on gpu1"),
    ],
)
def test_what_has_no_split_points(rows: list[tuple[str, int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split_points(*placed(*rows))


def test_a_device_that_is_entered_again() -> None:
    ops = tuple(
        Op(path, {"gpu": 1}, inputs=(Input(read),) if read else (), attrs={"module": path})
        for path, read in (("a", ""), ("b", "a"), ("c", "b"))
    )
    problem = Problem(Graph("g", (Model("m", ops),)), CLUSTER)
    device = np.array([0, 1, 0], dtype=np.int64)
    schedule = Schedule(device, np.zeros(3), np.ones(3), Transfers.from_rows([]))
    with pytest.raises(InputError, match=r"op 'c' of module 'c' enters gpu0 again; .* acyclic"):
        split_points(problem, schedule)


def test_split_points_are_modules_that_were_called() -> None:
    # Nothing calls `h`, a list of modules, so no stage would begin there.
    rows = [("embed", 0), ("h.0.norm", 1), ("h.0", 1), ("h.1.norm", 1), ("h.1", 1)]
    assert split_points(*placed(*rows)) == (["h.0"], ["gpu0", "gpu1"])


def test_several_models_have_no_stages() -> None:
    problem, schedule = placed(("h.0", 0))
    twice = Problem(Graph("g", (*problem.graph.models, Model("n", problem.ops))), CLUSTER)
    with pytest.raises(InputError, match="holds 2 models, expected one"):
        layer_split(twice, schedule)


def test_ops_in_any_order() -> None:
    rows = [("head", 2), ("h.1", 2), ("h.0", 0), ("embed", 0)]
    ops = [
        Op(
            path,
            {"gpu": 1},
            Memory(1),
            inputs=(Input(rows[k + 1][0]),) if k + 1 < len(rows) else (),
            attrs={"module": path},
        )
        for k, (path, _) in enumerate(rows)
    ]
    problem = Problem(Graph("g", (Model("m", tuple(ops)),)), CLUSTER)
    device = np.array([d for _, d in rows], dtype=np.int64)
    schedule = Schedule(device, np.zeros(4), np.ones(4), Transfers.from_rows([]))
    split = layer_split(problem, schedule)
    assert (split.counts, split.devices) == ((1, 1), ("gpu0", "gpu2"))
    assert split_points(problem, schedule) == (["h.1"], ["gpu0", "gpu2"])


def test_a_layer_without_ops_goes_with_the_one_before_it() -> None:
    split = layer_split(*placed(("h.1", 0), ("h.3", 1), ("h.6", 2)))
    assert split.counts == (3, 3, 1)
