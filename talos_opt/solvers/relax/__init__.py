"""`relax`: lower bounds from relaxations, and schedules from their placements.

formulation  placement without waiting for devices, on CP-SAT
bounded      CP-SAT's full formulation with heads, tails and loads from other bounds
superblocks  the bottleneck over blocks of identical devices, as a MILP
binding      ops that no placement within a limit can part
solver       the solver: one relaxation after the other
"""
