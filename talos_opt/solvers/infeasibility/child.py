"""The diagnosis in a process of its own, where CP-SAT would crash in the caller's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from talos_opt.core.relaxations import Explanation
from talos_opt.solvers.engine import isolation
from talos_opt.solvers.infeasibility.diagnosis import explain_infeasibility


def main() -> None:
    """Serve one request."""
    isolation.serve(_explain)


def _explain(request: Any, _send: Callable[[str, Any], None]) -> Explanation | None:
    problem, until, seed, workers = request
    return explain_infeasibility(problem, seconds=until - time.time(), seed=seed, workers=workers)
