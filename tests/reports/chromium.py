"""A headless Chromium, by Selenium and the chromedriver that comes with it."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browser import PATIENCE, Browser, found

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip


@contextmanager
def open_chromium() -> Iterator[Chromium]:
    """Start Chromium, or skip the test where there is none."""
    pytest.importorskip("selenium", reason="selenium drives the browser")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium = found("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    driver = found("chromedriver")
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
            yield Chromium(session)
        finally:
            session.quit()


class Chromium(Browser):
    """A page in Chromium, which also has fingers, a mouse and a console to read."""

    name = "chromium"

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
        self.session.get("about:blank")
        self.resize(width, height, touch=touch)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        preference = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[preference])
        for log in ("browser", "performance"):
            self.session.get_log(log)
        self.session.get(page.as_uri())
        self.ready()

    def resize(self, width: int, height: int = 900, *, touch: bool = False) -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self.call("Emulation.setDeviceMetricsOverride", **screen)

    def call(self, command: str, **arguments: Any) -> Any:
        return self.session.execute_cdp_cmd(command, arguments)

    def js(self, code: str, *arguments: Any) -> Any:
        return self.session.execute_script(code, *arguments)

    def print(self) -> bytes:
        sheet = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": False}
        return base64.b64decode(self.call("Page.printToPDF", **sheet)["data"])

    def screenshot(self) -> bytes:
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def complaints(self) -> list[str]:
        asked = [url for url in self.requests() if not url.startswith(("file://", "data:"))]
        return [entry["message"] for entry in self.log("browser")] + asked

    def find(self, selector: str) -> Any:
        return self.session.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        """Text of an element as it can be read; empty where it is hidden."""
        return str(self.find(selector).text)

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
