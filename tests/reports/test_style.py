"""Colours, names that fit, and files that appear whole and are repeatable."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from xml.etree import ElementTree

import pytest

from talos_opt.core.errors import DependencyError, FormatError
from talos_opt.reports import style

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
    with pytest.raises(DependencyError, match=r"pip install 'talos-opt\[plot\]'"):
        style.figure(2, 2)
