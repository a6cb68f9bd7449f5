"""The processes of a pipeline's stages: started, followed, and ended whatever happens."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import NamedTuple

from talos_opt.core.errors import SolverError
from talos_opt.frameworks.torch import stage_worker
from talos_opt.frameworks.torch.peers import PATIENCE, end_all
from talos_opt.frameworks.torch.stage_worker import FAILED, READY, TIMED, Job, Lap

#: Seconds for which other processes may tell what they know of a failure.
_GRACE = 0.5


class Found(NamedTuple):
    """What a stage's process found.

    Parameters
    ----------
    runs : list of list of Lap
        The blocks of each timed step.
    handover_s : float
        Seconds that what it makes takes to the next stage.
    """

    runs: list[list[Lap]]
    handover_s: float


class _Failure(NamedTuple):
    rank: int
    reason: str
    #: 0: it was killed, 1: its own error, 2: it only missed another process.
    weight: int


def run_stages(job: Job, names: Sequence[str], hear: Callable[[str], None]) -> list[Found]:
    """Run a process for each stage, and return what they have found.

    None of them is left when this returns or raises.

    Parameters
    ----------
    job : Job
    names : sequence of str
        Of the stages' devices, for messages.
    hear : callable
        Is told what the processes do.

    Raises
    ------
    SolverError
        If a process dies, or the model raises in one: names the stage and the reason.
    """
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    try:
        for rank in range(len(names)):
            here, there = context.Pipe(duplex=False)
            process = context.Process(
                target=stage_worker.main, args=(job, rank, there), daemon=True, name=f"stage {rank}"
            )
            process.start()
            there.close()
            ends.append(here)
            processes.append(process)
        return _Following(job, names, processes, ends, hear).follow()
    finally:
        end_all(processes)
        for end in ends:
            end.close()


class _Following:
    """What the parent knows of its stages."""

    def __init__(
        self,
        job: Job,
        names: Sequence[str],
        processes: Sequence[SpawnProcess],
        ends: Sequence[connection.Connection],
        hear: Callable[[str], None],
    ) -> None:
        self.job, self.names, self.processes = job, names, processes
        self.ends = dict(zip(ends, range(len(ends)), strict=True))
        self.hear = hear
        self.found: dict[int, Found] = {}
        self.reached: dict[str, int] = {}
        self.failures: list[_Failure] = []

    def follow(self) -> list[Found]:
        """Wait until all have told their times, or one has failed."""
        self.hear("starting processes")
        while len(self.found) < len(self.names):
            self._listen(None)
            if self.failures:
                until = time.monotonic() + _GRACE
                while self.ends and (left := until - time.monotonic()) > 0:
                    self._listen(left)
                raise SolverError(self._describe(min(self.failures, key=lambda f: f.weight)))
        return [self.found[rank] for rank in range(len(self.names))]

    def _listen(self, timeout: float | None) -> None:
        for end in connection.wait(list(self.ends), timeout):
            assert isinstance(end, connection.Connection)
            rank = self.ends[end]
            try:
                kind, content = end.recv()
            except (EOFError, OSError):
                del self.ends[end]
                if rank not in self.found and all(f.rank != rank for f in self.failures):
                    self._ended(rank)
                continue
            if kind == FAILED:
                reason, of_another = content
                self.failures.append(_Failure(rank, reason, 2 if of_another else 1))
            elif kind == TIMED:
                self.found[rank] = Found(*content)
            else:
                self._pass(kind)

    def _pass(self, kind: str) -> None:
        """Say what the processes do once all of them have come so far."""
        self.reached[kind] = self.reached.get(kind, 0) + 1
        if self.reached[kind] == len(self.names):
            self.hear("first step" if kind == READY else "timing")

    def _ended(self, rank: int) -> None:
        process = self.processes[rank]
        process.join(PATIENCE)
        code = process.exitcode
        if code is not None and code < 0:
            name = f"signal {-code}"
            with suppress(ValueError):
                name = signal.Signals(-code).name
            self.failures.append(_Failure(rank, f"its process was killed ({name})", 0))
        else:
            reason = f"its process ended with exit code {code}"
            if READY not in self.reached:
                reason += (
                    "; a script that runs a pipeline needs if __name__ == '__main__', as every "
                    "process imports it"
                )
            self.failures.append(_Failure(rank, reason, 0))

    def _describe(self, failure: _Failure) -> str:
        reason = failure.reason
        if failure.weight == 2:
            reason = (
                f"it waited for another stage, which did not answer within "
                f"{self.job.timeout_s:g} s or is gone: {reason}"
            )
        return f"stage {failure.rank} ({self.names[failure.rank]}) failed: {reason}"
