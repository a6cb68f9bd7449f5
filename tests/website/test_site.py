"""The built site in a browser: pages are found, fit a phone and fetch nothing."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browser import Browser, open_browser

SITE = Path(__file__).resolve().parents[2] / "build" / "site"
#: What people search for -> the page that answers it.
WORDS = {
    "place a PyTorch model on two GPUs": "how-to/place-pytorch-two-gpus.html",
    "why does it not fit": "how-to/why-does-it-not-fit.html",
    "split an LLM over uneven cards": "how-to/split-llm-uneven-cards.html",
    "compare my heuristic": "how-to/compare-my-heuristic.html",
    "call it from Airflow": "how-to/call-from-airflow.html",
    "buy which GPU": "how-to/which-gpu-to-buy.html",
}
#: A page of each kind: text, wide tables, wide output, signatures, pictures.
PAGES = ("index", "start", "tutorial/5-bounds", "cli", "files", "model", "api/functions", "gallery")

pytestmark = pytest.mark.skipif(
    not (SITE / "index.html").exists(), reason="the site is not built: make docs"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def search(browser: Browser, words: str) -> list[str]:
    """Type words into the search of the open page; return the pages found, best first."""
    browser.js(
        """
        const field = document.querySelector(".md-search__input");
        field.focus();
        field.value = arguments[0];
        field.dispatchEvent(new Event("keyup", { bubbles: true }));
        """,
        words,
    )
    links = ".md-search-result__item > a"
    found = f"return [...document.querySelectorAll('{links}')].map((link) => link.href)"
    browser.wait(lambda: browser.js(found))
    return [link.partition("?")[0].partition("#")[0] for link in browser.js(found)]


@pytest.mark.parametrize("words", WORDS)
def test_how_to_pages_are_found_by_their_words(browser: Browser, words: str) -> None:
    if not (SITE / WORDS[words]).exists():
        pytest.skip(f"the site has no {WORDS[words]}")
    browser.session.get((SITE / "index.html").as_uri())
    assert (SITE / WORDS[words]).as_uri() in search(browser, words)[:3]


def test_search_works_on_a_server_too(browser: Browser, server: str) -> None:
    browser.session.get(f"{server}/index.html")
    assert any("/api/" in page for page in search(browser, "write_schedule")[:3])


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_a_phone_and_fetches_nothing(browser: Browser, page: str) -> None:
    screen = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **screen)
    for log in ("browser", "performance"):
        browser.log(log)
    browser.session.get((SITE / f"{page}.html").as_uri())
    browser.settle()
    size = "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
    assert browser.js(size) == 0
    broken = "return [...document.images].filter((image) => !image.naturalWidth).map((i) => i.src)"
    assert browser.js(broken) == []
    assert [url for url in browser.requests() if not url.startswith(("file:", "data:"))] == []
    assert [line for line in browser.log("browser") if line["level"] == "SEVERE"] == []
    browser.call("Emulation.clearDeviceMetricsOverride")
