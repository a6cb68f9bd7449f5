"""Bundles: which equal devices act as one is a part of the answer (docs/bundles.md).

ways        in which ways devices can be bundled, each up to an exchange of equal devices
pricing     what is proven about all of them before a search
candidates  one way: its problem, its schedule and its bound
search      runs the sessions and shares the time
"""

from talos_opt.solvers.bundling.search import solve_bundles

__all__ = ["solve_bundles"]
