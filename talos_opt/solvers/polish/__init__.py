"""What is done with a schedule once its value is found."""

from talos_opt.solvers.polish.ties import polish, reserve

__all__ = ["polish", "reserve"]
