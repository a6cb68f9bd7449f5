"""The best bottleneck over all ways to bundle, from the definition alone.

Enumerates every partition of the devices and every placement, with times and bytes worked out from
the graph as docs/bundles.md states them. One model, the static memory rule, direct links, copy
engines everywhere, one slot.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from talos_opt.core.graph import Op
from talos_opt.core.problem import Problem


@dataclass(frozen=True)
class Block:
    """Devices that act as one; a mode only where there are several."""

    members: tuple[int, ...]
    mode: str = ""


def best_bottleneck(problem: Problem) -> float:
    """Return the least bottleneck of any way to bundle and any placement; infinite: none fits."""
    return min(
        (_best_placement(problem, blocks) for blocks in all_blocks(problem)), default=math.inf
    )


def all_blocks(problem: Problem) -> Iterator[list[Block]]:
    """Yield every partition of the devices that the cluster's rules allow."""
    devices = problem.cluster.devices
    for parts in partitions(list(range(len(devices)))):
        choices: list[list[Block]] = []
        for part in parts:
            kinds = {devices[d].kind for d in part}
            rule = problem.cluster.bundles.rule(devices[part[0]].kind)
            sizes = (1,) if rule is None else rule.sizes
            if len(kinds) > 1 or len(part) not in sizes:
                break
            modes = [""] if len(part) == 1 else [mode.value for mode in rule.modes]
            choices.append([Block(tuple(part), mode) for mode in modes])
        else:
            yield from (list(blocks) for blocks in product(*choices))


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """Yield all partitions of a set."""
    if not items:
        yield []
        return
    first, *rest = items
    for parts in partitions(rest):
        yield [[first], *parts]
        for k in range(len(parts)):
            yield [*parts[:k], [first, *parts[k]], *parts[k + 1 :]]


def _best_placement(problem: Problem, blocks: list[Block]) -> float:
    ops = problem.graph.models[0].ops
    lengths = [[_time(problem, op, block) for block in blocks] for op in ops]
    held = [[_held(op, block) for block in blocks] for op in ops]
    work = [[_parts(op.memory.workspace, block, "data") for block in blocks] for op in ops]
    room = [problem.cluster.devices[block.members[0]].memory for block in blocks]
    best = math.inf
    for place in product(range(len(blocks)), repeat=len(ops)):
        groups: dict[str, int] = {}
        if any(
            op.colocate and groups.setdefault(op.colocate, b) != b
            for op, b in zip(ops, place, strict=True)
        ):
            continue
        worst = 0.0
        for b in range(len(blocks)):
            own = [i for i, where in enumerate(place) if where == b]
            need = sum(held[i][b] for i in own) + max((work[i][b] for i in own), default=0)
            if own and room[b] is not None and need > room[b]:
                worst = math.inf
            worst = max(worst, sum(lengths[i][b] for i in own))
        best = min(best, worst)
    return best


def _parts(size: int, block: Block, mode: str) -> int:
    return -(-size // len(block.members)) if block.mode == mode else size


def _held(op: Op, block: Block) -> int:
    weights = _parts(op.memory.weights, block, "tensor") if op.split else op.memory.weights
    return weights + _parts(op.memory.output, block, "data")


def _time(problem: Problem, op: Op, block: Block) -> float:
    """Time of an op with what it has to add up, gradients of its own weights included."""
    device = problem.cluster.devices[block.members[0]]
    if op.devices is not None and device.kind not in op.devices:
        return math.inf
    alone = op.time.get(device.kind, math.inf)
    count = len(block.members)
    if count == 1:
        return alone
    link = next(x for x in problem.cluster.links if {x.a, x.b} == {device.kind})
    share = 2 * (count - 1) / count
    ops = problem.graph.models[0].ops
    if block.mode == "tensor":
        if not op.split:
            return alone
        readers = [other for other in ops if any(edge.op == op.id for edge in other.inputs)]
        time = alone / count
        if not readers or any(not other.split for other in readers):
            time += 2 * (count - 1) * link.latency + share * op.memory.output / link.bandwidth
        return time
    scaling = dict(problem.cluster.bundles.rule(device.kind).scaling)
    time = alone if op.phase == "update" else alone / scaling.get(count, count)
    if op.phase == "forward" and any(other.phase == "backward" for other in ops):
        time += share * op.memory.weights / link.bandwidth
    return time
