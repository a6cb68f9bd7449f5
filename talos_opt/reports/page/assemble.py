"""One file out of the template, the scripts, the styles and the data."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, BinaryIO

from talos_opt.formats.target import write_file

#: Scripts of the page, in the order in which they need each other; the last one starts it.
SCRIPTS = (
    "format.js", "theme.js", "plan.js", "colouring.js", "timeline.js", "timechart.js",
    "thinbars.js", "folding.js", "stretches.js", "gantt.js", "memory.js", "minimap.js", "svgpen.js",
    "chart.js", "details.js", "search.js", "legend.js", "pane.js", "pair.js", "oplist.js",
    "address.js", "tools.js", "board.js", "sections.js", "step.js", "cards.js", "where.js",
    "page.js",
)  # fmt: skip

_HOLE = re.compile(r"\{\{(\w+)\}\}")


def write_page(data: Mapping[str, Any], target: str | os.PathLike[str]) -> None:
    """Write a page that shows `data`, whole or not at all.

    Raises
    ------
    FormatError
        If the target cannot be written.
    """
    content = page_text(data).encode()

    def write(file: BinaryIO) -> None:
        file.write(content)

    write_file(write, target)


def page_text(data: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    Its content security policy lets run what is written here and nothing else, and forbids every
    request, so that not even a mistake in escaping a name could do harm.
    """
    script = "'use strict';\n(() => {\n" + "\n".join(map(_asset, SCRIPTS)) + "})();\n"
    style = _asset("page.css")
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src '{_digest(script)}'; style-src '{_digest(style)}'"
    )
    parts = {
        "policy": policy,
        "title": html.escape(_printable(str(data["title"]))),
        "footer": "Made by talos_opt." + _unit_note(data["unit"]),
        "style": style,
        "script": script,
        "data": to_json(data),
    }
    # One pass: what is put in is not looked through for more holes.
    return _HOLE.sub(lambda hole: parts[hole[1]], _asset("page.html"))


def _unit_note(unit: str) -> str:
    return f" The graph's times are in {html.escape(unit)}." if unit else ""


def to_json(data: object) -> str:
    """Return JSON that can stand in a script element: nothing in it ends the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _printable(text: str) -> str:
    """Replace half characters, which UTF-8 cannot hold."""
    return text.encode(errors="replace").decode()
