"""Random problems with awkward numbers, what solvers make of them, and what is wrong with that."""
