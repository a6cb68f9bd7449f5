"""One thread's search: runs of tabu search, each from a point that the population makes."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Ints, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.shared.instance import make_instance, make_times, read_times
from talos_opt.solvers.shop.pool import Mixer, Point, Pool
from talos_opt.solvers.shop.queues import make_shop, with_largest_bytes

#: Steps without improvement after which a run ends: at least, and for each op.
_PATIENCE, _PATIENCE_PER_OP = 1500, 15
#: What each run draws its style from (`Shop.style`): how many ops of the longest path its steps
#: look at, and for how long what has moved is banned. Which is best differs from shop to shop.
_SAMPLES, _TENURES = (6, 8, 12, 24), (6, 10, 16)
#: Shares of the groups that go elsewhere where there are no two points to go between.
_SHARES = (0.05, 0.1, 0.2)


class Chain:
    """The state of the kernel, and where it starts from.

    Parameters
    ----------
    problem : Problem
    seed : int
    pool : Pool
        What it takes points from, and gives them to.
    starts : list of ((n,) int, (n,) int)
        Placements and orders to begin with.
    """

    def __init__(
        self, problem: Problem, seed: int, pool: Pool, starts: list[tuple[Ints, Ints]]
    ) -> None:
        self.problem = problem
        self.instance = make_instance(problem, near=False)
        self.searched = with_largest_bytes(problem.arrays, self.instance)
        self.shop = make_shop(problem, self.instance, seed)
        self.pool, self.starts = pool, starts
        self.mixer = Mixer(problem, self.shop.delay)
        self.patience = _PATIENCE + _PATIENCE_PER_OP * problem.arrays.op_count
        self._rng = np.random.default_rng(seed)
        self._times = make_times(problem)
        self._fresh = True

    def search(self, steps: int) -> int:
        """Make steps, from a new point where the last run is over; return how many."""
        from talos_opt.kernels.shops import search_shop

        if self._fresh:
            self._begin()
        made = int(search_shop(self.searched, self.shop, steps, self.patience, self._fresh))
        self._fresh = made < steps
        if self._fresh:
            self.pool.add(self.point())
        return made

    @property
    def value(self) -> float:
        """Value of the best point of this run."""
        return float(self.shop.value[1])

    def point(self) -> Point:
        """Return the best point of this run."""
        return Point(self.value, self.shop.best_device.copy(), self.shop.best_head.copy())

    def schedule(self, point: Point) -> Schedule:
        """Return the schedule of a point."""
        from talos_opt.kernels.listing import list_schedule

        order = self.mixer.order(point.start)
        list_schedule(self.instance, self._times, point.device, order, np.inf)
        return read_times(self.problem, self._times, point.device)

    def _begin(self) -> None:
        """Set the point that a run starts from."""
        rng, pool = self._rng, self.pool
        if self.starts:
            device, order = self.starts.pop(0)
        elif pool.full:
            a, b = pool.draw(rng, 2)
            device, order = self.mixer.between(a, b, rng)
        else:
            device, order = self.mixer.beside(pool.best(), rng.choice(_SHARES), rng)
        self.shop.first_device[:], self.shop.first_order[:] = device, order
        style = rng.choice(_SAMPLES), rng.choice(2), rng.choice(_TENURES), rng.choice(2)
        self.shop.style[:] = style
