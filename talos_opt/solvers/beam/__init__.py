"""Beam search over orders of small peak memory, for the peak rule."""

from talos_opt.solvers.beam.solver import BeamSolver

__all__ = ["BeamSolver"]
