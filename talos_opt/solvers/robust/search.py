"""Annealing over placement and order, on the risk over a few samples that all points share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from talos_opt.analysis.sensitivity import Noise, draw_factors
from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.robustness import Asked
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready, tiny_problem
from talos_opt.solvers.fast.chain import Chain
from talos_opt.solvers.shared.instance import make_instance
from talos_opt.solvers.shared.starting import order_by_start, run_rules

if TYPE_CHECKING:
    from talos_opt.kernels.sampling import Samples

#: Rules whose placements are started from beside the nominal one.
RULES = ("heft", "etf", "aswm", "tsam", "single")
#: Most chains: one per worker, up to this number.
_MOST_CHAINS = 8
#: First temperatures, as shares of the value: of turns that go on from the best point, one after
#: the other, and of turns that start elsewhere. The last temperature of any turn.
_WARM, _HOT, _COLD = (0.0005, 0.003, 0.01), 0.03, 1e-4
#: Sampled times of ops and hops that a turn works out: about half a second.
_TURN = 200_000_000
#: Fewest and most moves of a turn; pieces of it between two looks at the clock.
_FEWEST, _MOST, _PIECES = 50, 30_000, 16
#: Turns that chains take in vain, beside one for each start, before a replication ends.
_PATIENCE = 6
#: Share of the time that is left that a replication may take, the last one excepted.
_REPLICATION_SHARE = 0.4
#: How many times as many samples the last replication looks at, up to this number.
_MORE, _MOST_SAMPLES = 10, 1000
#: Share of the moves that change the order.
_ORDER_SHARE = 0.3
#: Sampled numbers that are held at once for ops, hops and factors; 8 bytes each.
MOST_NUMBERS = 200_000_000


@dataclass(frozen=True)
class Point:
    """A placement and an order, and their risk over the samples of the search.

    Parameters
    ----------
    risk : float
    home : (g,) int
        Device of every colocation group.
    order : (n,) int
    """

    risk: float
    home: Ints
    order: Ints

    @property
    def key(self) -> tuple[bytes, bytes]:
        """What tells points apart."""
        return self.home.tobytes(), self.order.tobytes()


def numbers_of(problem: Problem, samples: int) -> int:
    """Return how many sampled numbers a chain holds, at most."""
    arrays = problem.arrays
    hops = min(arrays.tensor_count * arrays.device_count, 2 * len(arrays.edge_src))
    return (3 * arrays.op_count + hops) * (samples + 1)


class Search:
    """The search over one problem: replications, each with a draw of samples of its own.

    What is best over a few samples is partly so by chance, and differently so over others. What
    each replication found is a candidate, therefore (Kleywegt et al., section 3), and where the
    next ones start, of which the last looks at more samples.

    Parameters
    ----------
    problem : Problem
        Normalised.
    asked : Asked
    run : Run
        Its budget, seed and workers; no schedule is offered to it but those of rules.
    seeds : sequence of int
        Of the samples of each replication.
    on_best : callable
        Called with the smallest risk so far of a replication.
    """

    def __init__(
        self,
        problem: Problem,
        asked: Asked,
        run: Run,
        seeds: Sequence[int],
        on_best: Callable[[float], None],
    ) -> None:
        self.problem, self.asked, self.run = problem, asked, run
        self.seeds, self.on_best = seeds, on_best
        self.instance = make_instance(problem)
        self.points: dict[tuple[bytes, bytes], Point] = {}
        self.moves = _FEWEST

    def _size(self) -> int:
        return self.problem.arrays.op_count + len(self.problem.arrays.edge_src)

    def find(self, nominal: Schedule, most: int) -> list[Schedule]:
        """Return schedules of small risk.

        Parameters
        ----------
        nominal : Schedule
            What to start from; it need not be feasible down to the last digit.
        most : int
        """
        if not get_ready(self.run, "sampling"):
            return []
        others = [schedule for _, schedule in run_rules(self.problem, self.run, RULES, 0.05)]
        starts = [self._point(nominal), *map(self._point, others)]
        count = max(1, min(self.run.workers, _MOST_CHAINS, self._room()))
        chains = [SampledChain(self, number) for number in range(count)]
        found: list[list[Point]] = []
        for number, seed in enumerate(self.seeds):
            last = number == len(self.seeds) - 1
            part = self.run.limited(self.run.remaining * (1.0 if last else _REPLICATION_SHARE))
            self._replicate(chains, starts, seed, self._more_samples(count) if last else 1, part)
            found.append(sorted(self.points.values(), key=lambda point: point.risk))
            starts += found[-1][:1]
            if self.run.spent:
                break
        return [chains[0].schedule(point) for point in _first_of_each(found, most)]

    def _point(self, schedule: Schedule) -> Point:
        """Return a schedule as a point whose risk is not known."""
        arrays = self.problem.arrays
        home = np.zeros(arrays.group_count, dtype=np.int64)
        home[arrays.group] = schedule.device
        return Point(math.inf, home, order_by_start(self.problem, schedule))

    def _room(self) -> int:
        """Chains whose samples fit into memory."""
        return max(1, MOST_NUMBERS // numbers_of(self.problem, self.asked.samples))

    def _more_samples(self, chains: int) -> int:
        """How many times as many samples the last replication looks at."""
        wanted = min(_MORE, max(1, _MOST_SAMPLES // self.asked.samples))
        return max(1, min(wanted, self._room() // chains))

    def draw(self, seed: int, times: int = 1) -> tuple[Floats, Floats]:
        """Draw the factors of a replication, for ops and their tensors (n, s) each."""
        noise = Noise(float(self.asked.noise), float(self.asked.transfer_noise))
        samples = self.asked.samples * times
        (factors,) = draw_factors(self.problem, noise, samples, seed, samples)
        return factors

    def _replicate(
        self, chains: list[SampledChain], starts: list[Point], seed: int, times: int, run: Run
    ) -> None:
        """Search on one draw of samples; `points` are then those that were found on it."""
        self.points = {}
        cost = self._size() * (self.asked.samples * times + 1)
        self.moves = max(_FEWEST, min(_MOST, _TURN // cost))
        factors = self.draw(seed, times)
        for chain in chains:
            chain.take_samples(factors)
        with ThreadPoolExecutor(len(chains)) as pool:
            try:
                self._turns(chains, starts, run, pool)
            except BaseException:  # Ctrl-C: the pool waits for its threads
                self.run.cancel.set()
                raise

    def _turns(
        self, chains: list[SampledChain], starts: list[Point], run: Run, pool: ThreadPoolExecutor
    ) -> None:
        """Let chains take turns until there is no time, or nothing to be gained."""
        turn, in_vain, best = 0, 0, math.inf
        while not run.spent and in_vain < _PATIENCE + len(starts):
            jobs = []
            for chain in chains:
                jobs.append((chain, *self._next_turn(turn, starts)))
                turn += 1
            for point in pool.map(lambda job: job[0].take_turn(job[1], job[2], run), jobs):
                if point is not None:
                    self.points.setdefault(point.key, point)
            least = self._best().risk if self.points else math.inf
            in_vain = 0 if least < best else in_vain + len(chains)
            if least < best:
                best = least
                self.on_best(best)

    def _next_turn(self, turn: int, starts: list[Point]) -> tuple[Point, float]:
        """Return where a turn starts, and how hot: every other one goes on from the best point."""
        other = starts[(turn + 1) // 2 % len(starts)]
        if turn % 2 == 1:
            return other, _HOT
        return self._best() if self.points else other, _WARM[turn // 2 % len(_WARM)]

    def _best(self) -> Point:
        return min(self.points.values(), key=lambda point: point.risk)


def _first_of_each(found: list[list[Point]], most: int) -> list[Point]:
    """Return the best of each replication, then the second best, and so on, without repetition."""
    chosen: dict[tuple[bytes, bytes], Point] = {}
    for rank in zip_longest(*found):
        chosen |= {point.key: point for point in rank if point is not None}
    return list(chosen.values())[:most]


class SampledChain:
    """One thread's search."""

    def __init__(self, search: Search, number: int) -> None:
        self.search = search
        problem, seed = search.problem, search.run.seed * 1000 + number
        nowhere = np.zeros(problem.arrays.op_count, dtype=np.int64), problem.arrays.order.copy()
        self.chain = Chain(problem, search.instance, seed, nowhere, valued=False, tabu=False)
        self.samples = _make_samples(problem, search.asked, search.asked.samples)

    def take_samples(self, factors: tuple[Floats, Floats]) -> None:
        """Search on these factors from now on, of ops and of their tensors (n, s) each."""
        search, count = self.search, factors[0].shape[1]
        if count != len(self.samples.value) - 1:
            self.samples = _make_samples(search.problem, search.asked, count)
        self.samples.op[:, 1:], self.samples.tensor[:, 1:] = factors

    def take_turn(self, start: Point, hot: float, run: Run) -> Point | None:
        """Anneal from a point; None if nothing that fits memory was found."""
        chain, state = self.chain, self.chain.state
        chain.goto(start.home, start.order)
        state.value[:] = np.inf
        self.anneal(0, 1.0, 1.0)
        self._cool(hot, run)
        if state.value[3] > 0 or not math.isfinite(state.value[2]):
            return None
        return Point(float(state.value[2]), state.best_home.copy(), state.best_order.copy())

    def _cool(self, hot: float, run: Run) -> None:
        """Anneal through one cooling cycle, in pieces, as long as there is time."""
        value, moves = float(self.chain.state.value[0]), self.search.moves
        scale = value if math.isfinite(value) and value > 0 else 1.0
        size = -(-moves // _PIECES)
        for piece in range(_PIECES):
            if run.spent:
                return
            first, last = (scale * hot * (_COLD / hot) ** ((piece + k) / _PIECES) for k in range(2))
            self.anneal(size, first, last)

    def anneal(self, moves: int, hot: float, cold: float) -> None:
        """Call the kernel."""
        from talos_opt.kernels.sampling import anneal_samples

        chain = self.chain
        anneal_samples(
            chain.instance, chain.times, self.samples, chain.state, chain.allowed, moves, hot,
            cold, _ORDER_SHARE,
        )  # fmt: skip

    def schedule(self, point: Point) -> Schedule:
        """Return the schedule of a point without noise."""
        self.chain.state.best_home[:], self.chain.state.best_order[:] = point.home, point.order
        return self.chain.schedule()


def _make_samples(problem: Problem, asked: Asked, count: int) -> Samples:
    """Allocate what a pass over `count` samples reads and writes; no factor is drawn yet."""
    from talos_opt.kernels.sampling import Samples

    arrays, columns = problem.arrays, count + 1
    hops = min(arrays.tensor_count * arrays.device_count, 2 * len(arrays.edge_src))

    def room(rows: int) -> Floats:
        return np.zeros((rows, columns))

    return Samples(
        op=np.ones((arrays.op_count, columns)),
        tensor=np.ones((arrays.op_count, columns)),
        end=room(arrays.op_count),
        hop=room(hops),
        slot=room(int(arrays.slots.sum())),
        channel=room(int(arrays.channel.max(initial=-1)) + 1),
        done=room(len(arrays.release)),
        load=room(arrays.device_count),
        ready=np.zeros(columns),
        arrival=np.zeros(columns),
        value=np.zeros(columns),
        tail=np.array([1.0 - asked.risk.level]),
    )


def use_sampling() -> None:
    """Call the search, and the kernels beside it."""
    problem = tiny_problem()
    chain = SampledChain(Search(problem, Asked(samples=2), Run(problem), (), lambda _: None), 0)
    chain.anneal(0, 1.0, 1.0)
    chain.schedule(Point(0.0, np.zeros(2, dtype=np.int64), problem.arrays.order.copy()))
