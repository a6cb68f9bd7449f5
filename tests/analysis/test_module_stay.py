"""Modules of a schedule: which ops they are, where, when, and what is moved for them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import talos_opt
from talos_opt.analysis.module_stay import ModuleStay, Moved, find_modules
from talos_opt.cli.explained_module import tell
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from tests.builders import link, op, problem


def layers() -> tuple[Problem, Schedule]:
    """Two layers of two parts; the second part of each is on the other device."""
    ops = [
        op("in", 1, output=4),
        op("a0", 2, "in", output=8, weights=5, module="net.h.0.att"),
        op("b0", 3, "a0", output=12, weights=7, module="net.h.0.mlp"),
        op("a1", 2, "b0", output=8, weights=5, module="net.h.1.att"),
        op("b1", 3, "a1", output=12, weights=7, module="net.h.1.mlp"),
        op("side", 1, "in", module="net.side"),
        op("out", 1, "b1 side"),
    ]
    found = problem(ops, "cpu0 gpu0", [link("cpu gpu", bandwidth=4)], objective="makespan")
    return found, simulate(found, np.array([0, 0, 1, 0, 1, 0, 0]), list(range(7)))


def test_a_module_with_its_parts() -> None:
    found, schedule = layers()
    stay = talos_opt.explain(found, schedule, "net.h.0")
    assert isinstance(stay, ModuleStay)
    assert [found.names[i] for i in stay.ops] == ["m/a0", "m/b0"]
    assert [(d.device, d.ops, d.time, d.weights, d.start, d.end) for d in stay.devices] == [
        ("cpu0", 1, 2, 5, 1, 3),
        ("gpu0", 1, 3, 7, 5, 8),
    ]
    assert (stay.start, stay.end) == (1, 8)
    assert stay.received == Moved(0, 0, 0)  # its input is made where it is
    assert stay.within == Moved(1, 8, 2)
    assert stay.sent == Moved(1, 12, 3)
    assert {(row.module, row.device) for row in stay.parts} == {
        ("net.h.0.att", "cpu0"),
        ("net.h.0.mlp", "gpu0"),
    }
    assert stay.slack.tolist() == [0, 0]


def test_a_pattern_means_several_modules() -> None:
    found, schedule = layers()
    stay = talos_opt.explain(found, schedule, "net.h.*.mlp")
    assert isinstance(stay, ModuleStay)
    assert stay.modules == ("net.h.0.mlp", "net.h.1.mlp")
    assert (stay.received.transfers, stay.sent.transfers, stay.within.transfers) == (2, 2, 0)
    side = talos_opt.explain(found, schedule, "net.side")
    assert isinstance(side, ModuleStay)
    assert side.slack.tolist() == [7]  # from its end at 4 to the start of a1 after it, at 11


def test_slack_is_that_of_all_together() -> None:
    found, schedule = layers()
    side = talos_opt.explain(found, schedule, "net.side")
    assert isinstance(side, ModuleStay)
    later = schedule.start.copy()
    later[side.ops] += side.slack.min()
    moved = Schedule(
        schedule.device, later, later + (schedule.end - schedule.start), schedule.transfers
    )
    assert talos_opt.check(found, moved) == ()
    assert moved.makespan == schedule.makespan


def test_the_model_in_front() -> None:
    part = [op("a", 1, module="net.a"), op("b", 1, module="net.b")]
    both = problem({"one": part, "two": list(part)}, "cpu0")
    assert set(find_modules(both, "net.a")) == {"one/net.a", "two/net.a"}
    assert find_modules(both, "two/net") == {"two/net": [2, 3]}


def test_names_that_nothing_has() -> None:
    found, schedule = layers()
    for name, message in (
        ("h.0.mlp", "no op or module is called 'h.0.mlp', expected MODEL/OP or a module, such as "
                    "'net.h.0.mlp', 'net.h.1.mlp'"),
        ("net.h.7", "such as 'net.h.1', 'net.h.0', 'net.h'"),
        ("net.*", None),
    ):  # fmt: skip
        if message is None:
            assert len(find_modules(found, name)) == 2
            continue
        with pytest.raises(talos_opt.InputError) as caught:
            talos_opt.explain(found, schedule, name)
        assert message in str(caught.value)
    plain = problem([op("a")], "cpu0")
    with pytest.raises(talos_opt.InputError, match=r"'x', expected MODEL/OP$"):
        find_modules(plain, "x")


def test_text_and_document() -> None:
    found, schedule = layers()
    stay = talos_opt.explain(found, schedule, "net.h.0")
    assert isinstance(stay, ModuleStay)
    text = tell(stay)
    assert text.startswith("net.h.0: 2 ops on cpu0 and gpu0, from 1 s to 8 s, for 7 s\n")
    assert "moved to it: nothing\nmoved from it: 12 B in 1 transfer, 3 s\n" in text
    assert "slack: none; any delay of m/b0 adds to makespan" in text
    document = json.loads(json.dumps(stay.to_dict()))
    assert document["schema"] == "talos-module/1"
    assert [row["op"] for row in document["ops"]] == ["m/a0", "m/b0"]
    assert document["slack"] == 0
    free = talos_opt.explain(found.with_objective("toct"), schedule, "net.side")
    assert isinstance(free, ModuleStay)
    assert math.isfinite(free.slack[0])
    assert "slack: all of it may start 7 s later at the same toct" in tell(free)
