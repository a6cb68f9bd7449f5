"""Times on top of the placement: when ops run, and when their tensors arrive."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from talos_opt.core.problem import MemoryRule, Objective
from talos_opt.solvers.cpsat.placement import PlacementFormulation
from talos_opt.solvers.shared import paths
from talos_opt.solvers.shared.grid import Grid, order_grid
from talos_opt.solvers.shared.tensors import Tensor

Resource = dict[int, list[tuple[Any, int]]]


class TimingFormulation(PlacementFormulation):
    """`PlacementFormulation` with times.

    Every op has a start and an end, and one optional interval per device. Transfers come in two
    forms: where nothing limits them (no serial links, copy engines everywhere, static memory)
    an *arrival* per tensor and device is enough; otherwise every hop is an *activity* with an
    interval of its own. Under the objective bottleneck, and where any schedule will do, times
    count for nothing but the order that they make: all that takes time takes one tick.
    """

    @cached_property
    def grid(self) -> Grid:
        """Ticks of times."""
        if self.problem.objective is Objective.BOTTLENECK:
            return order_grid(self.problem, self.load_grid.open)
        return self.load_grid

    @property
    def memory_is_live(self) -> bool:
        """Whether the peak rule applies to some device."""
        return self.problem.memory_rule is MemoryRule.PEAK and self.arrays.memory_limited

    @property
    def hops_are_activities(self) -> bool:
        """Whether transfers compete for something."""
        serial = bool((self.arrays.channel >= 0).any())
        return serial or not bool(self.arrays.copy_engine.all()) or self.memory_is_live

    # ---- what has started ------------------------------------------------------------------

    @cached_property
    def begun_ops(self) -> dict[int, int]:
        """Tick at which each op starts that has started, rounded down as all moments are."""
        frozen = self.problem.frozen
        if frozen is None:
            return {}
        ops = np.flatnonzero(frozen.started).tolist()
        return {i: self.grid.floor(float(frozen.start[i])) for i in ops}

    @cached_property
    def begun_hops(self) -> dict[tuple[int, int], int]:
        """Tick at which each hop starts that has started, by tensor and target."""
        frozen = self.problem.frozen
        if frozen is None:
            return {}
        return {key: self.grid.floor(row.start) for key, row in frozen.hops.items()}

    @cached_property
    def soonest(self) -> int:
        """Tick before which nothing starts that has not started."""
        frozen = self.problem.frozen
        return 0 if frozen is None else self.grid.floor(frozen.moment)

    # ---- ops -------------------------------------------------------------------------------

    def time_ops(self) -> None:
        """Ops run without pre-emption, after their release and their inputs' ends."""
        arrays, grid = self.arrays, self.grid
        heads, tails, latest = self._windows()
        #: Earliest completion of each model.
        self.first = self._earliest(heads)
        self.latest = latest
        self.start: list[Any] = []
        self.end: list[Any] = []
        self.on_device: Resource = {d: [] for d in range(arrays.device_count)}
        for i in range(arrays.op_count):
            self.look_up()
            ticks = {
                d: grid.ticks(float(arrays.time[i, d]))
                for d, literal in enumerate(self.x[int(arrays.group[i])])
                if literal is not None
            }
            shortest = min(ticks.values())
            top = latest[int(arrays.model[i])] - tails[i]
            start = self.model.new_int_var(heads[i] - shortest, max(top, heads[i]), f"s{i}")
            end = self.model.new_int_var(heads[i], max(top, heads[i]), f"e{i}")
            self.start.append(start)
            self.end.append(end)
            self._run(i, start, end, ticks)
        for op, reader in zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True):
            self.model.add(self.start[reader] >= self.end[op])
        for i, first in self.begun_ops.items():
            self.model.add(self.start[i] == first)

    def _run(self, i: int, start: Any, end: Any, ticks: dict[int, int]) -> None:
        """Tie an op's start and end to the device it sits on; what takes no time holds no slot.

        The interval on a device ends by itself, not at `end`: where readers follow `end`, CP-SAT
        9.15 forgets that the op may not be there (docs/decisions/0002).
        """
        row = self.x[int(self.arrays.group[i])]
        for d, length in ticks.items():
            if length > 0:
                interval = self.model.new_optional_fixed_size_interval_var(
                    start, length, row[d], f"i{i},{d}"
                )
                self.on_device[d].append((interval, int(self.arrays.demand[i])))
        self.model.add(end - start == sum(length * row[d] for d, length in ticks.items()))

    def _windows(self) -> tuple[list[int], list[int], list[int]]:
        """Earliest ends, least time that follows an op's end, and latest completion per model."""
        arrays, grid = self.arrays, self.grid
        allowed = self.allowed[arrays.group]
        best = np.where(allowed, arrays.time, np.inf).min(axis=1)
        time = [grid.ticks(float(t)) for t in best]
        late = self.problem.earliest.tolist()
        release = [0 if grid.order else grid.floor(first) for first in late]
        # In whole numbers: a fine grid may have more ticks than floats can tell apart.
        heads = paths.add_up_ends(arrays, time, release)
        return heads, paths.add_up_tails(arrays, time, 0), self._latest(heads)

    def _earliest(self, heads: list[int]) -> list[int]:
        """Earliest completion of each model."""
        first = [0] * len(self.arrays.release)
        for head, j in zip(heads, self.arrays.model.tolist(), strict=True):
            first[j] = max(first[j], head)
        return first

    def _latest(self, heads: list[int]) -> list[int]:
        """Latest completion of each model in a schedule no worse than the incumbent."""
        grid = self.grid
        horizon = grid.horizon
        if grid.order:
            return [horizon] * len(self.arrays.release)
        latest = [
            min(horizon, math.floor(late * grid.per_unit) + 1) for late in grid.open.latest.tolist()
        ]
        if not math.isfinite(self.upper) or self.problem.objective is not Objective.TOCT:
            return latest
        # Heads may know more than the paths that the grid's horizon was made of.
        first, weight = self._earliest(heads), self.arrays.model_weight.tolist()
        known = sum(w * grid.time(ticks) for w, ticks in zip(weight, first, strict=True))
        spare = max(0.0, self.upper * (1 + 1e-9) - known)
        return [
            min(late, head + grid.floor(spare / w)) if w > 0 else late
            for late, head, w in zip(latest, first, weight, strict=True)
        ]

    # ---- transfers without competition -----------------------------------------------------

    def time_arrivals(self) -> None:
        """A reader starts after its tensor has arrived; transfers start when it is produced."""
        self.arrival: dict[tuple[int, int], Any] = {}
        for tensor in self.tensors:
            self.look_up()
            if tensor.op in self.begun_ops:
                self._arrive_from_started(tensor)
            elif tensor.uniform is not None:
                self._arrive_uniform(tensor, tensor.uniform)
            else:
                self._arrive_by_reader(tensor)

    def _arrive_from_started(self, tensor: Tensor) -> None:
        """What has been made is sent from the moment on, unless it has been sent."""
        home = self._home(tensor.op)
        made = self.begun_ops[tensor.op] + self.grid.ticks(float(self.arrays.time[tensor.op, home]))
        for reader, size in tensor.readers.items():
            if reader in self.begun_ops:
                continue  # it has read it
            for device, literal in enumerate(self.x[int(self.arrays.group[reader])]):
                path = self.arrays.path(home, device)
                if literal is None or not path:
                    continue
                ready = made
                for hop in path:
                    begin = max(ready, self.soonest)
                    ready = self.begun_hops.get((tensor.number, hop[1]), begin)
                    # Where readers differ, what has been sent was meant for the largest of them.
                    ready += self.hop_ticks(hop, self._sent_bytes(tensor, hop, size))
                self.model.add(self.start[reader] >= ready).only_enforce_if(literal)
        if tensor.uniform is None:
            self._arrive_by_reader(tensor)

    def _sent_bytes(self, tensor: Tensor, hop: tuple[int, int], size: int) -> int:
        frozen = self.problem.frozen
        assert frozen is not None
        row = frozen.hops.get((tensor.number, hop[1]))
        return size if row is None else row.bytes

    def _arrival(self, tensor: Tensor, device: int) -> Any:
        key = (tensor.number, device)
        if key not in self.arrival:
            # Beyond the horizon too: where nobody reads, a tensor that is not sent arrives late.
            self.arrival[key] = self.model.new_int_var(0, 2 * self.grid.horizon + 1, f"a{key}")
        return self.arrival[key]

    def _arrive_uniform(self, tensor: Tensor, size: int) -> None:
        home, end = self.x[tensor.group], self.end[tensor.op]
        for device in range(self.arrays.device_count):
            readers = self.readers_on(tensor, device)
            delays = self._delays(tensor, device, size)
            if not readers or not any(delays.values()):
                continue
            arrival = self._arrival(tensor, device)
            if len(set(delays.values())) == 1:
                away = [] if home[device] is None else [home[device].negated()]
                delay = next(iter(delays.values()))
                self.model.add(arrival >= end + delay).only_enforce_if(away)
            else:
                for source, delay in delays.items():
                    self.model.add(arrival >= end + delay).only_enforce_if(home[source])
            for reader, literal in readers:
                self.model.add(self.start[reader] >= arrival).only_enforce_if(literal)

    def readers_on(self, tensor: Tensor, device: int) -> list[tuple[int, Any]]:
        """Return the readers of a tensor that may sit on a device, each with its literal."""
        literals = [
            (reader, self.x[int(self.arrays.group[reader])][device]) for reader in tensor.readers
        ]
        return [(reader, literal) for reader, literal in literals if literal is not None]

    def _delays(self, tensor: Tensor, device: int, size: int) -> dict[int, int]:
        """Source device -> ticks from there to `device`, where there is a route."""
        delays = {}
        for source, literal in enumerate(self.x[tensor.group]):
            path = self.arrays.path(source, device)
            if literal is not None and source != device and path is not None:
                delay = sum(self.hop_ticks(hop, size) for hop in path)
                delays[source] = min(delay, self.grid.horizon + 1)
        return delays

    def hop_ticks(self, hop: tuple[int, int], size: int) -> int:
        """Return the duration of a hop in ticks."""
        return self.grid.ticks(self.arrays.transfer_time(*hop, size))

    def _arrive_by_reader(self, tensor: Tensor) -> None:
        """Where readers name different bytes, the largest on a route counts, leg by leg."""
        home, end = self.x[tensor.group], self.end[tensor.op]
        for reader, size in tensor.readers.items():
            there = self.x[int(self.arrays.group[reader])]
            for device, literal in enumerate(there):
                if literal is None:
                    continue
                for source, at in enumerate(home):
                    path = self.arrays.path(source, device)
                    if at is None or not path:
                        continue
                    ready = end
                    for hop in path:
                        arrival = self._arrival(tensor, hop[1])
                        delay = self.hop_ticks(hop, size)
                        self.model.add(arrival >= ready + delay).only_enforce_if([at, literal])
                        ready = arrival
                    self.model.add(self.start[reader] >= ready).only_enforce_if([at, literal])

    # ---- transfers as activities -----------------------------------------------------------

    def time_hops(self) -> None:
        """Every hop is an activity: after the tensor is at its source, before its readers."""
        horizon = self.grid.horizon
        self.hop_start: dict[tuple[int, int, int], Any] = {}
        self.hop_end: dict[tuple[int, int, int], Any] = {}
        self.on_channel: Resource = {}
        for tensor in self.tensors:
            self.look_up()
            hops = self.hops_of(tensor)
            for hop in hops:
                key = (tensor.number, *hop)
                start = self.model.new_int_var(0, horizon, f"hs{key}")
                end = self.model.new_int_var(0, horizon, f"he{key}")
                if (tensor.number, hop[1]) in self.begun_hops:
                    begun = self.begun_hops[tensor.number, hop[1]]
                    self.model.add(start == begun).only_enforce_if(self.travel(tensor, hop))
                elif self.soonest and not self._is_over(tensor, hop):
                    self.model.add(start >= self.soonest)
                self.hop_start[key], self.hop_end[key] = start, end
                self.model.add(start >= self.end[tensor.op])
                self._carry(tensor, hop, start, end)
            for a, b in hops:
                for c, stage in hops:
                    if stage == a and c != b and int(self.arrays.via[c, b]) == a:
                        self.model.add(
                            self.hop_start[tensor.number, a, b] >= self.hop_end[tensor.number, c, a]
                        ).only_enforce_if(
                            [self.travel(tensor, (a, b)), self.travel(tensor, (c, a))]
                        )
                for reader, literal in self.readers_on(tensor, b):
                    self.model.add(
                        self.start[reader] >= self.hop_end[tensor.number, a, b]
                    ).only_enforce_if([self.travel(tensor, (a, b)), literal])

    def _is_over(self, tensor: Tensor, hop: tuple[int, int]) -> bool:
        """Whether a hop has served an op that has started: one of no bytes, which no file lists."""
        if tensor.op not in self.begun_ops:
            return False
        home = self._home(tensor.op)
        read = [self._home(reader) for reader in tensor.readers if reader in self.begun_ops]
        return any(hop in (self.arrays.path(home, there) or ()) for there in read)

    def _home(self, op: int) -> int:
        """The device of an op that has started."""
        assert self.problem.frozen is not None
        return int(np.argmax(self.problem.frozen.allowed[op]))

    def _carry(self, tensor: Tensor, hop: tuple[int, int], start: Any, end: Any) -> None:
        """Let a hop hold its link, and a slot of each device without a copy engine."""
        arrays = self.arrays
        size, literal = self.hop_size(tensor, hop, self.grid), self.travel(tensor, hop)
        if isinstance(size, int) and size == 0:
            self.model.add(end == start)
            return
        if not isinstance(size, int) and self._shortest(tensor, hop) == 0:
            literal = self._lasting(start, size, end, literal)
        name = f"h{tensor.number},{hop}"
        self.model.add(end == start + size).only_enforce_if(literal)
        if isinstance(size, int):  # with an end of its own, as in `_run`
            interval = self.model.new_optional_fixed_size_interval_var(start, size, literal, name)
        else:
            own = self.model.new_int_var(0, 2 * self.grid.horizon + 1, "")
            interval = self.model.new_optional_interval_var(start, size, own, literal, name)
        for d in hop:
            if not arrays.copy_engine[d]:
                self.on_device[d].append((interval, 1))
        channel = int(arrays.channel[hop])
        if channel >= 0:
            self.on_channel.setdefault(channel, []).append((interval, 1))

    def _shortest(self, tensor: Tensor, hop: tuple[int, int]) -> int:
        return self.hop_ticks(hop, min(tensor.readers.values()))

    def _lasting(self, start: Any, size: Any, end: Any, literal: Any) -> Any:
        """Literal of a hop that is made and takes time.

        One that takes none may happen while others hold the link, which no-overlap would forbid.
        """
        lasting = self.model.new_bool_var("")
        self.model.add_implication(lasting, literal)
        self.model.add(size >= 1).only_enforce_if(lasting)
        self.model.add(size == 0).only_enforce_if([literal, lasting.negated()])
        self.model.add(end >= start).only_enforce_if(literal)
        return lasting
