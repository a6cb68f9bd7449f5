"""Whether a schedule is a feasible answer to a problem: the specification.

Every rule of docs/model.md stands here once, as one function that names op, device, time and
amount in each complaint. No solver code is used; solvers are judged by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from talos_opt.core import occupancy, rounding, units
from talos_opt.core.errors import InfeasibleScheduleError, InputError
from talos_opt.core.pipelining.step import Pipeline, step_memory
from talos_opt.core.problem import NO_ROUTE, UNLIMITED, Bools, Floats, Ints, MemoryRule, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.stages import StageRule, cycle_of, stage_arcs, unused_devices

#: Violations listed per rule; a broken schedule of a million ops must not print a million lines.
LIMIT = 20


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule.

    Parameters
    ----------
    rule : str
        placement, duration, release, frozen, colocation, stages, transfer, precedence, slots,
        link, pipeline, memory.
    message : str
        Names op, device, time and amount.
    """

    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


def check(
    problem: Problem, schedule: Schedule, *, tolerance: float | None = None
) -> tuple[Violation, ...]:
    """Return every rule of the model that a schedule breaks; empty if it is feasible.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
    tolerance : float, optional
        By how much times may be off, in the graph's time unit; default: a few spacings of floats
        (`rounding.ULPS`) of the times compared. No tolerance lets activities overlap by more than
        `rounding.SHARE` of the shorter one.

    Returns
    -------
    tuple of Violation
        At most `LIMIT` per rule.
    """
    return _Checker(problem, schedule, tolerance).run()


def require_feasible(problem: Problem, schedule: Schedule) -> None:
    """Let no schedule pass that breaks the model.

    Raises
    ------
    InfeasibleScheduleError
        With every broken rule.
    """
    violations = check(problem, schedule)
    if violations:
        raise InfeasibleScheduleError([str(item) for item in violations])


@dataclass(frozen=True)
class _Hops:
    """Hops that a placement needs: key = (tensor, source, target), and the bytes."""

    key: Ints
    bytes: Ints


