"""Contiguous splits: the best chain of order ideals, a stage of the pipeline between any two.

blocks     what shares a stage in every placement, and in which order
joining    tensors between blocks, and blocks that are nowhere better than beside a neighbour
ideals     sets of blocks that may be on the stages so far
search     the programme over ideals and devices, and random walks where it is too large
"""
