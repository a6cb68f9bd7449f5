"""What a profile becomes as a problem."""

from __future__ import annotations

import pytest

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.profile import DeviceProfile, OpProfile, Profile, Timing

GIB = 2**30


def profile(memory: int | None) -> Profile:
    op = OpProfile("a", "aten.mm", timings={"cpu": Timing(1, 1), "gpu0": Timing(1, 1)})
    devices = (DeviceProfile("cpu", "cpu"), DeviceProfile("gpu0", "gpu", memory))
    return Profile("net", "torch", "inference", (op,), devices)


@pytest.mark.parametrize(
    ("fraction", "reserve", "usable"),
    [(1.0, 0, 10 * GIB), (0.9, 0, 9 * GIB), (0.9, GIB, 8 * GIB), (0.5, 5 * GIB - 2, 2)],
)
def test_room_is_left_on_devices_with_a_limit(fraction: float, reserve: int, usable: int) -> None:
    cpu, gpu = profile(10 * GIB).with_room(fraction, reserve).problem().cluster.devices
    assert cpu.usable_memory is None
    assert gpu.usable_memory is not None
    assert usable - 2 <= gpu.usable_memory <= usable
    assert gpu.memory_fraction == fraction


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(
        InputError, match=r"gpu0 has 10\.00 GiB: nothing is left with a memory fraction"
    ):
        profile(10 * GIB).with_room(0.9, 9 * GIB)
