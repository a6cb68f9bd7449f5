"""Devices from their texts: the forms that all frameworks share."""

from __future__ import annotations

import pytest

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common import targets
from talos_opt.frameworks.common.targets import Target, host

FORM = "cpu or npu:0"


def find(what: str) -> Target:
    if what == "cpu":
        return host("host:0")
    if what == "npu:0":
        return Target("npu:0", "local npu", "npu", 1000, "An NPU")
    raise InputError(f"device {what!r} is unknown")


def parse(*specs: str) -> tuple[Target, ...]:
    return targets.parse_targets(specs, find, FORM)


def test_devices_that_are_there() -> None:
    cpu, npu = parse("cpu", "npu:0")
    assert (cpu.id, cpu.local, cpu.kind, cpu.sheet) == ("cpu", "host:0", "cpu", None)
    assert cpu.memory is None or cpu.memory > 2**20
    assert npu == Target("npu:0", "local npu", "npu", 1000, "An NPU")


def test_several_of_one_and_other_names() -> None:
    assert [t.id for t in parse("2xnpu:0", "cpu")] == ["npu:0-0", "npu:0-1", "cpu"]
    found = parse("a=npu:0", "b=2xnpu:0")
    assert [t.id for t in found] == ["a", "b0", "b1"]
    assert {t.local for t in found} == {"local npu"}
    assert [t.memory for t in found] == [1000] * 3


def test_devices_of_the_catalogue() -> None:
    found = parse("estimate:a100", "gpu=2xestimate:t4")
    assert [(t.id, t.sheet, t.local) for t in found] == [
        ("a100", "a100", None),
        ("gpu0", "t4", None),
        ("gpu1", "t4", None),
    ]
    assert [t.id for t in parse("2xestimate:l4", "2xestimate:l40s", "cpu")] == [
        "l4-0", "l4-1", "l40s0", "l40s1", "cpu",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("specs", "complaint"),
    [
        (("tpu",), "device 'tpu' is unknown"),
        (("estimate:abacus",), "catalogue has no device 'abacus'"),
        (("cpu", "cpu"), "two devices are called 'cpu': name them, as in NAME=cpu"),
        (("2xcpu", "cpu1=npu:0"), "two devices are called 'cpu1'"),
        (
            ("cpu", "estimate:epyc-9654"),
            "a device is called 'cpu', as the kind of cpu, epyc-9654 is: name it, as in cpu0=cpu",
        ),
        (("=cpu",), f"'=cpu' is not of the form {FORM}"),
        (("a=",), "not of the form"),
        (("0xcpu",), "not of the form"),
        ((), f"no device is given, expected some of {FORM}"),
    ],
)
def test_devices_that_are_not_clear(specs: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(*specs)
    assert complaint in str(caught.value)
