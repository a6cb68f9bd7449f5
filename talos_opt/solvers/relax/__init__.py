"""`relax`: lower bounds from relaxations, and schedules from their placements.

formulation  placement without waiting for devices, on CP-SAT
bounded      CP-SAT's full formulation with heads, tails and loads from other bounds
contents     the bottleneck by prices of ops: what one device may hold at most
layers       the ways to decide, op by op, what that is
master       the linear programme that finds prices
covering     column generation with the three, and placements made of contents
superblocks  the bottleneck over blocks of identical devices, as a MILP
binding      ops that no placement within a limit can part
solver       the solver: one relaxation after the other
"""
