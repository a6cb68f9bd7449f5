"""`auto`: the default; chooses solvers by size, objective and time."""
