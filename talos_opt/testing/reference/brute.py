"""The true optimum of a small problem, by exhaustive search over placements and event times.

Why event times suffice. Take any feasible schedule and all its moments (starts and ends), some of
which coincide. Move every moment as early as it can go while moments that coincide still do and
none overtakes another: what did not overlap still does not, so slots, links and memory (a tensor
lives from one such moment to another) are kept, and no op ends later. Then every moment at which
something starts is the release of something that starts there, or the end of something that
started earlier. So the search walks from event to event and chooses, at each, what starts there;
whatever starts later must also be tried, since under the ``peak`` rule waiting may save memory.

All sums are of whole numbers (see `Ticks`), so no rounding is ever taken for a difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product

import numpy as np

from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule, TransferRow, Transfers
from talos_opt.testing.reference.checker import peak_need
from talos_opt.testing.reference.flat import channel, route, usable_memory
from talos_opt.testing.reference.memory import least_memory
from talos_opt.testing.reference.stages import broken_stages
from talos_opt.testing.reference.steps import best_step
from talos_opt.testing.reference.ticks import Ticks


class TooHardError(Exception):
    """The search was given up after so many states."""


def brute_force(problem: Problem, *, non_idling: bool = False) -> tuple[float, list[int]] | None:
    """Return the optimum under the problem's objective and a placement that has it.

    Parameters
    ----------
    problem : Problem
        Up to five ops or so.
    non_idling : bool
        No device may idle while an op that could run on it is ready (for free tensors only).

    Returns
    -------
    (float, list of int) or None
        None if no schedule is feasible.
    """
    if problem.is_pipelined:
        return best_step(problem)
    best = _best(problem, non_idling)
    return None if best is None else (float(best.exact), best.device)


def exact_optimum(problem: Problem, *, most_states: float = math.inf) -> Fraction | None:
    """Return the optimum as the rational number that it is, None if no schedule is feasible.

    Raises
    ------
    TooHardError
        After so many states of the search.
    """
    if problem.is_pipelined:
        found = best_step(problem)
        return None if found is None else Fraction(found[0])
    best = _best(problem, False, most_states)
    return None if best is None else best.exact


def best_schedule(problem: Problem) -> Schedule | None:
    """Return a schedule of the optimal value, None if there is none."""
    best = _best(problem, False)
    if best is None:
        return None
    return as_schedule(best.plan, best.device, best.starts)


def as_schedule(plan: Plan, device: list[int], starts: Sequence[int]) -> Schedule:
    """Return the schedule in which acts start at some ticks; each moment is rounded once."""
    begins = [start / plan.per_unit for start in starts]
    ends = [(start + a.time) / plan.per_unit for start, a in zip(starts, plan.acts, strict=True)]
    count = len(device)
    rows = [
        TransferRow(plan.makers[tensor], source, target, begin, end, size, tensor)
        for (tensor, source, target, size, _), begin, end in zip(
            plan.hops, begins[count:], ends[count:], strict=True
        )
    ]
    return Schedule(
        device=np.array(device, dtype=np.int64),
        start=np.array(begins[:count]),
        end=np.array(ends[:count]),
        transfers=Transfers.from_rows(rows),
    )


def placements(problem: Problem) -> Iterator[list[int]]:
    """All placements that keep pins, colocation, stages and, under its rule, static memory."""
    flat = Ticks(problem)
    devices = problem.cluster.devices
    groups: dict[object, list[int]] = {}
    for i, op in enumerate(flat.ops):
        groups.setdefault((i,) if op.colocate is None else op.colocate, []).append(i)
    choices = [
        [d for d in range(len(devices)) if all(flat.time(i, d) is not None for i in members)]
        for members in groups.values()
    ]
    for choice in product(*choices):
        device = [0] * len(flat.ops)
        for members, d in zip(groups.values(), choice, strict=True):
            for i in members:
                device[i] = d
        if broken_stages(problem, device):
            continue
        if problem.memory_rule != "static" or all(
            usable is None or flat.static_need(device, d) <= usable
            for d, usable in enumerate(map(usable_memory, devices))
        ):
            yield device


# ---- one placement -------------------------------------------------------------------------


@dataclass
class Act:
    """An op or a hop: its ticks, what must have ended before, what it holds while it lasts."""

    time: int
    release: int = 0
    fixed: bool = False  # it starts at its release, whatever else does
    before: list[int] = field(default_factory=list)
    holds: list[tuple[object, int]] = field(default_factory=list)


@dataclass
class Tensor:
    """Bytes on a device from the start of one act until the last of its uses has ended."""

    device: int
    size: int
    birth: int
    uses: list[int] = field(default_factory=list)


@dataclass
class Plan:
    """What a placement asks for: ops first, then hops."""

    acts: list[Act]
    hops: list[tuple[int, int, int, int, int]]  # tensor, from, to, bytes, time
    makers: list[int]  # op of each tensor
    tensors: list[Tensor]
    limits: dict[object, int]
    room: dict[int, int]  # bytes beside the weights, of devices that have a limit
    order: list[int]  # acts, each after what must have ended before it
    per_unit: int  # ticks in one unit of the graph's time


def make_plan(problem: Problem, device: list[int], flat: Ticks | None = None) -> Plan | None:
    """Return what a placement asks for; None if a tensor has no way or weights are too many."""
    flat, cluster = flat or Ticks(problem), problem.cluster
    needed = flat.hops(device)
    if needed is None:
        return None
    acts = [Act(flat.time(i, d) or 0, flat.release[i]) for i, d in enumerate(device)]
    limits: dict[object, int] = {d: item.slots for d, item in enumerate(cluster.devices)}
    for i, act in enumerate(acts):
        act.holds.append((device[i], flat.ops[i].slots))
        if i in flat.begun_ops:
            act.release, act.fixed = flat.begun_ops[i], True
    hops, into = [], {}
    for (tensor, a, b), size in sorted(needed.items()):
        time = flat.hop_time(a, b, size)
        if size == 0 and time == 0:
            continue
        into[tensor, b] = len(acts)
        hops.append((tensor, a, b, size, time))
        begun = flat.begun_hops.get((tensor, a, b, size))
        sent = any((t, to) == (tensor, b) for t, _, to, _ in flat.begun_hops)
        if begun is None and (sent or frozen_left(problem, a, b)):
            return None  # it has been sent with other bytes, or one of the two has left
        act = Act(
            time,
            flat.soonest if begun is None else begun,
            begun is not None,
            holds=[(d, 1) for d in (a, b) if not cluster.devices[d].copy_engine],
        )
        line = channel(cluster, a, b)
        if line is not None:
            limits[line] = 1
            act.holds.append((line, 1))
        acts.append(act)

    def bringer(tensor: int, d: int) -> int:
        """The act after which a tensor is on a device."""
        op = flat.tensors[tensor][0]
        while d != device[op] and (tensor, d) not in into:
            way = route(cluster, device[op], d)
            assert way is not None
            d = way[-1][0]
        return into[tensor, d] if d != device[op] else op

    for k, (tensor, a, _, _, _) in enumerate(hops):
        acts[len(device) + k].before.append(bringer(tensor, a))
    for tensor, reader, _ in flat.reads:
        acts[reader].before.append(bringer(tensor, device[reader]))
    room = {}
    for d, item in enumerate(cluster.devices):
        usable = usable_memory(item)
        if problem.memory_rule == "peak" and usable is not None:
            weights = [op.memory.weights for i, op in enumerate(flat.ops) if device[i] == d]
            room[d] = usable - sum(weights)
    if any(left < 0 for left in room.values()):
        return None
    tensors = _tensors(flat, device, hops, room)
    _drop_loose(acts, limits)
    makers = [op for op, _, _ in flat.tensors]
    return Plan(acts, hops, makers, tensors, limits, room, _order(acts), flat.per_unit)


def frozen_left(problem: Problem, *devices: int) -> bool:
    """Whether one of some devices has left."""
    return problem.frozen is not None and bool(problem.frozen.left[list(devices)].any())


def _tensors(
    flat: Ticks,
    device: list[int],
    hops: list[tuple[int, int, int, int, int]],
    room: dict[int, int],
) -> list[Tensor]:
    found = []
    for i, op in enumerate(flat.ops):
        found.append(Tensor(device[i], op.memory.workspace, i))
    for r, (i, _, made) in enumerate(flat.tensors):
        places = [(device[i], made, i)]
        places += [(b, s, len(device) + k) for k, (o, _, b, s, _) in enumerate(hops) if o == r]
        for d, size, birth in places:
            uses = [
                reader for tensor, reader, _ in flat.reads if tensor == r and device[reader] == d
            ]
            uses += [len(device) + k for k, (o, a, *_) in enumerate(hops) if (o, a) == (r, d)]
            found.append(Tensor(d, size, birth, uses))
    return [item for item in found if item.device in room and item.size > 0]


def _drop_loose(acts: list[Act], limits: dict[object, int]) -> None:
    """Forget what cannot run short, and whatever is held for no time."""
    asked: dict[object, int] = {}
    for act in acts:
        for what, amount in act.holds if act.time > 0 else ():
            asked[what] = asked.get(what, 0) + amount
    for act in acts:
        act.holds = [
            (what, amount)
            for what, amount in act.holds
            if act.time > 0 and asked[what] > limits[what]
        ]


def _order(acts: list[Act]) -> list[int]:
    order: list[int] = []
    while len(order) < len(acts):
        order += [
            k
            for k, act in enumerate(acts)
            if k not in order and all(before in order for before in act.before)
        ]
    return order


# ---- the search ----------------------------------------------------------------------------


@dataclass
class Best:
    """The best schedule found; value and starts in ticks."""

    value: int
    device: list[int]
    plan: Plan
    starts: list[int]
    exact: Fraction


@dataclass
class Budget:
    """States that the search may still look at."""

    left: float

    def spend(self) -> None:
        """Count a state; raises `TooHardError` after the last."""
        self.left -= 1
        if self.left < 0:
            raise TooHardError


def _best(
    problem: Problem, non_idling: bool, most_states: float = math.inf, budget: Budget | None = None
) -> Best | None:
    budget, flat = budget or Budget(most_states), Ticks(problem)
    if problem.objective == "memory":
        return _least_memory(problem, budget)
    plans: list[tuple[Fraction, int, list[int], Plan]] = []
    for device in placements(problem):
        plan = make_plan(problem, device, flat)
        if plan is not None:
            search = _Search(flat, device, plan, math.inf, budget)
            least = search.bound([None] * len(plan.acts), 0)
            plans.append((flat.in_units(least) + flat.price(device), len(plans), device, plan))
    best: Best | None = None
    for lowest, _, device, plan in sorted(plans, key=lambda item: item[:2]):
        limit: float = math.inf
        price = flat.price(device)
        if best is not None:
            if lowest >= best.exact:
                break
            limit = math.ceil((best.exact - price) / flat.in_units(1))
        found = _solve(flat, device, plan, limit, non_idling, budget)
        if found is not None:
            best = replace(found, exact=found.exact + price)
    return best


def _least_memory(problem: Problem, budget: Budget) -> Best | None:
    flat = Ticks(problem)
    found = least_memory(
        problem, lambda asked: _best(asked, False, budget=budget), lambda best: _held(flat, best)
    )
    return None if found is None else replace(found[1], exact=found[0])


def _held(flat: Ticks, best: Best) -> list[int]:
    """Bytes that each device needs under the problem's rule; all moments are whole ticks."""
    every, count = range(len(flat.problem.cluster.devices)), len(best.device)
    if flat.problem.memory_rule == "static":
        return [flat.static_need(best.device, d) for d in every]
    ends = [start + act.time for start, act in zip(best.starts, best.plan.acts, strict=True)]
    moves = [
        TransferRow(best.plan.makers[tensor], source, target, begin, end, size, tensor)
        for (tensor, source, target, size, _), begin, end in zip(
            best.plan.hops, best.starts[count:], ends[count:], strict=True
        )
    ]
    return [
        peak_need(flat, best.device, best.starts[:count], ends[:count], moves, d) for d in every
    ]


