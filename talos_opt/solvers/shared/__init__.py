"""Mathematics that several solvers use; none of it searches.

paths         passes along the edges: critical paths, heads and tails, heavy paths
tensors       which tensor may travel over which hop, whatever the placement
symmetry      identical devices
obstacles     cheap proofs that there is no schedule
grid          the integer grid of exact solvers, with ticks (common tick) and horizon (what an
              incumbent leaves open)
instance      a problem as the arrays that compiled searches take, and the way back
quotient      a problem whose ops are packs of another's, and packing (Talos' sv/tv rule)
constructive  placing op by op
whole_models  a first schedule of many models
offering      a placement becomes a schedule, and an offer
"""
