"""A profiled graph on other cards, without the model: as if they had been profiled for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from talos_opt import api, formats
from talos_opt.cli.main import main
from talos_opt.core.cluster import Hop
from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.frameworks.common.catalogue import lookup
from talos_opt.frameworks.common.profile import DeviceProfile, OpProfile, Profile, Read, Timing
from talos_opt.frameworks.common.roofline import with_estimates
from talos_opt.frameworks.common.whatif import what_if, without_flops
from tests.builders import device, op, problem


def profiled() -> Profile:
    """Two products with a view in between, measured on a CPU."""
    took = {"cpu": Timing(2e-3, 3e-3, repeats=9)}
    product = OpProfile(
        "mm", "aten.mm.default", (), took, flops=2e9, moved_bytes=10**7, output=10**6
    )
    view = OpProfile(
        "view", "aten.view.default", (Read("mm", 10**6),), {"cpu": Timing(0, 0, repeats=9)}
    )
    last = dataclasses.replace(product, id="last", inputs=(Read("view", 10**6),), flops=4e9)
    cpu = DeviceProfile("cpu", "cpu", 10**10)
    return Profile("net", "torch", "inference", (product, view, last), (cpu,))


def times(given: Problem, name: str) -> list[float]:
    return given.arrays.time[:, given.device_ids.index(name)].tolist()


def test_a_card_that_is_added_is_as_if_it_had_been_profiled_for() -> None:
    expected = with_estimates(profiled(), ["a100"]).problem()
    found = what_if(profiled().problem(), add=["a100"])
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


def test_several_cards_reach_each_other_and_all_that_is_there() -> None:
    found = what_if(profiled().problem(), add=["2xl4", "big=h100"])
    assert found.device_ids == ("cpu", "l40", "l41", "big")
    assert None not in found.cluster.routes.values()
    bare = problem([op("mm", {"gpu": 1})], [device("gpu0")], links=[])
    assert None not in what_if(bare, add=["a100"]).cluster.routes.values()


def test_a_graph_without_facts_counts_bytes_and_says_so() -> None:
    ops = [op("a", {"cpu": 1}, weights=8 * 10**9, output=10**9), op("b", {"cpu": 1}, "a")]
    ops[0] = dataclasses.replace(ops[0], type="aten.mm.default")
    given = problem(ops, "cpu0")
    assert without_flops(given) == 1
    seconds = 9e9 / (0.8 * lookup("a100").bandwidth)
    timed = times(what_if(given, add=["a100"], dtype="fp32"), "a100")
    assert timed[0] == pytest.approx(seconds, rel=1.0)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"add": ["a1000x"]}, "the catalogue has no device 'a1000x'"),
        ({"add": ["cpu=a100"]}, "device 'cpu' is there already"),
        ({"add": ["a100", "a100"]}, "two devices are called 'a100'"),
        ({"replace": {"gpu": "a100"}}, "'gpu' is not a device of the graph, expected one of cpu"),
        ({"replace": {"cpu": "a100"}}, "cpu is a cpu and NVIDIA A100 SXM 40 GB is a gpu"),
        ({"add": ["a100"], "measured": {"x": "t4"}}, "'x' is not a device of the graph"),
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
    assert main(["whatif", str(source)]) == 2
    assert "give a device with --add or --replace" in capsys.readouterr().err
    assert main(["convert", str(source), "--estimate", "l4", "-o", str(target)]) == 0
    assert api.read(target).device_ids == ("cpu", "l4")
