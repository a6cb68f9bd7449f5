"""A headless Chromium for the tests of pages; nothing is downloaded for it."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

#: Seconds until a page that does not come up, or does not do what it should, has failed.
PATIENCE = 30.0

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip


def _found(*names: str) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a browser, or skip the test where there is none."""
    pytest.importorskip("selenium", reason="selenium drives the browser")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium = _found("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    driver = _found("chromedriver")
    if chromium is None or driver is None:
        missing = "chromium" if chromium is None else "chromedriver"
        pytest.skip(f"{missing} is not on the path")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        session = webdriver.Chrome(options=options, service=Service(driver))
        try:
            session.set_page_load_timeout(PATIENCE)
            yield Browser(session)
        finally:
            session.quit()


class Browser:
    """What the tests ask of a page, in their words."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def open(
        self,
        page: Path,
        *,
        width: int = 1200,
        height: int = 900,
        scheme: str = "light",
        touch: bool = False,
    ) -> None:
        """Open a page in a window of this size and wait until it says that it is drawn."""
        self.session.get("about:blank")
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        preference = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[preference])
        for log in ("browser", "performance"):
            self.session.get_log(log)
        self.session.get(page.as_uri())
        self.wait(lambda: self.js("return document.documentElement.dataset.ready === 'true'"))

    def call(self, command: str, **arguments: Any) -> Any:
        return self.session.execute_cdp_cmd(command, arguments)

    def js(self, code: str, *arguments: Any) -> Any:
        return self.session.execute_script(code, *arguments)

    def find(self, selector: str) -> Any:
        return self.session.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        """Text of an element as it can be read; empty where it is hidden."""
        return str(self.find(selector).text)

    def wait(self, condition: Callable[[], Any]) -> None:
        """Wait until something holds, at most `PATIENCE`."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited {PATIENCE:g} s in vain"
            time.sleep(0.02)

    def settle(self) -> None:
        """Wait until what was asked for has been drawn."""
        code = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
        self.session.execute_async_script(code)

    def colours(self, canvas: str) -> dict[tuple[int, int, int], tuple[int, int, int]]:
        """Colours of a canvas: how many pixels, and the place (x, y) of one in their middle."""
        code = """
            const canvas = document.querySelector(arguments[0]);
            const { width, height } = canvas;
            const copy = Object.assign(document.createElement("canvas"), { width, height });
            const pen = copy.getContext("2d", { willReadFrequently: true });
            pen.drawImage(canvas, 0, 0);
            const pixels = pen.getImageData(0, 0, width, height).data;
            const found = new Map();
            for (let k = 0; k < width * height; k += 1) {
              if (pixels[4 * k + 3] !== 255) continue;
              const colour = (pixels[4 * k] << 16) | (pixels[4 * k + 1] << 8) | pixels[4 * k + 2];
              if (!found.has(colour)) found.set(colour, []);
              found.get(colour).push(k);
            }
            return [...found].filter(([, at]) => at.length > 20).map(([colour, at]) => {
              const middle = at[at.length >> 1];
              return [colour, at.length, middle % width, Math.floor(middle / width)];
            });
        """
        return {
            (colour >> 16, (colour >> 8) & 255, colour & 255): (count, x, y)
            for colour, count, x, y in self.js(code, canvas)
        }

    def legend(self) -> dict[str, tuple[int, int, int]]:
        """Colour of each model in the legend."""
        code = """
            return [...document.querySelectorAll('[aria-label="Models"] button')].map((button) => [
              button.textContent,
              getComputedStyle(button.querySelector(".swatch")).backgroundColor.match(/\\d+/g),
            ]);
        """
        return {name: tuple(map(int, rgb[:3])) for name, rgb in self.js(code)}  # type: ignore[misc]

    def mouse(self, selector: str, x: float, y: float, *, click: bool = False) -> None:
        """Move the mouse to a place of an element, and perhaps click there."""
        self.js("arguments[0].scrollIntoView({block: 'center'})", self.find(selector))
        left, top = self.js(
            "const box = arguments[0].getBoundingClientRect(); return [box.left, box.top];",
            self.find(selector),
        )
        place = {"x": left + x, "y": top + y}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
        if click:
            for kind in ("mousePressed", "mouseReleased"):
                pressed = {"type": kind, "button": "left", "clickCount": 1, **place}
                self.call("Input.dispatchMouseEvent", **pressed)
        self.settle()

    def tap(self, selector: str, x: float, y: float) -> None:
        """Tap a place of an element with a finger."""
        self.js("arguments[0].scrollIntoView({block: 'center'})", self.find(selector))
        left, top = self.js(
            "const box = arguments[0].getBoundingClientRect(); return [box.left, box.top];",
            self.find(selector),
        )
        points = [{"x": left + x, "y": top + y}]
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=points)
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.settle()

    def requests(self) -> list[str]:
        """Addresses that were asked for since the page was opened, the page's own among them."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.session.get_log(kind)
        return entries
