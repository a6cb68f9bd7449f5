"""Estimates worked out by hand, and what measurements do to them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.errors import InputError
from talos_opt.core.feasibility import check
from talos_opt.core.graph import Op
from talos_opt.frameworks.common.catalogue import lookup
from talos_opt.frameworks.common.op_classes import EFFICIENCIES, class_of
from talos_opt.frameworks.common.profile import (
    DeviceProfile,
    LinkProfile,
    OpProfile,
    Profile,
    Read,
    Timing,
)
from talos_opt.frameworks.common.roofline import (
    TRANSFER,
    calibrate,
    estimate,
    fitted,
    with_estimates,
)
from tests.frameworks.datasheets import assert_within_datasheets

A100, T4, I9 = lookup("a100"), lookup("t4"), lookup("i9-13900k")
MM = OpProfile("mm", "aten.mm.default", flops=2e12, moved_bytes=10**9, output=10**8)
ADD = OpProfile("add", "aten.add.Tensor", flops=1e6, moved_bytes=10**9, output=10**8)
VIEW = OpProfile("view", "aten.view.default", moved_bytes=10**6)


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        ("aten.convolution.default", "conv"),
        ("aten::conv2d", "conv"),
        ("Conv2D", "conv"),
        ("aten.convolution_backward.default", "conv_grad"),
        ("Conv2DBackpropFilter", "conv_grad"),
        ("aten.addmm.default", "matmul"),
        ("MatMul", "matmul"),
        ("linear", "matmul"),
        ("aten.upsample_bilinear2d.vec", "elementwise"),
        ("aten.bmm.default", "batch_matmul"),
        ("aten._grouped_mm", "batch_matmul"),
        ("transformers.grouped_mm_fallback", "batch_matmul"),
        ("aten.scaled_dot_product_attention.default", "attention"),
        ("aten._scaled_dot_product_flash_attention_for_cpu_backward", "attention"),
        ("aten.embedding.default", "gather"),
        ("aten.native_layer_norm.default", "normal"),
        ("aten.max_pool2d_with_indices.default", "normal"),
        ("aten._softmax.default", "normal"),
        ("aten.relu.default", "elementwise"),
        ("prims.convert_element_type.default", "elementwise"),
        ("aten.view.default", "view"),
        ("Reshape", "view"),
        ("operator.getitem", "nothing"),
        ("<built-in function getitem>", "nothing"),
        ("placeholder", "nothing"),
        ("Const", "nothing"),
    ],
)
def test_types_of_any_framework_have_a_class(type_: str, name: str) -> None:
    assert class_of(type_) == name


def test_every_class_states_its_reason_and_sensible_shares() -> None:
    for efficiency in EFFICIENCIES.values():
        assert efficiency.reason
        for shares in (efficiency.compute, efficiency.memory):
            assert set(shares) == {"cpu", "gpu"}
            assert all(0 < share < 1 for share in shares.values())


def test_an_op_bound_by_arithmetic() -> None:
    # 2e12 FLOPs at 0.7 of 19.5 TFLOP/s; its bytes take 0.8 ms
    assert estimate(MM, A100).raw_s == pytest.approx(5e-6 + 2e12 / (0.7 * 19.5e12))
    # tensor cores: three quarters of that share of 312 TFLOP/s
    assert estimate(MM, A100, "bf16").raw_s == pytest.approx(5e-6 + 2e12 / (0.7 * 0.75 * 312e12))


def test_an_op_bound_by_memory() -> None:
    assert estimate(ADD, A100).raw_s == pytest.approx(5e-6 + 1e9 / (0.8 * 1555e9))
    assert estimate(ADD, I9).raw_s == pytest.approx(2e-6 + 1e9 / (0.75 * 89.6e9))


def test_unknown_flops_leave_the_bytes_to_decide() -> None:
    unknown = replace(MM, flops=None)
    assert estimate(unknown, A100).raw_s == pytest.approx(5e-6 + 1e9 / (0.8 * 1555e9))


def test_views_and_names_cost_nothing_and_copies_do() -> None:
    assert estimate(VIEW, A100).time_s == 0
    assert estimate(OpProfile("g", "operator.getitem", output=64), A100).time_s == 0
    assert estimate(OpProfile("p", "aten.relu_.default", output=0), A100).time_s == 0
    copying = replace(VIEW, output=10**6)
    assert estimate(copying, A100).time_s > 5e-6
    in_place = OpProfile("r", "aten.relu_.default", moved_bytes=10**6)
    assert estimate(in_place, A100).time_s > 5e-6


def test_a_data_type_that_a_device_lacks_is_computed_as_fp32() -> None:
    v100 = lookup("v100")
    assert estimate(MM, v100, "bf16") == estimate(MM, v100, "fp32")
    with pytest.raises(InputError, match="data type"):
        estimate(MM, v100, "fp7")


@given(
    st.sampled_from(["aten.mm.default", "aten.add.Tensor", "aten._softmax.default", "conv2d"]),
    st.floats(0, 1e13),
    st.integers(0, 10**10),
    st.floats(1, 10),
)
def test_more_work_never_takes_less_time(type_: str, flops: float, size: int, more: float) -> None:
    for sheet in (A100, T4, I9):
        small = estimate(OpProfile("a", type_, flops=flops, moved_bytes=size, output=1), sheet)
        large = estimate(
            OpProfile("a", type_, flops=flops * more, moved_bytes=int(size * more), output=1), sheet
        )
        assert sheet.launch_s <= small.raw_s <= large.raw_s
        assert small.estimated
        assert small.spread == 0


def measured(
    factors: dict[str, float], device: str = "cpu", kind: str = "cpu", sheet: str = "i9-13900k"
) -> Profile:
    """A profile whose ops took `factors` times as long as the roofline of a sheet says."""
    ops = []
    for name, factor in factors.items():
        like = {"mm": MM, "add": ADD, "view": VIEW}[name]
        seconds = factor * estimate(like, lookup(sheet)).raw_s
        timing = Timing(seconds, seconds, repeats=9)
        inputs = (Read(ops[-1].id, 100),) if ops else ()
        ops.append(replace(like, timings={device: timing}, inputs=inputs))
    return Profile(
        "net", "torch", "inference", tuple(ops), (DeviceProfile(device, kind, whole_s=1.0),)
    )


def test_a_device_of_the_same_kind_hands_its_ratios_on() -> None:
    profile = measured({"mm": 2.0, "add": 0.9}, "cuda:0", "gpu", "t4")
    found = with_estimates(profile, ["a100"], measured={"cuda:0": "Tesla T4"})
    for op, like, factor in zip(found.ops, (MM, ADD), (2.0, 0.9), strict=True):
        raw = estimate(like, A100).raw_s
        assert op.timings["a100"].raw_s == pytest.approx(raw)
        assert op.timings["a100"].time_s == pytest.approx(factor * raw)
        assert op.timings["cuda:0"] == profile.ops[0 if like is MM else 1].timings["cuda:0"]
    assert "by cuda:0 over its own roofline (NVIDIA T4)" in found.facts["estimate a100"]


def test_another_kind_hands_on_part_of_what_is_peculiar_to_a_type() -> None:
    # overall (the median of the logarithms of 8 and 2) is 4; peculiar are 2 and 1/2
    profile = measured({"mm": 8.0, "add": 2.0})
    found = calibrate(profile, A100, {"cpu": "i9-13900k"})
    assert found.ratios.of(MM.type) == pytest.approx(2**TRANSFER)
    assert found.ratios.of(ADD.type) == pytest.approx(0.5**TRANSFER)
    assert found.ratios.of("aten.never_seen") == found.ratios.of(ADD.type), "elementwise as well"
    assert found.ratios.of("aten.conv2d") == 1
    assert "what is peculiar to it on cpu" in found.reason


def test_how_fast_the_measured_machine_is_does_not_matter_to_another_kind() -> None:
    slow, fast = measured({"mm": 4.0, "add": 4.0}), measured({"mm": 0.5, "add": 0.5})
    for profile in (slow, fast):
        ratios = calibrate(profile, A100, {"cpu": "i9-13900k"}).ratios
        assert ratios.of(MM.type) == pytest.approx(1)
        # without a datasheet for the measured device, one is fitted to it
        assert calibrate(profile, A100).ratios.of(MM.type) == pytest.approx(1, rel=0.05)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["aten.mm", "aten.bmm", "conv2d", "aten.add", "attention"]),
            st.floats(0, 1e15),
            st.integers(0, 10**12),
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 99),
)
def test_no_estimate_exceeds_a_datasheet(work: list[tuple[str, float, int]], seed: int) -> None:
    assert_within_datasheets(
        [
            OpProfile(f"op{i}", type_, flops=flops, moved_bytes=size, output=1)
            for i, (type_, flops, size) in enumerate(work)
        ],
        seed,
    )


def test_a_type_that_is_peculiarly_fast_on_a_cpu_stays_below_the_peak_of_a_gpu() -> None:
    """Half of a tenfold peculiarity would be 17.5 of 15.7 TFLOP/s and more."""
    v100 = lookup("v100")
    profile = with_estimates(
        measured({"mm": 0.1, "add": 10.0}), ["v100"], measured={"cpu": "i9-13900k"}
    )
    times = {op.id: op.timings["v100"].time_s for op in profile.ops}
    assert MM.flops is not None
    assert times["mm"] == pytest.approx(MM.flops / v100.peak["fp32"])
    assert times["add"] > ADD.moved_bytes / v100.bandwidth
    assert "on cpu (1 held at the datasheet's limits); source" in profile.facts["estimate v100"]


def test_a_type_leans_on_its_class() -> None:
    factors = {"aten.relu": 1.0, "aten.add": 1.0, "aten.mul": 8.0}
    ops = []
    for type_, factor in factors.items():
        for k in range(2):
            op = replace(ADD, id=f"{type_}{k}", type=type_)
            seconds = factor * estimate(op, T4).raw_s
            ops.append(replace(op, timings={"cuda:0": Timing(seconds, seconds, repeats=9)}))
    profile = Profile("net", "torch", "inference", tuple(ops), (DeviceProfile("cuda:0", "gpu"),))
    ratios = calibrate(profile, A100, {"cuda:0": "t4"}).ratios
    assert ratios.of("aten.mul") == pytest.approx(8**0.5)  # two ops against a class of weight two
    assert ratios.of("aten.relu") == pytest.approx(1)
    assert ratios.of("aten.sub") == pytest.approx(1), "not measured: as its class"


def test_a_fitted_datasheet_says_what_was_measured() -> None:
    profile = measured({"mm": 3.0, "add": 3.0})
    sheet = fitted(profile, "cpu", "cpu")
    for op in profile.ops:
        assert estimate(op, sheet).raw_s == pytest.approx(op.timings["cpu"].time_s, rel=0.15)


def test_nothing_measured_leaves_the_estimates() -> None:
    profile = Profile("net", "torch", "inference", (MM, VIEW), ())
    found = with_estimates(profile, ["xeon-8480+", "a100"])
    for op in found.ops:
        for timing in op.timings.values():
            assert timing.time_s == timing.raw_s
            assert timing.estimated
    assert "not calibrated" in found.facts["estimate a100"]


def test_estimates_are_marked_in_the_problem() -> None:
    found = with_estimates(measured({"mm": 1.0, "add": 1.0, "view": 1.0}), ["a100", "a100", "t4"])
    problem = found.problem()
    assert problem.device_ids == ("cpu", "a100-0", "a100-1", "t4")
    op = problem.ops[0]
    assert isinstance(op, Op)
    assert op.attrs["estimated"] == ["a100-0", "a100-1", "t4"]
    assert "a100-0: estimated from its datasheet" in problem.graph.description
    assert "source: NVIDIA A100 datasheet" in problem.graph.description
    capacity = {device.id: device.memory for device in problem.cluster.devices}
    assert capacity == {"cpu": None, "a100-0": 40 * 2**30, "a100-1": 40 * 2**30, "t4": 16 * 2**30}
    # peers have a link of their own, the others go through the host
    assert problem.cluster.routes["a100-0", "t4"] == "cpu"
    assert not isinstance(problem.cluster.routes["a100-0", "a100-1"], str)


def test_a_model_that_was_never_run_can_be_planned() -> None:
    import talos_opt

    chain = [replace(MM, id="first"), replace(MM, id="second", inputs=(Read("first", 10**8),))]
    profile = Profile("net", "torch", "inference", tuple(chain), ())
    problem = with_estimates(profile, {"host": "epyc-9654", "big": "h100", "small": "l4"}).problem()
    result = talos_opt.solve(problem, time_limit=2, solver="heft")
    assert result.schedule is not None
    assert not list(check(problem, result.schedule))
    assert set(result.placement.values()) == {"big"}


def test_devices_without_a_host_are_joined() -> None:
    profile = Profile("net", "torch", "inference", (MM,), ())
    routes = with_estimates(profile, ["t4", "l4"]).problem().cluster.routes
    assert routes["t4", "l4"] is not None


def test_ids_that_are_taken_are_refused() -> None:
    with pytest.raises(InputError, match="'cpu' is there already"):
        with_estimates(measured({"mm": 1.0}), {"cpu": "a100"})
    with pytest.raises(InputError, match="no device 'a1000'"):
        with_estimates(measured({"mm": 1.0}), ["a1000"])


def test_measured_links_stay() -> None:
    link = LinkProfile("cpu", "cuda:0", 1e-5, 1e10)
    profile = replace(
        measured({"mm": 1.0}),
        devices=(DeviceProfile("cpu", "cpu"), DeviceProfile("cuda:0", "gpu")),
        links=(link,),
    )
    found = with_estimates(profile, ["t4"])
    assert found.links[0] == link
    assert [(k.a, k.b) for k in found.links] == [("cpu", "cuda:0"), ("cpu", "t4")]