class _Checker:
    def __init__(self, problem: Problem, schedule: Schedule, tolerance: float | None) -> None:
        self.problem = problem
        self.schedule = schedule
        self.arrays = problem.arrays
        self.tolerance = tolerance
        self.found: list[Violation] = []

    def run(self) -> tuple[Violation, ...]:
        if not self._shape():
            return tuple(self.found)
        self._placement()
        if self.found:  # the rules below presuppose ops on devices that can run them
            return tuple(self.found)
        self._duration()
        self._release()
        self._frozen()
        self._colocation()
        self._stages()
        arrival = self._transfers()
        if arrival is not None:
            self._precedence(arrival)
        self._slots()
        self._links()
        if not self._pipeline():
            return tuple(self.found)
        self._memory()
        return tuple(self.found)

    # ---- helpers ---------------------------------------------------------------------------

    def _complain(self, rule: str, broken: np.ndarray, message: Callable[[int], str]) -> None:
        for i in np.flatnonzero(broken)[:LIMIT]:
            self.found.append(Violation(rule, message(int(i))))

    def _op(self, i: int) -> str:
        return self.problem.names[i]

    def _device(self, d: int) -> str:
        return self.problem.device_ids[d]

    def _hop(self, tensor: int, source: int, target: int) -> str:
        name = self.problem.tensor_name(tensor)
        return f"{name} from {self._device(source)} to {self._device(target)}"

    def _slack(self, times: Floats) -> Floats:
        """By how much single times may be off."""
        if self.tolerance is None:
            return rounding.slack(times)
        return np.full(len(times), self.tolerance)

    def _between(self, times: Floats, *lengths: Floats) -> Floats:
        """By how much one activity may start before another has ended."""
        return rounding.between(times, *lengths, tolerance=self.tolerance)

    # ---- one function per rule -------------------------------------------------------------

    def _shape(self) -> bool:
        n, schedule = self.arrays.op_count, self.schedule
        columns = (schedule.device, schedule.start, schedule.end)
        if any(column.shape != (n,) for column in columns):
            self.found.append(
                Violation(
                    "placement",
                    f"the schedule has {len(schedule.device)} ops, the problem has {n}",
                )
            )
            return False
        finite = np.isfinite(schedule.start) & np.isfinite(schedule.end)
        self._complain(
            "duration",
            ~finite,
            lambda i: f"{self._op(i)} runs from {schedule.start[i]} to {schedule.end[i]}",
        )
        moves = schedule.transfers
        wrong = ~(np.isfinite(moves.start) & np.isfinite(moves.end))
        tensors, devices = self.arrays.tensor_count, self.arrays.device_count
        for column, limit in (
            (moves.tensor, tensors),
            (moves.source, devices),
            (moves.target, devices),
        ):
            wrong |= (column < 0) | (column >= limit)
        wrong |= self.arrays.tensor_op[np.where(wrong, 0, moves.tensor)] != moves.op
        self._complain(
            "transfer", wrong, lambda i: f"transfer {i} has an unknown op or device, or no time"
        )
        return not self.found

    def _placement(self) -> None:
        """Every op runs on one device that can run it."""
        device = self.schedule.device
        known = (device >= 0) & (device < self.arrays.device_count)
        self._complain("placement", ~known, lambda i: f"{self._op(i)} is on no device")
        safe = np.where(known, device, 0)
        possible = np.isfinite(self.arrays.time[np.arange(len(safe)), safe])
        self._complain(
            "placement",
            known & ~possible,
            lambda i: (
                f"{self._op(i)} cannot run on {self._device(int(device[i]))} "
                "(no time there, pinned elsewhere, too many slots, or larger than its memory)"
            ),
        )

    def _duration(self) -> None:
        """An op runs without pre-emption for its time on the device."""
        schedule = self.schedule
        time = self.arrays.time[np.arange(self.arrays.op_count), schedule.device]
        off = np.abs(schedule.end - schedule.start - time) > self._slack(schedule.end)
        self._complain(
            "duration",
            off,
            lambda i: (
                f"{self._op(i)} runs {schedule.end[i] - schedule.start[i]:.9g} on "
                f"{self._device(int(schedule.device[i]))}, where it takes {time[i]:.9g}"
            ),
        )

    def _release(self) -> None:
        """No op starts before its model's release, nor before time 0."""
        release = self.arrays.release[self.arrays.model]
        start = self.schedule.start
        self._complain(
            "release",
            start < release - self._slack(release),
            lambda i: f"{self._op(i)} starts at {start[i]:.9g}, released at {release[i]:.9g}",
        )

    def _frozen(self) -> None:
        """What has started stays as it is; the rest starts after that, and not where one left."""
        frozen, schedule = self.problem.frozen, self.schedule
        if frozen is None:
            return
        start, moment = schedule.start, frozen.moment
        off = np.abs(start - frozen.start) > self._slack(frozen.start)
        self._complain(
            "frozen",
            frozen.started & off,
            lambda i: (
                f"{self._op(i)} has started at {frozen.start[i]:.9g}, here it starts at "
                f"{start[i]:.9g}"
            ),
        )
        soon = self._slack(np.array([moment]))
        self._complain(
            "frozen",
            ~frozen.started & (start < moment - soon),
            lambda i: f"{self._op(i)} starts at {start[i]:.9g}, before {moment:.9g}",
        )
        moves = schedule.transfers
        keys = zip(moves.tensor.tolist(), moves.target.tolist(), strict=True)
        rows = [frozen.hops.get(key) for key in keys]
        known = np.array([row is not None for row in rows], dtype=bool)
        begun = np.array([moment if row is None else row.start for row in rows])
        size = np.array([0 if row is None else row.bytes for row in rows], dtype=np.int64)
        source = np.array([-1 if row is None else row.source for row in rows], dtype=np.int64)
        changed = np.abs(moves.start - begun) > self._slack(begun)
        changed |= (moves.bytes != size) | (moves.source != source)
        self._complain(
            "frozen",
            known & changed,
            lambda k: (
                f"{self._hop(*self._row(k))} of {moves.bytes[k]} bytes at {moves.start[k]:.9g}: "
                f"it has started with {size[k]} bytes at {begun[k]:.9g}"
            ),
        )
        gone = frozen.left[moves.source] | frozen.left[moves.target]
        self._complain(
            "frozen",
            ~known & ((moves.start < moment - soon) | gone),
            lambda k: (
                f"{self._hop(*self._row(k))} starts at {moves.start[k]:.9g}, "
                + ("and one of them has left" if gone[k] else f"before {moment:.9g}")
            ),
        )

    def _row(self, k: int) -> tuple[int, int, int]:
        moves = self.schedule.transfers
        return int(moves.tensor[k]), int(moves.source[k]), int(moves.target[k])

    def _colocation(self) -> None:
        """Ops of one group share one device."""
        device, group = self.schedule.device, self.arrays.group
        first = np.full(self.arrays.group_count, -1, dtype=np.int64)
        order = np.arange(len(group))[::-1]
        first[group[order]] = order
        leader = first[group]
        self._complain(
            "colocation",
            device != device[leader],
            lambda i: (
                f"{self._op(i)} is on {self._device(int(device[i]))}, but "
                f"{self._op(int(leader[i]))} of its group is on "
                f"{self._device(int(device[leader[i]]))}"
            ),
        )

    def _stages(self) -> None:
        """A device that a model has left is never entered again, or only those behind it are."""
        rule, device = self.problem.stages, self.schedule.device
        if rule.use_all:
            empty = unused_devices(self.arrays, device)
            self._complain(
                "stages", empty, lambda d: f"{self._device(d)} has no forward op, each needs one"
            )
        if rule.rule is StageRule.ANY:
            return
        arcs = stage_arcs(self.arrays, device)
        if rule.rule is StageRule.ORDERED:
            self._complain(
                "stages", arcs[:, 1] > arcs[:, 2], lambda k: self._step_back(*arcs[k].tolist())
            )
            return
        for j in np.unique(arcs[:, 0])[:LIMIT].tolist():
            cycle = cycle_of(arcs[arcs[:, 0] == j, 1:])
            if cycle:
                names = " -> ".join(self._device(d) for d in [*cycle, cycle[0]])
                model = self.problem.graph.model_ids[j]
                self.found.append(
                    Violation("stages", f"model {model!r} enters a device again: {names}")
                )

    def _step_back(self, model: int, source: int, target: int) -> str:
        """Name a tensor that goes against the order of the devices."""
        arrays, device = self.arrays, self.schedule.device
        found = (device[arrays.edge_src] == source) & (device[arrays.edge_dst] == target)
        found &= arrays.forward[arrays.edge_src] & arrays.forward[arrays.edge_dst]
        found &= arrays.model[arrays.edge_src] == model
        k = int(np.argmax(found))
        return (
            f"{self._op(int(arrays.edge_dst[k]))} on {self._device(target)} reads "
            f"{self._op(int(arrays.edge_src[k]))} on {self._device(source)}, which stands behind it"
        )

    def _needed(self) -> _Hops:
        """Hops that the placement needs, each with the largest bytes that a reader names."""
        arrays, count = self.arrays, self.arrays.device_count
        source = self.schedule.device[arrays.edge_src]
        target = self.schedule.device[arrays.edge_dst]
        remote = source != target
        tensor, size = arrays.edge_tensor[remote], arrays.edge_bytes[remote]
        source, target = source[remote], target[remote]
        via = arrays.via[source, target]
        no_route = via == NO_ROUTE
        self._complain(
            "transfer",
            no_route,
            lambda i: (
                f"{self._hop(int(tensor[i]), int(source[i]), int(target[i]))}: "
                "there is no route between the devices"
            ),
        )
        staged = via >= 0
        direct = ~staged & ~no_route
        keys = np.concatenate(
            [
                (tensor[direct] * count + source[direct]) * count + target[direct],
                (tensor[staged] * count + source[staged]) * count + via[staged],
                (tensor[staged] * count + via[staged]) * count + target[staged],
            ]
        )
        sizes = np.concatenate([size[direct], size[staged], size[staged]])
        key, by_key, first = _distinct(keys)
        largest = np.maximum.reduceat(sizes[by_key], first) if len(first) else sizes
        return _Hops(key, largest)

    def _transfers(self) -> Floats | None:
        """A tensor is sent once to each device that needs it, when it is there to be sent.

        Returns
        -------
        (e,) float or None
            When the tensor of each edge is on its reader's device; None if a transfer is missing
            or stands for nothing, which leaves arrivals undefined.
        """
        arrays, moves, count = self.arrays, self.schedule.transfers, self.arrays.device_count
        before = len(self.found)
        needed = self._needed()
        key = (moves.tensor * count + moves.source) * count + moves.target
        listed, by_key, runs = _distinct(key)
        first, copies = by_key[runs], np.diff(runs, append=len(key))
        self._complain(
            "transfer",
            copies > 1,
            lambda i: f"{self._hop(*self._split(int(listed[i])))} is sent more than once",
        )
        surplus = ~_among(listed, needed.key)
        self._complain(
            "transfer",
            surplus,
            lambda i: f"{self._hop(*self._split(int(listed[i])))} is not needed by any reader",
        )
        tensor, source, target = self._split_all(needed.key)
        time = arrays.latency[source, target] + needed.bytes * arrays.per_byte[source, target]
        absent = ~_among(needed.key, listed)
        # A transfer of no bytes that takes no time need not be listed.
        missing = absent & ((time > 0) | (needed.bytes > 0))
        self._complain(
            "transfer",
            missing,
            lambda i: (
                f"{self._hop(int(tensor[i]), int(source[i]), int(target[i]))} is missing "
                f"({needed.bytes[i]} bytes, {time[i]:.9g} long)"
            ),
        )
        if missing.any() or surplus.any() or len(self.found) > before:
            return None
        start, end = np.full(len(tensor), np.nan), np.full(len(tensor), np.nan)
        spot: Ints = np.asarray(np.searchsorted(needed.key, listed), dtype=np.int64)
        start[spot], end[spot] = moves.start[first], moves.end[first]
        self._transfer_lengths(needed, first, spot, time)
        return self._arrivals(tensor, source, target, start, end)

    def _transfer_lengths(self, needed: _Hops, first: Ints, spot: Ints, time: Floats) -> None:
        moves = self.schedule.transfers
        size, start, end = moves.bytes[first], moves.start[first], moves.end[first]
        self._complain(
            "transfer",
            size != needed.bytes[spot],
            lambda i: (
                f"{self._hop(*self._split(int(needed.key[spot[i]])))} carries {size[i]} bytes, "
                f"its readers need {needed.bytes[spot[i]]}"
            ),
        )
        self._complain(
            "transfer",
            np.abs(end - start - time[spot]) > self._slack(end),
            lambda i: (
                f"{self._hop(*self._split(int(needed.key[spot[i]])))} takes "
                f"{end[i] - start[i]:.9g}, the link needs {time[spot[i]]:.9g}"
            ),
        )

    def _arrivals(
        self, tensor: Ints, source: Ints, target: Ints, start: Floats, end: Floats
    ) -> Floats:
        """Check that hops start after their tensor is at their source; return edge arrivals."""
        arrays, schedule, count = self.arrays, self.schedule, self.arrays.device_count
        op = arrays.tensor_op[tensor]
        home = schedule.device[op]
        place = tensor * count + target
        order = np.argsort(place)
        ready = np.where(source == home, schedule.end[op], np.nan)
        arrive = np.where(np.isnan(end), ready, end)  # an unlisted hop takes no time
        second = np.flatnonzero(source != home)
        staged = order[np.searchsorted(place[order], tensor[second] * count + source[second])]
        ready[second] = arrive[staged]
        arrive[second] = np.where(np.isnan(end[second]), ready[second], end[second])
        made = schedule.end[op] - schedule.start[op]
        early = start < ready - self._between(ready, end - start, made)  # not for unlisted (nan)
        self._complain(
            "transfer",
            early,
            lambda i: (
                f"{self._hop(int(tensor[i]), int(source[i]), int(target[i]))} starts at "
                f"{start[i]:.9g}, the tensor is there at {ready[i]:.9g}"
            ),
        )
        arrival = schedule.end[arrays.edge_src].copy()
        reader = schedule.device[arrays.edge_dst]
        remote = np.flatnonzero(schedule.device[arrays.edge_src] != reader)
        wanted = arrays.edge_tensor[remote] * count + reader[remote]
        arrival[remote] = arrive[order[np.searchsorted(place[order], wanted)]]
        return arrival

    def _precedence(self, arrival: Floats) -> None:
        """An op starts after all its input tensors are on its device."""
        arrays, start = self.arrays, self.schedule.start
        length = self.schedule.end - start
        allowed = self._between(arrival, length[arrays.edge_src], length[arrays.edge_dst])
        late = start[arrays.edge_dst] < arrival - allowed
        self._complain(
            "precedence",
            late,
            lambda k: (
                f"{self._op(int(arrays.edge_dst[k]))} starts at "
                f"{start[arrays.edge_dst[k]]:.9g}, its input "
                f"{self.problem.tensor_name(int(arrays.edge_tensor[k]))} "
                f"is on its device at {arrival[k]:.9g}"
            ),
        )

    def _slots(self) -> None:
        """Slots of a device are never exceeded, by ops or by transfers that it must carry."""
        held = occupancy.compute_intervals(self.problem, self.schedule).trimmed(self.tolerance)
        for d, limit in enumerate(self.arrays.slots.tolist()):
            peak, when = held.peak(d)
            if peak > limit:
                self.found.append(
                    Violation(
                        "slots",
                        f"{self._device(d)} has {limit} slot(s), {peak} are in use at {when:.9g} "
                        f"({self._users(d, when)})",
                    )
                )

    def _users(self, d: int, when: float) -> str:
        """Name what holds slots of a device at a moment."""
        schedule, moves = self.schedule, self.schedule.transfers
        here = (schedule.device == d) & self._lasts(schedule.start, schedule.end, when)
        found = [self._op(i) for i in np.flatnonzero(here).tolist()]
        if not self.arrays.copy_engine[d]:
            carried = (moves.source == d) | (moves.target == d)
            found += self._hops(carried & self._lasts(moves.start, moves.end, when))
        return ", ".join(found[:LIMIT])

    def _cargo(self, channel: int, when: float) -> str:
        """Name the tensors on a link at a moment."""
        moves = self.schedule.transfers
        carried = self.arrays.channel[moves.source, moves.target] == channel
        return ", ".join(self._hops(carried & self._lasts(moves.start, moves.end, when))[:LIMIT])

    def _hops(self, chosen: Bools) -> list[str]:
        moves = self.schedule.transfers
        rows = zip(moves.tensor[chosen], moves.source[chosen], moves.target[chosen], strict=True)
        return [self._hop(*map(int, row)) for row in rows]

    def _lasts(self, start: Floats, end: Floats, when: float) -> Bools:
        return np.asarray((start <= when) & (when < end - self._between(end, end - start)))

    def _links(self) -> None:
        """Under contention serial a link carries one tensor at a time."""
        held = occupancy.channel_intervals(self.problem, self.schedule).trimmed(self.tolerance)
        for channel in np.unique(held.resource[held.resource >= 0]).tolist():
            peak, when = held.peak(channel)
            if peak > 1:
                a, b = np.argwhere(self.arrays.channel == channel)[0]
                self.found.append(
                    Violation(
                        "link",
                        f"{self._device(int(a))} - {self._device(int(b))} carries {peak} tensors "
                        f"at {when:.9g}, one is allowed ({self._cargo(channel, when)})",
                    )
                )

    def _pipeline(self) -> bool:
        """The placement forms a pipeline, where steps of one are what counts."""
        if not self.problem.is_pipelined:
            return True
        asked = self.problem.require_pipeline()
        try:
            Pipeline(self.problem, self.schedule.device).blocks(asked.schedule, asked.microbatches)
        except InputError as error:
            self.found.append(Violation("pipeline", error.message))
            return False
        return True

    def _memory(self) -> None:
        """Memory is never exceeded, by the rule that the problem names."""
        schedule, rule = self.schedule, self.problem.memory_rule
        if rule is MemoryRule.STATIC:
            need = occupancy.static_memory(self.problem, schedule.device)
            moments = ["placed there" for _ in need]
        elif rule is MemoryRule.PIPELINE:
            need = step_memory(self.problem, schedule.device)
            moments = ["needed in a step" for _ in need]
        else:
            alive = occupancy.memory_intervals(self.problem, schedule).trimmed(self.tolerance)
            weights = occupancy.resident_weights(self.problem, schedule.device)
            peaks = [alive.peak(d) for d in range(len(weights))]
            need = weights + np.array([peak for peak, _ in peaks], dtype=np.int64)
            moments = [f"alive at {when:.9g}" for _, when in peaks]
        for d, limit in enumerate(self.arrays.capacity.tolist()):
            if limit < UNLIMITED and need[d] > limit:
                over = int(need[d]) - limit
                self.found.append(
                    Violation(
                        "memory",
                        f"{self._device(d)} has {limit} bytes, {need[d]} are {moments[d]}: "
                        f"{over} too many ({units.format_bytes(over)})",
                    )
                )

    # ---- keys ------------------------------------------------------------------------------

    def _split(self, key: int) -> tuple[int, int, int]:
        count = self.arrays.device_count
        return key // (count * count), key // count % count, key % count

    def _split_all(self, key: Ints) -> tuple[Ints, Ints, Ints]:
        count = self.arrays.device_count
        return key // (count * count), key // count % count, key % count


def _distinct(keys: Ints) -> tuple[Ints, Ints, Ints]:
    """Return each key once, sorted; what sorts them; and where each starts among the sorted.

    `np.unique` keeps equal keys in their order, which makes it several times slower.
    """
    by_key = np.argsort(keys)
    ranked = keys[by_key]
    first = np.flatnonzero(np.diff(ranked, prepend=-1))  # keys are at least 0
    return ranked[first], by_key, first


def _among(keys: Ints, others: Ints) -> Bools:
    """Tell which keys are among others, both sorted; `np.isin` takes seconds for a million."""
    if not len(others):
        return np.zeros(len(keys), dtype=bool)
    spot = np.minimum(np.searchsorted(others, keys), len(others) - 1)
    return np.asarray(others[spot] == keys)
