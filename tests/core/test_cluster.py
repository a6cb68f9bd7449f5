"""Devices, and the routes that follow from the links."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from enum import Enum

import numpy as np
import pytest
from hypothesis import given

from talos_opt.core.cluster import Cluster, Device, Hop, Link
from talos_opt.core.errors import GraphError
from talos_opt.core.problem import Problem
from talos_opt.testing.reference.flat import channel, route
from tests.builders import device, link
from tests.clocks import Stopwatch
from tests.strategies import problems


def cluster(names: str, *links: Link, **options: str) -> Cluster:
    return Cluster(tuple(device(name) for name in names.split()), links, **options)


# ---- routes --------------------------------------------------------------------------------


def test_without_links_tensors_move_in_no_time() -> None:
    free = Cluster((device("cpu0"), device("gpu0")))
    assert free.routes["cpu0", "gpu0"] == Hop(0.0, math.inf, ("cpu0", "gpu0"))
    assert set(free.routes) == {("cpu0", "gpu0"), ("gpu0", "cpu0")}


def test_with_an_empty_list_of_links_there_are_no_routes() -> None:
    assert set(cluster("cpu0 gpu0").routes.values()) == {None}


def test_a_link_between_kinds_joins_all_their_devices_both_ways() -> None:
    routes = cluster("cpu0 gpu0 gpu1", link("cpu gpu", 1, 2)).routes
    for gpu in ("gpu0", "gpu1"):
        for pair in (("cpu0", gpu), (gpu, "cpu0")):
            assert routes[pair] == Hop(1, 2, pair)
    assert routes["gpu0", "gpu1"] is None


def test_a_link_within_a_kind() -> None:
    routes = cluster("gpu0 gpu1 gpu2", link("gpu gpu", 1)).routes
    assert len(routes) == 6
    assert all(isinstance(item, Hop) for item in routes.values())


def test_one_direction() -> None:
    routes = cluster("gpu0 gpu1", link("gpu0 > gpu1", 1)).routes
    assert isinstance(routes["gpu0", "gpu1"], Hop)
    assert routes["gpu1", "gpu0"] is None


def test_via() -> None:
    there = cluster("cpu0 gpu0 gpu1", link("cpu gpu"), link("gpu gpu", via="cpu0")).routes
    assert there["gpu0", "gpu1"] == there["gpu1", "gpu0"] == "cpu0"


@pytest.mark.parametrize(
    ("wins", "loses"),
    [
        (link("gpu gpu", 5), link("gpu0 gpu1", via="cpu0")),  # explicit before via
        (link("gpu0 gpu1", 5), link("gpu gpu", 1)),  # ids before kinds
        (link("gpu0 gpu", 5), link("gpu gpu", 1)),
        (link("gpu0 > gpu1", 5), link("gpu0 gpu1", 1)),  # one direction before both
    ],
)
def test_which_rule_wins(wins: Link, loses: Link) -> None:
    for pair in ((wins, loses), (loses, wins)):
        hop = cluster("cpu0 gpu0 gpu1", link("cpu gpu"), *pair).routes["gpu0", "gpu1"]
        assert isinstance(hop, Hop)
        assert hop.latency == 5


def test_the_later_of_two_equal_rules_wins() -> None:
    pair = (link("gpu0 gpu", 1), link("gpu gpu1", 5))
    for rules in (pair, pair[::-1]):
        hop = cluster("gpu0 gpu1", *rules).routes["gpu0", "gpu1"]
        assert isinstance(hop, Hop)
        assert hop.latency == rules[1].latency


def test_a_via_does_not_route_through_its_own_ends() -> None:
    there = cluster("gpu0 gpu1 gpu2", link("gpu0 gpu"), link("gpu gpu", via="gpu0")).routes
    assert there["gpu1", "gpu2"] == "gpu0"
    assert isinstance(there["gpu0", "gpu1"], Hop)


def test_channels() -> None:
    full = cluster("a1 b1", link("a1 b1")).routes
    assert full["a1", "b1"].channel != full["b1", "a1"].channel  # type: ignore[union-attr]
    half = cluster("a1 b1", link("a1 b1", duplex="half")).routes
    assert half["a1", "b1"].channel == half["b1", "a1"].channel  # type: ignore[union-attr]
    for a, b in (("a1", "b1"), ("b1", "a1")):
        mixed = cluster("a1 b1", link(f"{a} > {b}", duplex="half"), link(f"{b} > {a}")).routes
        assert mixed[a, b].channel != mixed[b, a].channel  # type: ignore[union-attr]


@given(problems(max_ops=1))
def test_routes_agree_with_their_naive_twins(given: Problem) -> None:
    count, arrays = len(given.device_ids), given.arrays
    pairs = [(a, b) for a in range(count) for b in range(count)]
    for a, b in pairs:
        way = route(given.cluster, a, b)
        assert arrays.path(a, b) == (None if way is None else tuple(way))
    direct = [(a, b) for a, b in pairs if a != b and route(given.cluster, a, b) == [(a, b)]]
    for first in direct:
        assert (arrays.channel[first] >= 0) == (given.cluster.contention == "serial")
        for second in direct:
            shared = channel(given.cluster, *first) == channel(given.cluster, *second)
            assert (arrays.channel[first] == arrays.channel[second]) == shared


# ---- names and errors ----------------------------------------------------------------------


def test_members_kinds_and_the_reference() -> None:
    three = cluster("gpu0 cpu0 gpu1")
    assert [item.id for item in three.members("gpu")] == ["gpu0", "gpu1"]
    assert [item.id for item in three.members("gpu1")] == ["gpu1"]
    assert three.members("tpu") == ()
    assert three.kinds == ("gpu", "cpu")
    assert three.reference == "cpu"
    assert cluster("gpu0 npu0").reference == "gpu"
    assert cluster("gpu0 cpu0", reference="gpu").reference == "gpu"


def test_usable_memory() -> None:
    assert device("gpu0").usable_memory is None
    assert device("gpu0", 10).usable_memory == 10
    assert device("gpu0", 11, fraction=0.5).usable_memory == 5


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"id": ""}, "id: device id is '', expected a name"),
        ({"kind": ""}, "kind: kind of device 'gpu0' is '', expected a name"),
        ({"memory_fraction": 0.0}, "memory_fraction is 0.0, expected a"),
        ({"memory_fraction": 1.5}, "memory_fraction is 1.5, expected above 0 and at most 1"),
        ({"memory_fraction": math.nan}, "memory_fraction is nan, expected a finite number"),
        ({"slots": 0}, "slots is 0, expected a number above 0"),
        ({"slots": 1.5}, "slots is 1.5, expected a whole number from 1 to 1048576"),
        ({"slots": 2**20 + 1}, "slots is 1048577, expected a whole number from 1 to 1048576"),
        ({"memory": -1}, "memory is -1"),
        ({"memory": math.nan}, "memory is nan"),
    ],
)
def test_devices_that_cannot_be(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(GraphError, match=complaint):
        replace(Device("gpu0", "gpu"), **change)  # type: ignore[arg-type]


def test_values_are_parsed_and_kept_as_plain_numbers() -> None:
    item = Device("a", "cpu", memory="4KiB", memory_fraction="0.5", slots=np.int64(2))  # type: ignore[arg-type]
    assert (item.memory, item.usable_memory, item.slots) == (4096, 2048, 2)
    assert type(item.slots) is int
    rule = Link("a", "b", latency="5", bandwidth="12GB/s")  # type: ignore[arg-type]
    assert repr((rule.latency, rule.bandwidth)) == "(5.0, 12000000000.0)"
    assert repr(Link("a", "b", bandwidth=np.float32(8)).bandwidth) == "8.0"  # type: ignore[arg-type]
    other = Cluster([item, Device("b", "gpu")], [rule])  # type: ignore[arg-type]
    assert (len(other.devices), other.links) == (2, (rule,))
    assert hash(other) == hash(Cluster(other.devices, (rule,)))


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: Device(3, "cpu"), "^id: device id is 3, expected a name"),
        (lambda: Device("a", "cpu", copy_engine="no"), "^copy_engine: copy_engine is 'no'"),
        (lambda: Device("a", "cpu", "much"), "^memory: memory is 'much', expected a number of"),
        (lambda: Link("a", 3), "^b: an end is 3, expected a name"),
        (lambda: Link("a", "b", latency="soon"), "^latency: latency is 'soon', expected a number"),
        (lambda: Link("a", "b", bandwidth="12GHz"), "^bandwidth: bandwidth is '12GHz'"),
        (lambda: Link("a", "b", one_way=1), "^one_way: one_way is 1, expected true or false"),
        (lambda: Cluster("a"), "^devices: devices is 'a', expected a sequence of Device"),
        (lambda: Cluster((device("a1"),), ("a",)), r"^links\[0\]: links\[0\] is 'a', expected L"),
    ],
)
def test_values_that_cannot_be_read(build: Callable[[], object], complaint: str) -> None:
    with pytest.raises(GraphError, match=complaint):
        build()


@pytest.mark.timing
def test_thousands_of_links_take_no_time() -> None:
    devices = tuple(Device(f"d{k}", "gpu") for k in range(250))
    links = tuple(Link(a.id, b.id, 1.0) for a in devices[:60] for b in devices if a.id < b.id)
    watch = Stopwatch()
    Cluster(devices, links)
    watch.check(3.0)


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: Cluster(()), "devices: the cluster has no devices"),
        (lambda: cluster("gpu0 gpu0"), r"devices\[1\].id: device id 'gpu0' is used twice"),
        (
            lambda: Cluster((Device("x", "gpu"), Device("gpu", "cpu"))),
            r"devices\[1\].id: 'gpu' is both a device id and another device's kind",
        ),
        (
            lambda: Cluster((Device("gpu", "gpu"), Device("x", "gpu"))),
            r"devices\[0\].id: device id 'gpu' is also the kind of 2 devices",
        ),
        (lambda: cluster("gpu0", reference="cpu"), "reference is 'cpu', expected a device kind"),
        (lambda: cluster("gpu0", contention="some"), "contention is 'some', expected none or"),
        (lambda: cluster("gpu0", link("gpu tpu")), r"links\[0\]: 'tpu' is not a device"),
        (lambda: cluster("gpu0 gpu1", link("gpu gpu", via="gpu")), r"links\[0\].via: via is 'gpu'"),
        (lambda: cluster("gpu0 gpu1", link("gpu gpu", -1)), "latency: latency is -1"),
        (lambda: cluster("gpu0 gpu1", link("gpu gpu", math.inf)), "latency is inf"),
        (lambda: cluster("gpu0 gpu1", link("gpu gpu", 0, 0)), "bandwidth: bandwidth is 0"),
        (lambda: cluster("gpu0 gpu1", link("gpu gpu", 0, math.nan)), "bandwidth is nan"),
        (lambda: cluster("gpu0 gpu1", link("gpu gpu", duplex="both")), "duplex is 'both'"),
        (
            lambda: cluster("gpu0 gpu1", link("gpu gpu"), link("gpu gpu", 1)),
            r"links\[1\]: the link gpu - gpu is given twice",
        ),
        (
            lambda: cluster("cpu0 gpu0 gpu1", link("gpu gpu", via="cpu0")),
            r"links\[0\].via: gpu0 -> gpu1 goes via cpu0, but there is no direct link gpu0 -> cpu0",
        ),
    ],
)
def test_clusters_that_cannot_be(build: object, complaint: str) -> None:
    with pytest.raises(GraphError, match=complaint):
        build()  # type: ignore[operator]


class Named(str, Enum):  # noqa: UP042 - a StrEnum prints as its value
    """Prints as Named.GPU."""

    GPU = "gpu"


def test_texts_and_flags_are_plain_whatever_they_were_made_of() -> None:
    item = Device(np.str_("a"), Named.GPU, copy_engine=np.False_)  # type: ignore[arg-type]
    assert repr((item.id, item.kind, item.copy_engine)) == "('a', 'gpu', False)"
    rule = Link("a", "a", one_way=np.True_, duplex=np.str_("half"))  # type: ignore[arg-type]
    assert repr((rule.one_way, rule.duplex)) == "(True, 'half')"
    cluster = Cluster((item,), reference=Named.GPU, contention=np.str_("serial"))
    assert repr((cluster.reference, cluster.contention)) == "('gpu', 'serial')"


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Link("a", "b", bandwidth=Decimal("inf")), "bandwidth"),  # type: ignore[arg-type]
        (lambda: Link("a", "b", bandwidth=np.array([])), "bandwidth"),  # type: ignore[arg-type]
        (lambda: Link("a", "b", duplex=np.array([])), "duplex"),  # type: ignore[arg-type]
        (lambda: Link("a", "b", latency=np.timedelta64(5, "ms")), "latency"),  # type: ignore[arg-type]
        (lambda: Cluster((Device("a", "cpu"),), reference=0), "reference"),  # type: ignore[arg-type]
        (lambda: Cluster((Device("a", "cpu"),), contention=[]), "contention"),  # type: ignore[arg-type]
    ],
)
def test_values_of_other_types_are_refused_where_they_are(
    make: Callable[[], object], name: str
) -> None:
    with pytest.raises(GraphError, match=f"^{name}: {name} is .*, expected"):
        make()
