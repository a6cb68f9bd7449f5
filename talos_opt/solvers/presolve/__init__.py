"""What is taken out of a problem before any solver sees it, and put back into what they find.

rules        which ops become one, and which devices an op need not be tried on
contraction  the smaller problem, and the way between its schedules and the user's
"""

from talos_opt.solvers.presolve.contraction import Presolved, presolve

__all__ = ["Presolved", "presolve"]
