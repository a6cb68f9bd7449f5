"""What runs in a Dask worker: a thread that has a process solve a case, and looks after it.

The case is plain data, and so is what comes back. The process is beside the worker: a case that
takes all memory, or crashes, does not take the worker and its other cases along, and one that is
not wanted any more can be ended.
"""

from __future__ import annotations

import pickle
import threading
import time
import zlib
from collections.abc import Mapping
from queue import Empty, Queue
from typing import Any

from talos_opt.core.errors import ConfigError
from talos_opt.core.machine import available_cores
from talos_opt.studies.crews.children import Child
from talos_opt.studies.crews.crew import ALLOWANCE, LATE
from talos_opt.studies.portfolios.boards import WorkerBoard
from talos_opt.studies.portfolios.news import News
from talos_opt.version import __version__

#: Seconds between two looks at whether a case is still wanted.
_TICK = 0.2
#: Seconds after which a process that has nothing to do ends.
_IDLE = 60.0

_lock = threading.Lock()
_idle: list[_Solver] = []


class _Solver:
    """A process, and what it has said."""

    def __init__(self) -> None:
        self.said: Queue[Any] = Queue()
        self.child = Child(self.said.put)
        self.since = 0.0


def packed(request: object) -> bytes:
    """Return a request as it travels."""
    return zlib.compress(pickle.dumps(request), 1)


def solve_case(version: str, hosts: Mapping[str, int], data: bytes) -> dict[str, Any] | str | None:
    """Solve a case in a process.

    Parameters
    ----------
    version : str
        Of the client's package.
    hosts : mapping of str to int
        How many cases are solved at the same time on each host.
    data : bytes
        A `packed` request.

    Returns
    -------
    dict, str or None
        The row; how the process died; or None where nobody wants it any more.

    Raises
    ------
    ConfigError
        If this worker has another version of the package.
    """
    return _solve(version, hosts, data, None)


def solve_member(
    version: str, hosts: Mapping[str, int], data: bytes, board: str, member: int
) -> dict[str, Any] | str | None:
    """Solve a case that others solve too, and share news with them on a board (`boards`)."""
    mine = WorkerBoard(board, member)
    try:
        return _solve(version, hosts, data, mine)
    finally:
        mine.close()


def _solve(
    version: str, hosts: Mapping[str, int], data: bytes, board: WorkerBoard | None
) -> dict[str, Any] | str | None:
    wanted = Wanted()
    require_version(__version__, version, f"the worker at {wanted.address}")
    request = pickle.loads(zlib.decompress(data))
    request["threads"] = request["threads"] or wanted.threads(hosts)
    solver = _hire()
    solver.child.send(request)
    try:
        end = time.monotonic() + request["time_limit"] + ALLOWANCE
        said = _next(solver, board)
        while isinstance(said, News):
            if not wanted():
                solver.child.dismiss()  # so it can end what it has started itself
                solver.child.join()
                return None
            if time.monotonic() > end:
                solver.child.kill()
                return LATE
            said = _next(solver, board)
    except BaseException:
        solver.child.kill()
        raise
    if said is None:
        return solver.child.obituary()
    _release(solver)
    return dict(said)


def _next(solver: _Solver, board: WorkerBoard | None) -> Any:
    """Return the row that a process comes to, None if it has died, News if it is still at it."""
    found, until = News(), time.monotonic() + _TICK
    while (left := until - time.monotonic()) > 0:
        try:
            said = solver.said.get(timeout=left)
        except Empty:
            break
        if not isinstance(said, News):
            return said
        found = found.then(said)
    if board is not None:
        board.put(found)
        news = board.get()
        if news is not None:
            solver.child.send(news)
    return found


class Wanted:
    """Tells whether the task of this thread is still wanted: whoever asked for it may be gone."""

    def __init__(self) -> None:
        from distributed import get_worker

        self._worker: Any = get_worker()
        self._key = self._worker.get_current_task()
        self.address = str(self._worker.address)

    def threads(self, hosts: Mapping[str, int]) -> int:
        """Return how many threads a case has, if so many are solved on each host."""
        from distributed.comm.addressing import get_address_host

        alone: int = self._worker.state.nthreads
        sharing = hosts.get(get_address_host(self.address), alone)
        return max(1, available_cores() // max(1, sharing))

    def __call__(self) -> bool:
        """Return False if it was cancelled, or its client has left."""
        task = self._worker.state.tasks.get(self._key)
        return task is not None and task.state != "cancelled"


def require_version(found: str | None, expected: str, who: str) -> None:
    """Refuse another version of the package than the client's.

    Raises
    ------
    ConfigError
    """
    if found != expected:
        has = "no talos_opt" if found is None else f"talos_opt {found}"
        raise ConfigError(f"{who} has {has}, expected version {expected}, which the client has")


def dismiss(older: float = 0.0) -> None:
    """End the processes that have had nothing to do for so many seconds."""
    now = time.monotonic()
    with _lock:
        gone = [solver for solver in _idle if now - solver.since >= older]
        _idle[:] = [solver for solver in _idle if now - solver.since < older]
    for solver in gone:
        solver.child.dismiss()
    for solver in gone:
        solver.child.join()


def _hire() -> _Solver:
    with _lock:
        while _idle:
            solver = _idle.pop()
            if solver.said.empty():  # else it has died meanwhile
                return solver
            solver.child.obituary()
    return _Solver()


def _release(solver: _Solver) -> None:
    solver.since = time.monotonic()
    with _lock:
        _idle.append(solver)
        if len(_idle) == 1:  # else one is waiting already
            threading.Thread(target=_dismiss_idle, name="talos_opt idle", daemon=True).start()


def _dismiss_idle() -> None:
    """End processes that have long had nothing to do, as long as there are any."""
    while True:
        time.sleep(_IDLE / 4)
        dismiss(_IDLE)
        with _lock:
            if not _idle:
                return
