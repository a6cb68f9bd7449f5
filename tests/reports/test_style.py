"""Colours, names that fit, and files that appear whole and are repeatable."""

from __future__ import annotations

import itertools
import sys
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from talos_opt.analysis.gaps import Part
from talos_opt.core.errors import DependencyError, FormatError
from talos_opt.reports import fonts, parts, style

pytest.importorskip("matplotlib")


def test_colours_differ() -> None:
    count = 3 * len(style.PALETTE)
    assert len({style.colour(k) for k in range(count)}) == count
    assert style.colour(count) == style.colour(0)
    assert style.mixed("#000000", "#ffffff", 0.5) == "#808080"


@pytest.mark.parametrize(
    ("name", "limit", "shown"),
    [
        ("conv1", 28, "conv1"),
        ("a" * 28, 28, "a" * 28),
        ("encoder.layer.11.output", 12, "enco….output"),
        ("a\n b", 9, "a b"),
        ("$x$", 9, r"\$x\$"),
        ("\x1b[31mx", 28, r"\x1b[31mx"),
        ("a\u202eb", 28, r"a\u202eb"),
    ],
)
def test_names_are_shortened(name: str, limit: int, shown: str) -> None:
    assert style.shortened(name, limit) == shown
    assert len(shown.replace("\\", "")) <= limit


def test_a_picture_of_any_name_is_xml_and_says_nothing(tmp_path: Path) -> None:
    drawing = style.figure(3, 2)
    drawing.subplots().set_title(style.shortened("\x1b]0;t\x07 \u6f22"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        style.save(drawing, tmp_path / "a.svg")
    ElementTree.parse(tmp_path / "a.svg")


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_saving_is_repeatable(tmp_path: Path, suffix: str, magic: bytes) -> None:
    written = []
    for name in ("a", "b"):
        drawing = style.figure(3, 2)
        axes = drawing.subplots()
        axes.plot([1, 2], [1, 2], label="x")
        style.tidy(axes, grid="both")
        style.save(drawing, tmp_path / (name + suffix))
        written.append((tmp_path / (name + suffix)).read_bytes())
    assert written[0].startswith(magic)
    assert written[0] == written[1]
    assert {path.name for path in tmp_path.iterdir()} == {f"a{suffix}", f"b{suffix}"}


def test_both_files_of_a_dotted_name(tmp_path: Path) -> None:
    paths = style.save_both(style.figure(2, 2), tmp_path, "v1.5")
    assert [path.name for path in paths] == ["v1.5.png", "v1.5.svg"]
    assert all(path.is_file() for path in paths)


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"x\.bmp: has suffix '\.bmp', expected one of \.png"):
        style.save(style.figure(2, 2), tmp_path / "x.bmp")
    with pytest.raises(FormatError, match="cannot be written: its folder does not exist"):
        style.save(style.figure(2, 2), tmp_path / "no" / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DependencyError, match="pip install matplotlib"):
        style.figure(2, 2)


#: What protanopes and deuteranopes see of linear RGB: Machado, Oliveira and Fernandes (2009), for
#: a severity of 1; and the matrix from linear sRGB to XYZ.
SEEN = {
    "all": np.eye(3),
    "protanopes": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopes": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip


def lab(colours: tuple[str, ...], seen: np.ndarray) -> np.ndarray:
    """Colours in CIELAB as somebody sees them (n, 3)."""
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ seen.T, 0, 1) @ XYZ.T / (0.95047, 1.0, 1.08883)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("who", SEEN)
def test_everybody_tells_the_colours_apart(who: str) -> None:
    points = lab(style.PALETTE, SEEN[who])
    for one, two in itertools.combinations(range(len(points)), 2):
        apart = float(np.linalg.norm(points[one] - points[two]))
        assert apart >= 20, (style.PALETTE[one], style.PALETTE[two])


def test_each_part_of_the_makespan_has_a_colour_of_its_own() -> None:
    assert set(Part) - set(parts.COLOURS) == {Part.TAIL}  # an empty box
    assert len(set(parts.COLOURS.values())) == len(parts.COLOURS)
    assert set(parts.COLOURS.values()) <= set(style.PALETTE)
    assert set(parts.WORDS) == set(Part)


def contrast(one: str, two: str) -> float:
    low, high = sorted(style.luminance(colour) + 0.05 for colour in (one, two))
    return high / low


@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK])
def test_text_and_marks_have_contrast(theme: style.Theme) -> None:
    for text in (theme.ink, theme.muted, theme.wrong):
        assert contrast(text, theme.paper) >= 4.5, text
    lines = (theme.critical, theme.line, theme.limit, theme.held, theme.idle_lines)
    for mark in (*style.PALETTE, *parts.COLOURS.values(), *lines):
        assert contrast(mark, theme.paper) >= 3, mark
    assert contrast(theme.idle_lines, theme.idle) >= 3
    for colour in style.PALETTE:
        assert contrast(style.ink_on(colour), colour) >= 4.4, colour


def test_a_font_on_the_machine_fills_what_the_usual_one_lacks(tmp_path: Path) -> None:
    families = fonts.fonts_for(frozenset("\u5377"))
    if not families:
        pytest.skip("no font on this machine has Chinese")
    drawing = style.figure(3, 2)
    drawing.subplots().set_title("conv \u5377")
    drawing.suptitle("conv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is missing, so nothing has to be silenced
        fonts.choose_fonts(drawing)
        drawing.draw_without_rendering()
        for suffix in (".png", ".svg", ".pdf"):
            style.save(drawing, tmp_path / f"a{suffix}")
    family = drawing.axes[0].title.get_fontfamily()
    assert list(family)[-1] == families[0]
    assert families[0] not in drawing.get_suptitle()


def test_the_width_of_a_text_is_what_is_drawn() -> None:
    drawing = style.figure(6, 2)
    for text in ("Wm", "illi", "encoder.layer.11", "\u0416\u0448"):
        drawn = drawing.text(0, 0, text, fontsize=9).get_window_extent().width * 72 / style.DPI
        assert fonts.text_width(text, 9) == pytest.approx(drawn, rel=0.06)
