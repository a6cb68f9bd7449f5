"""`talos_opt.fit`: the largest of a family of problems that has a placement."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from talos_opt import api
from talos_opt.core.errors import GraphError, InputError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result, Status
from talos_opt.frameworks.llm.fitting import Answer, Largest, largest


@dataclass(frozen=True)
class Fitted:
    """The largest number whose problem has a placement.

    Parameters
    ----------
    largest : Largest
        The number (``blocks``), what is known of the next one, and how many were tried.
    result : Result or None
        A schedule of it; None if not even the smallest fits.
    """

    largest: Largest
    result: Result | None


def fit(
    problem_of: Callable[[int], Problem],
    limit: int,
    *,
    least: int = 1,
    time_limit: float = 10.0,
    workers: int | None = None,
    on_progress: Callable[[float, str], None] | None = None,
    cancel: threading.Event | None = None,
) -> Fitted:
    """Find the largest problem that fits its devices, by bisection: ``talos-opt fit``.

    Parameters
    ----------
    problem_of : callable
        Makes the problem of a number, of a context length or batch size for example. A larger
        number must need no less memory on any device. It may raise `GraphError` if an op alone
        needs more than every device has.
    limit : int
        The largest number to try.
    least : int
        The smallest that counts.
    time_limit : float
        Seconds for each number that is tried, and for the placement of the largest.
    workers : int, optional
        Threads; default: all cores.
    on_progress : callable, optional
        Called with the share that is done (0 to 1), and what is being done.
    cancel : threading.Event, optional
        Set it, from another thread, to return the largest so far.

    Returns
    -------
    Fitted

    Raises
    ------
    InputError
        If the numbers are not whole, or not at least 1.
    """
    if not (isinstance(least, int) and isinstance(limit, int) and 1 <= least <= limit):
        raise InputError(
            f"least is {least} and limit {limit}, expected 1 <= least <= limit, whole numbers"
        )
    tell, stop = on_progress or (lambda share, doing: None), cancel or threading.Event()

    def ask(number: int) -> Answer:
        wanted = max(number, least)
        return fits(lambda: problem_of(wanted), time_limit=time_limit, workers=workers, cancel=stop)

    found = largest(ask, limit, tell, stop.is_set)
    if found.blocks < least:
        return Fitted(Largest(0, found.next, found.proven, found.tried), None)
    tell(1.0, "placing the largest")
    result = api.solve(
        problem_of(found.blocks), time_limit=time_limit, workers=workers, cancel=stop,
        catch_interrupt=True,
    )  # fmt: skip
    return Fitted(found, result)


def fits(
    make: Callable[[], Problem],
    *,
    time_limit: float,
    workers: int | None,
    cancel: threading.Event,
) -> Answer:
    """Say whether a problem has a placement; the first one will do."""
    try:
        problem = make()
    except GraphError:  # a part alone is larger than every device
        return Answer.PROVEN
    done = threading.Event()
    result = api.solve(
        problem,
        time_limit=time_limit,
        workers=workers,
        explain=False,
        cancel=_Either(done, cancel),
        on_progress=lambda seen: done.set() if seen.value is not None else None,
    )
    if result.schedule is not None:
        return Answer.FITS
    return Answer.PROVEN if result.status is Status.INFEASIBLE else Answer.UNKNOWN


class _Either(threading.Event):
    """Set if it, or either of two events, is set."""

    def __init__(self, first: threading.Event, second: threading.Event) -> None:
        super().__init__()
        self._both = (first, second)

    def is_set(self) -> bool:
        return super().is_set() or any(event.is_set() for event in self._both)
