"""`coarse`: merge ops into packs, search there, take the packs apart, and refine.

coarsening  which ops are merged
unpacking   a schedule of packs as one of ops
levels      packs of packs, and the clock of a search among them
solver      the solver: from the largest packs down to the ops
"""
