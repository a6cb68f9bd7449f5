"""Device maps: what a schedule says of modules, merged to the shortest prefixes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Graph, Memory, Model, Op
from talos_opt.core.module_paths import merge
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.formats.device_map import device_map_of, target_of, write_device_map

CLUSTER = Cluster((Device("cpu0", "cpu"), Device("gpu0", "gpu"), Device("gpu1", "gpu")))


def placed(*rows: tuple[str, int], weights: int = 1, models: int = 1) -> tuple[Problem, Schedule]:
    """A schedule of one op for each module and device."""
    ops = tuple(
        Op(f"op{k}", {"cpu": 1, "gpu": 1}, Memory(weights), attrs={"module": m} if m else {})
        for k, (m, _) in enumerate(rows)
    )
    problem = Problem(Graph("g", tuple(Model(f"m{j}", ops) for j in range(models))), CLUSTER)
    device = np.array([d for _, d in rows] * models, dtype=np.int64)
    return problem, Schedule(
        device, np.zeros(len(device)), np.ones(len(device)), Transfers.from_rows([])
    )


def test_prefixes_under_which_all_agree() -> None:
    found = device_map_of(*placed(("a.0", 1), ("a.1", 1), ("b.0", 1), ("b.1", 2), ("c", 0)))
    assert found == {"a": 0, "b.0": 0, "b.1": 1, "c": "cpu"}
    assert device_map_of(*placed(("a.0", 2), ("b", 2))) == {"": 1}


def test_what_happens_between_parts_is_not_mapped_unless_it_has_weights() -> None:
    rows = (("a.0", 1), ("a", 2), ("a.1", 1), ("", 0))
    assert device_map_of(*placed(*rows, weights=0)) == {"": 0}
    found = device_map_of(*placed(*rows))
    assert found == {"a.0": 0, "a": 1, "a.1": 0, "": "cpu"}
    with pytest.raises(InputError, match="no op of graph 'g' says which module"):
        device_map_of(*placed(("", 0)))


def test_a_split_module_is_named() -> None:
    with pytest.raises(
        InputError, match=r"module 'a\.0' is split: op 'op0' is on 0, op 'op1' on 1"
    ):
        device_map_of(*placed(("a.0", 1), ("a.0", 2)))


@pytest.mark.parametrize("also", [3, "b", None, [3], {"b": 1}])
def test_also_is_a_list_of_paths(also: object) -> None:
    made, schedule = placed(("a", 1))
    graph = made.graph.models[0]
    ops = (replace(graph.ops[0], attrs={"module": "a", "also": also}),)
    made = replace(made, graph=replace(made.graph, models=(replace(graph, ops=ops),)))
    with pytest.raises(InputError, match=r"attrs.also of op 'op0' is .*, expected a list of mod"):
        device_map_of(made, schedule)


def test_one_model_only() -> None:
    with pytest.raises(InputError, match="holds 2 models, expected one"):
        device_map_of(*placed(("a", 0), models=2))


def test_names_of_devices() -> None:
    assert [target_of(d, "gpu") for d in ("gpu0", "cuda:3", "cuda1", "gpu_2")] == [0, 3, 1, 2]
    assert [target_of(d, d.rstrip("0")) for d in ("cpu0", "disk", "cpu")] == ["cpu", "disk", "cpu"]
    assert target_of("a100", "gpu", {"a100": 5}) == 5
    with pytest.raises(InputError, match="name it with --map a100=0"):
        target_of("a100", "gpu")


def test_the_file(tmp_path: Path) -> None:
    target = tmp_path / "device_map.json"
    write_device_map({"a": 0, "b": "cpu"}, target)
    assert json.loads(target.read_text()) == {"a": 0, "b": "cpu"}


PATHS = st.lists(st.sampled_from("ab"), max_size=3).map(".".join)


@given(st.dictionaries(PATHS, st.sampled_from([0, 1, "cpu"]), min_size=1))
def test_every_entry_keeps_its_device(entries: dict[str, int | str]) -> None:
    merged = merge(entries)
    assert len(merged) <= len(entries)
    for path, target in entries.items():
        covering = [p for p in merged if p in ("", path) or path.startswith(f"{p}.")]
        assert merged[max(covering, key=len)] == target
