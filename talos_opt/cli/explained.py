"""An explanation as text for a person."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from talos_opt.analysis.causes import Cause, Step
from talos_opt.core.metrics import forced_value
from talos_opt.core.origins import origin_of
from talos_opt.core.shares import value_unit
from talos_opt.core.units import format_bytes
from talos_opt.reports.digits import moment
from talos_opt.reports.texts.tables import quantity, settled, table, visible, without_empty

if TYPE_CHECKING:
    from talos_opt.analysis.explanation import Explanation

#: Rows of what may be long; the JSON holds all.
SHOWN = 8


def tell(found: Explanation) -> str:
    """Return what ``explain`` prints."""
    teller = _Teller(found)
    parts = [teller.headline(), teller.waits(), teller.inputs(), teller.meanwhile()]
    parts += [teller.devices(), teller.moves(), teller.path()]
    return "\n\n".join(part for part in parts if part)


class _Names:
    """Names of ops as they are shown, made when they are asked for: there may be millions."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def __getitem__(self, i: int) -> str:
        return visible(self._names[i])


class _Teller:
    def __init__(self, found: Explanation) -> None:
        self.found = found
        self.problem, self.schedule, self.op = found.problem, found.schedule, found.op
        self.names = _Names(self.problem.names)
        self.ids = tuple(map(visible, self.problem.device_ids))
        self.unit = self.problem.graph.time_unit
        #: What can change of times and of the value, which may be at any distance from zero.
        self.span = self.schedule.makespan - float(self.problem.arrays.release.min())
        self.work = found.value - forced_value(self.problem)

    # ---- small parts -----------------------------------------------------------------------

    def at(self, time: float) -> str:
        return moment(settled(time, self.span), self.unit, self.span)

    def long(self, length: float) -> str:
        return quantity(settled(length, self.span), self.unit)

    def worth(self, value: float) -> str:
        return moment(value, value_unit(self.problem), self.work)

    def device(self, i: int) -> str:
        return self.ids[int(self.schedule.device[i])]

    def transfer(self, row: int) -> str:
        moves = self.schedule.transfers
        ends = f"from {self.ids[moves.source[row]]} to {self.ids[moves.target[row]]}"
        return f"the output of {self.tensor(int(moves.tensor[row]))} {ends}"

    def tensor(self, number: int) -> str:
        return visible(self.problem.tensor_name(number))

    def because(self, cause: Cause, by: int, row: int, device: str) -> str:
        """Say what ended when an op or a transfer began."""
        if cause is Cause.NOTHING:
            return "it starts at time 0"
        if cause is Cause.RELEASE:
            return "its model was released then"
        if cause is Cause.INPUT:
            return f"{self.names[by]} ended then"
        if cause is Cause.TRANSFER:
            return f"{self.transfer(row)} arrived then"
        if cause is Cause.DELAY:
            return "no rule forbids an earlier start: the order was chosen that way"
        ended = self.names[by] if row < 0 else f"the transfer of {self.transfer(row)}"
        if cause is Cause.LINK:
            return f"{ended} left the link then"
        if cause is Cause.SLOT:
            return f"{ended} ended then and freed its slots on {device}"
        return f"{ended} ended then and freed memory of {device}"

    # ---- paragraphs ------------------------------------------------------------------------

    def headline(self) -> str:
        arrays, op = self.problem.arrays, self.op
        columns = self.problem.graph.columns
        start, end = float(self.schedule.start[op]), float(self.schedule.end[op])
        kind = visible(columns.types[columns.type[op]])
        held = int(arrays.demand[op])
        where = visible(str(origin_of(columns, op)))
        origin = f", of {where}," if where else ""
        sizes = [
            f"{name} {format_bytes(int(size[op]))}"
            for name, size in (
                ("weights", arrays.weights),
                ("output", arrays.output),
                ("workspace", arrays.workspace),
            )
        ]
        name = f"{self.names[op]}{f' ({kind})' if kind else ''}{origin}"
        return (
            f"{name} runs on {self.device(op)} from {self.at(start)} to {self.at(end)}, "
            f"for {self.long(end - start)}\n"
            f"holds {held} slot{'s' if held > 1 else ''}; {', '.join(sizes)}"
        )

    def waits(self) -> str:
        found, causes, op = self.found, self.found.causes, self.op
        start = float(self.schedule.start[op])
        lines = [f"started no sooner: {self._why_op(op)}"]
        row = int(causes.transfer[op])
        while row >= 0:
            by, cause = int(causes.hop_by[row]), Cause(int(causes.hop_cause[row]))
            before = int(causes.hop_transfer[row])
            side = self.ids[self.schedule.transfers.target[row]]
            began = self.at(float(self.schedule.transfers.start[row]))
            why = self.because(cause, by, before, side)
            lines.append(f"  {self.transfer(row)} left at {began}, no sooner: {why}")
            row = before if cause is not Cause.DELAY else -1
        edges = self.problem.arrays.in_ptr
        what = "inputs produced" if edges[op + 1] > edges[op] else "released"
        lines.append(
            f"{what} at {self.at(found.produced)}; travelled for "
            f"{self.long(found.arrived - found.produced)}, then waited for "
            f"{self.long(start - found.arrived)}"
        )
        return "\n".join(lines)

    def _why_op(self, op: int) -> str:
        causes = self.found.causes
        cause = Cause(int(causes.cause[op]))
        return self.because(cause, int(causes.by[op]), int(causes.transfer[op]), self.device(op))

    def inputs(self) -> str:
        moves = self.schedule.transfers
        rows = []
        for item in self.found.inputs[:SHOWN]:
            hops = [str(self.ids[moves.target[k]]) for k in item.transfers]
            if not hops and self.device(item.op) != self.device(self.op):
                hops = [self.device(self.op)]  # it moves in no time
            left = self.at(float(moves.start[item.transfers[0]])) if item.transfers else "-"
            route = " > ".join([self.device(item.op), *hops])
            rows.append(
                (self.tensor(item.tensor), route,
                 format_bytes(item.bytes), self.at(item.produced),
                 left, self.at(item.arrived))
            )  # fmt: skip
        if not rows:
            return ""
        columns = ("input", "route", "bytes", "produced", "left", "arrived")
        return table(columns, rows, left=(0, 1)) + _more(len(self.found.inputs), "inputs")

    def meanwhile(self) -> str:
        found = self.found.meanwhile
        if not found:
            return ""
        rows = [self._row(i) for i in found[-SHOWN:]]
        columns = (f"on {self.device(self.op)} while it waited", "from", "to")
        return table(columns, rows) + _more(len(found), "ops before them")

    def _row(self, i: int) -> tuple[str, str, str]:
        schedule = self.schedule
        return self.names[i], self.at(float(schedule.start[i])), self.at(float(schedule.end[i]))

    def devices(self) -> str:
        """Talos' price of each device, and the objective after a move there."""
        prices = {item.device: item for item in self.found.prices}
        moves = {move.device: move for move in self.found.moves}
        rows = []
        for d, name in enumerate(self.ids):
            cells = ["-"] * 6
            if d in prices:
                item = prices[d]
                parts = (item.wait, item.comm, item.exec, item.max_pt, item.cost)
                cells = [self.long(part) for part in parts]
                cells.append("-" if item.speedup is None else f"{item.speedup:.4g}")
            then = "is here"
            if d in moves:
                value, change = moves[d].value, self.found.change(moves[d])
                then = "-" if value is None else self.worth(value)
                if change is not None and value is not None:
                    change = settled(change, self.work + max(change, 0.0))
                    then += (
                        " (as now)"
                        if change == 0
                        else f" ({with_sign(change, value_unit(self.problem))})"
                    )
            rows.append((name, *cells, then))
        columns = ("device", "wait", "comm", "exec", "maxPt", "cost", "speedup")
        return table((*columns, f"{self.problem.objective.value} if moved"), rows)

    def moves(self) -> str:
        return "\n".join(self._about_moves())

    def _about_moves(self) -> Iterator[str]:
        found = self.found
        name, value = self.problem.objective.in_full, self.worth(found.value)
        again = found.again
        if again is None:
            yield f"{name} is {value}; simulated again without a move: {found.again_reason}"
        elif settled(again - found.value, self.work) == 0:
            yield f"{name} is {value}, also when the schedule is simulated again as for a move"
        else:
            yield (
                f"{name} is {value}; simulated again without a move it is "
                f"{self.worth(again)}, with which the moves compare"
            )
        if found.colocated:
            names = [self.names[i] for i in found.colocated[:SHOWN]]
            rest = len(found.colocated) - len(names)
            more = f" and {rest} more" if rest else ""
            yield f"a move takes along what is colocated with it: {', '.join(names)}{more}"
        for move in found.moves:
            if move.reason:
                yield f"no move to {self.ids[move.device]}: {visible(move.reason)}"

    def path(self) -> str:
        """The chain of ops up to this one, and on to the one that the objective waits for."""
        found = self.found
        before, after = found.before[:-1], found.after
        rows = [self._step(step, "") for step in before[-SHOWN:]]
        rows.append(self._step(found.before[-1], "> "))
        rows += [self._step(step, "") for step in after[:SHOWN]]
        columns = ("path", "module", "device", "from", "to", "why no sooner")
        heads, cells = without_empty(columns, rows, 1)
        lines = [table(heads, cells, left=(*range(len(heads) - 3), len(heads) - 1))]
        hidden = [
            f"{len(steps) - SHOWN} more ops {where}"
            for steps, where in ((before, "before"), (after, "after"))
            if len(steps) > SHOWN
        ]
        lines += [f"and {' and '.join(hidden)}"] if hidden else []
        lines.append(self._slack())
        return "\n".join(lines)

    def _step(self, step: Step, mark: str) -> tuple[str, ...]:
        name, start, end = self._row(step.op)
        module = origin_of(self.problem.graph.columns, step.op).module
        return mark + name, module, self.device(step.op), start, end, self._why_op(step.op)

    def _slack(self) -> str:
        objective = self.problem.objective
        timed = objective.is_timed
        what = objective.value if timed else "makespan"
        slack = self.found.slack
        if math.isinf(slack):
            return f"slack: it holds up nothing that {what} depends on"
        if slack == 0:
            return f"slack: none; any delay of it adds to {what}"
        return (
            f"slack: it may start {self.long(slack)} later, in the same order, at the same {what}"
        )


def with_sign(value: float, unit: str) -> str:
    """Write a value with its sign in front."""
    return f"{'+' if value > 0 else ''}{quantity(value, unit)}"


def _more(count: int, what: str) -> str:
    return f"\nand {count - SHOWN} more {what}" if count > SHOWN else ""
