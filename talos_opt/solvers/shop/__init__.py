"""Tabu search over queues from a population: for much to order and little to send.

solver   the solver, and the problems that it covers
chain    one thread's search: runs from points of the population
pool     the population: which points are kept, and what is made of two of them
queues   what the kernel needs
"""

from talos_opt.solvers.shop.solver import ShopSolver

__all__ = ["ShopSolver"]
