"""Talos' sv/tv packing: adjacent ops with similar speedups become one op."""

from __future__ import annotations

from talos_opt.analysis.packing import pack_owners
from talos_opt.core.problem import Problem
from talos_opt.solvers.shared.quotient import Packed, quotient

__all__ = ["Packed", "pack"]


def pack(problem: Problem, sv_low: float, sv_high: float, tv: float) -> Packed:
    """Merge adjacent ops (Talos, section III-B), by the rule of `analysis.packing.pack_owners`.

    Parameters
    ----------
    problem : Problem
    sv_low, sv_high : float
        Multiples of the first op's speedup.
    tv : float
        In the graph's time unit.
    """
    return quotient(problem, pack_owners(problem, sv_low, sv_high, tv))
