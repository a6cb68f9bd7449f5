"""Pictures of speedups: per model as in Figs. 2 and 3 of Talos, and models side by side.

Each function returns a matplotlib figure, which `style.save` writes; none of them needs pyplot or
a display.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.analysis.affinity import Affinity
from talos_opt.analysis.model_speedups import ModelSpeedups
from talos_opt.analysis.model_summary import summarise_model
from talos_opt.core.problem import Bools, Floats
from talos_opt.reports import style
from talos_opt.reports.digits import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Up to so many ops are named on the axis.
NAMED = 60

#: Op types that have a colour of their own in `draw_speedup_times`.
COLOURED_TYPES = 7

#: Up to so many models have their numbers in the cells of `draw_affinities`.
NUMBERED = 12

#: More points than this go into an SVG as an image.
_MANY = 2000

FASTER, SLOWER = style.colour(0), style.colour(1)


def figures(
    models: Sequence[ModelSpeedups], pairs: Sequence[Affinity], time_unit: str
) -> list[tuple[str, Callable[[], Figure]]]:
    """Return the names of all figures of an analysis, and how each is drawn.

    Names are safe as file names, and differ by more than capitals.
    """
    found: list[tuple[str, Callable[[], Figure]]] = []
    taken: set[str] = set()
    for model in models:
        stem = name = re.sub(r"[^\w.+-]+", "_", model.model)[:80]
        number = 1
        while name.lower() in taken:
            name = f"{stem}-{(number := number + 1)}"
        taken.add(name.lower())
        found.append((f"speedups-{name}", partial(draw_speedups, model)))
        found.append((f"speedup-times-{name}", partial(draw_speedup_times, model, time_unit)))
    found.append(("distributions", partial(draw_distributions, models, time_unit)))
    if pairs:
        compared = {name for pair in pairs for name in (pair.first, pair.second)}
        names = [model.model for model in models if model.model in compared]
        found.append(("affinities", partial(draw_affinities, names, pairs)))
    return found


def draw_speedups(model: ModelSpeedups) -> Figure:
    """Draw the speedups of a model's ops, sorted, on a log scale (Talos, Fig. 2).

    With the average (total over total) and the line at 1; names only for `NAMED` ops or fewer.
    """
    shown = np.flatnonzero(model.speedup > 0)
    shown = shown[np.argsort(model.speedup[shown], kind="stable")]
    values, named = model.speedup[shown], len(shown) <= NAMED
    drawing = style.figure(min(12.0, max(5.5, 1.6 + 0.18 * len(shown))) if named else 8.0, 4.2)
    axes = drawing.subplots()
    if _empty(axes, model, len(shown)):
        return drawing
    place = np.arange(len(shown))
    if named:
        colours = [FASTER if value >= 1 else SLOWER for value in values]
        axes.vlines(place, 1, values, colors=colours, linewidth=2.2)
        axes.scatter(place, values, c=colours, s=20, zorder=3)
        labels = [style.shortened(model.names[i], 26) for i in shown.tolist()]
        axes.set_xticks(place, labels, rotation=90)
    else:
        _area(axes, place, values, model)
    axes.set_xlim(-0.8, len(shown) - 0.2)
    axes.axhline(1, color=style.INK, linewidth=1, label="as fast on both")
    average = summarise_model(model).speedup
    if average is not None and average > 0:
        axes.axhline(
            average, color=style.colour(2), linewidth=1.5, linestyle="--",
            label=f"average {average:.3g} (total over total)",
        )  # fmt: skip
    _log(axes, "y", [*values, 1.0, average or 1.0])
    axes.set_ylabel(_ratio_label(model))
    if not named:
        axes.set_xlabel("ops, from the smallest speedup to the largest")
    slower = int((values < 1).sum())
    axes.set_title(_title(model, len(shown), f"{slower} of {len(shown)} ops below 1"))
    style.tidy(axes)
    if named:
        axes.tick_params(axis="x", labelsize=7.5, length=0)
    # Beside the data: sorted values may rise through any corner.
    drawing.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=style.TICK)
    return drawing


def draw_speedup_times(model: ModelSpeedups, time_unit: str) -> Figure:
    """Draw the speedup of a model's ops against their time on the reference (Talos, Fig. 3).

    The op types that take most of that time have a colour each.
    """
    shown = (model.speedup > 0) & (model.reference_time > 0)
    drawing = style.figure(7.0, 4.4)
    axes = drawing.subplots()
    if _empty(axes, model, int(shown.sum())):
        return drawing
    size = 26 if shown.sum() < 300 else 9
    for label, members, tint in _by_type(model, shown):
        axes.scatter(
            model.reference_time[members], model.speedup[members],
            s=size, color=tint, alpha=0.75, linewidths=0, label=label,
            rasterized=shown.sum() > _MANY,
        )  # fmt: skip
    axes.axhline(1, color=style.INK, linewidth=1)
    _log(axes, "x", model.reference_time[shown], unit=time_unit)
    _log(axes, "y", [*model.speedup[shown], 1.0])
    axes.set_xlabel(f"time on {model.reference}")
    axes.set_ylabel(_ratio_label(model))
    axes.set_title(_title(model, int(shown.sum()), "speedup against time"))
    style.tidy(axes, grid="both")
    if len(axes.collections) > 1:
        _legend(axes, loc="upper left", bbox_to_anchor=(1.0, 1.0), title="op types by time")
    return drawing


def draw_distributions(models: Sequence[ModelSpeedups], time_unit: str) -> Figure:
    """Draw the distributions of speedups, and of op times on both devices, model by model."""
    height = 1.6 + 0.5 * len(models)
    drawing = style.figure(11.0, height)
    left, right = drawing.subplots(1, 2, sharey=True)
    names = [style.shortened(model.model, 30) for model in models]
    speedups = [model.speedup[model.speedup > 0] for model in models]
    for row, values in enumerate(speedups):
        _strip(left, row, values, style.colour(0), spread=0.28)
    averages = [summarise_model(model).speedup for model in models]
    known = [(value, row) for row, value in enumerate(averages) if value]
    if known:
        left.scatter(
            *zip(*known, strict=True), marker="D", s=30, color=style.colour(1), zorder=5,
            label="average (total over total)",
        )  # fmt: skip
    left.axvline(1, color=style.INK, linewidth=1)
    _log(left, "x", np.concatenate([*speedups, [1.0]]))
    left.set_xlabel(_ratio_label(models[0]))
    times: list[Floats] = []
    for k, (attribute, device) in enumerate(
        (("reference_time", models[0].reference), ("other_time", models[0].other))
    ):
        for row, model in enumerate(models):
            values = getattr(model, attribute)[model.timed]
            times.append(values[values > 0])
            tint = style.colour((2, 3)[k])
            _strip(right, row - 0.2 + 0.4 * k, times[-1], tint, spread=0.13)
        right.plot([], [], color=style.colour((2, 3)[k]), linewidth=5, label=f"on {device}")
    _log(right, "x", np.concatenate([*times, [1.0]]) if not any(map(len, times)) else
         np.concatenate(times), unit=time_unit)  # fmt: skip
    right.set_xlabel("op time")
    left.set_yticks(range(len(models)), names)
    left.set_ylim(len(models) - 0.4, -0.6)
    left.set_title("speedups: points, 5-95 % thin, 25-75 % thick, median white")
    right.set_title("op times")
    for axes in (left, right):
        style.tidy(axes, grid="x")
        axes.title.set_fontsize(style.LABEL)
        if axes.get_legend_handles_labels()[1]:
            _legend(axes, loc="lower right", bbox_to_anchor=(1.0, 1.0 + 0.35 / height), ncols=2)
    return drawing


def draw_affinities(models: Sequence[str], pairs: Sequence[Affinity]) -> Figure:
    """Draw affinity and distribution distance of all pairs of models as two maps."""
    count = len(models)
    side = 2.4 + (0.52 if count <= NUMBERED else 0.3) * count
    drawing = style.figure(2 * side + 0.8, side + 0.3)
    index = {name: i for i, name in enumerate(models)}
    parts = drawing.subplots(1, 2, sharey=True)
    for axes, attribute, title in (
        (parts[0], "affinity", "affinity: difference of common op types / overlap"),
        (parts[1], "distance", "distance of the distributions of log2 speedups"),
    ):
        grid = np.full((count, count), np.nan)
        for pair in pairs:
            i, j = index[pair.first], index[pair.second]
            grid[i, j] = grid[j, i] = getattr(pair, attribute)
        _map(axes, grid, numbered=count <= NUMBERED)
        axes.set_title(title, fontsize=style.LABEL, color=style.INK)
        labels = [style.shortened(name, 26) for name in models]
        axes.set_xticks(range(count), labels, rotation=90)
        axes.set_yticks(range(count), labels)
        axes.tick_params(labelsize=style.TICK, length=0)
    drawing.supxlabel("0: alike; grey: nothing to compare", fontsize=style.TICK, color=style.MUTED)
    return drawing


def _map(axes: Axes, grid: Floats, *, numbered: bool) -> None:
    finite = grid[np.isfinite(grid)]
    top = float(finite.max()) if len(finite) and finite.max() > 0 else 1.0
    image = axes.imshow(
        np.ma.masked_invalid(grid), cmap=_colour_map(), vmin=0, vmax=top, aspect="equal"
    )
    for spine in axes.spines.values():
        spine.set_visible(False)
    if not numbered:
        axes.figure.colorbar(image, ax=axes, shrink=0.7)
        return
    for (i, j), value in np.ndenumerate(grid):
        if np.isnan(value):
            continue
        text = f"{value:.2f}" if np.isfinite(value) else "inf"
        dark = np.isfinite(value) and value > 0.55 * top
        tint = "white" if dark else style.INK
        axes.text(j, i, text, ha="center", va="center", fontsize=style.TICK, color=tint)


def _colour_map() -> Any:
    """Light to dark of one hue, so that it reads in grey too; no value: light grey."""
    from matplotlib.colors import LinearSegmentedColormap

    found = LinearSegmentedColormap.from_list("talos", ["#f4f8fb", "#7fb6d9", "#0b3c5d"])
    return found.with_extremes(bad="#e4e4e4")


def _area(axes: Axes, place: Any, values: Floats, model: ModelSpeedups) -> None:
    """Fill between 1 and the sorted speedups of ops too many to name."""
    border = int(np.searchsorted(values, 1.0))
    for part, tint, label in (
        (slice(0, border + 1 if border else 0), SLOWER, f"faster on {model.reference}"),
        (slice(border, None), FASTER, f"faster on {model.other}"),
    ):
        if len(values[part]):
            axes.fill_between(
                place[part], 1, values[part], step="mid", color=tint, alpha=0.55, linewidth=0,
                label=label,
            )  # fmt: skip
    axes.step(place, values, where="mid", color=style.INK, linewidth=0.8)


def _strip(axes: Axes, row: float, values: Floats, tint: str, *, spread: float) -> None:
    """Draw values as faint points around a row, and their quantiles as bars on it."""
    if not len(values):
        return
    jitter = np.random.default_rng(0).uniform(-spread, spread, len(values))
    axes.scatter(
        values, row + jitter, s=6 if len(values) > 30 else 16, color=tint,
        alpha=min(0.35, max(0.05, 60 / len(values))), linewidths=0,
        rasterized=len(values) > _MANY,
    )  # fmt: skip
    low, first, median, third, high = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
    axes.hlines(row, low, high, color=tint, linewidth=1.2, zorder=3)
    axes.hlines(row, first, third, color=tint, linewidth=5, zorder=3)
    axes.scatter([median], [row], s=14, color="white", edgecolors=tint, linewidths=1, zorder=4)


def _by_type(model: ModelSpeedups, shown: Bools) -> list[tuple[str, Bools, str]]:
    """Label, ops and colour of the types that take longest, and of all others together."""
    kinds = np.array(model.types, dtype=object)
    totals: dict[str, float] = {}
    for kind, time in zip(kinds[shown], model.reference_time[shown].tolist(), strict=True):
        totals[kind] = totals.get(kind, 0.0) + time
    longest = sorted((kind for kind in totals if kind), key=lambda kind: -totals[kind])
    if len(longest) > COLOURED_TYPES + 1:
        longest = longest[:COLOURED_TYPES]
    found = []
    for k, kind in enumerate(longest):
        tint = style.colour(k if k < 6 else k + 1)  # grey is that of the others
        found.append((style.shortened(kind, 24), np.asarray((kinds == kind) & shown), tint))
    rest = shown & ~np.isin(kinds.astype(str), longest)
    if rest.any():
        label = "other types" if longest else "ops"
        found.insert(0, (label, np.asarray(rest), style.MUTED if longest else FASTER))
    return found


def _log(axes: Axes, which: str, values: Sequence[float] | Floats, *, unit: str = "") -> None:
    """Make an axis logarithmic, with plain numbers on it, or with times in their units."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    getattr(axes, f"set_{which}scale")("log")
    low, high = float(np.min(values)), float(np.max(values))
    decades = np.log10(high / low)
    margin = 10 ** max(0.06, 0.05 * decades)
    getattr(axes, f"set_{which}lim")(low / margin, high * margin)
    axis = axes.xaxis if which == "x" else axes.yaxis
    subs: Sequence[float] = (1.0, 2.0, 5.0) if decades < 2 else (1.0,)
    if decades < 0.6:
        subs = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=9))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: duration(value, unit) if unit else _plain(value))
    )
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    """Write a number of an axis without an exponent: 0.01, 500, 20k, 1M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size * (1 - 1e-9):
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:g}"


def _empty(axes: Axes, model: ModelSpeedups, shown: int) -> bool:
    """Say so where there is nothing to draw."""
    if shown:
        return False
    text = f"no op has a speedup of {model.other} over {model.reference}"
    axes.text(0.5, 0.5, text, ha="center", va="center", color=style.MUTED, fontsize=style.LABEL)
    axes.set_axis_off()
    axes.set_title(style.shortened(model.model, 60), fontsize=style.TITLE, color=style.INK)
    return True


def _title(model: ModelSpeedups, shown: int, rest: str) -> str:
    hidden = len(model.ops) - shown
    note = f", {hidden} without a speedup not shown" if hidden else ""
    return f"{style.shortened(model.model, 40)}: {rest}{note}"


def _ratio_label(model: ModelSpeedups) -> str:
    return f"speedup ({model.reference} time / {model.other} time)"


def _legend(axes: Axes, **options: Any) -> None:
    axes.legend(
        fontsize=style.TICK, title_fontsize=style.TICK, framealpha=0.85, edgecolor="none", **options
    )
