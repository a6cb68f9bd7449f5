"""Latency and bandwidth, from the times of two copies."""

from __future__ import annotations

import pytest

from talos_opt.frameworks.common.links import LARGE, link_rates


def test_a_line_is_found_again() -> None:
    latency, bandwidth = link_rates(lambda size: 2e-5 + size / 8e9)
    assert latency == pytest.approx(2e-5, rel=1e-3)
    assert bandwidth == pytest.approx(8e9, rel=1e-3)


def test_a_large_copy_as_quick_as_a_small_one_is_still_a_number() -> None:
    assert link_rates(lambda size: 1e-5) == (1e-5, LARGE / 1e-9)
