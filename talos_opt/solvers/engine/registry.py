"""All solvers by name; a solver's module is imported when the solver is first asked for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from talos_opt.core.errors import ConfigError
from talos_opt.solvers.engine.base import Feature, Solver, read_options

#: Name -> (module, class), in the order in which they are listed and compared.
_SOLVERS = {
    "auto": ("talos_opt.solvers.auto.solver", "AutoSolver"),
    "fast": ("talos_opt.solvers.fast", "FastSolver"),
    "shop": ("talos_opt.solvers.shop", "ShopSolver"),
    "large": ("talos_opt.solvers.large.solver", "LargeSolver"),
    "coarse": ("talos_opt.solvers.coarse.solver", "CoarseSolver"),
    "beam": ("talos_opt.solvers.beam", "BeamSolver"),
    "lns": ("talos_opt.solvers.lns", "LnsSolver"),
    "cpsat": ("talos_opt.solvers.cpsat.solver", "CpsatSolver"),
    "relax": ("talos_opt.solvers.relax.solver", "RelaxSolver"),
    "dp": ("talos_opt.solvers.dp.solver", "DpSolver"),
    "pipeline": ("talos_opt.solvers.pipelines", "PipelineSolver"),
    "ilp": ("talos_opt.solvers.ilp", "IlpSolver"),
    "talos": ("talos_opt.solvers.talos.solver", "TalosSolver"),
    "heft": ("talos_opt.solvers.baselines.heft", "HeftSolver"),
    "etf": ("talos_opt.solvers.baselines.etf", "EtfSolver"),
    "tsam": ("talos_opt.solvers.baselines.tsam", "TsamSolver"),
    "aswm": ("talos_opt.solvers.baselines.aswm", "AswmSolver"),
    "sequential": ("talos_opt.solvers.baselines.sequential", "SequentialSolver"),
    "single": ("talos_opt.solvers.baselines.single", "SingleSolver"),
}


@dataclass(frozen=True)
class SolverInfo:
    """What a user may know about a solver before running it.

    Parameters
    ----------
    name, summary : str
    exact : bool
        Proves optimality, given time.
    features : frozenset of Feature
        Parts of the model that it covers.
    """

    name: str
    summary: str
    exact: bool
    features: frozenset[Feature]


def names() -> tuple[str, ...]:
    """Return all solver names."""
    return tuple(_SOLVERS)


def create(name: str, options: Mapping[str, Any] | None = None) -> Solver:
    """Return a solver by name.

    Parameters
    ----------
    name : str
    options : mapping, optional
        The solver's own options by name.

    Raises
    ------
    ConfigError
        If there is no such solver or option.
    """
    kind = _load(name)
    return kind(read_options(kind.Options, options or {}, f"options.{name}"))


def describe() -> tuple[SolverInfo, ...]:
    """Return what is known about every solver."""
    found = []
    for name in _SOLVERS:
        kind = _load(name)
        found.append(SolverInfo(name, kind.summary, kind.exact, kind.features))
    return tuple(found)


def _load(name: str) -> type[Solver]:
    if name not in _SOLVERS:
        close = difflib.get_close_matches(name, _SOLVERS, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ConfigError(f"unknown solver {name!r}{hint}, expected one of: {', '.join(_SOLVERS)}")
    module, attribute = _SOLVERS[name]
    kind: type[Solver] = getattr(import_module(module), attribute)
    return kind
