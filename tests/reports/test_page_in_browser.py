"""Pages in a headless Chromium: they are drawn, answer to hands, and ask no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import talos_opt
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.reports.page import write_gantt_page, write_report
from talos_opt.reports.view import view_of
from tests.builders import op
from tests.builders import problem as small
from tests.clocks import Stopwatch
from tests.reports.chromium import Chromium as Browser
from tests.reports.chromium import open_chromium
from tests.reports.pages import answer, data_of, many_ops, two_models
from tests.reports.test_digits import AMOUNTS, DURATIONS, MOMENTS, NUMBERS
from tests.reports.test_page import NASTY, nasty_problem

GANTT = "#gantt"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_chromium() as opened:
        yield opened


@pytest.fixture(autouse=True)
def quiet(browser: Browser) -> Iterator[None]:
    """Hold that a test left no complaint in the console, and asked for its page alone."""
    yield
    assert browser.log("browser") == []
    asked = [url for url in browser.requests() if not url.startswith(("file://", "data:"))]
    assert asked == []


@pytest.fixture(scope="module")
def problem() -> Problem:
    return two_models()


@pytest.fixture(scope="module")
def page(problem: Problem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("pages") / "report.html"
    # The slower schedule comes first, so that the two can be told apart.
    answers = [answer(problem, "sequential", "slow"), answer(problem, "heft", "quick")]
    write_report(problem, answers, target)
    return target


def test_the_page_writes_numbers_as_python_does(browser: Browser, page: Path) -> None:
    browser.open(page)
    script = (Path(talos_opt.__file__).parent / "reports" / "page" / "format.js").read_text()
    cases = [
        *(("number", [value, digits], text) for value, digits, text in NUMBERS),
        *(("duration", [value, unit], text) for value, unit, text in DURATIONS),
        *(("moment", [*given], text) for *given, text in MOMENTS),
        *(("bytes", [amount], text) for amount, text in AMOUNTS),
    ]
    code = """
        const all = { number, duration, moment, bytes };
        return arguments[0].map(([name, given]) => all[name](...given));
    """
    found = browser.js(script + code, [case[:2] for case in cases])
    assert found == [text for _, _, text in cases]


def shown(browser: Browser) -> tuple[float, float]:
    """Return the stretch of time that the chart shows, in milliseconds."""
    factor = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
    found = re.findall(r"([\d.]+) (\w+)", browser.text("#range"))
    start, end = (float(number) * factor[unit] for number, unit in found)
    return start, end


def press(browser: Browser, label: str) -> None:
    browser.js("document.querySelector(arguments[0]).click()", f'[aria-label="{label}"]')
    browser.settle()


def hover_model(browser: Browser, model: str) -> str:
    """Move to a bar of a model and return what is said of it."""
    _, x, y = browser.colours(GANTT)[browser.legend()[model]]
    browser.mouse(GANTT, x, y)
    return browser.text("#tip")


def test_the_chart_is_drawn_in_the_models_colours(browser: Browser, page: Path) -> None:
    browser.open(page)
    legend = browser.legend()
    assert list(legend) == ["vision", "text"]
    drawn = browser.colours(GANTT)
    for colour in legend.values():
        assert drawn[colour][0] > 500
    assert "7 ops on 2 devices" in browser.find(GANTT).get_attribute("aria-label")
    assert browser.session.title == "two"


def test_headline_and_tables_hold_the_numbers(
    browser: Browser, page: Path, problem: Problem
) -> None:
    browser.open(page)
    value = answer(problem, "heft").document["value"]  # the best is shown first
    text = browser.text("#headline")
    assert f"{value:.6g} ms" in text
    assert "No schedule has a weighted sum of completion times (TOCT) below" in text
    assert "The graph states a known best toct of 1 ms (a guess)" in text
    body = browser.text("body")
    for word in ("cpu0", "gpu0", "48.00 MiB", "sequential", "heft", "vision: 1 of 4 ops below 1"):
        assert word in body


def test_where_the_time_goes_is_a_bar_for_each_device(browser: Browser, page: Path) -> None:
    browser.open(page)
    text = browser.text("#where-title") + browser.text("section[aria-labelledby=where-title]")
    assert "The critical path takes" in text
    labels = browser.js(
        "return [...document.querySelectorAll('.stack')].map((bar) => bar.ariaLabel)"
    )
    assert [label.split(":")[0] for label in labels] == ["critical path", "cpu0", "gpu0"]
    # The segments of each bar fill it.
    filled = browser.js(
        "return [...document.querySelectorAll('.stack')].map((bar) => [bar.clientWidth,"
        " [...bar.children].reduce((sum, part) => sum + part.getBoundingClientRect().width, 0)])"
    )
    assert all(abs(whole - parts) < 0.5 for whole, parts in filled)
    assert "not before" in browser.text("section[aria-labelledby=weights-title]")
    # The name of an op that is waited for leads to its details.
    browser.js("document.querySelector('#where-title ~ * .note button').click()")
    assert browser.text("#details")
    exact = browser.js("return document.querySelector('.tile .exact').title")
    assert re.fullmatch(r"[\d.]+ ms", exact)


def test_what_would_help_is_a_table(browser: Browser, problem: Problem, tmp_path: Path) -> None:
    row = {"change": "link cpu <-> gpu twice as fast", "why": "3 % of the critical path"}
    row |= {"before": 17.9, "value": 17.0, "lower_bound": None, "gain": 0.9, "gain_share": 0.05}
    changes = {"seconds": 0.5, "value": 17.9, "lower_bound": 12.0, "changes": [row]}
    write_report(problem, [answer(problem)], tmp_path / "report.html", changes=changes)
    browser.open(tmp_path / "report.html")
    text = browser.text("section[aria-labelledby=changes-title]")
    assert "searched for 500 ms" in text
    (line,) = (line for line in text.splitlines() if line.startswith("link cpu"))
    assert line.endswith("3 % of the critical path 17.9 ms 17 ms \u2013 900 us")
    assert "\n5 %" in text


def test_hovering_tells_of_an_op(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.text("#tip") == ""
    text = hover_model(browser, "text")
    assert re.match(r"text/(embed1|dense1|sort1)\n", text)
    for word in ("type", "device", "start", "end", "takes", " ms", "weights 4.00 MiB"):
        assert word in text
    assert "It started" in text or "solver's choice" in text
    browser.mouse(GANTT, 2, 2)
    assert browser.text("#tip") == ""


def test_a_click_tells_all_of_an_op(browser: Browser, page: Path) -> None:
    browser.open(page)
    _, x, y = browser.colours(GANTT)[browser.legend()["vision"]]
    browser.mouse(GANTT, x, y, click=True)
    text = browser.text("#details")
    assert text.startswith("vision/")
    for word in ("Why here, why then", "Reads", "Read by", "cpu0", "gpu0", "ratio"):
        assert word in text
    press(browser, "Close details")
    assert browser.text("#details") == ""


@pytest.mark.parametrize(
    ("op", "said"),
    [
        ("load1", ("pinned to", "No other device can run it.", "cannot run")),
        ("conv2", ("colocated", "group pair", "vision/load1")),
    ],
)
def test_what_binds_an_op_is_told(
    browser: Browser, page: Path, op: str, said: tuple[str, ...]
) -> None:
    browser.open(page)
    browser.find(".search input").send_keys(op, "\n")
    for text in said:
        assert text in browser.text("#details")


def test_zoom_by_buttons_wheel_and_keys(browser: Browser, page: Path) -> None:
    browser.open(page)
    whole = shown(browser)
    before = browser.colours(GANTT)
    press(browser, "Zoom in")
    assert shown(browser)[1] - shown(browser)[0] == pytest.approx((whole[1] - whole[0]) / 2, 1e-3)
    assert browser.colours(GANTT) != before  # other pixels, not only another text
    press(browser, "Zoom out")
    assert shown(browser) == whole

    browser.mouse(GANTT, 600, 60)
    left, top = browser.js(
        f"const b = document.querySelector('{GANTT}').getBoundingClientRect(); "
        "return [b.left, b.top]"
    )
    wheel = {"type": "mouseWheel", "x": left + 600, "y": top + 60, "deltaX": 0}
    browser.call("Input.dispatchMouseEvent", deltaY=-240, **wheel)
    browser.settle()
    assert shown(browser) == whole  # the page scrolls
    browser.js(f"document.querySelector('{GANTT}').focus({{preventScroll: true}})")
    left, top = browser.js(
        f"const b = document.querySelector('{GANTT}').getBoundingClientRect(); "
        "return [b.left, b.top]"
    )
    wheel |= {"x": left + 600, "y": top + 60}
    browser.call("Input.dispatchMouseEvent", deltaY=-240, **wheel)
    browser.wait(lambda: shown(browser) != whole)
    browser.settle()
    assert whole[0] < shown(browser)[0] < shown(browser)[1] < whole[1]

    browser.find(GANTT).send_keys("0")
    browser.settle()
    assert shown(browser) == whole
    browser.find(GANTT).send_keys("++")
    browser.settle()
    near = shown(browser)
    assert near[1] - near[0] < whole[1] - whole[0]
    from selenium.webdriver.common.keys import Keys

    browser.find(GANTT).send_keys(Keys.ARROW_RIGHT)
    browser.settle()
    assert shown(browser)[0] > near[0]


def test_dragging_moves_along(browser: Browser, page: Path) -> None:
    browser.open(page)
    press(browser, "Zoom in")
    before = shown(browser)
    browser.mouse(GANTT, 600, 60)
    left, top = browser.js(
        f"const b = document.querySelector('{GANTT}').getBoundingClientRect(); "
        "return [b.left, b.top]"
    )
    at = {"y": top + 60, "button": "left", "buttons": 1, "clickCount": 1}
    browser.call("Input.dispatchMouseEvent", type="mousePressed", x=left + 600, **at)
    for x in (570, 540, 500):
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=left + x, **at)
    browser.call("Input.dispatchMouseEvent", type="mouseReleased", x=left + 500, **at)
    browser.settle()
    after = shown(browser)
    assert after[0] > before[0]
    assert after[1] - after[0] == pytest.approx(before[1] - before[0], 1e-3)
    assert browser.text("#details") == ""  # a drag is no click


def test_search_finds_an_op(browser: Browser, page: Path) -> None:
    browser.open(page)
    box = browser.find(".search input")
    box.send_keys("conv")
    assert browser.text("#hits").split("\n") == ["vision/conv1 conv", "vision/conv2 conv"]
    box.send_keys("2\n")
    assert browser.text("#details").startswith("vision/conv2")
    box.clear()
    box.send_keys("nothing like it")
    assert browser.text("#hits") == "No op has that in its name, type or module"


def test_search_finds_a_module(browser: Browser, tmp_path: Path) -> None:
    found = small([op("a", module="net.head"), op("b", 1, "a", module="net.tail")], "cpu0")
    schedule = talos_opt.solve(found, "heft").schedule
    assert schedule is not None
    target = tmp_path / "modules.html"
    talos_opt.write_plot(schedule, target, problem=found)
    browser.open(target)
    browser.find(".search input").send_keys("net.tail\n")
    assert browser.text("#hits") == ""
    assert browser.text("#details").startswith("m/b")
    assert "net.tail" in browser.text("#details")


def test_the_keys_go_from_op_to_op(browser: Browser, page: Path) -> None:
    browser.open(page)
    seen = []
    for _ in range(7):
        browser.find(GANTT).send_keys("n")
        browser.settle()
        seen.append(browser.text("#details h3 span"))
    assert len(set(seen)) == 7
    browser.find(GANTT).send_keys("p")
    assert browser.text("#details h3 span") == seen[5]


def test_the_selector_changes_the_schedule(browser: Browser, page: Path, problem: Problem) -> None:
    browser.open(page)
    values = [answer(problem, name).document["value"] for name in ("heft", "sequential")]
    assert values[0] != values[1]
    before = browser.colours(GANTT), browser.text("#headline")
    browser.js(
        "const s = document.querySelector('#schedule'); s.value = '0'; "
        "s.dispatchEvent(new Event('change'));"
    )
    browser.settle()
    after = browser.colours(GANTT), browser.text("#headline")
    for old, new in zip(before, after, strict=True):
        assert old != new
    assert f"{values[1]:.6g}" in after[1]


def test_a_model_can_be_isolated_and_transfers_hidden(browser: Browser, page: Path) -> None:
    browser.open(page)
    colours = browser.legend()
    pressed = (
        "return [...document.querySelectorAll('[aria-label=Models] button')]"
        ".map((button) => button.ariaPressed)"
    )
    button = browser.find('[aria-label="Models"] button:nth-child(2)')
    button.click()
    browser.settle()
    assert browser.js(pressed) == ["false", "true"]
    assert colours["text"] in browser.colours(GANTT)
    assert colours["vision"] not in browser.colours(GANTT)
    button.click()
    browser.settle()
    assert browser.js(pressed) == ["true", "true"]
    assert colours["vision"] in browser.colours(GANTT)
    browser.js(
        "const s = document.querySelector('#schedule'); s.value = '1'; "
        "s.dispatchEvent(new Event('change'));"
    )
    height = browser.js(f"return document.querySelector('{GANTT}').height")
    browser.find("button:has(.swatch.transfer)").click()
    browser.settle()
    assert browser.js(f"return document.querySelector('{GANTT}').height") < height


def test_memory_can_be_read(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.mouse("#memory", 500, 30)
    assert re.search(r"cpu0\ntime\n[\d.]+ ms\nheld\n[\d.]+ MiB", browser.text("#memory + .tip"))


def test_charts_can_be_read(browser: Browser, page: Path) -> None:
    browser.open(page)
    chart = "#solvers-title ~ .figures svg"
    width = browser.js("return arguments[0].getBoundingClientRect().width", browser.find(chart))
    browser.mouse(chart, width - 30, 90)  # near the end of the search, where a value is known
    text = browser.text("#solvers-title ~ .figures .tip")
    assert text.startswith("after ")
    assert " ms, bound " in text
    browser.mouse("#speedups-title ~ .figures svg", 60, 90)
    assert browser.text("#speedups-title ~ .figures .tip").split("\n")[0] == "vision/load1"


@pytest.mark.parametrize("schedule", [0, 1])
@pytest.mark.parametrize("width", [320, 360, 768])
def test_a_phone_needs_no_sideways_scrolling(
    browser: Browser, page: Path, width: int, schedule: int
) -> None:
    browser.open(page, width=width, height=740, touch=True)
    browser.js(
        "const s = document.querySelector('#schedule'); s.value = arguments[0]; "
        "s.dispatchEvent(new Event('change'));",
        str(schedule),
    )
    _, x, y = browser.colours(GANTT)[browser.legend()["vision"]]
    browser.tap(GANTT, x, y)
    assert browser.text("#details").startswith("vision/")
    assert browser.js("return document.documentElement.scrollWidth") <= width


def test_fingers_pinch(browser: Browser, page: Path) -> None:
    browser.open(page, width=360, height=740, touch=True)
    whole = shown(browser)
    browser.js(f"document.querySelector('{GANTT}').scrollIntoView({{block: 'center'}})")
    left, top = browser.js(
        f"const b = document.querySelector('{GANTT}').getBoundingClientRect(); "
        "return [b.left, b.top]"
    )
    for kind, apart in (("touchStart", 20), ("touchMove", 50), ("touchMove", 90)):
        points = [
            {"x": left + 200 + side * apart, "y": top + 60, "id": number}
            for number, side in enumerate((-1, 1))
        ]
        browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    browser.settle()
    assert shown(browser)[1] - shown(browser)[0] < (whole[1] - whole[0]) * 0.6


def test_dark_and_light(browser: Browser, page: Path) -> None:
    def brightness() -> float:
        rgb = browser.js("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")
        return sum(map(int, rgb[:3])) / 3

    browser.open(page, scheme="light")
    light = brightness()
    pixels = browser.colours(GANTT)
    browser.open(page, scheme="dark")
    assert brightness() < 60 < 200 < light
    assert browser.colours(GANTT) != pixels
    assert set(browser.legend().values()) <= set(browser.colours(GANTT))
    browser.find("#theme").click()
    browser.settle()
    assert brightness() == light
    assert browser.colours(GANTT) == pixels


def test_the_network_is_out_of_reach(browser: Browser, page: Path) -> None:
    browser.open(page)
    code = "fetch(arguments[0]).then(() => arguments[1]('got'), () => arguments[1]('refused'))"
    address = "http://127.0.0.1:9/"
    assert browser.session.execute_async_script(code, address) == "refused"
    assert "Content Security Policy" in browser.log("browser")[0]["message"]
    assert [url for url in browser.requests() if url.startswith("http")] == []


def test_names_are_text_and_nothing_else(browser: Browser, tmp_path: Path) -> None:
    problem = nasty_problem()
    nasty = replace(answer(problem), label=NASTY[0])
    write_report(problem, [nasty, nasty], tmp_path / "a.html")
    browser.open(tmp_path / "a.html")
    assert browser.js("return document.querySelectorAll('script').length") == 2
    assert browser.js("return document.querySelectorAll('img, b > script, u').length") == 0
    assert NASTY[0] in browser.text("h1")
    for name in NASTY[:4]:
        browser.find(GANTT).send_keys("n")
        assert browser.text("#details h3 span") == f"<i>m/{name}"


@pytest.mark.parametrize(
    ("times", "share", "name"), [((0, 2), 0, "op0"), ((2, 0), 1, "op1"), ((0,), 0, "op0")]
)
def test_an_op_that_takes_no_time_can_be_found(
    browser: Browser, tmp_path: Path, times: tuple[float, ...], share: float, name: str
) -> None:
    ops = tuple(
        Op(f"op{i}", {"cpu": time}, inputs=(Input(f"op{i - 1}"),) if i else ())
        for i, time in enumerate(times)
    )
    problem = Problem(Graph("g", (Model("m", ops),)), Cluster((Device("cpu0", "cpu"),)))
    write_report(problem, [answer(problem)], tmp_path / "a.html")
    browser.open(tmp_path / "a.html")
    labels, margin = 132, 10  # left and right of the bars, in pixels
    width = browser.js(f"return document.querySelector('{GANTT}').clientWidth") - labels - margin
    browser.mouse(GANTT, labels + share * width + (1 if share == 0 else -1), 45)
    assert browser.text("#tip").split("\n")[0] == f"m/{name}"


def test_a_chart_alone(browser: Browser, problem: Problem, tmp_path: Path) -> None:
    given = answer(problem)
    write_gantt_page(view_of(problem, given.schedule, given.document), tmp_path / "a.html")
    browser.open(tmp_path / "a.html")
    assert set(browser.legend().values()) <= set(browser.colours(GANTT))
    assert hover_model(browser, "vision").startswith("vision/")
    browser.find(GANTT).send_keys("n")
    assert browser.text("#details") != ""


def test_a_chart_of_a_schedule_that_breaks_rules_says_so(
    browser: Browser, problem: Problem, tmp_path: Path
) -> None:
    given = answer(problem)
    rushed = replace(given.schedule, start=given.schedule.start * 0, end=given.schedule.end * 0 + 1)
    document = {**given.document, "status": "optimal"}
    write_gantt_page(view_of(problem, rushed, document), tmp_path / "a.html")
    browser.open(tmp_path / "a.html")
    assert browser.text("#headline").startswith("status\nnot feasible\nThis schedule breaks ")
    assert browser.find("button:has(.swatch.critical)").is_displayed() is False


@pytest.mark.timing
def test_ten_thousand_ops_open_quickly(browser: Browser, tmp_path: Path) -> None:
    problem = many_ops(10_000)
    target = tmp_path / "many.html"
    write_report(problem, [answer(problem)], target)
    watch = Stopwatch()
    browser.open(target)
    watch.check(30)
    assert sum(count for count, _, _ in browser.colours(GANTT).values()) > 10_000
    for _ in range(12):
        press(browser, "Zoom in")
    _, x, y = max(
        browser.colours(GANTT)[colour]
        for colour in browser.legend().values()
        if colour in browser.colours(GANTT)
    )
    browser.mouse(GANTT, x, y)
    assert re.match(r"m\d/op\d+\n", browser.text("#tip"))


def test_idle_time_says_what_is_waited_for(browser: Browser, page: Path) -> None:
    browser.open(page)
    data = data_of(page)["schedules"][0]
    gaps = data["where"]["gaps"]
    k = max(range(len(gaps["start"])), key=lambda k: gaps["end"][k] - gaps["start"][k])
    x, y = browser.js(
        "const c = document.querySelector('#gantt').clientWidth - 142;"
        "return [132 + (arguments[0] / arguments[1]) * c, 0]",
        (gaps["start"][k] + gaps["end"][k]) / 2,
        data["horizon"],
    )
    device = data["devices"][gaps["device"][k]]["id"]
    height = browser.js("return document.querySelector('#gantt').clientHeight")
    for y in range(30, height, 12):
        browser.mouse(GANTT, x, y)
        text = browser.text("#tip")
        if text.startswith(f"{device}: "):
            break
    assert re.match(rf"{device}: (waits|idle|nothing)[^\n]*\nfrom\n", text)
    assert "lasts" in text


def test_a_link_leads_to_a_view(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.js("location.hash = '#t=2,6&op=text/dense1'")
    browser.wait(lambda: browser.text("#details").startswith("text/dense1"))
    browser.settle()
    assert shown(browser) == (2, 6)
    browser.find(GANTT).send_keys("w")
    browser.wait(lambda: "t=2.8,5.2&op=text%2Fdense1" in browser.js("return location.hash"))


def test_ops_are_a_table_too(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.find("details.ops summary").click()
    browser.wait(
        lambda: browser.js("return document.querySelectorAll('.ops tbody tr').length") == 7
    )
    assert browser.js("return document.querySelector('.ops tbody th').scope") == "row"


def test_an_axis_has_three_labels_at_least(browser: Browser, page: Path) -> None:
    browser.open(page)
    script = (Path(talos_opt.__file__).parent / "reports" / "page" / "format.js").read_text()
    labels = "return ticks(0, arguments[0], 2, 3).length"
    assert all(browser.js(script + labels, k / 7) >= 3 for k in range(1, 70))


def test_schedules_share_one_time_scale(browser: Browser, page: Path) -> None:
    browser.open(page)
    whole = shown(browser)
    select = "const s = document.querySelector('#schedule'); s.value = arguments[0];"
    for k in ("0", "1"):
        browser.js(select + "s.dispatchEvent(new Event('change'));", k)
        browser.settle()
        assert shown(browser) == whole
