"""Exact solver over mixed-integer programming, through PuLP (backends HiGHS and CBC).

builder     a thin, stoppable way to write rows into a PuLP program
tensors     what may have to travel, and what a group keeps
windows     when an op can start and must end: heads, tails, deadlines
placement   formulation: devices, routes, memory, transfers, loads
timing      on top of it: starts, arrivals, completion times
sequencing  on top of that: orders and slots where activities compete for a device
backend     what a backend is handed and hands back; highs and cbc implement it
extract     placements and schedules out of a solution, and a start for it out of a schedule
bounding    which bound may be claimed
first       a placement to begin with
diagnosis   why nothing fits, in words
search      runs the formulations; solver is the face to the rest
"""

from talos_opt.solvers.ilp.solver import IlpOptions, IlpSolver

__all__ = ["IlpOptions", "IlpSolver"]