def _solve(
    flat: Ticks,
    device: list[int],
    plan: Plan,
    limit: float,
    non_idling: bool,
    budget: Budget,
) -> Best | None:
    """Return the best schedule of a placement if it is below the limit."""
    least = -math.inf
    if flat.problem.objective == "bottleneck":  # known from the placement: any schedule will do
        least = _Search(flat, device, plan, limit, budget).bound([None] * len(plan.acts), 0)
    elif plan.tensors:
        # Without memory limits the search is fast, and its value bounds the other's.
        easy = _Search(flat, device, plan, limit, budget, memory=False)
        easy.walk(0, 0, [None] * len(plan.acts))
        if easy.found is None:
            return None
        least = easy.limit
    search = _Search(flat, device, plan, limit, budget, least=least, non_idling=non_idling)
    search.walk(0, 0, [None] * len(plan.acts))
    if search.found is None:
        return None
    value = int(search.limit)
    return Best(value, device, plan, search.found, search.flat.in_units(value))


class _Search:
    """Depth first over event times; at each, every set of acts that can start there."""

    def __init__(
        self,
        flat: Ticks,
        device: list[int],
        plan: Plan,
        limit: float,
        budget: Budget,
        *,
        memory: bool = True,
        least: float = -math.inf,
        non_idling: bool = False,
    ) -> None:
        self.problem, self.device, self.plan = flat.problem, device, plan
        self.limit, self.least, self.non_idling = limit, least, non_idling
        self.budget = budget
        self.flat = flat
        self.tensors = plan.tensors if memory else []
        births = {tensor.birth for tensor in self.tensors}
        # Nothing is lost by starting at once what holds nothing that could run short.
        self.forced = [
            act.fixed or (not act.holds and k not in births) for k, act in enumerate(plan.acts)
        ]
        self.found: list[int] | None = None
        self.seen: dict[tuple[object, ...], int] = {}

    def walk(self, k: int, now: int, starts: list[int | None]) -> None:
        """Choose what starts now, from position `k` of the order on; then go to the next event."""
        self.budget.spend()
        order = self.plan.order
        while k < len(order):
            act = order[k]
            if starts[act] is None and self._may_start(act, now, starts):
                starts[act] = now
                self.walk(k + 1, now, starts)
                starts[act] = None
                if self.forced[act]:
                    return
            if self._done():
                return
            k += 1
        self._next_event(now, starts)

    def _done(self) -> bool:
        return self.found is not None and self.limit <= self.least

    def _may_start(self, k: int, now: int, starts: list[int | None]) -> bool:
        acts = self.plan.acts
        act = acts[k]
        if act.release > now or (act.fixed and act.release < now):
            return False
        for before in act.before:
            begin = starts[before]
            if begin is None or begin + acts[before].time > now:
                return False
        return all(
            amount + self._held(what, now, starts) <= self.plan.limits[what]
            for what, amount in act.holds
        )

    def _held(self, what: object, now: int, starts: list[int | None]) -> int:
        return sum(
            amount
            for act, begin in zip(self.plan.acts, starts, strict=True)
            if begin is not None and begin <= now < begin + act.time
            for name, amount in act.holds
            if name == what
        )

    def _next_event(self, now: int, starts: list[int | None]) -> None:
        acts = self.plan.acts
        if not self._memory_kept(now, starts) or (self.non_idling and self._idles(now, starts)):
            return
        if None not in starts:
            value = self.bound(starts, now)
            if value < self.limit:
                self.limit, self.found = value, [s for s in starts if s is not None]
            return
        events = [
            act.release if begin is None else begin + act.time
            for act, begin in zip(acts, starts, strict=True)
        ]
        later = [event for event in events if event > now]
        if not later:
            return
        now = min(later)
        if self.bound(starts, now) >= self.limit:
            return
        # Of two ways to one state, only the cheaper can lead to anything better.
        state = tuple(
            None if begin is None else max(now, begin + act.time)
            for act, begin in zip(acts, starts, strict=True)
        )
        spent = self._spent(starts)
        if self.seen.get((now, state), math.inf) <= spent:
            return
        self.seen[now, state] = spent
        self.walk(0, now, starts)

    def _memory_kept(self, now: int, starts: list[int | None]) -> bool:
        """Whether memory suffices from now until the next event."""
        if not self.tensors:
            return True
        acts = self.plan.acts
        left = dict(self.plan.room)
        for tensor in self.tensors:
            if starts[tensor.birth] is None:
                continue
            for k in (tensor.birth, *tensor.uses):
                begin = starts[k]
                if begin is None or begin + acts[k].time > now:
                    left[tensor.device] -= tensor.size
                    break
        return all(size >= 0 for size in left.values())

    def _idles(self, now: int, starts: list[int | None]) -> bool:
        flat = self.flat
        ended = [
            begin is not None and begin + act.time <= now
            for act, begin in zip(self.plan.acts, starts, strict=True)
        ]
        for i, op in enumerate(flat.ops):
            inputs = [source for source, reader, _ in flat.edges if reader == i]
            if starts[i] is not None or flat.release[i] > now:
                continue
            if not all(ended[source] for source in inputs):
                continue
            for d, device in enumerate(self.problem.cluster.devices):
                used = sum(
                    flat.ops[j].slots
                    for j, where in enumerate(self.device)
                    if where == d and starts[j] is not None and not ended[j]
                )
                if flat.time(i, d) is not None and used + op.slots <= device.slots:
                    return True
        return False

    # ---- values ----------------------------------------------------------------------------

    def bound(self, starts: list[int | None], now: int) -> int:
        """Least value if whatever has not started yet starts from now on; exact if all has."""
        if self.problem.objective == "bottleneck":
            return self._bottleneck()
        ends = [0] * len(starts)
        for k in self.plan.order:
            act, begin = self.plan.acts[k], starts[k]
            if begin is None:
                begin = max(now, act.release, *(ends[before] for before in act.before))
            ends[k] = begin + act.time
        return self._value(ends[: len(self.device)])

    def _spent(self, starts: list[int | None]) -> int:
        """Value that models with all ops started already have."""
        ends = [
            None if begin is None else begin + act.time
            for act, begin in zip(self.plan.acts, starts, strict=True)
        ][: len(self.device)]
        open_models = {j for j, end in zip(self.flat.model, ends, strict=True) if end is None}
        return self._value(
            [
                0 if end is None or j in open_models else end
                for j, end in zip(self.flat.model, ends, strict=True)
            ]
        )

    def _value(self, ends: list[int]) -> int:
        if self.problem.objective == "bottleneck":
            return self._bottleneck()
        if self.problem.objective == "makespan":
            return max(ends)
        return sum(
            weight * max(end for end, j in zip(ends, self.flat.model, strict=True) if j == k)
            for k, weight in enumerate(self.flat.weights)
        )

    def _bottleneck(self) -> int:
        cluster, flat = self.problem.cluster, self.flat
        loads: dict[object, int] = {}

        def add(what: object, time: int) -> None:
            loads[what] = loads.get(what, 0) + time

        for i, d in enumerate(self.device):
            work = (flat.time(i, d) or 0) * flat.ops[i].slots
            add(d, work // cluster.devices[d].slots)
        for _, a, b, _, time in self.plan.hops:
            for d in (a, b):
                if not cluster.devices[d].copy_engine:
                    add(d, time)
            line = channel(cluster, a, b)
            if line is not None:
                add(line, time)
        return max(loads.values())
