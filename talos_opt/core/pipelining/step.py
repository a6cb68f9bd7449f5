"""The time of a step: blocks in the order of time, and sends between them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence

import numpy as np

from talos_opt.core.columns import BACKWARD, PHASES, UPDATE
from talos_opt.core.errors import InputError
from talos_opt.core.given import require_problem, require_schedule
from talos_opt.core.pipelining.memory import memory_of
from talos_opt.core.pipelining.records import Block, Step
from talos_opt.core.pipelining.settings import PipelineSchedule, Pipelining
from talos_opt.core.pipelining.stages import Key, PipelineStages, Send
from talos_opt.core.problem import Ints, Problem
from talos_opt.core.schedule import Schedule


class Pipeline:
    """Steps of a placement.

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
        As `PipelineStages`: if the placement forms no pipeline.
    """

    def __init__(self, problem: Problem, device: Ints, *, adds_gradients: bool = False) -> None:
        self.stages = PipelineStages(problem, device)
        self.adds_gradients = adds_gradients

    def run(self, schedule: PipelineSchedule | str, microbatches: int) -> Step:
        """Return a step of so many micro-batches.

        Raises
        ------
        InputError
            If the stages wait for each other for ever.
        GraphError
            If there is no micro-batch, or if there are too many.
        """
        schedule = PipelineSchedule(schedule)
        blocks = self.blocks(schedule, microbatches)
        busy = np.zeros(self.stages.arrays.device_count)
        for block in blocks:
            busy[block.device] += block.end - block.start
        end = max((block.end for block in blocks), default=0.0)
        memory = memory_of(self.stages, schedule, microbatches)
        capacity = self.stages.arrays.capacity
        return Step(schedule, microbatches, end, blocks, memory, capacity, busy)

    def blocks(self, schedule: PipelineSchedule | str, microbatches: int) -> tuple[Block, ...]:
        """Return the blocks of a step, in the order of their ends.

        Raises
        ------
        InputError, GraphError
            As `run`.
        """
        asked = Pipelining(microbatches, PipelineSchedule(schedule))
        asked.require_few_blocks(len(np.unique(self.stages.device)))
        simulation = Simulation(
            self.stages, asked.schedule, microbatches, adds_gradients=self.adds_gradients
        )
        return tuple(simulation.run())

    def memory(self, schedule: PipelineSchedule | str, microbatches: int) -> Ints:
        """Return the bytes that each device needs (m,); see `memory_of`."""
        return memory_of(self.stages, PipelineSchedule(schedule), microbatches)


class Simulation:
    """Blocks in the order of time; sends of a block begin when it ends."""

    def __init__(
        self,
        stages: PipelineStages,
        schedule: PipelineSchedule,
        microbatches: int,
        *,
        adds_gradients: bool,
    ) -> None:
        self.stages, self.microbatches = stages, microbatches
        self.adds_gradients = adds_gradients
        #: Devices that have gradients which others are added to.
        self.learnt: set[int] = set()
        devices = range(stages.arrays.device_count)
        self.queue = [stages.order(d, schedule, microbatches)[::-1] for d in devices]
        self.free = [0.0] * len(self.queue)
        self.ready: dict[Key, float] = {}
        self.missing: dict[Key, int] = {}
        self.channel: dict[int, float] = {}
        for (_, phase), sends in stages.sends.items():
            for send in sends:
                for key in self._waiting(send, phase):
                    times = microbatches if key.phase == UPDATE and phase != UPDATE else 1
                    self.missing[key] = self.missing.get(key, 0) + times

    def run(self) -> Iterator[Block]:
        """Yield all blocks, in the order in which they end."""
        events: list[tuple[float, int, Key, float]] = []
        number = 0
        reached = set(range(len(self.queue)))  # devices that may have become able to go on
        idle = set(reached)
        while True:
            for d in sorted(reached & idle):
                if self.queue[d] and not self.missing.get(self.queue[d][-1]):
                    key = self.queue[d].pop()
                    start = max(self.free[d], self.ready.get(key, 0.0))
                    end = start + self._length(key)
                    heapq.heappush(events, (end, number, key, start))
                    number += 1
                    idle.discard(d)
            if not events:
                break
            end, _, key, start = heapq.heappop(events)
            yield Block(*key, start, end)
            self.free[key.device] = end
            idle.add(key.device)
            reached = {key.device, *self._send(key, end)}
        stuck = [rest[-1] for rest in self.queue if rest]
        if stuck:
            ids = self.stages.problem.device_ids
            names = ", ".join(f"{PHASES[key.phase]} on {ids[key.device]}" for key in stuck)
            raise InputError(
                f"stages wait for each other for ever: {names}; solve with --granularity module, "
                "which keeps backward ops beside the forward ops of their module, and --no-split "
                "for ops between the parts of a module"
            )

    def _length(self, key: Key) -> float:
        """Time of a block; of backward blocks but the first with that of adding gradients up."""
        length = float(self.stages.length[key.device, key.phase])
        if self.adds_gradients and key.phase == BACKWARD:
            if key.device in self.learnt:
                length += float(self.stages.length[key.device, UPDATE])
            self.learnt.add(key.device)
        return length

    def _send(self, key: Key, end: float) -> Iterator[int]:
        """Send what a block has made, and yield where to; serial links take turns."""
        for send in self.stages.sends.get((key.device, key.phase), ()):
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
            yield send.target

    def _waiting(self, send: Send, phase: int) -> Iterator[Key]:
        """Yield the blocks that wait for a send, of all micro-batches."""
        for reader in send.readers:
            if reader == UPDATE:
                yield Key(send.target, UPDATE, -1)
            else:
                yield from (Key(send.target, reader, k) for k in range(self.microbatches))


def step_time(problem: Problem, device: Ints) -> float:
    """Return the time of the problem's step under a placement (n,); infinite without a pipeline.

    Raises
    ------
    GraphError
        If the problem does not say how steps are run.
    """
    asked = problem.require_pipeline()
    try:
        blocks = Pipeline(problem, device).blocks(asked.schedule, asked.microbatches)
    except InputError:
        return math.inf
    return max((block.end for block in blocks), default=0.0)


def step_memory(problem: Problem, device: Ints) -> Ints:
    """Return the bytes that each device needs in the problem's step (m,).

    Raises
    ------
    GraphError
        If the problem does not say how steps are run.
    InputError
        If the placement forms no pipeline.
    """
    asked = problem.require_pipeline()
    return Pipeline(problem, device).memory(asked.schedule, asked.microbatches)


def pipeline_steps(
    problem: Problem,
    schedule: Schedule | Ints,
    orders: Sequence[PipelineSchedule | str] = tuple(PipelineSchedule),
    microbatches: Sequence[int] = (1, 2, 4, 8, 16, 32),
) -> list[Step]:
    """Return the steps of a placement as a pipeline of micro-batches: ``talos-opt pipeline``.

    Parameters
    ----------
    problem : Problem
        Its times are those of one micro-batch.
    schedule : Schedule or (n,) int
        Each device that it uses is a stage; or the device of each op.
    orders : sequence of {'gpipe', '1f1b'}
    microbatches : sequence of int

    Returns
    -------
    list of Step
        One for each order and number of micro-batches, orders first: how long it takes in the
        graph's unit, which share stages wait, the memory of each device, and all blocks.

    Raises
    ------
    InputError
        As `Pipeline` and `Pipeline.run`.
    """
    require_problem(problem)
    if isinstance(schedule, Schedule):
        require_schedule(problem, schedule)
    device = schedule.device if isinstance(schedule, Schedule) else schedule
    pipeline = Pipeline(problem, device)
    return [pipeline.run(order, count) for order in orders for count in microbatches]
