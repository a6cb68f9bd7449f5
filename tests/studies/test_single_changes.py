"""What would help: values after each change, against solving each changed graph afresh."""

from __future__ import annotations

import threading

import pytest

from talos_opt import solve
from talos_opt.core.errors import InputError
from talos_opt.studies.single_changes import Help, improved, what_would_help
from tests.analysis.test_changes import small
from tests.builders import op, problem, schedule

SEARCHED: list[tuple[int, int, str]] = []


@pytest.fixture(scope="module")
def found() -> Help:
    given, answer = small()
    SEARCHED.clear()
    return what_would_help(
        given, answer, solver="dp", on_search=lambda *told: SEARCHED.append(told)
    )


def test_each_value_is_the_optimum_of_the_changed_graph(found: Help) -> None:
    assert found.helped
    for item in found.helped:
        afresh = solve(item.change.problem, "dp")
        assert item.result.value == pytest.approx(afresh.value)
        assert item.result.lower_bound <= (afresh.value or 0.0) * (1 + 1e-9)


def test_gains_are_over_the_best_schedule_without_the_change(found: Help) -> None:
    assert found.base.value is not None
    assert found.base.value <= found.given
    shares = [item.gain_share for item in found.helped]
    assert shares == sorted(shares, reverse=True, key=lambda share: share or 0.0)
    for item in found.helped:
        assert item.gain is not None
        assert item.gain >= 0
        if item.change.kind != "weight":
            assert item.before == found.base.value
        else:
            assert item.before > found.base.value


def test_each_search_is_announced(found: Help) -> None:
    assert [k for k, _, _ in SEARCHED] == list(range(len(found.helped) + 1))
    assert {count for _, count, _ in SEARCHED} == {len(found.helped) + 1}


def test_the_document_names_each_change(found: Help) -> None:
    told = found.to_dict()
    assert told["schema"] == "talos-whatif/1"
    assert [row["change"] for row in told["changes"]] == [i.change.label for i in found.helped]


def test_a_cancelled_search_leaves_out_the_rest() -> None:
    given, answer = small()
    cancel = threading.Event()
    cancel.set()
    assert what_would_help(given, answer, solver="dp", cancel=cancel).helped == ()


def test_bundles_are_refused() -> None:
    given = problem([op("a", 1)], "gpu0 gpu1")
    answer = schedule(given, {"a": ("gpu0", 0)})
    with pytest.raises(InputError, match="without bundles"):
        what_would_help(given.with_bundles("all"), answer, solver="dp")


def test_what_was_found_for_one_problem_is_tried_for_the_others() -> None:
    given, _ = small()
    poor, good = solve(given, "sequential"), solve(given, "dp")
    assert poor.value is not None
    assert good.value is not None
    assert good.value < poor.value
    assert improved(poor, [None, good.schedule]).value == good.value
    assert improved(good, [poor.schedule]) is good
    alone = solve(problem([op("a", 1), op("b", 1), op("c", 1)], "cpu0"), "dp")
    assert improved(alone, [good.schedule]) is alone  # it uses a device that is not there
