"""Rows and columns of a mixed-integer program, written into a PuLP problem.

The only module that builds PuLP objects. Writing looks at the clock, since a large formulation
may take longer to write than there is time to solve it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from talos_opt.core.errors import DependencyError
from talos_opt.importing import import_whole
from talos_opt.solvers.engine.dependencies import (
    require_compatible_highspy,
    require_compatible_pulp,
)

#: A PuLP variable; PuLP ships no types.
Variable = Any
#: A linear expression: variables with coefficients. A variable may stand in it twice.
Terms = list[tuple[Variable, float]]

#: Rows between two looks at the clock.
_ROWS_PER_LOOK = 256


class BuildStoppedError(Exception):
    """The run was stopped while the formulation was being written."""


def load_pulp() -> ModuleType:
    """Import and return PuLP.

    Raises
    ------
    DependencyError
        If PuLP is missing or too new, or highspy is installed in a version that breaks OR-Tools.
    """
    require_compatible_highspy()  # before the import: `import pulp` itself loads highspy
    require_compatible_pulp()
    try:
        import_whole("pulp")
        import pulp
    except ImportError as error:
        raise DependencyError(
            f"PuLP cannot be imported ({error}); run: pip install 'pulp>=3.3,<4'"
        ) from error
    module: ModuleType = pulp
    return module


class Builder:
    """Writes a minimisation problem.

    Parameters
    ----------
    name : str
    stopped : callable
        Asked now and then; where it says True, writing ends with `BuildStoppedError`.
    """

    def __init__(self, name: str, stopped: Callable[[], bool]) -> None:
        self._pulp = load_pulp()
        self._stopped = stopped
        self._rows = 0
        self.program = self._pulp.LpProblem(name, self._pulp.LpMinimize)

    def binary(self, name: str) -> Variable:
        """Add a variable that is 0 or 1."""
        return self.program.add_variable(name, 0, 1, self._pulp.LpInteger)

    def continuous(self, name: str, low: float = 0.0, high: float | None = None) -> Variable:
        """Add a real variable within bounds."""
        return self.program.add_variable(name, low, high)

    def at_least(self, terms: Iterable[tuple[Variable, float]], limit: float) -> None:
        """Add the row ``terms >= limit``."""
        self._add(terms, self._pulp.LpConstraintGE, limit)

    def at_most(self, terms: Iterable[tuple[Variable, float]], limit: float) -> None:
        """Add the row ``terms <= limit``."""
        self._add(terms, self._pulp.LpConstraintLE, limit)

    def equal(self, terms: Iterable[tuple[Variable, float]], value: float) -> None:
        """Add the row ``terms == value``."""
        self._add(terms, self._pulp.LpConstraintEQ, value)

    def minimise(self, terms: Terms) -> None:
        """Set the objective."""
        self.program.setObjective(self._pulp.LpAffineExpression(_collect(terms)))

    def _add(self, terms: Iterable[tuple[Variable, float]], sense: int, limit: float) -> None:
        self._rows += 1
        if self._rows % _ROWS_PER_LOOK == 0 and self._stopped():
            raise BuildStoppedError
        row = self._pulp.LpAffineExpression(_collect(terms))
        self.program.addConstraint(self._pulp.LpConstraint(row, sense, rhs=limit))


def _collect(terms: Iterable[tuple[Variable, float]]) -> dict[Variable, float]:
    """Add up the coefficients of every variable."""
    total: dict[Variable, float] = {}
    for variable, factor in terms:
        total[variable] = total.get(variable, 0.0) + factor
    return total


def scaled(terms: Terms, factor: float) -> Terms:
    """Return an expression times a factor."""
    return [(variable, factor * value) for variable, value in terms]
