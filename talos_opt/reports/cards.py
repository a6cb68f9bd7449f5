"""What each card holds of a language model: weights, KV cache, buffers, free bytes; and layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from talos_opt.core.metrics import Metrics
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.units import PER_SECOND


def cards_of(problem: Problem, schedule: Schedule, metrics: Metrics) -> dict[str, Any] | None:
    """Return what a report shows of each card; None: the graph is not of a language model.

    Such graphs are made by ``profile llm``: ops say how many bytes are ``parameters`` and ``kv``.
    """
    ops = problem.ops
    if not ops or not all(isinstance(op.attrs.get("kv"), int) for op in ops):
        return None
    if not all(isinstance(op.attrs.get("parameters"), int) for op in ops):
        return None
    cards = []
    for d, device in enumerate(problem.cluster.devices):
        own = [op for op, at in zip(ops, schedule.device.tolist(), strict=True) if at == d]
        weights = sum(op.attrs["parameters"] for op in own)
        kept = sum(op.attrs["kv"] for op in own)
        buffers = max((op.memory.workspace for op in own), default=0)
        limit = device.usable_memory
        cards.append(
            {
                "id": device.id,
                "weights": weights,
                "kv": kept,
                "buffers": buffers,
                "free": None if limit is None else limit - weights - kept - buffers,
                "holds": _holds(own, ops),
                "load": metrics.load[device.id],
            }
        )
    tokens = ops[0].attrs.get("tokens")
    second = PER_SECOND.get(problem.graph.time_unit)
    rate = pipelined = None
    if isinstance(tokens, int) and second is not None and metrics.makespan > 0:
        rate = tokens * second / metrics.makespan
        pipelined = tokens * second / max(metrics.load.values())
    busiest = max(cards, key=lambda card: card["load"])["id"]
    return {"cards": cards, "rate": rate, "pipelined": pipelined, "busiest": busiest,
            "sum": sum(metrics.load.values()), "makespan": metrics.makespan}  # fmt: skip


def _holds(own: Iterable[Any], ops: Iterable[Any]) -> str:
    """Say which layers a card has, whole or in part, and what else: ``layers 0-11, head``."""
    has: dict[int, list[str]] = {}
    of: dict[int, int] = {}
    others = []
    for op in ops:
        if isinstance(op.attrs.get("layer"), int):
            of[op.attrs["layer"]] = of.get(op.attrs["layer"], 0) + 1
    for op in own:
        layer = op.attrs.get("layer")
        part = str(op.attrs.get("part") or op.type)
        if isinstance(layer, int):
            has.setdefault(layer, []).append(part)
        else:
            others.append(part)
    by: dict[str, list[int]] = {}
    for layer, parts in has.items():
        whole = len(parts) == of[layer]
        by.setdefault("layers" if whole else " and ".join(dict.fromkeys(parts)) + " of layers",
                      []).append(layer)  # fmt: skip
    said = [f"{what} {_ranges(layers)}" for what, layers in by.items()]
    return ", ".join([*said, *dict.fromkeys(others)])


def _ranges(numbers: Iterable[int]) -> str:
    """Return numbers in order as text: ``0-3 7 9-11``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
