"""A training or inference step of a placement as a pipeline of micro-batches.

Every device is a stage. It runs its forward ops as one block for each micro-batch, then its
backward ops likewise, then its updates once; blocks wait for tensors from other stages
(docs/model.md, "Pipelines"). GPipe is that of Huang et al. (2019), 1F1B that of PipeDream-Flush
(Narayanan et al., 2021).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from talos_opt.core import occupancy
from talos_opt.core.columns import BACKWARD, FORWARD, PHASES, UPDATE
from talos_opt.core.errors import InputError
from talos_opt.core.problem import DIRECT, NO_ROUTE, Bools, Floats, Ints, Problem
from talos_opt.core.stages import cycle_of, stage_arcs

#: More blocks than this are no pipeline that anybody runs.
MOST_BLOCKS = 2_000_000


class PipelineSchedule(StrEnum):
    """In which order a stage runs its blocks."""

    GPIPE = "gpipe"
    ONE_F_ONE_B = "1f1b"


class Block(NamedTuple):
    """What a stage runs in one go: the ops of a phase for one micro-batch.

    Parameters
    ----------
    device : int
    phase : int
        `FORWARD`, `BACKWARD` or `UPDATE` of `core.columns`.
    microbatch : int
        From 0; -1 for the update.
    start, end : float
        In the graph's unit.
    """

    device: int
    phase: int
    microbatch: int
    start: float
    end: float


class Key(NamedTuple):
    """A block before it has a time."""

    device: int
    phase: int
    microbatch: int


@dataclass(frozen=True)
class Step:
    """One step: all micro-batches through all stages.

    Parameters
    ----------
    schedule : PipelineSchedule
    microbatches : int
    time : float
        From the first start to the last end.
    blocks : tuple of Block
        In the order of their ends.
    memory : (m,) int
        Bytes that each device needs.
    capacity : (m,) int
    busy : (m,) float
        Time for which each device runs blocks.
    """

    schedule: PipelineSchedule
    microbatches: int
    time: float
    blocks: tuple[Block, ...]
    memory: Ints
    capacity: Ints
    busy: Floats

    @property
    def stages(self) -> list[int]:
        """Devices that run something, in the order of their first starts."""
        first: dict[int, float] = {}
        for block in sorted(self.blocks, key=lambda block: block.start):
            first.setdefault(block.device, block.start)
        return list(first)

    @property
    def bubble(self) -> float:
        """Share of the stages' time in the step in which they run nothing."""
        used = self.stages
        return 1.0 - float(self.busy[used].sum()) / (self.time * len(used)) if self.time else 0.0

    @property
    def short(self) -> Ints:
        """Bytes that each device is short of (m,)."""
        return np.asarray(np.maximum(0, self.memory - self.capacity))

    @property
    def fits(self) -> bool:
        """Whether no device is short of memory."""
        return not self.short.any()

    def to_dict(self, ids: Sequence[str]) -> dict[str, Any]:
        """Return the step in plain types; times in the graph's unit.

        Parameters
        ----------
        ids : sequence of str
            Of the devices.
        """
        used = self.stages
        return {
            "schedule": self.schedule.value,
            "microbatches": self.microbatches,
            "step": self.time,
            "bubble": self.bubble,
            "fits": self.fits,
            "stages": [
                {
                    "device": ids[d],
                    "busy": float(self.busy[d]),
                    "memory": int(self.memory[d]),
                    "short": int(self.short[d]),
                    "blocks": [
                        {
                            "phase": PHASES[block.phase],
                            "microbatch": block.microbatch if block.microbatch >= 0 else None,
                            "start": block.start,
                            "end": block.end,
                        }
                        for block in self.blocks
                        if block.device == d
                    ],
                }
                for d in used
            ],
        }


