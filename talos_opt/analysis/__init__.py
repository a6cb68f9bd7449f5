"""What measurements and graphs say before anything is solved.

speedups    how much faster each op type, and each op, runs on one device than on another
alignment   which op of one sequence is which of another: the weighted longest common subsequence
"""
