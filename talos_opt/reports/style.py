"""How pictures look: colours, names that fit, axes without clutter, and how they are saved.

The colours are those of Okabe and Ito (2008), which colour-blind people tell apart. matplotlib is
used through its objects, never through pyplot: no window, and nothing global changes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from talos_opt.core.errors import DependencyError, FormatError
from talos_opt.formats.source import STREAM
from talos_opt.formats.target import write_file
from talos_opt.reports.digits import DIGITS, significant, time_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours of the first categories; black and yellow of the original are muted, as they would be
#: taken for text and for the paper.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b", "#b3a300")

#: Text and lines that are no data.
INK = "#222222"
MUTED = "#6b6b6b"
GRID = "#dddddd"

#: Suffixes that `save` knows, and dots per inch of those that have dots.
SUFFIXES = (".png", ".svg", ".pdf")
DPI = 150

#: Sizes of text in points.
TITLE, LABEL, TICK = 11, 9.5, 8.5


def require_matplotlib() -> None:
    """Refuse to draw where matplotlib is missing.

    Raises
    ------
    DependencyError
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise DependencyError(
            "pictures need matplotlib, which is not installed: pip install 'talos-opt[plot]'"
        ) from None


def figure(width: float, height: float) -> Figure:
    """Return an empty figure whose parts keep clear of each other.

    Parameters
    ----------
    width, height : float
        Inches.

    Raises
    ------
    DependencyError
        If matplotlib is missing.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def colour(k: int) -> str:
    """Return the colour of category k, as ``#rrggbb``.

    From the ninth on they come again darker, then lighter, then from the start.
    """
    tint, base = (k // len(PALETTE)) % 3, PALETTE[k % len(PALETTE)]
    return (base, mixed(base, "#000000", 0.4), mixed(base, "#ffffff", 0.5))[tint]


def mixed(first: str, second: str, share: float) -> str:
    """Return a colour with a share (0 to 1) of another one in it."""
    parts = [(int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in parts)


def shortened(name: str, limit: int = 28) -> str:
    """Return a name of at most `limit` characters, cut in the middle, that is no formula.

    Ends tell op names apart better than their middles do. matplotlib would typeset what stands
    between two dollar signs, and write what is not printable into an SVG, which then is none.
    """
    name = " ".join(name.split())
    if not name.isprintable():
        name = "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)
    if len(name) > limit:
        tail = (limit - 1) * 2 // 3
        name = f"{name[: limit - 1 - tail]}…{name[-tail:]}"
    return name.replace("$", r"\$")


def tidy(axes: Axes, *, grid: str = "y") -> None:
    """Take the clutter out of a plot: no box, small ticks, a faint grid behind the data.

    Parameters
    ----------
    axes : Axes
    grid : {'x', 'y', 'both', ''}
    """
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(labelsize=TICK, color=MUTED, labelcolor=INK)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(True, axis=grid, color=GRID, linewidth=0.6)  # type: ignore[arg-type]
    for text, size in ((axes.title, TITLE), (axes.xaxis.label, LABEL), (axes.yaxis.label, LABEL)):
        text.set_fontsize(size)
        text.set_color(INK)


def time_axis(axes: Axes, which: str, what: str, largest: float, unit: str) -> None:
    """Label an axis of times: one unit for all of them, chosen by the largest.

    Parameters
    ----------
    axes : Axes
    which : {'x', 'y'}
    what : str
        What is measured; the unit is added.
    largest : float
    unit : str
        Of the data; empty: unknown.
    """
    divisor, name = time_unit(largest, unit)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: significant(value / divisor, DIGITS))
    axis.set_label_text(f"{what} ({name})" if name else what)


def _settle(drawing: Figure) -> None:
    """Lay a figure out for good.

    The last digits of the layout's results vary from run to run, and ids in an SVG with them.
    """
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")
    for axes in drawing.axes:
        x0, y0, width, height = (round(value, 5) for value in axes.get_position().bounds)
        axes.set_position((x0, y0, width, height))


def save(drawing: Figure, target: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, SVG or PDF by the suffix, whole or not at all; ``-``: PNG to stdout.

    The same figure gives the same bytes: no date, no random ids.

    Raises
    ------
    FormatError
        If the suffix is none of `SUFFIXES`, or the file cannot be written.
    """
    suffix = ".png" if target == STREAM else Path(target).suffix.lower()
    if suffix not in SUFFIXES:
        raise FormatError(
            f"has suffix {suffix!r}, expected one of {', '.join(SUFFIXES)}",
            source=os.fspath(target),
        )
    metadata: dict[str, Any] = {} if suffix == ".png" else {"Date": None}
    if suffix == ".pdf":
        metadata = {"CreationDate": None}

    def write(file: BinaryIO) -> None:
        drawing.savefig(file, format=suffix[1:], dpi=DPI, metadata=metadata)

    with _repeatable(), warnings.catch_warnings():
        # A box stands for what the font does not have; no name goes to the terminal for it.
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        _settle(drawing)
        write_file(write, target)


def save_both(drawing: Figure, folder: str | os.PathLike[str], name: str) -> tuple[Path, Path]:
    """Write a figure into a folder as ``NAME.png`` and ``NAME.svg``; return the two paths."""
    # Not with_suffix: a name may hold a dot.
    paths = Path(folder) / f"{name}.png", Path(folder) / f"{name}.svg"
    for path in paths:
        save(drawing, path)
    return paths


@contextmanager
def _repeatable() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "talos-opt", "path.simplify": True}):
        yield
