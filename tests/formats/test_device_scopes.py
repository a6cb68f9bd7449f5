"""Device scopes: which device of TensorFlow's each node is on, and what devices are called."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Graph, Memory, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.formats.device_scopes import device_scopes_of, scope_names, write_device_scopes

KINDS = {"c": "cpu", "h": "cpu", "g": "gpu", "t": "tpu"}


def cluster(*ids: str) -> Cluster:
    """Devices whose kinds the first letters of their ids tell."""
    return Cluster(tuple(Device(name, KINDS[name[0]]) for name in ids))


def placed(devices: Cluster, *on: int, models: int = 1) -> tuple[Problem, Schedule]:
    """A schedule of one op for each number of a device, in each model."""
    times = dict.fromkeys(KINDS.values(), 1.0)
    ops = tuple(Op(f"net/op_{k}", times, Memory()) for k in range(len(on)))
    problem = Problem(Graph("g", tuple(Model(f"m{j}", ops) for j in range(models))), devices)
    device = np.array(on * models, dtype=np.int64)
    return problem, Schedule(
        device, np.zeros(len(device)), np.ones(len(device)), Transfers.from_rows([])
    )


def names(*ids: str, **given: str) -> list[str]:
    problem, _ = placed(cluster(*ids), 0)
    return list(scope_names(problem, given).values())


def test_every_node_has_its_device() -> None:
    found = device_scopes_of(*placed(cluster("cpu", "gpu0"), 1, 0, 1))
    assert found == {
        "net/op_0": "/device:GPU:0",
        "net/op_1": "/device:CPU:0",
        "net/op_2": "/device:GPU:0",
    }
    assert list(found) == ["net/op_0", "net/op_1", "net/op_2"]


def test_several_models_are_kept_apart() -> None:
    found = device_scopes_of(*placed(cluster("cpu", "gpu0"), 1, 0, models=2))
    nodes = {"net/op_0": "/device:GPU:0", "net/op_1": "/device:CPU:0"}
    assert found == {"m0": nodes, "m1": nodes}


def test_names_by_default() -> None:
    assert names("cpu0", "cpu1") == ["/device:CPU:0", "/device:CPU:1"]
    assert names("host", "gpu0", "cpu7") == ["/device:CPU:0", "/device:GPU:0", "/device:CPU:1"]
    # A GPU has its own number, wherever it stands in the cluster.
    assert names("gpu3", "cuda:1") == ["/device:GPU:3", "/device:GPU:1"]


def test_names_that_are_given() -> None:
    assert names("cpu0", "cpu1", cpu0="cpu:1") == ["/device:CPU:1", "/device:CPU:0"]
    assert names("gpu0", "t1", gpu0="GPU:2", t1="/device:TPU:0") == [
        "/device:GPU:2",
        "/device:TPU:0",
    ]
    worker = "/job:worker/replica:0/task:1"
    assert names("gpu0", gpu0=f"{worker}/device:gpu:0") == [f"{worker}/device:GPU:0"]
    assert names("gpu0", "cpu", gpu0="cuda:0", cpu="cpu") == ["/device:GPU:0", "/device:CPU:0"]


@pytest.mark.parametrize("name", ["0", "", "/device:", "GPU:x", "/gpu:0/stream:1", "a b:0"])
def test_what_is_no_device(name: str) -> None:
    with pytest.raises(InputError, match=r"--map gpu0=.* is not a TensorFlow device"):
        names("gpu0", gpu0=name)


def test_a_device_of_another_kind_must_be_named() -> None:
    devices = cluster("cpu", "tpu0", "gpu-a100")
    assert device_scopes_of(*placed(devices, 0)) == {"net/op_0": "/device:CPU:0"}  # others unused
    for used, device in ((1, "tpu0"), (2, "gpu-a100")):
        with pytest.raises(InputError, match=f"name it with --map {device}=/device:GPU:0"):
            device_scopes_of(*placed(devices, 0, used))
    found = device_scopes_of(*placed(devices, 1), {"tpu0": "/device:TPU:0"})
    assert found == {"net/op_0": "/device:TPU:0"}


def test_the_file(tmp_path: Path) -> None:
    target = tmp_path / "scopes.json"
    write_device_scopes({"m": {"a": "/device:CPU:0"}}, target)
    assert json.loads(target.read_text()) == {"m": {"a": "/device:CPU:0"}}
