"""Exact solver over mixed-integer programming, through PuLP (backends HiGHS and CBC).

windows     when an op can start and must end: heads, tails, deadlines
builder     a thin, stoppable way to write rows into a PuLP problem
placement   which device each colocation group goes to, what travels, memory, loads
sequencing  starts and orders on top of it, for the objectives that need them
backend     what a backend is handed and hands back; highs and cbc implement it
extract     placements and schedules out of a solution, and a start for it out of a schedule
diagnosis   why nothing fits, in words
solver      ties them together
"""

from talos_opt.solvers.ilp.solver import IlpOptions, IlpSolver

__all__ = ["IlpOptions", "IlpSolver"]
