"""What can be computed of how a page looks, on a screen and on paper."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt


def _script(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


#: Words longer than this may be broken.
LONGEST = 24

#: Texts that leave their section, are cut off, cover each other or break inside a word, tables
#: that are cut off without saying so, and sideways scrolling; [] if all is well.
LAYOUT = _script("layout.js")

#: Texts with a contrast below 4.5:1 to what is behind them, and marks below 3:1; [] if none.
CONTRAST = _script("contrast.js")

#: Frames a second while the wheel zooms in and out again, the longest of them in ms, and when the
#: page was ready, in ms since it was asked for.
SPEED = _script("speed.js")


@dataclass(frozen=True)
class Word:
    """A word of a printed page, in points from the top left corner."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Sheet:
    """A printed page: its words, and its pixels (height, width, 3)."""

    width: float
    height: float
    words: tuple[Word, ...]
    pixels: npt.NDArray[np.uint8]

    @property
    def scale(self) -> float:
        """Pixels in a point."""
        return self.pixels.shape[1] / self.width

    def used_below(self, y: float) -> float:
        """How many points below y the last thing on the sheet is."""
        rows = np.flatnonzero((self.pixels < 250).any(axis=(1, 2)))
        return float(rows.max(initial=0)) / self.scale - y

    def rooms_below(self, title: str) -> Iterator[float]:
        """How many points are used below a title, wherever it stands."""
        wanted = title.split()
        for k, word in enumerate(self.words):
            if [one.text for one in self.words[k : k + len(wanted)]] == wanted:
                yield self.used_below(word.bottom)

    def complaints(self) -> Iterator[str]:
        """Words that leave the sheet, cover each other or have too little contrast."""
        margin = 28  # of 12 mm, 34 points, some may be lost to rounding
        for word in self.words:
            if word.left < margin or word.right > self.width - margin:
                yield f"{word.text} leaves the sheet"
            if re.search(r"\w", word.text) and (found := self._contrast(word)) < 4.5:
                yield f"{word.text} has a contrast of {found:.1f}"
        for k, one in enumerate(self.words):
            for two in self.words[k + 1 :]:
                air = 0.2 * min(one.bottom - one.top, two.bottom - two.top)
                x = min(one.right, two.right) - max(one.left, two.left)
                y = min(one.bottom, two.bottom) - max(one.top, two.top)
                if x > 1 and y > 2 * air:
                    yield f"{one.text} covers {two.text}"

    def _contrast(self, word: Word) -> float:
        """Contrast of the letters of a word with what is around them."""
        s = self.scale
        rows = slice(int(word.top * s), int(np.ceil(word.bottom * s)))
        columns = slice(int(word.left * s), int(np.ceil(word.right * s)))
        light = np.sort(luminance(self.pixels[rows, columns].reshape(-1, 3))) + 0.05
        middle = float(np.median(light))
        return max(middle / float(light[0]), float(light[-1]) / middle)


def luminance(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Relative luminance of colours (n, 3), as WCAG 2.1 defines it."""
    part = rgb / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ (0.2126, 0.7152, 0.0722))


def sheets(pdf: bytes, folder: Path, dpi: int = 120) -> list[Sheet]:
    """Return the pages of a PDF, by the tools of poppler."""
    file = folder / "printed.pdf"
    file.write_bytes(pdf)
    for old in folder.glob("sheet*"):
        old.unlink()
    subprocess.run(["pdftoppm", "-r", str(dpi), file, folder / "sheet"], check=True)
    told = subprocess.run(["pdftotext", "-bbox", file, "-"], check=True, capture_output=True)
    space = "{http://www.w3.org/1999/xhtml}"
    pages = ElementTree.fromstring(told.stdout).iter(f"{space}page")
    found = []
    for page, picture in zip(pages, sorted(folder.glob("sheet*")), strict=True):
        words = tuple(
            Word(
                word.text or "",
                *(float(word.attrib[key]) for key in ("xMin", "yMin", "xMax", "yMax")),
            )
            for word in page.iter(f"{space}word")
        )
        width, height = float(page.attrib["width"]), float(page.attrib["height"])
        found.append(Sheet(width, height, words, _pixels(picture)))
    return found


def _pixels(file: Path) -> npt.NDArray[np.uint8]:
    """Read a picture as pdftoppm writes it: P6, width and height, 255, pixels."""
    content = file.read_bytes()
    head = re.match(rb"P6\s(\d+)\s(\d+)\s255\s", content)
    assert head is not None, file
    width, height = map(int, head.groups())
    return np.frombuffer(content, np.uint8, offset=head.end()).reshape(height, width, 3)
