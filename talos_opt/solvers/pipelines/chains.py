"""All chains of order ideals whose step may be below a limit: a depth-first search.

Every pipeline is a chain of ideals of its blocks with a device for each stage, models taken
together. A chain is given up where what its stages prove about the step reaches the limit
(docs/bounds.md, "Steps of a pipeline"), so a search that ends proves that no step is shorter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np

from talos_opt.core.pipelining.settings import PipelineSchedule
from talos_opt.core.problem import Floats, Ints, MemoryRule, Objective, Problem, StageRule
from talos_opt.core.rounding import sum_error
from talos_opt.solvers.pipelines.blocks import StepBlocks
from talos_opt.solvers.shared.symmetry import device_kinds

#: Chains that are looked at between two looks at the clock.
_PATIENCE = 256


#: What a part of the search comes to in turn: chains that it found, and parts to go through first.
_Finds: TypeAlias = "Iterator[tuple[float, Ints] | _Finds]"


class TimeIsOverError(Exception):
    """The search was stopped before it ended."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """A stage of a chain, and what is known of it.

    Parameters
    ----------
    device : int
    end : float
        When its first forward block ends at the earliest.
    tail : float
        Least time after its last backward block.
    """

    device: int
    end: float
    tail: float


class ChainSearch:
    """The search of one problem.

    Parameters
    ----------
    problem : Problem
    blocks : StepBlocks
    evaluate : callable
        Returns the value of a placement of groups (g,), or less, or infinity.
    stopped : callable
    """

    def __init__(
        self,
        problem: Problem,
        blocks: StepBlocks,
        evaluate: Callable[[Ints], float],
        stopped: Callable[[], bool],
    ) -> None:
        self.problem, self.blocks = problem, blocks
        self.evaluate, self.stopped = evaluate, stopped
        asked = problem.require_pipeline()
        self.count = asked.microbatches
        self.one_by_one = asked.schedule is PipelineSchedule.ONE_F_ONE_B
        self.loads = problem.objective is Objective.BOTTLENECK
        self.ordered = problem.stages.rule is StageRule.ORDERED
        self.kinds = device_kinds(problem.arrays)
        self.home = np.full(blocks.count, -1, dtype=np.int64)
        self.stage_of: list[_Stage | None] = [None] * blocks.count
        self.limit = np.inf
        self.looked = 0
        terms = 2 * problem.arrays.op_count + len(problem.arrays.edge_src) + 2 * self.count
        #: What is proven is lowered by what rounding may have added.
        self.less = 1 - 2 * sum_error(terms)

    def run(self, limit: float) -> Iterator[tuple[float, Ints]]:
        """Yield value and placement (g,) of chains below a limit, each below the one before.

        Whoever asks may lower `limit` between two of them.

        Raises
        ------
        TimeIsOverError
            If it was stopped. If it was not, no chain is below the limit that it ended with.
        """
        self.limit = limit
        # A stack of generators: chains may have more stages than Python allows nested calls.
        stack = [self._go_on(0, frozenset(range(self.problem.arrays.device_count)))]
        while stack:
            found = next(stack[-1], None)
            if found is None:
                stack.pop()
            elif isinstance(found, tuple):
                yield found
            else:
                stack.append(found)

    # ---- the search ------------------------------------------------------------------------

    def _go_on(self, placed: int, free: frozenset[int]) -> _Finds:
        """Fill one more device after the blocks that are placed (bits)."""
        blocks = self.blocks
        if placed == blocks.everything:
            if not (free and self.problem.stages.use_all):
                yield from self._offer()
            return
        if not free or self._left_over(placed, free):
            return
        for device in self._choices(free):
            left = frozenset(d for d in free if d > device) if self.ordered else free - {device}
            yield self._fill(placed, device, left)

    def _choices(self, free: frozenset[int]) -> list[int]:
        """Devices that may come next: of those that are alike, the first; in order, all."""
        if self.ordered:
            return sorted(free)[:1] if self.problem.stages.use_all else sorted(free)
        firsts = [next((d for d in members if d in free), -1) for members in self.kinds]
        return [d for d in firsts if d >= 0]

    def _fill(self, placed: int, device: int, left: frozenset[int]) -> _Finds:
        """Let a device have each set of blocks that may come next and is not too much."""
        blocks = self.blocks
        seen = {placed}
        stack = [placed]
        while stack:
            at = stack.pop()
            for b in blocks.ready(at):
                more = at | 1 << b
                if more in seen:
                    continue
                seen.add(more)
                self._look()
                inside = blocks.members(more & ~placed)
                load = blocks.load[inside, device].sum(axis=0)
                if not self._fits(inside, load, device):
                    continue
                stack.append(more)
                stage, value = self._stage(inside, load.tolist(), more, device, len(left))
                if value * self.less >= self.limit:
                    continue
                for member in inside:
                    self.home[member], self.stage_of[member] = device, stage
                yield self._go_on(more, left)
                for member in inside:
                    self.home[member], self.stage_of[member] = -1, None

    def _look(self) -> None:
        self.looked += 1
        if self.looked % _PATIENCE == 0 and self.stopped():
            raise TimeIsOverError

    def _offer(self) -> Iterator[tuple[float, Ints]]:
        """Put what is in no stage everywhere, and yield what is below the limit."""
        blocks, allowed = self.blocks, self.problem.arrays.allowed
        home = np.append(self.home, -1)[blocks.of]
        choices = [np.flatnonzero(allowed[g]).tolist() for g in blocks.loose.tolist()]
        for devices in product(*choices):
            home[blocks.loose] = devices
            value = self.evaluate(home)
            if value < self.limit:
                yield value, home.copy()
            if self.stopped():  # values take long where there are many micro-batches
                raise TimeIsOverError

    # ---- what stages prove -----------------------------------------------------------------

    def _fits(self, inside: list[int], load: Floats, device: int) -> bool:
        """Whether a device can run and hold what grows with every block."""
        held = int(self.blocks.least_held[inside, device].sum())
        if not np.isfinite(load).all() or held > self.blocks.capacity[device]:
            return False
        often = 1 if self.loads else self.count
        return bool((often * (load[0] + load[1]) + load[2]) * self.less < self.limit)

    def _stage(
        self, inside: list[int], load: list[float], more: int, device: int, devices_left: int
    ) -> tuple[_Stage, float]:
        """Return what is known of a stage, and what it proves about the value."""
        blocks = self.blocks
        forward, backward, update = load
        if self.loads:
            return _Stage(device, 0.0, 0.0), forward + backward + update
        head, tail = 0.0, float(update)
        for b in inside:
            for maker, size in blocks.reads[b]:
                before = self.stage_of[maker]
                if before is not None:
                    head = max(head, before.end + blocks.route(before.device, device, size))
            for reader, size in blocks.gradients[b]:
                before = self.stage_of[reader]
                if before is not None:
                    own = blocks.backward_on(reader, self.home)
                    way = blocks.route(device, before.device, size)
                    tail = max(tail, way + own + before.tail)
        rest = blocks.rest_after(inside, more)
        value = self._value(head, forward, backward, tail, rest, devices_left)
        return _Stage(device, head + forward, tail), value

    def _value(
        self,
        head: float,
        forward: float,
        backward: float,
        tail: float,
        rest: tuple[float, float],
        devices_left: int,
    ) -> float:
        """Return the least step of a stage with this before, in and behind it."""
        count, (out, loop) = self.count, rest
        if backward <= 0:
            return head + count * forward + max(out, tail)
        if not self.one_by_one:
            return head + count * (forward + backward) + loop + tail
        busy = head + count * (forward + backward) + tail
        ahead = min(devices_left, count - 1)
        waits = head + forward + loop + count * backward + (count - 1 - ahead) * forward + tail
        return max(busy, waits)

    def _earliest(self, placed: int) -> float:
        """Return when any stage to come can start: what it holds follows a block that is ready."""
        if self.loads:
            return 0.0
        starts = []
        for b in self.blocks.ready(placed):
            before = [self.stage_of[maker] for maker, _ in self.blocks.reads[b]]
            starts.append(max((stage.end for stage in before if stage is not None), default=0.0))
        return min(starts, default=0.0)

    def _left_over(self, placed: int, free: frozenset[int]) -> bool:
        """Whether what is left is too much for the devices that are free."""
        blocks = self.blocks
        devices = sorted(free)
        left = blocks.members(blocks.everything & ~placed)
        often = np.array([1.0, 1.0, 1.0] if self.loads else [self.count, self.count, 1.0])
        work = blocks.load[np.ix_(left, devices)] @ often
        least = work.min(axis=1)
        if not np.isfinite(least).all():
            return True
        value = self._earliest(placed) + max(float(least.max()), float(least.sum()) / len(devices))
        if self.problem.memory_rule is not MemoryRule.PEAK:
            room = sum(int(blocks.capacity[d]) for d in devices)
            least_held = blocks.least_held[np.ix_(left, devices)].min(axis=1)
            if int(least_held.sum()) > room:
                return True
        return value * self.less >= self.limit
