"""Exact solver over OR-Tools CP-SAT.

backend      owns the import of cp_model and guards against known crashes and wrong proofs
horizon      what the incumbent leaves open: deadlines, and devices that are still of use
ticks        the common tick of numbers
grid         the integer time grid, and why bounds stay valid on it
symmetry     identical devices
hops         which tensor may travel over which hop, for every placement
placement    variables and constraints of the placement alone, one method per family
sequencing   the same for times, transfers and resources
liveness     memory over time
image        where a real schedule lies on the grid
answers      a solution on the grid
checks       the incumbent must fit, and quick proofs have a second opinion
search       runs CP-SAT on a thread, and turns its answers into schedules and bounds
isolation    the same search in a process of its own
solver       ties them together
"""
