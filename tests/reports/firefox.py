"""A headless Firefox, by WebDriver BiDi, which it speaks itself: geckodriver is in no package.

https://w3c.github.io/webdriver-bidi/ has the commands. The connection is one of websocket-client,
which Selenium brings along.
"""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browser import PATIENCE, Browser, found, wait

#: No first-run pages, no requests of its own, and a dark system: light is the page's own switch.
SETTINGS = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.systemAddon.update.enabled": False,
    "layout.css.prefers-color-scheme.content-override": 0,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.server": "",
}


@contextmanager
def open_firefox() -> Iterator[Firefox]:
    """Start Firefox, or skip the test where there is none."""
    websocket = pytest.importorskip("websocket", reason="websocket-client drives Firefox")
    program = found("firefox-esr", "firefox")
    if program is None:
        pytest.skip("firefox is not on the path")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        settings = "".join(f'user_pref("{k}", {json.dumps(v)});\n' for k, v in SETTINGS.items())
        profile = Path(folder)
        (profile / "user.js").write_text(settings)
        command = [program, "--headless", "--no-remote", "--profile", folder]
        process = subprocess.Popen(
            [*command, "--remote-debugging-port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            address = _address(profile / "WebDriverBiDiServer.json", process)
            socket = websocket.create_connection(address, suppress_origin=True, timeout=PATIENCE)
            try:
                browser = Firefox(socket)
                yield browser
                browser.call("browser.close")
            finally:
                socket.shutdown()  # it would be closed, with a warning, in some later test
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _address(file: Path, process: subprocess.Popen[bytes]) -> str:
    """Wait for the file in which Firefox writes where it listens."""
    told: dict[str, Any] = {}

    def listens() -> bool:
        assert process.poll() is None, f"Firefox ended with {process.returncode}"
        try:
            told.update(json.loads(file.read_text()))
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        return True

    wait(listens)
    return f"ws://{told['ws_host']}:{told['ws_port']}/session"


class Firefox(Browser):
    """A page in Firefox."""

    name = "firefox"

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.sent = 0
        self.events: list[dict[str, Any]] = []
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
        self.context = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result; keep what happened meanwhile."""
        self.sent += 1
        self.socket.send(json.dumps({"id": self.sent, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message["type"] == "event":
                self.events.append(message)
            elif message["id"] == self.sent:
                assert message["type"] == "success", message
                return message["result"]

    def open(
        self, page: Path, *, width: int = 1200, height: int = 900, scheme: str = "light"
    ) -> None:
        self.resize(width, height)
        # A page that changes its own address meanwhile passes for the one that was asked for.
        self.js("delete document.documentElement.dataset.ready")
        self.events.clear()
        to = {"url": page.as_uri(), "wait": "complete"}
        self.call("browsingContext.navigate", context=self.context, **to)
        self.ready()
        if scheme == "light":
            self.js("document.querySelector('#theme').click()")
        self.settle()

    def resize(self, width: int, height: int = 900) -> None:
        screen = {"viewport": {"width": width, "height": height}, "devicePixelRatio": 1}
        self.call("browsingContext.setViewport", context=self.context, **screen)

    def js(self, code: str, *arguments: Any) -> Any:
        # Values go as JSON both ways: the protocol has a notation of its own for them.
        function = f"async (given) => JSON.stringify(await (async function () {{ {code} }})" + (
            ".apply(null, JSON.parse(given)) ?? null)"
        )
        answer = self.call(
            "script.callFunction",
            functionDeclaration=function,
            arguments=[{"type": "string", "value": json.dumps(arguments)}],
            target={"context": self.context},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"]["value"])

    def print(self) -> bytes:
        sheet = {"page": {"width": 21.0, "height": 29.7}, "background": False}
        return base64.b64decode(
            self.call("browsingContext.print", context=self.context, **sheet)["data"]
        )

    def screenshot(self) -> bytes:
        shot = self.call(
            "browsingContext.captureScreenshot", context=self.context, origin="document"
        )
        return base64.b64decode(shot["data"])

    def complaints(self) -> list[str]:
        self.js("return 0")  # what happened until now has arrived
        said = [
            event["params"]["text"] or ""
            for event in self.events
            if event["method"] == "log.entryAdded" and event["params"]["level"] in ("warn", "error")
        ]
        asked = [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "network.beforeRequestSent"
        ]
        return said + [url for url in asked if not url.startswith(("file://", "data:"))]
