"""What tests ask of a page, in any browser that is installed; nothing is downloaded for it."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Seconds until a page that does not come up, or does not do what it should, has failed.
PATIENCE = 30.0

#: Names of the browsers that pages are tested in.
BROWSERS = ("chromium", "firefox")


def found(*names: str) -> str | None:
    """Return the path of the first program that is installed."""
    return next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def open_browser(name: str = "chromium") -> Iterator[Browser]:
    """Start a browser, or skip the test where there is none."""
    from tests.reports.chromium import open_chromium
    from tests.reports.firefox import open_firefox

    with {"chromium": open_chromium, "firefox": open_firefox}[name]() as opened:
        yield opened


def wait(condition: Callable[[], Any]) -> None:
    """Wait until something holds, at most `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE:g} s in vain"
        time.sleep(0.02)


class Browser(ABC):
    """What the tests ask of a page, in their words."""

    #: One of `BROWSERS`.
    name: str

    @abstractmethod
    def open(
        self, page: Path, *, width: int = 1200, height: int = 900, scheme: str = "light"
    ) -> None:
        """Open a page in a window of this size and wait until it says that it is drawn."""

    @abstractmethod
    def resize(self, width: int, height: int = 900) -> None:
        """Give the open page another size."""

    @abstractmethod
    def js(self, code: str, *arguments: Any) -> Any:
        """Run the body of a function, wait for what it promises and return it as plain values."""

    @abstractmethod
    def print(self) -> bytes:
        """Print the open page on A4 as PDF, without backgrounds, as people do."""

    @abstractmethod
    def screenshot(self) -> bytes:
        """Return the whole page as PNG, however long it is."""

    @abstractmethod
    def complaints(self) -> list[str]:
        """Errors, warnings and requests of the network since the page was opened."""

    def wait(self, condition: Callable[[], Any]) -> None:
        wait(condition)

    def ready(self) -> None:
        """Wait until the page is drawn."""
        self.wait(lambda: self.js("return document.documentElement.dataset.ready === 'true'"))

    def settle(self) -> None:
        """Wait until what was asked for has been drawn."""
        self.js(
            "return new Promise((drawn) => "
            "requestAnimationFrame(() => requestAnimationFrame(() => drawn(null))))"
        )

    def key(self, selector: str, key: str) -> None:
        """Press a key while an element has the focus."""
        self.js(
            "const one = document.querySelector(arguments[0]); one.focus(); "
            "one.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[1], bubbles: true}))",
            selector,
            key,
        )
        self.settle()

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