class Pipeline:
    """The stages of a placement, and what they send each other.

    Parameters
    ----------
    problem : Problem
    device : (n,) int
        Device of each op.
    adds_gradients : bool
        Whether a device adds up the gradients of its micro-batches one after the other, as
        frameworks do: each backward block but its first one then takes its update's time longer.
        Both read two tensors for each weight and write one. No op of a graph stands for that.

    Raises
    ------
    InputError
        If a device is entered again after it was left; if an op cannot run where it is; if a
        device that sends or receives has no copy engine; if an op reads from a later phase; or if
        there is no route.
    """

    def __init__(self, problem: Problem, device: Ints, *, adds_gradients: bool = False) -> None:
        self.problem, self.device = problem, device
        self.adds_gradients = adds_gradients
        self.arrays = problem.arrays
        self.phase = phases(problem)
        self._require_stages()
        self._require_phases()
        self.length = self._lengths()
        self.behind = self._stages_behind()
        self.sends = self._sends()

    # ---- what is run -----------------------------------------------------------------------

    def _lengths(self) -> Floats:
        """Time of each device's block of each phase (m, 3): a load, as in model.md."""
        arrays = self.arrays
        found = np.zeros((arrays.device_count, len(PHASES)))
        ops = np.arange(arrays.op_count)
        time = arrays.time[ops, self.device] * arrays.demand / arrays.slots[self.device]
        wrong = np.flatnonzero(~np.isfinite(time))
        if len(wrong):
            i = int(wrong[0])
            raise InputError(
                f"{self.problem.names[i]} cannot run on {self.problem.device_ids[self.device[i]]}, "
                "where the schedule has it: solve again, or give the cluster that it was made for"
            )
        np.add.at(found, (self.device, self.phase), time)
        return found

    def _require_stages(self) -> None:
        arcs = stage_arcs(self.arrays, self.device)
        cycle = cycle_of(np.unique(arcs[:, 1:], axis=0))
        if not cycle:
            return
        names = " -> ".join(self.problem.device_ids[d] for d in [*cycle, cycle[0]])
        if any(cycle_of(arcs[arcs[:, 0] == j, 1:]) for j in np.unique(arcs[:, 0])):
            reason, rule = "forward ops enter a device again", "acyclic"
        else:
            reason, rule = "models go through the devices in different directions", "ordered"
        raise InputError(
            f"the placement forms no pipeline: {reason}: {names}; solve with --stages {rule}"
        )

    def _require_phases(self) -> None:
        arrays = self.arrays
        wrong = np.flatnonzero(self.phase[arrays.edge_src] > self.phase[arrays.edge_dst])
        if len(wrong):
            a, b = int(arrays.edge_src[wrong[0]]), int(arrays.edge_dst[wrong[0]])
            raise InputError(
                f"{self.problem.names[b]}, of phase {PHASES[self.phase[b]]}, reads "
                f"{self.problem.names[a]}, of phase {PHASES[self.phase[a]]}: no step runs in "
                "that order"
            )

    def _stages_behind(self) -> Ints:
        """Stages on the longest way from each device to the end of the forward pass (m,)."""
        arcs = np.unique(stage_arcs(self.arrays, self.device)[:, 1:], axis=0)
        behind = np.zeros(self.arrays.device_count, dtype=np.int64)
        for _ in range(self.arrays.device_count):
            longer = behind.copy()
            np.maximum.at(longer, arcs[:, 0], behind[arcs[:, 1]] + 1)
            if (longer == behind).all():
                break
            behind = longer
        return behind

    # ---- what is sent ----------------------------------------------------------------------

    def _sends(self) -> dict[tuple[int, int], list[Send]]:
        """Return what each device sends after a block, by device and phase of that block."""
        arrays, device = self.arrays, self.device
        crossing = np.flatnonzero(device[arrays.edge_src] != device[arrays.edge_dst])
        copies: dict[tuple[int, int], list[int]] = {}
        for k in crossing.tolist():
            target = int(device[arrays.edge_dst[k]])
            copies.setdefault((int(arrays.edge_tensor[k]), target), []).append(k)
        found: dict[tuple[int, int], list[Send]] = {}
        for (tensor, target), edges in copies.items():
            op = int(arrays.tensor_op[tensor])
            source, size = int(device[op]), int(arrays.edge_bytes[edges].max())
            readers = frozenset(self.phase[arrays.edge_dst[edges]].tolist())
            send = Send(tensor, target, size, self._hops(source, target, size), readers)
            found.setdefault((source, int(self.phase[op])), []).append(send)
        return found

    def _hops(self, source: int, target: int, size: int) -> tuple[tuple[float, int], ...]:
        """Time and channel of each hop of a route."""
        arrays, ids = self.arrays, self.problem.device_ids
        stage = int(arrays.via[source, target])
        if stage == NO_ROUTE:
            raise InputError(f"there is no route from {ids[source]} to {ids[target]}")
        ends = [(source, target)] if stage == DIRECT else [(source, stage), (stage, target)]
        for d in {d for pair in ends for d in pair}:
            if not arrays.copy_engine[d]:
                raise InputError(
                    f"{ids[d]} has no copy engine, so sending would hold up its blocks: pipelines "
                    "are worked out for devices with one (copy_engine: true)"
                )
        return tuple(
            (float(arrays.latency[a, b] + arrays.per_byte[a, b] * size), int(arrays.channel[a, b]))
            for a, b in ends
        )

    # ---- the step --------------------------------------------------------------------------

    def order(self, d: int, schedule: PipelineSchedule, microbatches: int) -> list[Key]:
        """Return the blocks of a device in the order in which it runs them."""
        here = self.phase[self.device == d]
        forward = [Key(d, FORWARD, k) for k in range(microbatches)]
        backward = [Key(d, BACKWARD, k) for k in range(microbatches)]
        found: list[Key] = []
        if not (here == BACKWARD).any():
            found = forward if (here == FORWARD).any() else []
        elif schedule is PipelineSchedule.GPIPE:
            found = [*forward, *backward[::-1]]
        else:
            ahead = min(int(self.behind[d]), microbatches - 1)
            found = forward[:ahead]
            for k in range(microbatches):
                found += [*forward[ahead + k : ahead + k + 1], backward[k]]
        if (here == UPDATE).any():
            found.append(Key(d, UPDATE, -1))
        return found

    def run(self, schedule: PipelineSchedule | str, microbatches: int) -> Step:
        """Return a step of so many micro-batches.

        Raises
        ------
        InputError
            If there is no micro-batch, or if the stages wait for each other for ever.
        """
        schedule = PipelineSchedule(schedule)
        count = self.arrays.device_count
        if microbatches < 1:
            raise InputError(f"microbatches: {microbatches}, expected 1 or more")
        if microbatches * count * 2 > MOST_BLOCKS:
            raise InputError(
                f"microbatches: {microbatches}, expected at most {MOST_BLOCKS // (2 * count)}, "
                f"which is {MOST_BLOCKS} blocks"
            )
        blocks = tuple(Simulation(self, schedule, microbatches).run())
        busy = np.zeros(count)
        for block in blocks:
            busy[block.device] += block.end - block.start
        end = max((block.end for block in blocks), default=0.0)
        memory = self.memory(schedule, microbatches)
        return Step(schedule, microbatches, end, blocks, memory, self.arrays.capacity, busy)

    # ---- memory ----------------------------------------------------------------------------

    def memory(self, schedule: PipelineSchedule, microbatches: int) -> Ints:
        """Return the bytes that each device needs (m,).

        Weights; for every micro-batch in flight its stash: what forward ops have made, here or
        elsewhere, that a backward op reads here; and the most of all else that is alive in a block.
        """
        flight = np.full(self.arrays.device_count, microbatches)
        if schedule is PipelineSchedule.ONE_F_ONE_B:
            # Only blocks in turn hold a stage back: one that has no such blocks may run ahead.
            turns = self._runs(FORWARD) & self._runs(BACKWARD)
            flight[turns] = np.minimum(microbatches, self.behind + 1)[turns]
        weights = occupancy.resident_weights(self.problem, self.device)
        return np.asarray(weights + flight * self._stash + self._block_peak)

    def _runs(self, phase: int) -> Bools:
        """Whether each device has ops of a phase (m,)."""
        counts = np.bincount(self.device[self.phase == phase], minlength=self.arrays.device_count)
        return np.asarray(counts > 0)

    @cached_property
    def _stashed(self) -> Ints:
        """Tensors of forward ops that a backward op reads, wherever it is (t',)."""
        arrays = self.arrays
        kept = (self.phase[arrays.edge_src] == FORWARD) & (self.phase[arrays.edge_dst] == BACKWARD)
        return np.unique(arrays.edge_tensor[kept])

    @cached_property
    def _stash(self) -> Ints:
        """Bytes that a device keeps of each micro-batch from forwards to backwards (m,)."""
        arrays, own = self.arrays, self._stashed
        found = np.zeros(arrays.device_count, dtype=np.int64)
        np.add.at(found, self.device[arrays.tensor_op[own]], arrays.tensor_size[own])
        for (_, phase), sends in self.sends.items():
            for send in sends:
                if send.is_stashed(phase):
                    found[send.target] += send.size
        return found

    @cached_property
    def _block_peak(self) -> Ints:
        """Most bytes alive, without the stash, while each device runs its blocks op by op (m,)."""
        arrays = self.arrays
        order = arrays.order[np.argsort(self.phase[arrays.order], kind="stable")]
        place = np.empty(arrays.op_count, dtype=np.int64)
        place[order] = np.arange(arrays.op_count)
        ends = np.cumsum(np.bincount(self.phase, minlength=len(PHASES)))
        begins = ends - np.bincount(self.phase, minlength=len(PHASES))
        local = self.device[arrays.edge_src] == self.device[arrays.edge_dst]
        last = place[arrays.tensor_op].copy()
        np.maximum.at(last, arrays.edge_tensor[local], place[arrays.edge_dst[local]])
        # What goes elsewhere is sent when its block has ended.
        sent = np.unique(arrays.edge_tensor[~local])
        last[sent] = np.maximum(last[sent], ends[self.phase[arrays.tensor_op[sent]]] - 1)
        size = arrays.tensor_size.copy()
        size[self._stashed] = 0
        change = np.zeros((arrays.device_count, arrays.op_count + 1), dtype=np.int64)
        home = self.device[arrays.tensor_op]
        np.add.at(change, (home, place[arrays.tensor_op]), size)
        np.add.at(change, (home, last + 1), -size)
        for (_, phase), sends in self.sends.items():
            for send in sends:
                if send.is_stashed(phase):
                    continue
                reads = slice(arrays.read_ptr[send.tensor], arrays.read_ptr[send.tensor + 1])
                readers = arrays.edge_dst[reads]
                here = place[readers[self.device[readers] == send.target]]
                change[send.target, begins[min(send.readers)]] += send.size
                change[send.target, int(here.max()) + 1] -= send.size
        alive = np.cumsum(change, axis=1)[:, :-1]
        alive[self.device, place] += arrays.workspace
        return np.asarray(alive.max(axis=1))


