"""Pages in every browser, at every width, light, dark and on paper: nothing covers or cuts off."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from talos_opt.reports.page import write_report
from tests.reports.browser import BROWSERS, Browser, open_browser
from tests.reports.looks import CONTRAST, LAYOUT, LONGEST, SPEED, sheets
from tests.reports.pages import answer, crowded, data_of, many_ops, pipelined

WIDTHS = (1440, 1100, 390)

SCHEMES = ("light", "dark")


@pytest.fixture(scope="module", params=BROWSERS)
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    with open_browser(request.param) as opened:
        yield opened


@pytest.fixture(autouse=True)
def quiet(browser: Browser) -> Iterator[None]:
    """Hold that a test left no complaint in the console, and asked for its page alone."""
    yield
    assert browser.complaints() == []


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("looks") / "report.html"
    problem = crowded()
    answers = [
        answer(problem, "heft", "answers/of/today/crowded.heft.json"),
        answer(problem, "sequential", "answers/of/today/crowded.sequential.json"),
    ]
    row = {"change": "link cpu <-> gpu twice as fast", "why": "3 % of the critical path"}
    row |= {"before": 17.9, "value": 17.0, "lower_bound": None, "gain": 0.9, "gain_share": 0.05}
    changes = {"seconds": 0.5, "value": 17.9, "lower_bound": 12.0, "changes": [row]}
    write_report(problem, answers, target, changes=changes)
    return target


def unfold(browser: Browser) -> None:
    """Choose an op and open all that can be opened."""
    browser.key("#gantt", "n")
    browser.js("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.settle()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_is_covered_cut_off_or_faint(browser: Browser, page: Path, scheme: str) -> None:
    browser.open(page, width=WIDTHS[0], scheme=scheme)
    unfold(browser)
    for width in WIDTHS:
        browser.resize(width)
        browser.settle()
        assert browser.js(LAYOUT, LONGEST) == [], width
    browser.js("document.querySelector('[aria-label=Models] button').click()")  # others fade
    assert browser.js(CONTRAST) == []
    ground = browser.js("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")
    assert (sum(map(int, ground)) > 600) == (scheme == "light")


def test_a_step_of_micro_batches_is_read(browser: Browser, tmp_path: Path) -> None:
    problem = pipelined()
    write_report(problem, [answer(problem, "pipeline")], tmp_path / "step.html")
    browser.open(tmp_path / "step.html", scheme="dark")
    unfold(browser)
    assert browser.js(LAYOUT, LONGEST) == []
    assert browser.js(CONTRAST) == []
    blocks = data_of(tmp_path / "step.html")["schedules"][0]["step"]["blocks"]
    assert set(blocks["phase"]) == {0, 1}
    rows = "return document.querySelectorAll('#step-title ~ div tbody tr').length"
    browser.wait(lambda: browser.js(rows) == len(blocks["phase"]))


def test_the_looks_are_really_computed(browser: Browser, page: Path) -> None:
    browser.open(page, width=390)
    spoil = """
        const one = (selector, css) => Object.assign(document.querySelector(selector).style, css);
        one("#where-title", { marginBottom: "-24px" });
        one("h2", { color: "rgb(200, 200, 200)" });
        const name = document.querySelector("#devices-title ~ div tbody th");
        Object.assign(name.style, { display: "block", width: "9px", overflowWrap: "anywhere" });
        one(".swatch", { background: "rgb(230, 230, 230)" });
        one(".tile dd", { overflow: "hidden", width: "9px", whiteSpace: "nowrap" });
        document.styleSheets[0].insertRule(".cut::after { content: none !important }");
    """
    browser.js(spoil)
    layout, contrast = browser.js(LAYOUT, LONGEST), browser.js(CONTRAST)
    for said in ("covers", "is broken", "is cut", "hint of"):
        assert any(said in line for line in layout), (said, layout)
    assert {line.split(":")[0].split()[0] for line in contrast} == {"Schedule", "I"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_paper_is_light_and_whole(
    browser: Browser, page: Path, scheme: str, tmp_path: Path
) -> None:
    for tool in ("pdftoppm", "pdftotext"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} of poppler-utils is not on the path")
    browser.open(page, width=WIDTHS[0], scheme=scheme)
    if scheme == "light":  # Firefox waits for half a second before each page
        browser.js("document.querySelectorAll('section:nth-child(n+5)').forEach((x) => x.remove())")
    found = sheets(browser.print(), tmp_path)
    assert [line for sheet in found for line in sheet.complaints()] == []
    # Legends, bars and meters have their colours, also those of the canvases.
    some = np.concatenate([sheet.pixels[::3, ::3].reshape(-1, 3) for sheet in found])
    for code in data_of(page)["palette"]:
        rgb = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.int16)
        assert (abs(some - rgb).max(axis=1) < 4).sum() > 15, code
    assert all((sheet.pixels.min(axis=2) > 240).mean() > 0.6 for sheet in found)
    # No heading is parted from what it heads.
    titles = browser.js("return [...document.querySelectorAll('h2')].map((one) => one.innerText)")
    for title in titles:
        assert any(room > 60 for sheet in found for room in sheet.rooms_below(title)), title
    # The page is as it was.
    assert browser.js("return document.documentElement.className") == ""
    browser.settle()
    wide = """
        return [...document.querySelectorAll("canvas")]
          .filter((one) => one.checkVisibility()).map((one) => one.width - one.clientWidth);
    """
    assert set(browser.js(wide)) == {0}


def test_tables_have_names_and_row_headers(browser: Browser, page: Path) -> None:
    browser.open(page, width=390)
    unfold(browser)
    code = """
        return [...document.querySelectorAll("table")].map((table) => [
          document.getElementById(table.getAttribute("aria-labelledby")).innerText,
          [...table.tBodies[0].rows].filter((row) => row.cells[0].scope.startsWith("row")).length,
          [...table.tBodies[0].rows].filter((row) => row.cells[0].localName === "th").length,
          table.tBodies[0].rows.length,
          table.parentElement.scrollWidth > table.parentElement.clientWidth + 1,
          table.parentElement.tabIndex,
        ]);
    """
    tables = browser.js(code)
    assert len(tables) > 12
    for name, scoped, headed, rows, cut, tab in tables:
        assert name
        assert scoped == headed > 0
        assert headed == rows or name.startswith("What holds most memory"), name
        assert tab == (0 if cut else -1), name
    assert any(cut for *_, cut, _ in tables)


def test_charts_are_read_by_keys(browser: Browser, page: Path) -> None:
    browser.open(page)
    chart = "#solvers-title ~ .figures svg"
    said = "return document.querySelector('#solvers-title ~ .figures .tip').innerText"
    assert browser.js(f"return document.querySelector('{chart}').tabIndex") == 0
    told = []
    for key in ("ArrowRight", "ArrowRight", "End"):
        browser.key(chart, key)
        told.append(browser.js(said))
    assert all(line.startswith("after ") for line in told)
    assert len(set(told)) > 1
    browser.key(chart, "Escape")
    assert browser.js("return document.querySelector('#solvers-title ~ .figures .tip').hidden")
    browser.js("document.querySelector('#solvers-title ~ .figures details').open = true")
    rows = "return document.querySelectorAll('#solvers-title ~ .figures tbody tr').length"
    browser.wait(lambda: browser.js(rows) >= 2)


def test_memory_is_read_by_keys(browser: Browser, page: Path) -> None:
    browser.open(page)
    said = "return document.querySelector('#memory + .tip').innerText.split('\\n')"
    curves = [curve for curve in data_of(page)["schedules"][0]["memory"] if any(curve["bytes"])]
    ids = [device["id"] for device in data_of(page)["schedules"][0]["devices"]]
    read = []
    for key in ("n", "n", "n", "p", "ArrowDown"):
        browser.key("#memory", key)
        read.append(browser.js(said))
    assert [lines[0] for lines in read] == [ids[curves[0]["device"]]] * 4 + [
        ids[curves[1]["device"]]
    ]
    assert read[1] == read[3] != read[2]
    browser.key("#memory", "Escape")
    assert browser.js("return document.querySelector('#memory + .tip').hidden")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("large") / "many.html"
    problem = many_ops(10_000)
    write_report(problem, [answer(problem)], target)
    return target


@pytest.mark.timing
def test_ten_thousand_ops_zoom_smoothly(
    browser: Browser, large: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert large.stat().st_size < 10e6
    browser.open(large, width=1440)
    found = browser.js(SPEED)
    with capsys.disabled():
        print(
            f"\n10,000 ops in {browser.name}: {large.stat().st_size / 1e6:.2f} MB, "
            f"ready after {found['ready'] / 1e3:.2f} s, {found['rate']:.0f} frames a second while "
            f"zooming, the longest {found['longest']:.0f} ms"
        )
    assert found["ready"] > 0
