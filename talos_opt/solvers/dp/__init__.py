"""`dp`: dynamic programming over the ideals of a narrow graph.

ideals  sets of ops that are closed under predecessors, layer by layer
peaks   the order of smallest peak memory on one device
solver  the solver; the loop over labels is kernels/labels
"""
