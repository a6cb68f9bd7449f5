"""How pictures look: colours, names that fit, axes without clutter, and how they are saved.

Colour-blind people tell the colours apart: tests simulate what they see. matplotlib is used through
its objects, never through pyplot: no window, and nothing global changes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from talos_opt.core.errors import DependencyError, FormatError
from talos_opt.core.extras import how_to_install
from talos_opt.formats.source import STREAM
from talos_opt.formats.target import write_file
from talos_opt.reports.digits import DIGITS, FLOAT_DIGITS, significant, time_unit
from talos_opt.reports.fonts import choose_fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours of the first categories. Any two differ by 20 in CIELAB at least, for protanopes and
#: deuteranopes too, and each has a contrast of 3:1 with white and with the dark paper.
PALETTE = ("#0077aa", "#dd6600", "#11aa66", "#3355ff", "#cc3333", "#0096f8", "#776666", "#6699aa")

#: Text and lines that are no data.
INK = "#222222"
MUTED = "#606060"
GRID = "#dddddd"


@dataclass(frozen=True)
class Theme:
    """Colours of what is no category: text, paper, lines and marks.

    Parameters
    ----------
    paper, ink, muted, grid : str
    idle, idle_lines : str
        Of the hatch where nothing runs.
    held : str
        Of the hatch of slots that transfers hold.
    fill, line, limit : str
        Of curves of memory, and of their limits.
    critical, wrong, other : str
        Of the critical path, of what is wrong, of models that were not asked for.
    sequential : tuple of str
        Of amounts, from the most to the least telling; each has a contrast of 3:1 with what is
        behind bars. The first of them stand out most. From viridis, which colour-blind readers see
        in the same order.
    """

    paper: str
    ink: str
    muted: str
    grid: str
    idle: str
    idle_lines: str
    held: str
    fill: str
    line: str
    limit: str
    critical: str
    wrong: str
    other: str
    sequential: tuple[str, ...]


LIGHT = Theme(
    paper="#ffffff", ink=INK, muted=MUTED, grid=GRID, idle="#ffffff", idle_lines="#909090",
    held="#8c8c8c", fill="#b9c6d3", line="#49657f", limit="#b00020", critical="#000000",
    wrong="#b00020", other="#cfcfcf",
    sequential=("#440154", "#482677", "#3f4889", "#32658e", "#27808e", "#1f9a8a"),
)  # fmt: skip
DARK = Theme(
    paper="#181c22", ink="#e8ebef", muted="#a3adb8", grid="#363e48", idle="#181c22",
    idle_lines="#68737f", held="#808b97", fill="#34465a", line="#8fb3d6", limit="#ff8a80",
    critical="#ffffff", wrong="#ff8a80", other="#4a535e",
    sequential=("#fde725", "#b8de29", "#73d056", "#3bbb75", "#1fa287", "#23898e"),
)  # fmt: skip

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
            f"pictures need matplotlib, which is not installed: {how_to_install('plot')}"
        ) from None


def figure(width: float, height: float, theme: Theme = LIGHT) -> Figure:
    """Return an empty figure whose parts keep clear of each other.

    Parameters
    ----------
    width, height : float
        Inches.
    theme : Theme

    Raises
    ------
    DependencyError
        If matplotlib is missing.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor=theme.paper)


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


def tidy(axes: Axes, *, grid: str = "y", theme: Theme = LIGHT) -> None:
    """Take the clutter out of a plot: no box, small ticks, a faint grid behind the data.

    Parameters
    ----------
    axes : Axes
    grid : {'x', 'y', 'both', ''}
    theme : Theme
    """
    axes.set_facecolor(theme.paper)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(theme.muted)
    axes.tick_params(labelsize=TICK, color=theme.muted, labelcolor=theme.ink)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(True, axis=grid, color=theme.grid, linewidth=0.6)  # type: ignore[arg-type]
    for text, size in ((axes.title, TITLE), (axes.xaxis.label, LABEL), (axes.yaxis.label, LABEL)):
        text.set_fontsize(size)
        text.set_color(theme.ink)


def ink_on(colour: str) -> str:
    """Return the colour of text that reads best on a colour: white or nearly black."""
    light = luminance(colour)
    return "#ffffff" if 1.05 / (light + 0.05) > (light + 0.05) / (luminance(INK) + 0.05) else INK


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (0 to 1), as WCAG 2.1 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


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

    def label(value: float, _: object = None) -> str:
        return significant(value / divisor, digits_apart(largest, *axis.get_view_interval()))

    axis.set_major_formatter(label)
    axis.set_label_text(f"{what} ({name})" if name else what)


def digits_apart(largest: float, low: float, high: float) -> int:
    """Return how many digits tell the labels of an axis apart that shows `low` to `high`.

    Late in a long schedule they have more in common than `DIGITS` digits.
    """
    span = abs(high - low)
    if not largest > span > 0:
        return DIGITS
    more = 3 + Decimal(largest).adjusted() - Decimal(span).adjusted()
    return max(DIGITS, min(more, FLOAT_DIGITS))


def _settle(drawing: Figure) -> None:
    """Lay a figure out for good.

    The last digits of the layout's results vary from run to run, and ids in an SVG with them.
    """
    choose_fonts(drawing)
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")
    for axes in drawing.axes:
        x0, y0, width, height = (round(value, 5) for value in axes.get_position().bounds)
        axes.set_position((x0, y0, width, height))


def save(drawing: Figure, target: str | os.PathLike[str], *, dpi: float = DPI) -> None:
    """Write a figure as PNG, SVG or PDF by the suffix, whole or not at all; ``-``: PNG to stdout.

    The same figure gives the same bytes: no date, no random ids. Text in SVG and PDF is text, and
    the file has a title: the figure's label, or the first title in it.

    Parameters
    ----------
    drawing : Figure
    target : str or path
    dpi : float
        Dots per inch of a PNG, and of images in the others.

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
    metadata: dict[str, Any] = {"Title": _title_of(drawing)}
    if suffix != ".png":
        metadata["CreationDate" if suffix == ".pdf" else "Date"] = None

    def write(file: BinaryIO) -> None:
        drawing.savefig(file, format=suffix[1:], dpi=dpi, metadata=metadata)

    with _repeatable(), warnings.catch_warnings():
        # A box stands for what the font does not have; no name goes to the terminal for it.
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        _settle(drawing)
        write_file(write, target)


def _title_of(drawing: Figure) -> str:
    titles = [axes.get_title(loc) for axes in drawing.axes for loc in ("left", "center")]
    label = str(drawing.get_label())
    return next((text.replace(r"\$", "$") for text in (label, *titles) if text), "talos_opt")


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

    settings: dict[Any, Any] = {
        "svg.hashsalt": "talos-opt",
        "svg.fonttype": "none",  # text that can be searched and read aloud
        "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
        "path.simplify": True,
    }
    with matplotlib.rc_context(settings):
        yield
