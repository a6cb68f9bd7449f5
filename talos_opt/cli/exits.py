"""Exit codes, part of the contract that others script against."""

SOLVED = 0
NO_SCHEDULE = 1
BAD_INPUT = 2
SOLVER_FAILED = 3
INTERNAL = 70
INTERRUPTED = 130
