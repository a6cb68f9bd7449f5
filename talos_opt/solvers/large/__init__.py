"""`large`: schedules for up to millions of ops, in passes that are linear in the graph's size.

passes    what steers a pass, one pass, and its value
search    the first schedule, and variations of the best one
trivial   placements that anybody would try first
loads     placements that even out the loads, and single moves (objective bottleneck)
solver    the solver itself
"""
