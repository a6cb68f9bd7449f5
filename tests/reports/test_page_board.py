"""What readers of a page choose: two schedules side by side, colours, ranges, folds, files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import talos_opt
from talos_opt import solve
from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.core.simulator import simulate
from talos_opt.reports.colouring import slack_classes
from talos_opt.reports.page import Answer, write_gantt_page, write_report
from talos_opt.reports.view import view_of_document
from tests.reports.chromium import Chromium as Browser
from tests.reports.chromium import open_chromium
from tests.reports.looks import CONTRAST, LAYOUT, LONGEST
from tests.reports.pages import MIB, answer, data_of, many_ops
from tests.reports.test_page_in_browser import shown

GANTT, BESIDE = "#gantt", "#gantt-beside"
SVG = "{http://www.w3.org/2000/svg}"
CARDS = 18
FOLDED = f"gpu \N{MULTIPLICATION SIGN} {CARDS}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def problem() -> Problem:
    """Four models on a CPU and so many cards that they are folded."""
    graph = many_ops(120).graph
    devices = [Device("cpu0", "cpu", slots=2)]
    devices += [Device(f"gpu{k}", "gpu", memory=512 * MIB) for k in range(CARDS)]
    links = (Link("cpu", "gpu", 0.01, 12e9), Link("gpu", "gpu", 0.01, 12e9))
    return Problem(graph, Cluster(tuple(devices), links), memory_rule=MemoryRule.PEAK)


@pytest.fixture(scope="module")
def page(problem: Problem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("pages") / "report.html"
    quick = answer(problem, "heft", "quick")
    alone = np.minimum(quick.schedule.device, 1)
    slow = simulate(problem, alone, problem.arrays.rank)
    answers = [replace(quick, label="slow", schedule=slow, document={}), quick]
    write_report(problem, answers, target)
    return target


@pytest.fixture(scope="module")
def data(page: Path) -> dict[str, Any]:
    return data_of(page)


@pytest.fixture(autouse=True)
def opened(browser: Browser, page: Path) -> Iterator[None]:
    """Open the page as it is at first; hold that a test leaves no complaint in the console."""
    browser.open(page)
    yield
    assert browser.log("browser") == []


def choose(browser: Browser, box: str, value: str) -> None:
    code = (
        "const s = document.querySelector(arguments[0]); s.value = arguments[1];"
        "s.dispatchEvent(new Event('change'));"
    )
    browser.js(code, box, value)
    browser.settle()


def keys(browser: Browser, text: str) -> None:
    browser.find(GANTT).send_keys(text)
    browser.settle()


def drag(browser: Browser, canvas: str, xs: tuple[int, ...], y: int, modifiers: int = 0) -> None:
    browser.mouse(canvas, xs[0], y)
    left, top = browser.js(
        "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return [b.left, b.top]",
        canvas,
    )
    at = {"y": top + y, "button": "left", "buttons": 1, "clickCount": 1, "modifiers": modifiers}
    for kind, x in zip(
        ("mousePressed", *["mouseMoved"] * (len(xs) - 1), "mouseReleased"), (*xs, xs[-1]),
        strict=True,
    ):  # fmt: skip
        browser.call("Input.dispatchMouseEvent", type=kind, x=left + x, **at)
    browser.settle()


def height(browser: Browser, canvas: str) -> int:
    return int(browser.js("return document.querySelector(arguments[0]).height", canvas))


def legend(browser: Browser, name: str) -> dict[str, tuple[int, ...]]:
    """Return the plain colours of a legend, by what they stand for."""
    code = """
        return [...document.querySelectorAll(`[aria-label="${arguments[0]}"] button`)].map((one) =>
          [one.textContent, getComputedStyle(one.querySelector(".swatch")).backgroundColor]);
    """
    found = browser.js(code, name)
    return {text: tuple(map(int, re.findall(r"\d+", colour)[:3])) for text, colour in found}


def rows(browser: Browser, table: str) -> list[list[str]]:
    code = """
        return [...document.querySelectorAll(`${arguments[0]} tbody tr`)]
          .map((row) => [...row.children].map((cell) => cell.textContent));
    """
    return list(browser.js(code, table))


# ---- two schedules ---------------------------------------------------------------------------


def test_two_schedules_share_a_time_scale(browser: Browser, data: dict[str, Any]) -> None:
    assert not browser.find(BESIDE).is_displayed()
    choose(browser, "#beside", "0")
    assert browser.find(BESIDE).is_displayed()
    slow, quick = (item["op"]["device"] for item in data["schedules"])
    moved = sum(a != b for a, b in zip(slow, quick, strict=True))
    assert moved > 0
    assert f"{moved} of 120 ops are on another device in slow" in browser.text("#changes-beside")
    browser.find(".moves summary").click()
    listed = rows(browser, ".moves")
    assert len(listed) == min(moved, 40)
    assert all(row[1] != row[4] for row in listed)
    # What is pointed at in one is framed in the other, and zooming changes both.
    keys(browser, "g")
    before = browser.colours(BESIDE)
    _, x, y = browser.colours(GANTT)[legend(browser, "Models")["m0"]]
    browser.mouse(GANTT, x, y)
    name = browser.text("#tip").split("\n")[0]
    assert name.startswith("m0/")
    framed = browser.colours(BESIDE)
    assert framed != before
    browser.mouse(GANTT, x, y, click=True)
    keys(browser, "ww")
    assert browser.colours(BESIDE) != framed
    # They change places when the other one is chosen.
    choose(browser, "#schedule", "0")
    assert browser.js("return document.querySelector('#beside').value") == "1"
    assert browser.text("#details").startswith(name)


def test_moved_ops_can_be_seen_alone(browser: Browser) -> None:
    choose(browser, "#beside", "0")
    before = browser.colours(GANTT)
    browser.find("#changes-beside button").click()
    browser.settle()
    assert browser.colours(GANTT) != before


def test_the_comparison_shows_the_best_first(browser: Browser) -> None:
    table = "section[aria-labelledby=solvers-title]"
    found = rows(browser, table)
    assert [row[0] for row in found] == ["quickbest", "slow"]
    browser.find(f"{table} tbody tr:nth-child(2) td:nth-child(3)").click()
    assert browser.js("return document.querySelector('#schedule').value") == "0"
    assert browser.text(f"{table} [aria-current]") == "slow"
    from selenium.webdriver.common.keys import Keys

    browser.find(f"{table} tbody tr button").send_keys(Keys.ENTER)
    assert browser.js("return document.querySelector('#schedule').value") == "1"


# ---- colours ---------------------------------------------------------------------------------


def test_colours_stand_for_types_or_slack(browser: Browser, data: dict[str, Any]) -> None:
    keys(browser, "g")  # no bar of a card is seen while they are folded
    choose(browser, "#colour", "type")
    types = legend(browser, "Op types")
    assert list(types) == data["ops"]["types"]
    assert set(types.values()) <= set(browser.colours(GANTT))
    browser.find('[aria-label="Op types"] button').click()
    browser.settle()
    drawn = browser.colours(GANTT)
    assert [colour in drawn for colour in types.values()] == [True, False, False]
    choose(browser, "#colour", "slack")
    slacks = legend(browser, "Slack")
    assert next(iter(slacks)) == "no slack"
    assert all(re.fullmatch(r"(up to|above) [\d.]+ [mun]?s", name) for name in list(slacks)[1:])
    assert set(slacks.values()) <= set(browser.colours(GANTT))
    browser.find("#theme").click()  # the scale of a dark page is another one
    browser.settle()
    assert not set(slacks.values()) & set(legend(browser, "Slack").values())


def test_classes_of_slack_are_those_of_pictures(browser: Browser) -> None:
    edges = [0.5, 2.0, 8.0]
    slack = [0.0, 0.1, 0.5, 0.51, 2.0, 7.0, 8.0, 9.0, np.inf]
    script = (Path(talos_opt.__file__).parent / "reports" / "page" / "colouring.js").read_text()
    given = [None if np.isinf(value) else value for value in slack]
    code = "return slackClasses({ op: { start: arguments[0] }, slack: arguments[0] }, arguments[1])"
    found = browser.js(script + code, given, edges)
    assert found == slack_classes(np.array(slack), edges).tolist()


# ---- stretches of time -----------------------------------------------------------------------


def test_totals_of_all_time_are_those_of_the_schedule(
    browser: Browser, data: dict[str, Any]
) -> None:
    schedule = data["schedules"][1]
    browser.js("location.hash = arguments[0]", f"#range=0,{schedule['horizon']}")
    browser.wait(lambda: browser.find("#totals").is_displayed())
    devices, types, models = (
        rows(browser, f"#totals .totals > :nth-child({k})") for k in (1, 2, 3)
    )
    assert [row[0] for row in devices] == ["cpu0", FOLDED]
    assert sum(int(row[1]) for row in devices) == 120
    where = schedule["where"]
    busy = [sum(item["parts"][:2]) / where["span"] for item in where["devices"]]
    shares = [float(re.sub(r"[^\d.]", "", row[3])) for row in devices]
    assert shares == pytest.approx([100 * busy[0], 100 * np.mean(busy[1:])], abs=0.051)
    for found in (types, models):
        assert sum(int(row[1]) for row in found) == 120
    assert {row[0] for row in models} == {"m0", "m1", "m2", "m3"}
    keys(browser, "r")
    assert not browser.find("#totals").is_displayed()


def test_a_range_is_dragged_and_summed_up(browser: Browser, data: dict[str, Any]) -> None:
    schedule = data["schedules"][1]
    browser.js("location.hash = arguments[0]", f"#t=0,{schedule['horizon']}")
    browser.settle()
    whole = shown(browser)
    assert whole[1] == pytest.approx(schedule["horizon"], rel=1e-3)
    drag(browser, GANTT, (400, 460, 600), 60, modifiers=8)  # Shift
    assert shown(browser) == whole
    text = browser.text("#totals h3")
    start, end = (float(part) for part in re.findall(r"([\d.]+) ms", text)[:2])
    op = schedule["op"]
    cpu = [
        max(0.0, min(b, end) - max(a, start))
        for a, b, device in zip(op["start"], op["end"], op["device"], strict=True)
        if device == 0
    ]
    row = rows(browser, "#totals .totals > :nth-child(1)")[0]
    assert row[0] == "cpu0"
    share = float(re.sub(r"[^\d.]", "", row[3]))
    assert share == pytest.approx(100 * sum(cpu) / 2 / (end - start), abs=0.2)  # of two slots
    from selenium.webdriver.common.keys import Keys

    keys(browser, Keys.ESCAPE)
    assert not browser.find("#totals").is_displayed()
    drag(browser, GANTT, (400, 500), 8)  # over the time axis
    assert browser.find("#totals").is_displayed()


def test_m_marks_the_chosen_op(browser: Browser, data: dict[str, Any]) -> None:
    browser.find(".search input").send_keys("m1/op3\n")
    keys(browser, "m")
    i = [m for m, name in enumerate(data["ops"]["name"]) if name == "op3"][1]
    op = data["schedules"][1]["op"]
    mark = f"mark={op['start'][i]:.10g},{op['end'][i]:.10g}"
    browser.wait(lambda: mark in browser.js("return location.hash"))
    keys(browser, "r")
    assert rows(browser, "#totals .totals > :nth-child(3)")[0][0].startswith("m")
    keys(browser, "r")
    keys(browser, "m")
    browser.wait(lambda: "mark" not in browser.js("return location.hash"))


@pytest.mark.parametrize("modifiers", [0, 2])
def test_a_box_is_zoomed_to(browser: Browser, modifiers: int) -> None:
    whole = shown(browser)
    if modifiers == 0:
        browser.find('[data-mode="zoom"]').click()
    drag(browser, GANTT, (300, 420, 500), 60, modifiers)
    left, width = browser.js(
        "const w = document.querySelector('#gantt').clientWidth; return [132, w - 142]"
    )
    want = [whole[1] * (x - left) / width for x in (300, 500)]
    assert shown(browser) == pytest.approx(want, rel=1e-2)


def test_what_is_shown_never_gets_too_short(browser: Browser, data: dict[str, Any]) -> None:
    whole = max(item["horizon"] for item in data["schedules"])
    for given in ("#t=3,3.0000000000000004", "#t=0,1e-320"):
        browser.js("location.hash = arguments[0]", given)
        browser.settle()  # a chart of no time would never be drawn
        start, end = (float(part) for part in re.findall(r"[\d.]+", browser.text("#range")))
        assert end > start
    browser.js("location.hash = '#t=2,3'")
    browser.settle()
    for _ in range(5):
        drag(browser, GANTT, (600, 604, 606), 60, modifiers=2)
    browser.wait(lambda: "t=" in browser.js("return location.hash"))
    found = browser.js("return location.hash").partition("t=")[2].partition("&")[0].split(",")
    assert float(found[1]) - float(found[0]) >= whole * 0.9e-7


def test_a_drag_that_is_broken_off_chooses_nothing(browser: Browser, page: Path) -> None:
    browser.open(page, touch=True)
    for mode in ("zoom", "select"):
        browser.find(f'[data-mode="{mode}"]').click()
        before = browser.colours(GANTT)
        code = (
            "const b = document.querySelector('#gantt').getBoundingClientRect(); return [b.x, b.y]"
        )
        left, top = browser.js(code)
        for kind, x in (("Start", 300), ("Move", 330), ("Move", 400), ("Cancel", None)):
            points = [] if x is None else [{"x": left + x, "y": top + 60}]
            browser.call("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=points)
        browser.settle()
        assert browser.colours(GANTT) == before
        assert not browser.find("#totals").is_displayed()


def test_the_overview_moves_what_is_shown(browser: Browser) -> None:
    whole = shown(browser)
    drag(browser, "#minimap", (400, 500, 700), 15)
    near = shown(browser)
    assert whole[0] < near[0] < near[1] < whole[1]
    drag(browser, "#minimap", (550, 600, 650), 15)
    moved = shown(browser)
    assert moved[0] > near[0]
    assert moved[1] - moved[0] == pytest.approx(near[1] - near[0], rel=1e-2)
    browser.find("#minimap").send_keys("0")
    browser.settle()
    assert shown(browser) == whole


def test_the_focus_stays_where_a_keyboard_was_used(browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    active = "return document.activeElement.closest('[id]').id"
    browser.js("location.hash = '#op=m1/op3&range=1,2'")
    browser.wait(lambda: browser.find("#details").is_displayed())
    browser.find("#details button.link").send_keys(
        Keys.ENTER
    )  # an op that it reads, or that reads it
    assert not browser.text("#details").startswith("m1/op3\n")
    assert browser.js(active) == "details"
    for panel in ("#details h3 button", "#totals .zoom :last-child"):
        browser.find(panel).send_keys(Keys.ENTER)
        assert not browser.find(panel.split()[0]).is_displayed()
        assert browser.js(active) == "gantt"
    table = "section[aria-labelledby=solvers-title] tbody"
    browser.find(f"{table} tr:nth-child(2) button").send_keys(Keys.ENTER)
    assert browser.js("return document.activeElement.textContent") == "slow"


# ---- files, folds, links ---------------------------------------------------------------------


def test_the_view_is_saved_as_svg(browser: Browser) -> None:
    keys(browser, "g")
    choose(browser, "#beside", "0")
    browser.js("URL.createObjectURL = (blob) => { window.saved = blob; return 'data:,'; }")
    browser.js("document.querySelector('[aria-label=\"Save this view as SVG\"]').click()")
    text = browser.session.execute_async_script("window.saved.text().then(arguments[0])")
    root = ElementTree.fromstring(text)
    assert root.findtext(f"{SVG}title") == "many"
    assert "Gantt chart of 120 ops on 19 devices" in (root.findtext(f"{SVG}desc") or "")
    words = [element.text for element in root.iter(f"{SVG}text")]
    for word in ("gpu0", "cpu0 slot 0", "m0", "critical path"):
        assert word in words
    assert sum(str(word).startswith(("quick: ", "slow: ")) for word in words) == 2
    assert any(re.fullmatch(r"op\d+", str(word)) for word in words)
    fills = {element.get("fill") for element in root.iter(f"{SVG}rect")}
    models = legend(browser, "Models").values()
    assert {"#" + bytes(colour).hex() for colour in models} <= fills
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_devices_of_a_kind_fold(browser: Browser) -> None:
    folded, memory = height(browser, GANTT), height(browser, "#memory")
    assert folded < 420
    button = browser.find("button.fold")
    assert (button.text, button.get_attribute("aria-expanded")) == (f"▸ {FOLDED}", "false")
    from selenium.webdriver.common.keys import Keys

    button.send_keys(Keys.ENTER)
    browser.settle()
    assert browser.js("return document.activeElement.ariaExpanded") == "true"
    assert height(browser, GANTT) > folded
    assert height(browser, "#memory") > memory
    browser.wait(lambda: "folded=" in browser.js("return location.hash"))
    browser.js("location.hash = '#folded=gpu&folded=tpu'")
    browser.wait(lambda: height(browser, GANTT) == folded)
    assert height(browser, "#memory") == memory
    keys(browser, "gg")
    assert height(browser, GANTT) == folded
    # A click on the row unfolds it; pointing at it says what runs there.
    y = 24 + 4 + 2 * 39 + 20
    browser.mouse(GANTT, 400, y)
    said = rf"{FOLDED}\ntime\n[\d.]+ ms\nbusy\n\d+ of 18 devices"
    assert re.match(said, browser.text("#tip"))
    browser.mouse(GANTT, 400, y, click=True)
    assert height(browser, GANTT) > folded


def test_a_link_holds_what_was_chosen(browser: Browser, page: Path) -> None:
    browser.js(
        "location.hash = '#t=1,4&op=m0/op2&schedule=0&with=1&colour=slack&range=2,3&mark=1.5,2'"
    )
    browser.wait(lambda: browser.text("#details").startswith("m0/op2"))
    browser.settle()
    assert shown(browser) == (1, 4)
    chosen = [browser.js("return document.querySelector(arguments[0]).value", box)
              for box in ("#schedule", "#beside", "#colour")]  # fmt: skip
    assert chosen == ["0", "1", "slack"]
    assert browser.text("#totals h3").startswith("2 ms to 3 ms: 1 ms")
    keys(browser, "d")
    parts = ("op=m0%2Fop2", "schedule=0", "with=1", "colour=slack", "range=2,3", "mark=1.5,2")
    browser.wait(lambda: all(part in browser.js("return location.hash") for part in parts))


def test_the_back_button_leads_to_what_was_shown(browser: Browser) -> None:
    first, second = "#op=m1/op3&with=0&colour=type&folded=&range=2,3&mark=1,1", "#t=1,2"
    browser.js("location.hash = arguments[0]", first)
    browser.wait(lambda: browser.find("#totals").is_displayed())
    browser.js("location.hash = arguments[0]", second)
    browser.wait(lambda: not browser.find("#totals").is_displayed())
    browser.settle()
    assert browser.find("#details").is_displayed() is False
    assert browser.js("return document.querySelector('#beside').value") == ""
    assert browser.js("return document.querySelector('#colour').value") == "model"
    assert shown(browser) == (1, 2)
    browser.js("history.back()")
    browser.wait(lambda: browser.find("#totals").is_displayed())
    assert browser.text("#details").startswith("m1/op3")
    keys(browser, "d")
    browser.wait(lambda: "mark=1,1" in browser.js("return location.hash"))


@pytest.mark.parametrize(
    "given",
    ["#t=nonsense&op=none&with=99", "#with=&schedule=-1", "#t=1&range=,&mark=%", "#folded=%00&op=",
     "#colour=__proto__&with=1.5", "#range=-2,-1&mark=1e9,2e9&op=%E0%A4%A", "#t=NaN,1&range=3,1"],
)  # fmt: skip
def test_what_makes_no_sense_in_a_link_is_left_out(browser: Browser, given: str) -> None:
    before = shown(browser)
    browser.js("location.hash = arguments[0]", given)
    browser.wait(lambda: browser.js("return location.hash") in ("", "#folded="))
    assert shown(browser) == before
    for hidden in (BESIDE, "#totals", "#details"):
        assert not browser.find(hidden).is_displayed()


def test_names_of_ops_are_told_apart_by_their_capitals(browser: Browser) -> None:
    script = (Path(talos_opt.__file__).parent / "reports" / "page" / "plan.js").read_text()
    code = """
        const ops = { name: ["Conv", "conv", "add"], model: [0, 0, 0] };
        const page = new Page({ ops, models: [{ id: "m" }] });
        return ["m/conv", "m/Conv", "M/ADD", "m/none"].map((name) => page.find(name));
    """
    assert browser.js(script + code) == [1, 0, 2, -1]


def test_a_page_inside_another_one_makes_no_complaint(browser: Browser) -> None:
    folder = Path(talos_opt.__file__).parent / "reports" / "page"
    browser.session.get("about:blank")
    code = """
        const [script, told] = arguments;
        const frame = document.createElement("iframe");
        frame.onload = () => told(frame.contentWindow.eval(script + "; noteAddress('t=1,2'); 1"));
        frame.srcdoc = "<p>";
        document.body.append(frame);
    """
    script = (folder / "address.js").read_text()
    assert browser.session.execute_async_script(code, script) == 1


def test_of_many_devices_those_that_hold_most_come_first(
    browser: Browser, problem: Problem, tmp_path: Path
) -> None:
    by_turns = simulate(problem, np.arange(120) % (1 + CARDS), problem.arrays.rank)
    write_report(problem, [Answer("by turns", by_turns, {})], tmp_path / "a.html")
    browser.open(tmp_path / "a.html")
    (schedule,) = data_of(tmp_path / "a.html")["schedules"]
    held = {
        device["id"]: peak["bytes"]
        for device, peak in zip(schedule["devices"], schedule["where"]["peaks"], strict=True)
    }
    assert all(held.values())
    code = """
        return [...document.querySelectorAll("th[scope=rowgroup]")].map((one) => one.textContent);
    """
    most = sorted(held, key=lambda name: held[name])[3:]
    assert sorted(browser.js(code)) == sorted(most)
    browser.js("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    browser.wait(lambda: sorted(browser.js(code)) == sorted(held))


def test_a_page_without_the_graph_folds_too(
    browser: Browser, problem: Problem, tmp_path: Path
) -> None:
    view = view_of_document(solve(problem, "heft", time_limit=5).to_dict())
    cards = view.kinds.count("gpu")
    assert 4 <= cards <= CARDS
    write_gantt_page(view, tmp_path / "a.html")
    browser.open(tmp_path / "a.html")
    assert browser.text("button.fold").endswith(f" gpu \N{MULTIPLICATION SIGN} {cards}")
    browser.find("button.fold").click()
    browser.settle()
    assert browser.js("return document.querySelector('#colour')") is None  # types are unknown
    assert browser.js("return document.querySelector('#beside')") is None


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_overlaps_or_is_cut_off(browser: Browser, page: Path, width: int) -> None:
    for scheme in ("light", "dark"):
        browser.open(page, width=width, scheme=scheme)
        browser.js("location.hash = '#with=0&colour=slack&range=1,2&op=m0/op2'")
        browser.wait(lambda: browser.text("#details").startswith("m0/op2"))
        browser.js("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        browser.settle()
        assert browser.js(LAYOUT, LONGEST) == []
        assert browser.js(CONTRAST) == []
