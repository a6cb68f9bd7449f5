"""The rule for stages, straight from docs/model.md: a transitive closure, device by device."""

from __future__ import annotations

from itertools import product

from talos_opt.core.problem import Problem


def broken_stages(problem: Problem, device: list[int]) -> list[str]:
    """What a placement breaks of the rule, as ``stages: sentence``."""
    rule, count = problem.stages, len(problem.cluster.devices)
    bad, first = [], 0
    used = set()
    for model in problem.graph.models:
        home = {op.id: device[first + i] for i, op in enumerate(model.ops)}
        first += len(model.ops)
        forward = {op.id for op in model.ops if op.phase == "forward"}
        used |= {home[name] for name in forward}
        reach = {
            (home[edge.op], home[op.id])
            for op in model.ops
            for edge in op.inputs
            if {edge.op, op.id} <= forward and home[edge.op] != home[op.id]
        }
        if rule.rule == "ordered" and any(a > b for a, b in reach):
            bad.append(f"stages: {model.id} goes back")
        for middle, a, b in product(range(count), repeat=3):
            if {(a, middle), (middle, b)} <= reach:
                reach.add((a, b))
        if rule.rule == "acyclic" and any(a == b for a, b in reach):
            bad.append(f"stages: {model.id} has a cycle")
    if rule.use_all and len(used) < count:
        bad.append("stages: a device is empty")
    return bad
