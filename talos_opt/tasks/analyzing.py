"""`talos_opt.analyze`: what the speedups of a graph's models say before anything is solved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from talos_opt.analysis.affinity import Affinity, affinities
from talos_opt.analysis.model_choice import ModelChoice, choose_models
from talos_opt.analysis.model_speedups import ModelSpeedups, model_speedups
from talos_opt.analysis.packing import PackingRow, packing_table, paper_settings
from talos_opt.core.errors import InputError
from talos_opt.core.given import require_problem
from talos_opt.core.problem import Problem
from talos_opt.reports.analysis_document import analysis_document

#: Pairs of models that are compared unless more are asked for: those of a hundred models.
MOST_PAIRS = 5000


@dataclass(frozen=True)
class Analysis:
    """What the op times of a graph say.

    Parameters
    ----------
    problem : Problem
    models : tuple of ModelSpeedups
        How much faster the ops of each model are on the other device.
    pairs : tuple of Affinity
        How alike models are; of the chosen ones, where there are too many.
    packing : tuple of PackingRow
        How many ops are left after Talos' packing.
    choice : ModelChoice
        Which models were compared, and which stand for others.
    """

    problem: Problem
    models: tuple[ModelSpeedups, ...]
    pairs: tuple[Affinity, ...]
    packing: tuple[PackingRow, ...]
    choice: ModelChoice

    def to_dict(self) -> dict[str, Any]:
        """Return what ``talos-opt analyze --json`` prints; times in the graph's unit."""
        index = {name: j for j, name in enumerate(self.problem.graph.model_ids)}
        columns = [index[model.model] for model in self.models]
        return analysis_document(
            self.problem, self.models, self.pairs, self.packing, columns, self.choice
        )


def analyze(
    problem: Problem,
    *,
    models: Sequence[str] | None = None,
    reference: str | None = None,
    other: str | None = None,
    ranges: Sequence[tuple[float, float]] | None = None,
    times: Sequence[float] | None = None,
    most_pairs: int = MOST_PAIRS,
    on_progress: Callable[[float, str], None] | None = None,
) -> Analysis:
    """Say how much faster each model runs on one device than on another: ``talos-opt analyze``.

    Parameters
    ----------
    problem : Problem
    models : sequence of str, optional
        Patterns of the models' ids, such as ``bert*``; default: all.
    reference, other : str, optional
        Device kinds or ids; speedups are of the other over the reference. Default: the cluster's
        reference, and the first other kind.
    ranges : sequence of (float, float), optional
        For packing, multiples of the first op's speedup within which ops merge.
    times : sequence of float, optional
        For packing, reference times that a pack may reach, in the graph's unit. Default for both:
        the settings of Talos' Table IV, unless the graph has no edges.
    most_pairs : int
        Pairs of models that are compared; of more, alike models are represented by one of them,
        and then those that take longest are chosen.
    on_progress : callable, optional
        Called with the share that is done (0 to 1), and what is being done.

    Raises
    ------
    InputError
        If a pattern matches no model, a device is unknown, or a number is out of its range.
    """
    _require(problem, models, ranges, times, most_pairs)
    tell = on_progress or (lambda share, doing: None)
    found = _chosen(model_speedups(problem, reference=reference, other=other), models)
    choice = choose_models(found, most_pairs)
    pairs = affinities(
        [found[j] for j in choice.chosen], progress=lambda share: tell(share, "comparing models")
    )
    packing = _pack(problem, ranges, times, tell)
    return Analysis(problem, tuple(found), tuple(pairs), packing, choice)


def _require(
    problem: object,
    models: object,
    ranges: Sequence[tuple[float, float]] | None,
    times: Sequence[float] | None,
    most_pairs: int,
) -> None:
    require_problem(problem)
    if isinstance(models, str):
        raise InputError(f"models is {models!r}, expected a list of patterns: [{models!r}]")
    for low, high in ranges or ():
        if not 0 < low <= high:
            raise InputError(f"ranges has {low:g} to {high:g}, expected 0 < low <= high")
    for time in times or ():
        if not time > 0:
            raise InputError(f"times has {time:g}, expected a number above 0")
    if most_pairs < 0:
        raise InputError(f"most_pairs is {most_pairs}, expected at least 0")


def _chosen(
    models: Sequence[ModelSpeedups], patterns: Sequence[str] | None
) -> tuple[ModelSpeedups, ...]:
    """Return the models that match a pattern; refuse patterns that none matches."""
    if patterns is None:
        return tuple(models)
    for pattern in patterns:
        if not any(fnmatchcase(model.model, pattern) for model in models):
            some = ", ".join(model.model for model in models[:8])
            more = f" and {len(models) - 8} more" if len(models) > 8 else ""
            raise InputError(f"no model matches {pattern!r}, expected one of {some}{more}")
    return tuple(
        model for model in models if any(fnmatchcase(model.model, pattern) for pattern in patterns)
    )


def _pack(
    problem: Problem,
    ranges: Sequence[tuple[float, float]] | None,
    times: Sequence[float] | None,
    tell: Callable[[float, str], None],
) -> tuple[PackingRow, ...]:
    """Count what packing leaves; nothing where there are no edges and nobody asked."""
    settings = paper_settings(problem.graph.time_unit)
    if ranges is not None or times is not None:
        ranges, times = ranges or (settings[1][:2],), times or (settings[1][2],)
        settings = tuple((low, high, tv) for low, high in ranges for tv in times)
    elif not len(problem.arrays.edge_src):
        return ()
    done = 0

    def progress(setting: tuple[float, float, float]) -> None:
        nonlocal done
        tell(done / len(settings), f"packing by sv {setting[0]:g}-{setting[1]:g}")
        done += 1

    return packing_table(problem, settings, progress=progress)
