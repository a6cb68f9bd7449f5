"""How measurements of a device enter a profile; what is missing, too short or interrupted."""

from __future__ import annotations

import threading

import pytest

from talos_opt.frameworks.common.measuring import Budget, Measured, with_device, with_sheets
from talos_opt.frameworks.common.profile import OpProfile, Profile
from talos_opt.frameworks.common.targets import Target

CPU = Target("cpu0", "cpu", "cpu", 4096, "A CPU")


def profile(*types: str) -> Profile:
    ops = tuple(OpProfile(f"op{k}", kind, workspace=7) for k, kind in enumerate(types))
    return Profile("net", "none", "inference", ops, ())


def test_timings_are_medians_that_sum_to_the_whole() -> None:
    measured = Measured({"op0": [1.0, 3.0, 2.0], "op1": [4.0, 4.0, 9.0]}, [3.0, 3.0, 3.0])
    found = with_device(profile("a", "b"), CPU, measured, 2)
    assert [op.timings["cpu0"].raw_s for op in found.ops] == [2.0, 4.0]
    assert [op.timings["cpu0"].time_s for op in found.ops] == pytest.approx([1.0, 2.0])
    assert [op.timings["cpu0"].repeats for op in found.ops] == [3, 3]
    (device,) = found.devices
    assert (device.id, device.kind, device.memory) == ("cpu0", "cpu", 4096)
    assert (device.whole_s, device.factor, device.threads) == (3.0, 0.5, 2)
    assert found.facts["threads on cpu0"] == "2"
    assert "measured on cpu0" not in found.facts


def test_a_step_that_starts_op_by_op_is_the_whole_where_it_was_measured() -> None:
    measured = Measured({"op0": [1.0], "op1": [3.0]}, [9.0], steps=[10.0], starting=[0.2])
    found = with_device(profile("a", "b"), CPU, measured, 1)
    (device,) = found.devices
    assert (device.whole_s, device.step_s, device.launch_s, device.factor) == (9.0, 10.0, 1.0, 2.0)
    assert [op.timings["cpu0"].time_s for op in found.ops] == [3.0, 7.0]
    gpu = Target("gpu0", "gpu:0", "gpu", 100, "A GPU")
    kernels = Measured({"op0": [1.0], "op1": [3.0]}, [9.0], steps=[5.0], kernels=True)
    ops = tuple(OpProfile(name, "a", output=4) for name in ("op0", "op1"))
    found = with_device(Profile("net", "none", "inference", ops, ()), gpu, kernels, None)
    assert (found.devices[0].step_s, found.devices[0].launch_s) == (5.0, 2.0)
    assert [op.timings["gpu0"].time_s for op in found.ops] == [2.0, 3.0]


def test_ops_that_were_not_reached_take_as_long_as_their_like() -> None:
    measured = Measured({"op0": [1.0], "op1": [5.0]}, stopped=True)
    found = with_device(profile("a", "b", "a", "c"), CPU, measured, None)
    assert [op.timings["cpu0"].raw_s for op in found.ops] == [1.0, 5.0, 1.0, 3.0]
    assert [op.timings["cpu0"].estimated for op in found.ops] == [False, False, True, True]
    assert "stopped" in found.facts["measured on cpu0"]
    nothing = with_device(profile("a"), CPU, Measured(), None)
    assert nothing.ops[0].timings["cpu0"].raw_s == 0.0


def test_what_a_device_cannot_run_has_no_time_there() -> None:
    on_gpu = Measured({"op0": [1.0]}, stopped=True, unable={"op2"})
    on_cpu = Measured({f"op{k}": [2.0] for k in range(3)}, [12.0, 12.0, 12.0])
    gpu = Target("gpu0", "gpu:0", "gpu", 100, "A GPU")
    found = with_device(profile("a", "a", "text"), gpu, on_gpu, None)
    found = with_device(found, CPU, on_cpu, 1)
    assert [set(op.timings) for op in found.ops] == [{"gpu0", "cpu0"}] * 2 + [{"cpu0"}]
    assert found.ops[1].timings["gpu0"].estimated
    assert found.sum_of_ops_s("gpu0") == pytest.approx(2.0)
    assert found.sum_of_ops_s("cpu0") == pytest.approx(12.0)
    times = [op.time for op in found.problem().graph.models[0].ops]
    assert [sorted(time) for time in times] == [["cpu0", "gpu0"]] * 2 + [["cpu0"]]
    sheets = with_sheets(found, (gpu, CPU, Target("big", sheet="a100")), "float32")
    assert "gpu0" not in sheets.ops[2].timings


def test_workspace_is_the_most_of_all_devices() -> None:
    measured = Measured({"op0": [1.0], "op1": [1.0]}, workspace={"op0": 3, "op1": 11})
    assert [op.workspace for op in with_device(profile("a", "b"), CPU, measured, 1).ops] == [7, 11]


def test_times_too_short_for_the_timer_are_marked_on_each_device() -> None:
    measured = Measured({"op0": [1e-7], "op1": [1.0]}, resolution_s=5e-8)
    found = with_device(profile("a", "b"), CPU, measured, 1)
    found = with_device(found, Target("cpu1", "cpu"), measured, 1)
    assert found.ops[0].facts["below_resolution"] == ["cpu0", "cpu1"]
    assert "below_resolution" not in found.ops[1].facts


def test_the_whole_is_what_it_is_while_nobody_interrupts() -> None:
    assert Measured().whole_s is None
    assert Measured(whole=[2.0, 1.0]).whole_s == 1.5
    # Batches of three in the order of time: the quietest counts, a short one at the end does not.
    assert Measured(whole=[9, 9, 9, 4, 5, 4, 8, 8, 8, 1]).whole_s == 4
    assert Measured({"a": [1.0, 2.0, 9.0], "b": [4.0], "c": []}).sum_s == 6


def test_a_budget_ends_with_its_time_or_when_it_is_told() -> None:
    assert Budget(0.0).spent
    cancel = threading.Event()
    budget = Budget(1e6, cancel)
    assert not budget.spent
    cancel.set()
    assert budget.spent
    assert 0 <= budget.used < budget.seconds


def test_devices_come_in_the_order_that_was_asked_for() -> None:
    targets = (Target("gpu0", sheet="t4"), CPU, Target("gpu1", sheet="a100"))
    measured = with_device(profile("a"), CPU, Measured({"op0": [1.0]}, [1.0]), 1)
    found = with_sheets(measured, targets, "float32")
    assert [(d.id, d.estimated) for d in found.devices] == [
        ("gpu0", True),
        ("cpu0", False),
        ("gpu1", True),
    ]
    assert found.ops[0].timings.keys() == {"gpu0", "cpu0", "gpu1"}
    assert with_sheets(measured, (CPU,), "float32").devices == measured.devices
