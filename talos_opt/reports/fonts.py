"""Fonts for names in any script: those found on the machine fill what the usual one lacks."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist

#: Fonts that are no help: bitmaps in colour, and boxes in place of letters.
_UNFIT = re.compile("Color|Last ?Resort")

#: Beginnings of the names of fonts that are asked first, in this order; then all others.
PREFERRED = (
    "Noto Sans CJK", "Source Han Sans", "WenQuanYi", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR",
    "Microsoft YaHei", "PingFang", "Hiragino Sans", "Malgun", "Noto Sans Arabic", "Noto Naskh",
    "Noto Sans Symbols", "Noto Emoji", "Symbola", "Segoe UI Emoji", "Arial Unicode", "Unifont",
)  # fmt: skip


def choose_fonts(drawing: Artist) -> None:
    """Give each text in a figure or axes fonts for the characters that its first font lacks.

    Nothing changes where all are known, or where no font on the machine has them: a box then stands
    for what is missing.
    """
    from matplotlib import rcParams
    from matplotlib.text import Text

    texts = [item for item in drawing.findobj(Text) if isinstance(item, Text)]
    known = _characters(_default_path())
    missing = {char for item in texts for char in item.get_text() if char not in known}
    missing -= {"\n"}
    if not missing:
        return
    families = fonts_for(frozenset(missing))
    if not families:
        return
    usual = list(rcParams["font.family"])
    for item in texts:
        if missing & set(item.get_text()):
            item.set_fontfamily([*usual, *families])
            if not _has_bold(families):  # or a message says that it was looked for
                item.set_fontweight("normal")


@lru_cache(maxsize=64)
def fonts_for(missing: frozenset[str]) -> tuple[str, ...]:
    """Return families found on the machine that together have what can be had of characters.

    Parameters
    ----------
    missing : frozenset of str
        Characters.
    """
    found, left = _search(missing)
    if left and _add_new_fonts():
        found, left = _search(missing)
    return found


def _search(missing: frozenset[str]) -> tuple[tuple[str, ...], set[str]]:
    """Return families that have characters, and the characters that none has."""
    from matplotlib.font_manager import fontManager

    entries = sorted(
        (entry for entry in fontManager.ttflist if not _UNFIT.search(entry.name)),
        key=lambda entry: (_rank(entry.name), entry.style != "normal", str(entry.weight) != "400"),
    )
    found: list[str] = []
    wanted = set(missing)
    for entry in entries:
        if not wanted:
            break
        if entry.name in found:
            continue
        had = wanted & _characters(entry.fname)
        if had:
            found.append(entry.name)
            wanted -= had
    return tuple(found), wanted


@lru_cache(maxsize=1)
def _add_new_fonts() -> bool:
    """Tell matplotlib of fonts that were installed after it last looked; say if there are some."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {entry.fname for entry in fontManager.ttflist}
    new = [path for path in findSystemFonts() if path not in known and not _UNFIT.search(path)]
    for path in new:
        with suppress(OSError, RuntimeError, ValueError):
            fontManager.addfont(path)
    return bool(new)


@lru_cache(maxsize=64)
def _has_bold(families: tuple[str, ...]) -> bool:
    from matplotlib.font_manager import fontManager

    bold = {entry.name for entry in fontManager.ttflist if entry.weight in (700, "bold")}
    return bold.issuperset(families)


def _rank(name: str) -> int:
    ranks = (k for k, start in enumerate(PREFERRED) if name.startswith(start))
    return next(ranks, len(PREFERRED))


def _default_path() -> str:
    from matplotlib.font_manager import FontProperties, findfont

    return str(findfont(FontProperties()))


@lru_cache(maxsize=512)
def _characters(path: str) -> frozenset[str]:
    """Characters of a font file; none of one that cannot be drawn with."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        font.set_size(10, 72)
        return frozenset(map(chr, font.get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def text_width(text: str, size: float) -> float:
    """Return the width of a text in points, in the usual font; wide where it lacks a character.

    Parameters
    ----------
    text : str
    size : float
        Points.
    """
    return size * sum(map(_advance, text))


@lru_cache(maxsize=4096)
def _advance(char: str) -> float:
    """Width of a character as a share of the font's size."""
    if char not in _characters(_default_path()):
        return 1.1
    font = _usual()
    font.set_size(100, 72)
    return float(font.load_char(ord(char)).linearHoriAdvance) / 65536 / 100


@lru_cache(maxsize=1)
def _usual() -> Any:
    from matplotlib.ft2font import FT2Font

    return FT2Font(_default_path())
