"""Is a solver right? Random problems, their optima by brute force, and a judge of answers.

    from talos_opt.testing import check_solver

    def test_mine():
        check_solver(Mine())

reference/   checker and brute force, written from docs/model.md alone
drawing      random problems with every feature of the model
awkward      the same at odd scales
judging      what is wrong with an answer, by the optimum
cases        a problem, its seed, and what a solver makes of it
agreement    `check_solver`
"""

from talos_opt.testing.agreement import Agreement, check_solver
from talos_opt.testing.cases import Case, draw_case
from talos_opt.testing.judging import Find

__all__ = ["Agreement", "Case", "Find", "check_solver", "draw_case"]
