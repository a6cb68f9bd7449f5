"""All solvers by name; a solver's module is imported when the solver is first asked for.

Other packages add solvers by entry points of the group ``talos_opt.solvers``.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from importlib import import_module
from typing import Any

from talos_opt.core import plugins
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
    package : str
        The package that adds it; empty for those of talos_opt.
    """

    name: str
    summary: str
    exact: bool
    features: frozenset[Feature]
    package: str = ""


def names() -> tuple[str, ...]:
    """Return all solver names, those of other packages last."""
    return (*_SOLVERS, *plugins.without(plugins.SOLVERS, _SOLVERS))


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
    given = read_options(kind.Options, options or {}, f"options.{name}")
    if name in _SOLVERS:
        return kind(given)
    return plugins.call(plugins.added(plugins.SOLVERS)[name], kind, given)


def describe() -> tuple[SolverInfo, ...]:
    """Return what is known about every solver; of one that cannot be loaded, why."""
    found = []
    for name in _SOLVERS:
        kind = _load(name)
        found.append(SolverInfo(name, kind.summary, kind.exact, kind.features))
    for name, point in plugins.without(plugins.SOLVERS, _SOLVERS).items():
        package = point.dist.name if point.dist is not None else point.value
        try:
            kind = _load(name)
        except ConfigError as error:
            found.append(SolverInfo(name, str(error), False, frozenset(), package))
            continue
        found.append(SolverInfo(name, kind.summary, kind.exact, kind.features, package))
    return tuple(found)


def require_solver(kind: object, whose: str) -> type[Solver]:
    """Return a solver's class.

    Raises
    ------
    ConfigError
        If it is none, or lacks what every solver says of itself.
    """
    if not (isinstance(kind, type) and issubclass(kind, Solver)):
        raise ConfigError(f"{whose} is {kind!r}, expected a subclass of talos_opt.plugins.Solver")
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{whose} has the name {name!r}, expected text")
    if not isinstance(kind.summary, str):
        raise ConfigError(f"{whose} has the summary {kind.summary!r}, expected text")
    if not isinstance(kind.features, frozenset):
        raise ConfigError(f"{whose} covers {kind.features!r}, expected a frozenset of Feature")
    odd = [feature for feature in kind.features if not isinstance(feature, Feature)]
    if odd:
        raise ConfigError(f"{whose} covers {odd[0]!r}, expected members of Feature")
    if inspect.isabstract(kind):
        raise ConfigError(f"{whose} has no method solve, expected solve(self, problem, run)")
    if not (isinstance(kind.Options, type) and is_dataclass(kind.Options)):
        raise ConfigError(f"{whose} has Options {kind.Options!r}, expected a dataclass")
    for item in fields(kind.Options):
        if item.default is MISSING:
            raise ConfigError(
                f"{whose} has the option {item.name!r}, expected it to have a default"
            )
    return kind


def _load(name: str) -> type[Solver]:
    added = plugins.without(plugins.SOLVERS, _SOLVERS)
    if name in added:
        return _added(name)
    if name not in _SOLVERS:
        known = names()
        close = difflib.get_close_matches(name, known, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ConfigError(f"unknown solver {name!r}{hint}, expected one of: {', '.join(known)}")
    module, attribute = _SOLVERS[name]
    kind: type[Solver] = getattr(import_module(module), attribute)
    return kind


def _added(name: str) -> type[Solver]:
    """Return the class of another package's solver."""
    point = plugins.added(plugins.SOLVERS)[name]
    whose = f"solver {plugins.whose(point)}"
    kind = require_solver(plugins.load(point), whose)
    if kind.name != name:
        raise ConfigError(f"{whose} calls itself {kind.name!r}, expected the entry point's name")
    return kind
