"""Speedup tables worked out by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.analysis.speedups import compare


@dataclass(frozen=True)
class Timed:
    name: str
    duration_us: float
    type: str = ""


def run(*parts: tuple[str, float]) -> list[Timed]:
    return [Timed(name, time, name.partition(":")[0]) for name, time in parts]


def test_a_table_by_hand() -> None:
    cpu = run(("conv:1", 100), ("relu", 10), ("pack", 5), ("conv:2", 50), ("linear", 35))
    gpu = run(("conv:1", 10), ("relu", 5), ("conv:2", 10), ("copy", 5), ("linear", 70))
    found = compare(cpu, gpu)
    assert [(p.reference, p.other) for p in found.pairs] == [(0, 0), (1, 1), (3, 2), (4, 4)]
    conv, linear, relu = found.types  # longest on the reference first
    assert (conv.name, conv.count, conv.reference_us, conv.other_us) == ("conv", 2, 150, 20)
    assert conv.speedup == 7.5
    # single speedups 10 and 5: quartiles 6.25 and 8.75, median 7.5
    assert conv.spread == pytest.approx((8.75 - 6.25) / 2 / 7.5)
    assert (linear.speedup, relu.speedup) == (0.5, 2)
    assert relu.spread == 0
    assert [row.name for row in found.ops] == ["conv:1", "conv:2", "linear", "relu"]
    assert found.reference_coverage == pytest.approx(195 / 200)
    assert found.other_coverage == pytest.approx(95 / 100)
    assert found.speedup == pytest.approx(195 / 95)
    assert [(item.name, item.count, item.total_us) for item in found.left_reference] == [
        ("pack", 1, 5)
    ]
    assert [item.name for item in found.left_other] == ["copy"]


def test_an_op_that_took_no_time_has_no_speedup() -> None:
    found = compare(run(("view", 3), ("mm", 8)), run(("view", 0), ("mm", 2)))
    view = next(row for row in found.types if row.name == "view")
    assert (view.speedup, view.spread) == (None, None)
    assert found.speedup == 5.5
    json.dumps(found.to_dict(), allow_nan=False)


def test_nothing_in_common() -> None:
    found = compare(run(("a", 1)), run(("b", 2)))
    assert found.pairs == ()
    assert found.speedup is None
    assert found.reference_coverage == found.other_coverage == 0


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 100)), min_size=1, max_size=10),
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 100)), min_size=1, max_size=10),
)
def test_nothing_is_lost_or_counted_twice(
    first: list[tuple[str, float]], second: list[tuple[str, float]]
) -> None:
    found = compare(run(*first), run(*second))
    for total, rows, left in (
        (found.reference_us, [row.reference_us for row in found.types], found.left_reference),
        (found.other_us, [row.other_us for row in found.types], found.left_other),
    ):
        assert sum(rows) + sum(item.total_us for item in left) == pytest.approx(total)
    assert sum(row.count for row in found.types) == len(found.pairs)
    same = compare(run(*first), run(*first))
    assert same.speedup == 1
    assert same.reference_coverage == 1
    assert all(row.spread == 0 for row in same.types)
