"""`auto`: the default; chooses solvers by size, objective and time.

stages  who has a turn, and for what share of the time
solver  baselines, then the stages; what is done while kernels are compiled
"""
