"""What may be bundled, as files and callers say it, and every mistake in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from talos_opt import Cluster, GraphError, Link, Problem
from talos_opt.core.bundles import Bundle, BundleMode, BundleRule, Bundles, read_chosen
from talos_opt.core.bundling import bundled
from tests.builders import device, link, op, problem

GPUS = tuple(device(f"gpu{k}", 100) for k in range(3))


def test_what_is_left_out_is_powers_of_two_and_both_modes() -> None:
    rule = BundleRule.of({}, "gpu")
    assert rule.sizes_up_to(7) == (1, 2, 4)
    assert rule.modes == (BundleMode.DATA, BundleMode.TENSOR)
    assert rule.speedup(4) == 4
    assert rule.to_plain() == {}


def test_rules_survive_plain_data() -> None:
    plain = {"gpu": {"sizes": [1, 2], "modes": ["data"], "scaling": {"2": 1.8}}}
    cluster = Cluster(GPUS, bundles=plain)  # type: ignore[arg-type]
    assert cluster.to_dict()["bundles"] == plain
    assert Cluster(GPUS, bundles=cluster.bundles) == cluster
    rule = cluster.bundles.rule("gpu")
    assert rule is not None
    assert (rule.speedup(2), rule.speedup(3)) == (1.8, 3)


def test_all_stands_for_kinds_of_which_there_are_several() -> None:
    cluster = Cluster((*GPUS, device("cpu0")), bundles="all")  # type: ignore[arg-type]
    assert [kind for kind, _ in cluster.bundles.rules] == ["gpu"]
    with pytest.raises(GraphError, match="no kind has two devices"):
        Cluster((device("cpu0"), device("gpu0")), bundles="all")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bundles", "message"),
    [
        ({"tpu": {}}, r"bundles.tpu: 'tpu' is not a kind of device, expected one of gpu"),
        ({"gpu": {"sizes": [1, 4]}}, r"gpu.sizes: a bundle of 4 is larger than the group: .* 3"),
        ({"gpu": {"sizes": [0]}}, r"sizes\[0\]: a size is 0, expected a number of devices"),
        ({"gpu": {"sizes": [1.5]}}, r"sizes\[0\]: a size is 1.5"),
        ({"gpu": {"sizes": []}}, "sizes is an empty list"),
        ({"gpu": {"sizes": 2}}, "sizes is 2, expected a list"),
        ({"gpu": {"modes": ["expert"]}}, r"modes\[0\]: a mode is 'expert', expected one of data"),
        ({"gpu": {"modes": []}}, "modes is an empty list"),
        ({"gpu": {"scaling": {2: 0}}}, r"scaling.2: the scaling of 2 is 0"),
        ({"gpu": {"scaling": {"x": 2}}}, r"scaling.x: a size is 'x'"),
        ({"gpu": {"size": [2]}}, "unknown key 'size'"),
        ({"gpu": 2}, "bundles.gpu: the bundles of a kind is 2, expected a mapping"),
        ("gpu", "bundles is 'gpu', expected a mapping from kind to its bundles"),
    ],
)
def test_mistakes_name_their_place(bundles: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        Cluster(GPUS, bundles=bundles)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"members": ["gpu0", "gpu9"], "mode": "data"}], r"members\[1\]: 'gpu9' is not a device"),
        ([{"members": ["gpu0"], "mode": "data"}], "a bundle has 1 member"),
        ([{"members": ["gpu0", "gpu1"], "mode": "both"}], "a mode is 'both'"),
        ([{"members": ["gpu0", "gpu1"]}], "a bundle has no 'mode'"),
        ([{"members": ["gpu0", "gpu1"], "mode": "data", "device": "x"}], "expected 'gpu0\\+gpu1'"),
        (
            [Bundle(("gpu0", "gpu1"), BundleMode.DATA), Bundle(("gpu1", "gpu2"), BundleMode.DATA)],
            r"gpu1 is in bundles\[0\] and bundles\[1\]",
        ),
        ({"members": []}, "bundles is a mapping, expected a list"),
    ],
)
def test_bundles_of_a_schedule_are_checked(rows: Any, message: str) -> None:
    given = problem([op("a")], GPUS)
    with pytest.raises(GraphError, match=message):
        bundled(given, read_chosen(rows))


def unequal(**changed: Any) -> Problem:
    """A problem whose second card differs from the first."""
    cards = (GPUS[0], replace(GPUS[1], **changed))
    return problem([op("a", {"gpu": 1, "gpu1": 1, "cpu": 1})], cards)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (unequal(memory=50), "memory is 100 on gpu0 and 50 on gpu1"),
        (unequal(memory=None), "memory is 100 on gpu0 and without limit on gpu1"),
        (unequal(slots=2), "slots is 1 on gpu0 and 2 on gpu1"),
        (unequal(copy_engine=False), "copy_engine is true on gpu0 and false on gpu1"),
        (unequal(kind="cpu"), "kind is gpu on gpu0 and cpu on gpu1"),
        (
            problem([op("a", {"gpu": 1, "gpu1": 2})], GPUS),
            "op m/a takes 1 on gpu0 and 2 on gpu1",
        ),
        (
            problem([op("a", devices="gpu0 gpu2")], GPUS),
            "op m/a takes 1 on gpu0 and does not run on gpu1",
        ),
        (
            problem([op("a")], GPUS, [link("gpu gpu", 1, 8), link("gpu0 gpu2", 2, 8)]),
            "the link gpu0 - gpu2 is not like gpu1 - gpu2",
        ),
        (
            problem([op("a")], GPUS, [link("gpu gpu", 1, 8), link("gpu0 > gpu1", 2, 8)]),
            "the link gpu0 - gpu1 is not like gpu1 - gpu0",
        ),
        (
            problem(
                [op("a")], GPUS, [link("gpu gpu", 0, 8), link("gpu0 gpu2", 0, 8, duplex="half")]
            ),
            "the link gpu0 - gpu2 is not like",
        ),
    ],
)
def test_members_have_to_be_equal(given: Problem, what: str) -> None:
    with pytest.raises(GraphError, match=f"gpu0 and gpu1 are not equal, .*: {what}"):
        bundled(given, [{"members": ["gpu0", "gpu1"], "mode": "data"}])


def test_a_member_cannot_pass_tensors_on() -> None:
    # Both cards reach the CPU alike; only the second one passes on what goes to the disk.
    devices = (*GPUS[:2], device("cpu0"), device("disk0"))
    links = [link("gpu cpu0"), link("gpu gpu"), link("gpu disk0"), link("cpu0 disk0", via="gpu1")]
    given = problem([op("a")], devices, links)
    with pytest.raises(GraphError, match="gpu0 and gpu1 are not equal"):
        bundled(given, [{"members": ["gpu0", "gpu1"], "mode": "data"}])


def test_members_that_add_up_need_a_route() -> None:
    given = problem([op("a", weights=8, split=True)], GPUS[:2], [])
    with pytest.raises(GraphError, match=r"gpu0\+gpu1 have to add up outputs, .* no route"):
        bundled(given, [{"members": ["gpu0", "gpu1"], "mode": "tensor"}])
    alone = bundled(given, [{"members": ["gpu0", "gpu1"], "mode": "data"}])
    assert alone.arrays.time.tolist() == [[0.5]]


def test_empty_rules_say_nothing() -> None:
    assert not Bundles.of(None)
    assert not Bundles.of({})
    assert "bundles" not in Cluster(GPUS, (Link("gpu", "gpu"),)).to_dict()
