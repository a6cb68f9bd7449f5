"""Problems derived from a set of bundles: times, bytes and links worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from talos_opt import Cluster, Graph, Model, Problem, Schedule
from talos_opt.core.bundle_memory import views
from talos_opt.core.bundling import bundled
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import measure
from talos_opt.core.occupancy import static_memory
from talos_opt.core.simulator import simulate
from tests.builders import device, link, op, problem

CARDS = [device(f"gpu{k}", 100) for k in range(4)]
HOST = device("cpu0")
#: 1 byte takes 1/8 s between cards, 1/2 s to the host.
LINKS = [link("gpu gpu", 0.25, 8)]
HOSTED = [*LINKS, link("gpu cpu0", 0, 2)]


def pair(mode: str, *members: str) -> list[dict[str, Any]]:
    return [{"members": list(members or ("gpu0", "gpu1")), "mode": mode}]


def placed(given: Problem, device: Sequence[int]) -> Schedule:
    return simulate(given, np.array(device), np.arange(len(device)))


def times(given: Problem, name: str) -> list[float]:
    return given.arrays.time[given.find_op(name)].tolist()  # type: ignore[no-any-return]


def test_data_divides_times_tensors_and_workspaces() -> None:
    ops = [op("a", {"gpu": 6, "cpu": 9}, weights=10, output=8, workspace=5), op("b", 4, "a:4")]
    found = bundled(problem(ops, [*CARDS[:2], HOST], HOSTED), pair("data"))
    assert found.device_ids == ("gpu0+gpu1", "cpu0")
    assert [device.kind for device in found.cluster.devices] == ["gpu.data2", "cpu"]
    assert times(found, "a") == [3, 9]
    # Weights in full; half of the output, and of the workspace, rounded up.
    assert static_memory(found, np.array([0, 1])).tolist() == [10 + 4 + 3, 0]
    assert measure(found, placed(found, [0, 0])).makespan == 5


def test_scaling_takes_the_place_of_the_size() -> None:
    given = problem([op("a", 9)], CARDS[:3])
    cluster = Cluster(given.cluster.devices, bundles={"gpu": {"scaling": {2: 1.5}}})  # type: ignore[arg-type]
    given = Problem(given.graph, cluster)
    assert times(bundled(given, pair("data")), "a") == [6, 9]
    assert times(bundled(given, pair("data", "gpu0", "gpu1", "gpu2")), "a") == [3]


def test_inference_adds_nothing_up() -> None:
    found = bundled(problem([op("a", 4, weights=80)], CARDS, LINKS), pair("data"))
    assert found.graph.op_count == 1
    assert times(found, "a") == [2, 4, 4]


def test_gradients_are_added_up_with_the_update_of_the_group() -> None:
    ops = [
        op("f", 4, weights=16, colocate="w"),
        op("b", 8, "f", phase="backward", colocate="w"),
        op("u", 2, "b", phase="update", colocate="w"),
    ]
    found = bundled(problem(ops, CARDS, LINKS), pair("data", *(f"gpu{k}" for k in range(4))))
    assert found.graph.op_count == 3
    assert [times(found, name) for name in "fbu"] == [[1], [2], [2 + 1.5 * 16 / 8]]


def test_an_op_is_put_in_where_no_update_belongs_to_weights() -> None:
    ops = [
        op("f", 4, weights=16),
        op("g", 4, "f", weights=8, colocate="w"),
        op("c", 4, "g", phase="backward", colocate="w"),
        op("f.all_reduce", 0, "c", phase="backward"),  # takes the name that comes to mind
    ]
    given = problem({"m": ops, "n": [op("x", 1), op("y", 1, "x", weights=8)]}, CARDS, LINKS)
    found = bundled(given, pair("data"))
    assert [name for name in found.names if name not in given.names] == [
        "m/f.all_reduce'", "m/g.all_reduce", "n/y.all_reduce",
    ]  # fmt: skip
    own = {item.id: item for model in found.graph.models for item in model.ops}
    assert [edge.op for edge in own["g.all_reduce"].inputs] == ["c"]
    assert [edge.op for edge in own["f.all_reduce'"].inputs] == ["f"]
    assert own["f"].colocate == own["f.all_reduce'"].colocate == "m/f"
    assert own["g.all_reduce"].phase == "update"
    # 2 (2 - 1) / 2 x bytes / bandwidth on the pair, no time on a card.
    assert times(found, "m/f.all_reduce'") == [2, 0, 0]
    assert times(found, "m/g.all_reduce") == [1, 0, 0]
    assert given.graph.fingerprint == found.source.graph.fingerprint


def test_tensor_divides_split_ops_and_adds_up_where_they_end() -> None:
    ops = [
        op("a", 4, weights=9, output=8, split=True),  # read by b only, which is split
        op("b", 4, "a", weights=9, output=8, split=True),  # read by c, which is not
        op("c", 4, "b", weights=9, output=8),
        op("d", 4, "c", weights=9, output=8, split=True),  # the end of the model
    ]
    found = bundled(problem(ops, CARDS, LINKS), pair("tensor"))
    reduced = 2 * 0.25 + 8 / 8
    assert [times(found, name)[0] for name in "abcd"] == [2, 2 + reduced, 4, 2 + reduced]
    assert [times(found, name)[1] for name in "abcd"] == [4] * 4
    # Weights of split ops are halved and rounded up, the rest is in full on every member.
    assert static_memory(found, np.zeros(4, dtype=np.int64))[0] == 5 + 5 + 9 + 5 + 4 * 8


def test_an_op_that_is_put_in_ends_no_split_region() -> None:
    ops = [
        op("a", 4, weights=8, output=8, split=True),
        op("b", 4, "a", split=True, phase="backward"),
    ]
    both = [*pair("data"), *pair("tensor", "gpu2", "gpu3")]
    assert times(bundled(problem(ops, CARDS, LINKS), both), "a") == [2, 2]


def test_members_of_data_bundles_send_side_by_side() -> None:
    both = [*pair("data"), *pair("data", "gpu2", "gpu3")]
    arrays = bundled(problem([op("a")], [*CARDS, HOST], HOSTED), both).arrays
    assert arrays.transfer_time(0, 1, 16) == 0.25 + 16 / 16  # each half its own way
    assert arrays.transfer_time(0, 2, 16) == 16 / 2  # all of it to the host
    mixed = bundled(problem([op("a")], CARDS, LINKS), [both[0], *pair("tensor", "gpu2", "gpu3")])
    assert mixed.arrays.transfer_time(0, 1, 16) == 0.25 + 16 / 8


def test_links_keep_their_form() -> None:
    devices = [*CARDS[:3], HOST, device("cpu1")]
    links = [
        link("gpu gpu", via="cpu0"), link("gpu cpu0", 0.5, 4, duplex="half"),
        link("cpu0 > cpu1", 0, 16),
    ]  # fmt: skip
    given = problem([op("a", 1, split=True, output=8)], devices, links, contention="serial")
    found = bundled(given, pair("tensor"))
    routes = found.cluster.routes
    assert routes["gpu0+gpu1", "gpu2"] == "cpu0"
    assert routes["gpu0+gpu1", "cpu1"] is routes["cpu1", "cpu0"] is None
    assert routes["cpu0", "gpu0+gpu1"].channel == routes["gpu0+gpu1", "cpu0"].channel  # type: ignore[union-attr]
    # Through the host: two hops for every byte, and both latencies.
    assert times(found, "a")[0] == 0.5 + 2 * (0.5 + 0.5) + 8 * (1 / 4 + 1 / 4)


def test_pins_follow_the_members() -> None:
    ops = [op("a", devices="gpu0 gpu1"), op("b", devices="gpu"), op("c", devices="cpu0")]
    found = bundled(problem(ops, [*CARDS[:3], HOST]), pair("data"))
    runs = np.isfinite(found.arrays.time)
    assert runs.tolist() == [[True, False, False], [True, True, False], [False, False, True]]


def test_copies_are_divided_under_the_peak_rule() -> None:
    ops = [op("a", 1, output=9, devices="cpu0"), op("b", 2, "a", workspace=6)]
    given = problem(ops, [*CARDS[:2], HOST], HOSTED, rule="peak")
    found = bundled(given, pair("data"))
    schedule = placed(found, [1, 0])
    assert measure(found, schedule).peak_memory == {"gpu0+gpu1": 5 + 3, "cpu0": 9}
    assert check(found, schedule) == ()


def test_without_bundles_it_is_the_plain_problem() -> None:
    given = problem([op("a")], CARDS, LINKS)
    ruled = given.with_bundles("all")
    assert ruled.cluster.bundles
    assert bundled(ruled, []) == given
    assert ruled.with_bundles(None) == given
    assert bundled(given, pair("data")).source == given


def test_the_reference_is_still_a_single_device() -> None:
    found = bundled(problem([op("a", {"gpu": 4})], CARDS[:2]), pair("data"))
    assert found.reference_times.tolist() == [4]
    assert measure(found, placed(found, [0])).weighted_speedup == 2


# ---- what solvers see ------------------------------------------------------------------------


def needs(found: Problem) -> list[int]:
    return found.arrays.weights.tolist()  # type: ignore[no-any-return]


def test_one_sort_of_bundles_is_exact() -> None:
    ops = [op("a", weights=150, output=10, split=True), op("b", weights=31, output=3, split=True)]
    cluster = Cluster(tuple(CARDS), tuple(LINKS), bundles="all")  # type: ignore[arg-type]
    given = Problem(Graph("g", (Model("m", tuple(ops)),), time_unit="s"), cluster)
    both = [*pair("tensor"), *pair("tensor", "gpu2", "gpu3")]
    (view,) = views(bundled(given, both))
    assert (view.bounds, view.schedules, needs(view.problem)) == (True, True, [75, 16])
    # What tensors lack of their bytes there is taken from the weights.
    ops = [op("a", weights=50, output=10), op("b", weights=40, output=9)]
    (view,) = views(bundled(problem(ops, CARDS[:2]), pair("data")))
    assert (view.bounds, view.schedules, needs(view.problem)) == (True, True, [45, 36])
    assert view.problem.arrays.capacity.tolist() == [100]


def test_limits_that_nothing_reaches_are_left_out() -> None:
    given = problem([op("a", weights=31, output=3, split=True)], CARDS, LINKS)
    (view,) = views(bundled(given, pair("tensor")))
    assert view.bounds
    assert view.schedules
    assert not view.problem.arrays.memory_limited


def test_several_sorts_give_relaxations_and_restrictions() -> None:
    ops = [op(name, weights=60, output=6, split=True) for name in "abcd"]
    found = bundled(problem(ops, CARDS, LINKS), pair("tensor"))
    seen = views(found)
    assert seen[0].bounds
    assert any(view.schedules for view in seen)
    for place in np.ndindex(*[3] * 4):
        schedule = placed(found, place)
        fits = not check(found, schedule)
        for view in seen:
            allowed = not check(view.problem, schedule)
            assert allowed or not (fits and view.bounds)
            assert fits or not (allowed and view.schedules)


def test_bytes_are_not_compared_where_they_differ() -> None:
    cards = [device(f"gpu{k}") for k in range(3)]
    given = problem([op("a", weights=8, split=True)], cards, objective="memory")
    with pytest.raises(Exception, match="objective memory compares bytes"):
        views(bundled(given, pair("tensor")))
