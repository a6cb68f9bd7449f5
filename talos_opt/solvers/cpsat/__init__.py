"""Exact solver over OR-Tools CP-SAT.

backend      owns the import of cp_model and guards against known crashes and wrong proofs
placement    variables and constraints of the placement alone, one method per family
timing       the same with times: ops, arrivals or hops, windows
liveness     memory over time
sequencing   on top of that: slots, links, memory over time, objectives
image        where a real schedule lies on the grid
answers      a solution on the grid
checks       the incumbent must fit, and quick proofs have a second opinion
search       runs CP-SAT on a thread, and turns its answers into schedules and bounds
isolation    the same search in a process of its own, whose side is child
solver       ties them together
"""
