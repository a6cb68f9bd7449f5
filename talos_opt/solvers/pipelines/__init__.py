"""Placements for steps of a pipeline: objective `step`, memory rule `pipeline`.

facts    what decides about a step, as the kernel takes it
bounds   the largest load over all micro-batches, and the longest path
blocks   what shares a stage in every pipeline
chains   all chains of order ideals whose step may be shorter
search   a local search
solver   the order in which these are tried
"""

from talos_opt.solvers.pipelines.solver import PipelineSolver

__all__ = ["PipelineSolver"]
