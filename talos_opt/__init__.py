"""Device placement and scheduling of deep-learning graphs: exact, fast, and honest about the gap.

    problem = talos_opt.read("graph.yaml")
    result = talos_opt.solve(problem, time_limit=10)
    result.placement, result.value, result.lower_bound

Importing the package loads no solver backend, compiler or deep-learning framework; nor does it
load numpy before something is used that needs it, since ``talos-opt --help`` should not wait.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from talos_opt.version import __version__ as __version__

if TYPE_CHECKING:
    from talos_opt.analysis.sensitivity import Noise, simulate_noise
    from talos_opt.analysis.where import ModuleRow, modules_by_device
    from talos_opt.api import check, compare, compile_kernels, read, solve
    from talos_opt.api import solvers as list_solvers
    from talos_opt.builder import Builder
    from talos_opt.core.bundles import Bundle, Bundles
    from talos_opt.core.bundling import bundled
    from talos_opt.core.cluster import Cluster, Device, Link
    from talos_opt.core.config import SolveConfig, load_config
    from talos_opt.core.errors import (
        ConfigError,
        DependencyError,
        FormatError,
        GraphError,
        InfeasibleScheduleError,
        InputError,
        InternalError,
        Interrupted,
        RefutedProofError,
        ScheduleError,
        SolverError,
        TalosError,
        UnsupportedError,
    )
    from talos_opt.core.feasibility import Violation
    from talos_opt.core.gains import Gains
    from talos_opt.core.granularity import by_module
    from talos_opt.core.graph import Graph, Input, Memory, Model, Op
    from talos_opt.core.metrics import Metrics, measure
    from talos_opt.core.pipelining.step import pipeline_steps
    from talos_opt.core.problem import MemoryRule, Objective, Problem
    from talos_opt.core.relaxations import Explanation, Relaxation, apply_relaxations
    from talos_opt.core.replanning import MoveCost
    from talos_opt.core.result import Comparison, Event, Result, Status
    from talos_opt.core.robustness import Risk, Robustness
    from talos_opt.core.schedule import Schedule, Transfers
    from talos_opt.formats import read_schedule, write_problem, write_schedule
    from talos_opt.frameworks.common.traced import profile_traces
    from talos_opt.frameworks.common.whatif import what_if
    from talos_opt.gain import gains
    from talos_opt.online.compared import compare_policies
    from talos_opt.online.replan import Replan, replan
    from talos_opt.reports.plotting import plot
    from talos_opt.robust import solve_robust
    from talos_opt.schemas import read_schema
    from talos_opt.solvers.engine.run import Progress
    from talos_opt.studies.single_changes import what_would_help
    from talos_opt.tasks.analyzing import analyze
    from talos_opt.tasks.drawing import write_plot, write_report, write_trace
    from talos_opt.tasks.explaining import explain
    from talos_opt.tasks.exporting import export, export_forms
    from talos_opt.tasks.fitting import Fitted, fit
    from talos_opt.tasks.joining import join_models
    from talos_opt.tasks.languages import profile_llm
    from talos_opt.tasks.models import profile, run
    from talos_opt.tasks.sweeping import read_results, sweep
    from talos_opt.tasks.traces import compare_traces

__all__ = [
    "Builder",
    "Bundle",
    "Bundles",
    "Cluster",
    "Comparison",
    "ConfigError",
    "DependencyError",
    "Device",
    "Event",
    "Explanation",
    "Fitted",
    "FormatError",
    "Gains",
    "Graph",
    "GraphError",
    "InfeasibleScheduleError",
    "Input",
    "InputError",
    "InternalError",
    "Interrupted",
    "Link",
    "Memory",
    "MemoryRule",
    "Metrics",
    "Model",
    "ModuleRow",
    "MoveCost",
    "Noise",
    "Objective",
    "Op",
    "Problem",
    "Progress",
    "RefutedProofError",
    "Relaxation",
    "Replan",
    "Result",
    "Risk",
    "Robustness",
    "Schedule",
    "ScheduleError",
    "SolveConfig",
    "SolverError",
    "Status",
    "TalosError",
    "Transfers",
    "UnsupportedError",
    "Violation",
    "analyze",
    "apply_relaxations",
    "bundled",
    "by_module",
    "check",
    "compare",
    "compare_policies",
    "compare_traces",
    "compile_kernels",
    "explain",
    "export",
    "export_forms",
    "fit",
    "gains",
    "join_models",
    "list_solvers",
    "load_config",
    "measure",
    "modules_by_device",
    "pipeline_steps",
    "plot",
    "profile",
    "profile_llm",
    "profile_traces",
    "read",
    "read_results",
    "read_schedule",
    "read_schema",
    "replan",
    "run",
    "simulate_noise",
    "solve",
    "solve_robust",
    "sweep",
    "what_if",
    "what_would_help",
    "write_plot",
    "write_problem",
    "write_report",
    "write_schedule",
    "write_trace",
]

#: Where each name comes from when it is first used.
_HOMES = {
    "talos_opt.tasks.explaining": "explain",
    "talos_opt.tasks.drawing": "write_plot write_report write_trace",
    "talos_opt.tasks.exporting": "export export_forms",
    "talos_opt.tasks.analyzing": "analyze",
    "talos_opt.tasks.fitting": "Fitted fit",
    "talos_opt.tasks.sweeping": "read_results sweep",
    "talos_opt.tasks.models": "profile run",
    "talos_opt.tasks.joining": "join_models",
    "talos_opt.tasks.languages": "profile_llm",
    "talos_opt.core.granularity": "by_module",
    "talos_opt.tasks.traces": "compare_traces",
    "talos_opt.frameworks.common.traced": "profile_traces",
    "talos_opt.analysis.sensitivity": "Noise simulate_noise",
    "talos_opt.studies.single_changes": "what_would_help",
    "talos_opt.frameworks.common.whatif": "what_if",
    "talos_opt.online.compared": "compare_policies",
    "talos_opt.core.pipelining.step": "pipeline_steps",
    "talos_opt.schemas": "read_schema",
    "talos_opt.analysis.where": "ModuleRow modules_by_device",
    "talos_opt.api": "check compare compile_kernels read solve",
    "talos_opt.builder": "Builder",
    "talos_opt.core.bundles": "Bundle Bundles",
    "talos_opt.core.bundling": "bundled",
    "talos_opt.core.cluster": "Cluster Device Link",
    "talos_opt.core.config": "SolveConfig load_config",
    "talos_opt.core.errors": "ConfigError DependencyError FormatError GraphError "
    "InfeasibleScheduleError InputError InternalError Interrupted RefutedProofError ScheduleError "
    "SolverError TalosError UnsupportedError",
    "talos_opt.core.feasibility": "Violation",
    "talos_opt.core.gains": "Gains",
    "talos_opt.core.graph": "Graph Input Memory Model Op",
    "talos_opt.core.metrics": "Metrics measure",
    "talos_opt.core.problem": "MemoryRule Objective Problem",
    "talos_opt.core.relaxations": "Explanation Relaxation apply_relaxations",
    "talos_opt.core.replanning": "MoveCost",
    "talos_opt.core.result": "Comparison Event Result Status",
    "talos_opt.core.robustness": "Risk Robustness",
    "talos_opt.core.schedule": "Schedule Transfers",
    "talos_opt.formats": "read_schedule write_problem write_schedule",
    "talos_opt.reports.plotting": "plot",
    "talos_opt.robust": "solve_robust",
    "talos_opt.online.replan": "Replan replan",
    "talos_opt.gain": "gains",
    "talos_opt.solvers.engine.run": "Progress",
}
_HOME = {name: (home, name) for home, names in _HOMES.items() for name in names.split()}
# Not `solvers`: that is the package of the solvers.
_HOME["list_solvers"] = ("talos_opt.api", "solvers")


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, attribute = _HOME[name]
    value: object = getattr(import_module(home), attribute)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
