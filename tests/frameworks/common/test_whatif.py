"""A profiled graph on other cards, without the model: as if they had been profiled for."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from talos_opt import api, formats
from talos_opt.cli.main import main
from talos_opt.core.cluster import Cluster, Device, Hop
from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.frameworks.common.catalogue import lookup
from talos_opt.frameworks.common.profile import DeviceProfile, OpProfile, Profile, Read, Timing
from talos_opt.frameworks.common.roofline import with_estimates
from talos_opt.frameworks.common.whatif import recorded_dtype, remarks, what_if, without_flops
from tests.builders import device, link, op, problem


def profiled() -> Profile:
    """Two products, measured on a CPU; in between a view, a dropout that does nothing, chunks."""
    took = {"cpu": Timing(2e-3, 3e-3, repeats=9)}
    product = OpProfile(
        "mm", "aten.mm.default", (), took, flops=2e9, moved_bytes=10**7, output=10**6
    )
    view = OpProfile(
        "view", "aten.view.default", (Read("mm", 10**6),), {"cpu": Timing(0, 0, repeats=9)}
    )
    kept = dataclasses.replace(view, id="drop", type="aten.dropout", inputs=(Read("view", 10**6),))
    chunks = dataclasses.replace(
        kept, id="chunks", type="aten.split", inputs=(Read("drop", 10**6),), moved_bytes=2 * 10**6,
        output=10**6, outputs={"0": 5 * 10**5, "1": 5 * 10**5},
    )  # fmt: skip
    read = (Read("chunks", 5 * 10**5, "0"), Read("chunks", 5 * 10**5, "1"))
    last = dataclasses.replace(product, id="last", inputs=read, flops=4e9)
    cpu = DeviceProfile("cpu", "cpu", 10**10)
    return Profile("net", "torch", "inference", (product, view, kept, chunks, last), (cpu,))


def times(given: Problem, name: str) -> list[float]:
    return given.arrays.time[:, given.device_ids.index(name)].tolist()


def test_a_card_that_is_added_is_as_if_it_had_been_profiled_for() -> None:
    expected = with_estimates(profiled(), ["a100"]).problem()
    found = what_if(profiled().problem(), add=["a100"])
    assert times(expected, "a100")[1:3] == [0, 0] < times(expected, "a100")[3:4]
    assert times(found, "a100") == pytest.approx(times(expected, "a100"))
    assert times(found, "cpu") == times(expected, "cpu")
    assert found.cluster.routes == expected.cluster.routes
    assert found.cluster.devices == expected.cluster.devices
    assert "estimated" in found.graph.models[0].ops[0].attrs


def test_what_was_measured_on_a_card_mends_the_one_in_its_place() -> None:
    given = with_estimates(profiled(), {"gpu0": "t4"}).problem()
    found = what_if(given, replace={"gpu0": "a100"})
    assert found.device_ids == given.device_ids == ("cpu", "gpu0")
    assert times(found, "gpu0")[0] < times(given, "gpu0")[0]
    assert times(found, "gpu0") == pytest.approx(times(what_if(given, add=["a100"]), "a100"))
    assert found.cluster.devices[1].memory == lookup("a100").memory
    route = found.cluster.routes["cpu", "gpu0"]
    assert isinstance(route, Hop)
    assert route.bandwidth == lookup("a100").host_bandwidth


def test_a_measured_card_of_known_make_says_how_far_its_sheet_is_off() -> None:
    slow = profiled()
    sheet = with_estimates(dataclasses.replace(slow, devices=()), {"g": "t4"})
    took = [op.timings["g"].raw_s * 1.5 for op in sheet.ops]
    ops = tuple(
        dataclasses.replace(op, timings={"gpu0": Timing(t, t, repeats=5)})
        for op, t in zip(slow.ops, took, strict=True)
    )
    card = DeviceProfile("gpu0", "gpu", 10**10)
    given = dataclasses.replace(slow, ops=ops, devices=(card,)).problem()
    found = what_if(given, add=["NEW=t4"], measured={"gpu0": "t4"})
    assert times(found, "NEW") == pytest.approx(times(given, "gpu0"))


def test_a_card_in_the_place_of_another_is_used_in_the_same_way() -> None:
    busy = Device("gpu0", "gpu", 10**9, memory_fraction=0.5, slots=3)
    given = problem([dataclasses.replace(op("a"), attrs={"flops": 1e9})], "cpu0")
    given = dataclasses.replace(given, cluster=Cluster((*given.cluster.devices, busy)))
    (_, found) = what_if(given, replace={"gpu0": "h100"}).cluster.devices
    assert found == dataclasses.replace(busy, memory=80 * 2**30)
    assert what_if(given, add=["h100"]).cluster.devices[-1].slots == 1


def test_what_is_computed_with_is_what_most_weights_are() -> None:
    given = profiled()

    def typed(*dtypes: object) -> Problem:
        ops = [
            dataclasses.replace(op, facts={"dtype": dtype}, weights=size)
            for op, dtype, size in zip(given.ops, dtypes, (9, 0, 0, 0, 4), strict=True)
        ]
        return dataclasses.replace(given, ops=tuple(ops)).problem()

    half = typed("float16", "float32", "int64", ["int64", "float32"], "float32")
    assert recorded_dtype(half) == "float16"
    assert recorded_dtype(typed(*[["int64", "bfloat16"]] * 5)) == "bfloat16"
    assert recorded_dtype(given.problem()) == "fp32"
    expected = with_estimates(given, ["a100"], dtype="float16").problem()
    assert times(what_if(half, add=["a100"]), "a100") == pytest.approx(times(expected, "a100"))
    single = times(what_if(half, add=["a100"], dtype="fp32"), "a100")
    assert single[0] > times(expected, "a100")[0]


def test_several_cards_reach_each_other_and_all_that_is_there() -> None:
    found = what_if(profiled().problem(), add=["2xl4", "big=h100"])
    assert found.device_ids == ("cpu", "l4-0", "l4-1", "big")
    assert None not in found.cluster.routes.values()
    bare = problem([op("mm", {"gpu": 1}, output=8)], [device("gpu0")], links=[])
    assert None not in what_if(bare, add=["a100"]).cluster.routes.values()


def test_a_graph_without_facts_counts_bytes_and_says_so() -> None:
    ops = [op("a", {"cpu": 1}, weights=8 * 10**9, output=10**9), op("b", {"cpu": 1}, "a")]
    ops[0] = dataclasses.replace(ops[0], type="aten.mm.default")
    given = problem(ops, "cpu0")
    assert without_flops(given) == 1
    seconds = 9e9 / (0.8 * lookup("a100").bandwidth)
    timed = times(what_if(given, add=["a100"], dtype="fp32"), "a100")
    assert timed[0] == pytest.approx(seconds, rel=1.0)


def test_a_graph_that_says_nothing_of_its_ops_is_refused() -> None:
    ops = [op("a", {"cpu": 1}), op("b", {"cpu": 1}, "a")]
    with pytest.raises(InputError, match=r"no op of .* says what it does, expected flops"):
        what_if(problem(ops, "cpu0"), add=["a100"])
    ops[0] = dataclasses.replace(ops[0], attrs={"flops": 1e9})
    (note,) = remarks(problem(ops, "cpu0"))
    assert note.startswith("note: 1 ops have neither FLOPs nor bytes")


def test_ops_run_on_a_new_card_where_they_ran_on_what_it_is_like() -> None:
    ops = [op("a", {"cpu": 2, "gpu": 1}, output=10**6), op("b", {"cpu": 1}, "a", output=10**6)]
    given = problem(ops, "cpu0 gpu0")
    for found, name in (
        (what_if(given, replace={"gpu0": "h100"}), "gpu0"),
        (what_if(given, add=["h100"]), "h100"),
    ):
        first, second = times(found, name)
        assert 0 < first < 1
        assert second == math.inf
    plain = [dataclasses.replace(o, time={"cpu": 1}) for o in ops]
    assert math.inf not in times(what_if(problem(plain, "cpu0"), add=["h100"]), "h100")


def test_another_host_keeps_the_links_of_what_is_plugged_into_it() -> None:
    given = with_estimates(profiled(), ["t4", "l4"]).problem()
    routes = what_if(given, replace={"cpu": "epyc-9654"}).cluster.routes
    assert routes == given.cluster.routes
    assert routes["t4", "l4"] == "cpu"


def test_a_card_that_the_host_does_not_reach_is_not_reached_by_new_ones() -> None:
    given = problem([op("a", {"cpu": 1, "gpu": 1}, output=8)], "cpu0 gpu0", links=[])
    routes = what_if(given, add=["h100"]).cluster.routes
    assert isinstance(routes["cpu0", "h100"], Hop)
    assert routes["gpu0", "h100"] is None


def test_ways_that_there_were_are_still_there() -> None:
    ops = [op("a", {"cpu": 1, "gpu": 1}, output=8)]
    ends = [link("cpu0 gpu0"), link("cpu0 gpu1"), link("gpu0 gpu1", 7)]
    for links in (ends, [dataclasses.replace(one, one_way=True) for one in ends]):
        given = problem(ops, "cpu0 gpu0 gpu1", links=links).cluster
        for wanted in ({"replace": {"gpu0": "h100"}}, {"replace": {"cpu0": "epyc-9654"}}):
            found = what_if(problem(ops, "cpu0 gpu0 gpu1", links=links), **wanted).cluster  # type: ignore[arg-type]
            assert all(found.routes[pair] for pair, way in given.routes.items() if way is not None)
    bare = problem([op("a", {"gpu": 1}, output=8)], "gpu0", links=[])
    assert None not in what_if(bare, add=["epyc-9654"]).cluster.routes.values()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"add": ["2x"]}, "device '2x' is not of the form a100, 2xl4 or NAME=a100"),
        ({"add": ["="]}, "device '=' is not of the form"),
        ({"add": ["b="]}, "device 'b=' is not of the form"),
        ({"add": ["0xl4"]}, "device '0xl4' is not of the form"),
        ({"add": ["a=b=l4"]}, "device 'a=b=l4' is not of the form"),
        ({"add": ["a1000x"]}, "the catalogue has no device 'a1000x'"),
        ({"add": ["cpu=a100"]}, "device 'cpu' is there already"),
        ({"add": ["cpu=xeon-8480+"], "replace": {"cpu": "epyc-9654"}}, "is there already"),
        ({"add": ["epyc-9654"]}, "a device of the graph is called 'cpu', as its kind is"),
        ({"add": ["a100", "a100"]}, "two devices are called 'a100'"),
        ({"replace": {"gpu": "a100"}}, "'gpu' is not a device of the graph, expected one of cpu"),
        ({"replace": {"cpu": "a100"}}, "cpu is a cpu and NVIDIA A100 SXM 40 GB is a gpu"),
        ({"add": ["a100"], "measured": {"x": "t4"}}, "'x' is not a device of the graph"),
        ({"add": ["a100"], "measured": {"cpu": "i99"}}, "the catalogue has no device 'i99'"),
        ({"add": ["a100"], "dtype": "fp7"}, "fp7"),
    ],
)
def test_wrong_names(wanted: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        what_if(profiled().problem(), **wanted)  # type: ignore[arg-type]


def test_the_command_solves_both_and_writes_the_new_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "net.json", tmp_path / "new.json"
    formats.write_problem(profiled().problem(), source)
    argv = ["whatif", str(source), "--add", "a100", "-o", str(target), "--time-limit", "5"]
    assert main([*argv, "--json"]) == 0
    before, after = json.loads(capsys.readouterr().out)
    assert list(after["sum_of_ops"]) == ["cpu", "a100"]
    assert after["value"] < before["value"] == pytest.approx(before["sum_of_ops"]["cpu"])
    assert api.read(target).device_ids == ("cpu", "a100")
    assert main(argv) == 0
    assert "times as fast" in capsys.readouterr().out
    assert main([*argv[:-4], "-o", "-", "--objective", "memory"]) == 0
    told = capsys.readouterr()
    assert "sum of ops" in told.err
    assert "needs" in told.err
    (tmp_path / "new.yaml").write_text(told.out)
    assert api.read(tmp_path / "new.yaml").device_ids == ("cpu", "a100")
    assert main(["whatif", str(source)]) == 2
    assert "or a device with --add or --replace" in capsys.readouterr().err
    assert main(["convert", str(source), "--estimate", "l4", "-o", str(target)]) == 0
    assert api.read(target).device_ids == ("cpu", "l4")
