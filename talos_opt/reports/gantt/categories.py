"""Categories of ops in a picture, each with its colour: models, op types or classes of slack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.core.problem import Floats, Ints
from talos_opt.reports import style
from talos_opt.reports.colouring import TYPES, ranked_types, slack_classes, slack_edges
from talos_opt.reports.digits import duration
from talos_opt.reports.gantt.options import Options
from talos_opt.reports.view import View

#: Categories that look different: colours, and hatches over them.
COLOURS = 32

#: Of categories that share a colour, eight apart; pages draw the same.
HATCHES = (None, "////", "\\\\\\\\", "xxxx")


@dataclass(frozen=True)
class Categories:
    """What the ops of a picture are coloured as.

    Parameters
    ----------
    names : tuple of str
        In the order of the legend.
    colours : tuple of str
    hatches : tuple of str or None
    of : (n,) int
        Category of every op.
    named : tuple of int
        Categories that the legend names.
    what : str
        What a category is, in plural.
    """

    names: tuple[str, ...]
    colours: tuple[str, ...]
    hatches: tuple[str | None, ...]
    of: Ints
    named: tuple[int, ...]
    what: str


def category_colour(category: int) -> str:
    """Return the colour of a category, by its number; from the ninth on it has a hatch too."""
    return style.PALETTE[category % len(style.PALETTE)]


def category_hatch(category: int) -> str | None:
    """Return the hatch of a category, by its number."""
    return HATCHES[category % COLOURS // len(style.PALETTE)]


def categories_of(view: View, options: Options) -> Categories:
    """Return what the ops of a view are coloured as.

    Raises
    ------
    InputError
        If there is no model of a name, or nothing is known to colour by.
    """
    chosen = options.coloured(view)
    found = {"model": _models, "type": _types, "slack": _slacks}[options.colour_by](view, options)
    if len(chosen) == len(view.models):
        return found
    # Ops of other models are pale, whatever the others are coloured by.
    shown = np.isin(view.op_model, chosen)
    other = len(found.names)
    pale = _and_more(found, "other models", options.theme.other)
    named = chosen if options.colour_by == "model" else np.unique(found.of[shown]).tolist()
    return replace(pale, of=np.where(shown, found.of, other), named=(*named, other))


def _models(view: View, options: Options) -> Categories:
    named = tuple(range(len(view.models)))
    return replace(_numbered(view.models, view.op_model, "models"), named=named)


def _types(view: View, options: Options) -> Categories:
    types = ranked_types(view.op_types)
    if types in ((), ("",)):
        raise InputError("no op has a type to be coloured by: it is the graph that states types")
    place = {name: min(k, TYPES) for k, name in enumerate(types)}
    of = np.array([place[name] for name in view.op_types], dtype=np.int64)
    found = _numbered([name or "(no type)" for name in types[:TYPES]], of, "op types")
    rest = len(types) - TYPES
    return found if rest <= 0 else _and_more(found, f"{rest} other types", options.theme.held)


def _slacks(view: View, options: Options) -> Categories:
    breakdown = view.breakdown
    if breakdown is None:
        raise InputError("slack is known with the graph, and of a feasible schedule only")
    number = {name: i for i, name in enumerate(breakdown.problem.names)}
    slack: Floats = breakdown.slacks.op[[number[name] for name in view.op_names]]
    edges = slack_edges([breakdown.slacks.op])
    told = [duration(edge, view.time_unit) for edge in edges]
    above = f"above {told[-1]}" if told else "above 0"
    names = ["no slack", *(f"up to {edge}" for edge in told), above]
    scale = options.theme.sequential
    picked = np.rint(np.linspace(0, len(scale) - 1, len(names))).astype(np.int64).tolist()
    of = slack_classes(slack, edges)
    found = replace(
        _numbered(names, of, "classes of slack"),
        colours=tuple(scale[k] for k in picked),
        hatches=(None,) * len(names),
    )
    return _and_more(found, "any: nothing waits for it", options.theme.held)


def _numbered(names: Sequence[str], of: Ints, what: str) -> Categories:
    numbers = range(len(names))
    return Categories(
        tuple(names),
        tuple(category_colour(k) for k in numbers),
        tuple(category_hatch(k) for k in numbers),
        of,
        tuple(np.unique(of).tolist()),
        what,
    )


def _and_more(found: Categories, name: str, colour: str) -> Categories:
    """Add a category that has the next number."""
    return replace(
        found,
        names=(*found.names, name),
        colours=(*found.colours, colour),
        hatches=(*found.hatches, None),
    )
