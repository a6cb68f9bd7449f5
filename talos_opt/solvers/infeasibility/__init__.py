"""Why a problem has no schedule: the fewest limits to relax, and the cheapest single changes.

elastic     placement as a CP-SAT formulation whose limits can each be switched off
diagnosis   the searches over it, and schedules that show that the answer is enough
child       the same in a process of its own, beside TensorFlow
"""
