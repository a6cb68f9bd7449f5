"""What a result says of itself: `print`, `Result.summary` and a cell of a notebook."""

from __future__ import annotations

import base64
import re
import sys
from html.parser import HTMLParser

import pytest

import talos_opt
from talos_opt.core.gains import Gains
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.result import Result, Status
from talos_opt.reports.texts import summary
from tests.builders import device, fig1, link, op, problem


def branches(**extra: object) -> Problem:
    """Two branches of a net that go to two devices, and a head after both."""
    ops = [
        op("a", 4, weights=10, module="net.left"),
        op("b", 4, weights=10, module="net.right"),
        op("c", 1, "a b", module="net.head"),
    ]
    return problem(
        ops, "gpu0 gpu1", [link("gpu gpu")], objective="makespan", reference="gpu", **extra
    )


def lines_of(text: str, begin: str) -> list[str]:
    """Return the words of each line that begins like this."""
    return [" ".join(line.split()) for line in text.splitlines() if line.startswith(begin)]


def test_value_gain_and_modules() -> None:
    result = talos_opt.solve(branches(), "heft")
    text = result.summary()
    assert lines_of(text, "makespan") == ["makespan 5 s (time until the last model is done)"]
    assert lines_of(text, "gain") == [
        "gain 1.8x as fast as the best single device (gpu0), "
        "1.8x as fast as filling the devices in order"
    ]
    rows = lines_of(text, "net.")
    assert {row.split()[0]: row.split()[1] for row in rows} == {
        "net.left": result.placement["m/a"],
        "net.right": result.placement["m/b"],
        "net.head": result.placement["m/c"],
    }


def test_printing_solves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    result = talos_opt.solve(branches(), "heft")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a baseline was solved")

    monkeypatch.setattr("talos_opt.gain.solve", refuse)
    assert lines_of(str(result), "gain") == []
    assert str(result) == result.summary(time_limit=0)
    assert "\x1b" not in str(result)


def test_a_gain_that_is_none_or_not_defined() -> None:
    tell = summary.tell_gains
    none = Gains(5.0, None, None, None)
    assert tell(none, Objective.MAKESPAN) == ""
    same = Gains(5.0, 5.0, "gpu0", 4.0)
    assert tell(same, Objective.TOCT) == (
        "as fast as the best single device (gpu0), 0.8x as fast as filling the devices in order"
    )
    half = Gains(0.25, 0.5, "gpu0", 0.25)
    assert tell(half, Objective.MEMORY) == (
        "1/2 of the share of the best single device (gpu0), "
        "the share of filling the devices in order"
    )


def test_modules_of_which_only_the_longest_have_rows() -> None:
    ops = [op(f"op{i}", 20 - i, module=f"part{chr(97 + i)}") for i in range(12)]
    many = problem(ops, [device("gpu0"), device("gpu1")])
    result = talos_opt.solve(many, "etf")
    table = summary.module_table(result)
    assert table is not None
    columns, rows = table
    assert columns[:3] == ("module", "device", "ops")
    assert len(rows) == summary.MODULES + 1
    assert [row[0] for row in rows[:-1]] == [f"part{chr(97 + i)}" for i in range(8)]
    assert rows[-1][:4] == ("4 more", "gpu0, gpu1", "4", "42 s")
    assert sum(int(row[2]) for row in rows) == 12


def test_no_table_of_modules_where_it_would_repeat_the_devices() -> None:
    result = talos_opt.solve(problem([op("a", 1), op("b", 1)], "gpu0 gpu1"), "heft")
    assert summary.module_table(result) is None
    table = summary.module_table(talos_opt.solve(fig1(), "heft"))
    assert table is not None
    assert table[0][0] == "model"


class Cells(HTMLParser):
    """Collects the text of all cells, and the pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.pictures: list[bytes] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            source = dict(attrs)["src"] or ""
            self.pictures.append(base64.b64decode(source.partition("base64,")[2]))
            return
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_a_cell_of_a_notebook() -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    ops = [op("a<b>", devices="gpu0", module="<script>"), op("c", 1, "a<b>", devices="gpu1")]
    result = talos_opt.solve(problem(ops, "gpu0 gpu1", [link("gpu gpu")]), "heft")
    html = result._repr_html_()
    found = Cells(html)
    assert "<script>" not in html
    assert "<script>" in found.cells
    assert "2 s (time until the last model is done)" in "".join(found.cells)
    assert [picture[:8] for picture in found.pictures] == [b"\x89PNG\r\n\x1a\n"]
    assert len(html) < 200_000


def test_without_matplotlib_there_are_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    result = talos_opt.solve(fig1(), "heft")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = Cells(result._repr_html_())
    assert found.pictures == []
    assert {"gpu0", "cpu0", "makespan 4.5 s (time until the last model is done)"} <= {*found.cells}


def test_a_result_without_a_schedule() -> None:
    none = Result(fig1(), Status.UNKNOWN, None, 2.5, "heft", reason="time ran out")
    said = r"test: unknown: .*; solver heft, 0 s\n\nunknown: time ran out"
    assert re.fullmatch(said, str(none))
    assert "time ran out" in none._repr_html_()
