"""Local search: simulated annealing and tabu search in turns, on all cores.

solver    the solver: which search takes its turn when
chain     one thread's search: its point, and the two ways to improve it
queues    what the tabu search needs, and where it applies
starts    placements and orders to start from; contiguous splits a chain over devices
"""

from talos_opt.solvers.fast.solver import FastSolver

__all__ = ["FastSolver"]
