"""What runs a solver; knows no solver but by name.

base          what a solver is
registry      all solvers by name
run           clock, incumbent and bound of one run
background    threads and processes beside one that stays awake
warmup        compiling kernels outside the time limit
dependencies  libraries that must not meet in one process
"""
