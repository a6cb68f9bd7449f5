"""What measurements and graphs say before anything is solved.

speedups    how much faster each op type, and each op, runs on one device than on another
alignment   which op of one sequence is which of another: the weighted longest common subsequence
model_speedups, model_summary   the same from a graph's own times, model by model
affinity    how alike two models are in what speeds up
packing     which adjacent ops Talos' packing merges, and how many are left
retiming    the order of a schedule as a precedence graph: its times under other op times
sensitivity what schedules are worth under random op times, and which wins how often
"""
