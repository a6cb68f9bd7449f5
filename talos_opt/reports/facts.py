"""What a schedule says about itself, in words for a title."""

from __future__ import annotations

from talos_opt.core.problem import Objective
from talos_opt.reports.digits import duration
from talos_opt.reports.view import View


def percent(share: float) -> str:
    """Write a share in percent, never 0 or 100 for what is not quite that."""
    if 0 < share < 0.001:
        return "<0.1 %"
    if 0.999 < share < 1:
        return ">99.9 %"
    return f"{100 * share:.3g} %"


def headline(view: View) -> str:
    """Name the graph, the objective and its value, as far as they are known."""
    facts, parts = view.facts, [view.title]
    if "value" in facts:
        name = facts.get("objective", "value")
        words = f" ({Objective(name).words})" if name in list(Objective) else ""
        parts.append(f"{name} {duration(facts['value'], _unit(view))}{words}")
    return ": ".join(part for part in parts if part)


def _unit(view: View) -> str:
    """Return the unit of the value: none for a share of memory."""
    return "" if view.facts.get("objective") == "memory" else view.time_unit


def proof(view: View) -> str:
    """Say how good that value is, who found it, and how large the schedule is."""
    facts, unit, parts = view.facts, _unit(view), []
    if facts.get("broken_rules"):
        count = facts["broken_rules"]
        parts.append(f"NOT FEASIBLE: {count} violation{'' if count == 1 else 's'}")
    if "status" in facts or "solver" in facts:
        words = [facts.get("status", ""), f"by {facts['solver']}" if "solver" in facts else ""]
        parts.append(" ".join(word for word in words if word))
    if "lower_bound" in facts:
        parts.append(f"lower bound {duration(facts['lower_bound'], unit)}")
    if "gap" in facts:
        parts.append(f"gap {percent(facts['gap'])}")
    ops = facts.get("ops", len(view.op_names))
    moves = facts.get("transfers", len(view.transfer_op))
    for count, word in ((ops, "op"), (moves, "transfer")):
        parts.append(f"{count:,} {word}{'' if count == 1 else 's'}")
    return "  ·  ".join(parts)
