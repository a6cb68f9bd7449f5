"""The one place that imports OR-Tools' cp_model."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from talos_opt.core.errors import DependencyError
from talos_opt.importing import import_whole
from talos_opt.solvers.engine.dependencies import require_compatible_highspy

_CP_MODEL = "ortools.sat.python.cp_model"


def load() -> ModuleType:
    """Import and return cp_model.

    Raises
    ------
    DependencyError
        If OR-Tools is missing, or highspy is installed in a version that breaks it.
    """
    require_compatible_highspy()
    try:
        import_whole(_CP_MODEL)
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise DependencyError(
            f"OR-Tools cannot be imported ({error}); run: pip install 'ortools>=9.15,<9.16'"
        ) from error
    return cp_model


def make_solver(cp: Any) -> Any:
    """Return a CpSolver with the settings that keep CP-SAT from ending the process.

    Parameters
    ----------
    cp : module
        As `load` returns it.
    """
    solver = cp.CpSolver()
    # CP-SAT's own handler would take Ctrl-C away from Python's, and abort the process when it
    # comes while CP-SAT is not quite running.
    solver.parameters.catch_sigint_signal = False
    # With symmetries, presolve of 9.15 fails a check of its own (VarToConstraints(var).empty())
    # and aborts, on about 1 of 300 small random problems; without, none was seen to.
    solver.parameters.symmetry_level = 0
    # Presolve's ProcessAtMostOneAndLinear drops a condition that it takes for needless because a
    # 32-bit sum of the coefficients of Boolean variables has wrapped: wrong optima (decision
    # 0002). This switch leaves that step out, and others that look for one row inside another.
    solver.parameters.presolve_inclusion_work_limit = 0
    return solver


def needs_own_process() -> bool:
    """Tell whether CP-SAT would crash in this process.

    TensorFlow imported before OR-Tools 9.15 leaves two copies of protobuf behind, and CP-SAT
    then dies of a segmentation fault inside ``solve``; the other order works. Modules keep their
    import order in `sys.modules`.
    """
    if "tensorflow" not in sys.modules:
        return False
    order = list(sys.modules)
    return _CP_MODEL not in sys.modules or order.index("tensorflow") < order.index(_CP_MODEL)