class Send(NamedTuple):
    """A tensor that a device sends to another one after a block.

    Parameters
    ----------
    tensor, target, size : int
        The tensor, the device it goes to, and its bytes.
    hops : tuple of (float, int)
        Time and channel of each; channel -1: links carry any number of tensors at once.
    readers : frozenset of int
        Phases of the ops that read it there.
    """

    tensor: int
    target: int
    size: int
    hops: tuple[tuple[float, int], ...]
    readers: frozenset[int]

    def is_stashed(self, phase: int) -> bool:
        """Whether the copy of what was made in this phase stays for a backward block."""
        return phase == FORWARD and BACKWARD in self.readers


class Simulation:
    """Blocks in the order of time; sends of a block begin when it ends."""

    def __init__(self, pipeline: Pipeline, schedule: PipelineSchedule, microbatches: int) -> None:
        self.pipeline, self.microbatches = pipeline, microbatches
        devices = range(pipeline.arrays.device_count)
        self.queue = [pipeline.order(d, schedule, microbatches)[::-1] for d in devices]
        self.free = [0.0] * len(self.queue)
        self.ready: dict[Key, float] = {}
        self.missing: dict[Key, int] = {}
        self.channel: dict[int, float] = {}
        self.learnt: set[int] = set()
        for (_, phase), sends in pipeline.sends.items():
            for send in sends:
                for key in self._waiting(send, phase):
                    times = microbatches if key.phase == UPDATE and phase != UPDATE else 1
                    self.missing[key] = self.missing.get(key, 0) + times

    def run(self) -> Iterator[Block]:
        """Yield all blocks, in the order in which they end."""
        events: list[tuple[float, int, Key, float]] = []
        number = 0
        waiting = set(range(len(self.queue)))
        while True:
            for d in sorted(waiting):
                if self.queue[d] and not self.missing.get(self.queue[d][-1]):
                    key = self.queue[d].pop()
                    start = max(self.free[d], self.ready.get(key, 0.0))
                    end = start + self._length(key)
                    heapq.heappush(events, (end, number, key, start))
                    number += 1
                    waiting.discard(d)
            if not events:
                break
            end, _, key, start = heapq.heappop(events)
            yield Block(*key, start, end)
            self.free[key.device] = end
            waiting.add(key.device)
            self._send(key, end)
        stuck = [rest[-1] for rest in self.queue if rest]
        if stuck:
            ids = self.pipeline.problem.device_ids
            names = ", ".join(f"{PHASES[key.phase]} on {ids[key.device]}" for key in stuck)
            raise InputError(
                f"stages wait for each other for ever: {names}; solve with --granularity module, "
                "which keeps backward ops beside the forward ops of their module, and --no-split "
                "for ops between the parts of a module"
            )

    def _length(self, key: Key) -> float:
        """Time of a block; of backward blocks but the first with that of adding gradients up."""
        length = float(self.pipeline.length[key.device, key.phase])
        if self.pipeline.adds_gradients and key.phase == BACKWARD:
            if key.device in self.learnt:
                length += float(self.pipeline.length[key.device, UPDATE])
            self.learnt.add(key.device)
        return length

    def _send(self, key: Key, end: float) -> None:
        """Send what a block has made; links that carry one tensor at a time take turns."""
        for send in self.pipeline.sends.get((key.device, key.phase), ()):
            now = end
            for time, channel in send.hops:
                if channel >= 0:
                    now = max(now, self.channel.get(channel, 0.0))
                now += time
                if channel >= 0:
                    self.channel[channel] = now
            for phase in send.readers:
                reader = Key(send.target, phase, key.microbatch if phase != UPDATE else -1)
                self.ready[reader] = max(self.ready.get(reader, 0.0), now)
                self.missing[reader] -= 1

    def _waiting(self, send: Send, phase: int) -> Iterator[Key]:
        """Yield the blocks that wait for a send, of all micro-batches."""
        for reader in send.readers:
            if reader == UPDATE:
                yield Key(send.target, UPDATE, -1)
            else:
                yield from (Key(send.target, reader, k) for k in range(self.microbatches))


def phases(problem: Problem) -> Ints:
    """Return the phase of each op (n,)."""
    found = problem.graph.columns.phase
    if found is None:
        return np.full(problem.arrays.op_count, FORWARD)
    return np.asarray(found)


def sweep(
    problem: Problem,
    device: Ints,
    schedules: Sequence[PipelineSchedule | str],
    microbatches: Sequence[int],
) -> list[Step]:
    """Return a step for each schedule and number of micro-batches, schedules first.

    Raises
    ------
    InputError
        As `Pipeline` and `Pipeline.run`.
    """
    pipeline = Pipeline(problem, device)
    return [pipeline.run(s, count) for s in schedules for count in microbatches]
