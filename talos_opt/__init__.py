"""Device placement and scheduling of deep-learning graphs: exact, fast, and honest about the gap.

    problem = talos_opt.read("graph.yaml")
    result = talos_opt.solve(problem, time_limit=10)
    result.placement, result.value, result.lower_bound

Importing the package loads no solver backend, compiler or deep-learning framework.
"""

from talos_opt.api import check, compare, read, solve, solvers
from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.config import SolveConfig, load_config
from talos_opt.core.errors import (
    ConfigError,
    DependencyError,
    FormatError,
    GraphError,
    InfeasibleScheduleError,
    InputError,
    ScheduleError,
    SolverError,
    TalosError,
    UnsupportedError,
)
from talos_opt.core.feasibility import Violation
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.metrics import Metrics, measure
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.core.result import Comparison, Event, Result, Status
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.formats import read_schedule, write_problem, write_schedule
from talos_opt.solvers.run import Progress

__version__ = "0.1.0"

__all__ = [
    "Cluster",
    "Comparison",
    "ConfigError",
    "DependencyError",
    "Device",
    "Event",
    "FormatError",
    "Graph",
    "GraphError",
    "InfeasibleScheduleError",
    "Input",
    "InputError",
    "Link",
    "Memory",
    "MemoryRule",
    "Metrics",
    "Model",
    "Objective",
    "Op",
    "Problem",
    "Progress",
    "Result",
    "Schedule",
    "ScheduleError",
    "SolveConfig",
    "SolverError",
    "Status",
    "TalosError",
    "Transfers",
    "UnsupportedError",
    "Violation",
    "check",
    "compare",
    "load_config",
    "measure",
    "read",
    "read_schedule",
    "solve",
    "solvers",
    "write_problem",
    "write_schedule",
]
