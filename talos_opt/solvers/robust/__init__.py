"""Placements and orders for op times that are not known: sample average approximation.

planning  from a nominal schedule to a robust one, and what is known of both
search    annealing on the risk over samples, from several starts
"""

from talos_opt.solvers.robust.planning import Plan, plan_robustly

__all__ = ["Plan", "plan_robustly"]
