"""Large-neighbourhood search: CP-SAT repairs windows of the incumbent."""

from talos_opt.solvers.lns.solver import LnsSolver

__all__ = ["LnsSolver"]
