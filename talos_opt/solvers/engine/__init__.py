"""What runs a solver; knows no solver but by name.

base          what a solver is
registry      all solvers by name
budget        when work must end, on a clock that leaves out compiling
run           budget, incumbent and bound of one run
background    threads and processes beside one that stays awake
isolation     a question to a process of its own
compilation   which kernels there are, and having them compiled meanwhile
warmup        waiting for kernels outside the time limit
dependencies  libraries that must not meet in one process
"""
