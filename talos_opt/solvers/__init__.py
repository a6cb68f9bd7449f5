"""Everything that turns a problem into a schedule or a bound.

session        one solve, from the user's problem to the user's result
engine/        what runs a solver: its base class, the registry, the run, the clock
shared/        mathematics that several solvers use
bounds/        what is proven without a search
polish/        what is done with an answer once its value is found
infeasibility/ the fewest limits to lift where there is no schedule

All other folders are solvers, one each, named as the registry names them.
"""
