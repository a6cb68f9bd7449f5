"""Whether a placement keeps the rule for stages, for searches that try many (docs/model.md)."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import part
from talos_opt.kernels.instance import FORWARD, GROUP, MODEL, ORDERED, STAGED, USE_ALL


@part
def keeps_stages(x, home):  # type: ignore[no-untyped-def]
    """Tell whether groups on these devices (g,) keep ``x.rule[STAGED]``."""
    op, in_ptr, in_op, rule = x.op, x.in_ptr, x.in_op, x.rule[STAGED]
    devices, models = len(x.device), len(x.model)
    used = np.zeros(devices, dtype=np.bool_)
    arcs = np.zeros((models, devices, devices), dtype=np.bool_)
    for i in range(len(op)):
        if op[i, FORWARD] == 0:
            continue
        target = home[op[i, GROUP]]
        used[target] = True
        for e in range(in_ptr[i], in_ptr[i + 1]):
            if op[in_op[e], FORWARD] == 0:
                continue
            source = home[op[in_op[e], GROUP]]
            if rule & ORDERED and source > target:
                return False
            if source != target:
                arcs[op[i, MODEL], source, target] = True
    if rule & USE_ALL:
        for d in range(devices):
            if not used[d]:
                return False
    if rule & ORDERED or rule & ~USE_ALL == 0:
        return True
    for j in range(models):  # noqa: SIM110 - numba has no generators of arrays
        if not _is_acyclic(arcs[j]):
            return False
    return True


@part
def _is_acyclic(arcs):  # type: ignore[no-untyped-def]
    """Tell whether arcs (m, m) have no directed cycle, by taking away what nothing leads to."""
    devices = len(arcs)
    gone = np.zeros(devices, dtype=np.bool_)
    for _ in range(devices):
        found = False
        for b in range(devices):
            if gone[b]:
                continue
            free = True
            for a in range(devices):
                if arcs[a, b] and not gone[a]:
                    free = False
                    break
            if free:
                gone[b] = True
                found = True
        if not found:
            break
    return gone.all()
