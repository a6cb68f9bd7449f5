"""CBC, as a process of its own: the binary that PuLP brings along."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from talos_opt.core.errors import DependencyError, SolverError
from talos_opt.core.result import Status
from talos_opt.solvers.ilp.backend import Job, Outcome
from talos_opt.solvers.ilp.builder import Variable, load_pulp

#: Seconds between two looks at the process, and before one that was asked to stop is killed.
_POLL = 0.05
_GRACE = 0.5
#: CBC's own tolerances are 1e-7 and 1e-6; and by default it passes over solutions that are
#: better by less than 1e-5, which would make its "optimal" wrong by that much.
_SETTINGS = ("-primalT", "1e-9", "-integerT", "1e-9", "-increment", "1e-9", "-timeMode", "elapsed")

_RUNNING_BOUND = re.compile(
    r"(?:best possible|Continuous objective value is) (-?[\d.]+(?:e[+-]?\d+)?)"
)
_FINAL_BOUND = re.compile(r"^Lower bound:\s+(-?[\d.]+(?:e[+-]?\d+)?)", re.MULTILINE)
_OPTIMUM = re.compile(
    r"Result - Optimal solution found\s+Objective value:\s+(-?[\d.]+(?:e[+-]?\d+)?)"
)


def solve_cbc(job: Job) -> Outcome:
    """Run CBC on a program.

    Raises
    ------
    DependencyError
        If PuLP is missing or brings no CBC for this platform.
    SolverError
        If CBC fails.
    """
    pulp = load_pulp()
    # PULP_CBC_CMD only knows where the binary is; constructing it would warn of PuLP 4.
    path = str(pulp.PULP_CBC_CMD.pulp_cbc_path)
    if not os.access(path, os.X_OK):
        raise DependencyError(
            f"PuLP brings no CBC for this platform (expected it at {path}); use backend 'highs'"
        )
    tool = pulp.COIN_CMD(path=path, msg=False)
    with tempfile.TemporaryDirectory(prefix="talos-opt-cbc-") as folder:
        return _Call(job, pulp, tool, Path(folder)).run()


class _Call:
    """One run of CBC in a folder of its own."""

    def __init__(self, job: Job, pulp: Any, tool: Any, folder: Path) -> None:
        self.job, self.pulp, self.tool = job, pulp, tool
        self.model, self.start = folder / "model.mps", folder / "start.mst"
        self.solution, self.log = folder / "solution.txt", folder / "cbc.log"

    def run(self) -> Outcome:
        names = self.job.program.writeMPS(str(self.model), rename=1)
        arguments = [self.tool.path, str(self.model)]
        if self.job.start:
            self._write_start(*names[:3])
            arguments += ["-mips", str(self.start)]
        if self.job.stopped():
            return Outcome(Status.UNKNOWN)
        left = max(0.1, 0.97 * self.job.remaining - _POLL)
        arguments += ["-sec", f"{left:.2f}", "-ratio", repr(self.job.mip_gap), "-allow", "0"]
        arguments += ["-randomCbcSeed", str(self.job.seed % 10**6), *_SETTINGS]
        arguments += ["-solve", "-solution", str(self.solution)]
        stopped = self._execute(arguments)
        return self._read(*names[:3], stopped=stopped)

    def _write_start(
        self, columns: list[Variable], names: dict[str, str], rows: dict[str, str]
    ) -> None:
        for variable, value in self.job.start.items():
            variable.setInitialValue(value, check=False)
        self.tool.writesol(str(self.start), self.job.program, columns, names, rows)

    def _execute(self, arguments: list[str]) -> bool:
        """Run the process to its end or until told to stop; return whether it was told."""
        with (
            self.log.open("wb") as log,
            # A session of its own: Ctrl-C in a terminal is handled here, not by CBC.
            subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log.parent,
                start_new_session=True,
            ) as process,
        ):
            try:
                return self._watch(process)
            finally:
                if process.poll() is None:
                    process.kill()

    def _watch(self, process: subprocess.Popen[bytes]) -> bool:
        seen = 0
        while True:
            try:
                code = process.wait(_POLL)
            except subprocess.TimeoutExpired:
                seen = self._report(seen)
                if self.job.stopped() or self.job.remaining <= 0:
                    _interrupt(process)
                    return True
                continue
            if code != 0:
                raise SolverError(f"CBC ended with code {code}: {self._tail()}")
            return False

    def _report(self, seen: int) -> int:
        """Pass on the bounds that CBC has logged since the last look."""
        with self.log.open(encoding="utf-8", errors="replace") as log:
            log.seek(seen)
            text = log.read()
        end = text.rfind("\n") + 1
        for found in _RUNNING_BOUND.findall(text[:end]):
            self.job.on_bound(_printed(found))
        return seen + len(text[:end].encode())

    def _read(
        self, columns: list[Variable], names: dict[str, str], rows: dict[str, str], *, stopped: bool
    ) -> Outcome:
        """Translate CBC's answer; its bound is in the log alone."""
        log = self.log.read_text(encoding="utf-8", errors="replace")
        bounds = [*_FINAL_BOUND.findall(log), *_RUNNING_BOUND.findall(log), *_OPTIMUM.findall(log)]
        bound = max(map(_printed, bounds), default=None)
        if not self.solution.exists() or not self.solution.stat().st_size:
            if not stopped:
                raise SolverError(f"CBC wrote no solution: {self._tail()}")
            return Outcome(Status.UNKNOWN, bound)
        status, values, _, _, _, quality = self.tool.readsol_MPS(
            str(self.solution), self.job.program, columns, names, rows
        )
        if status == self.pulp.LpStatusInfeasible:
            return Outcome(Status.UNKNOWN if stopped else Status.INFEASIBLE)
        if quality not in (self.pulp.LpSolutionOptimal, self.pulp.LpSolutionIntegerFeasible):
            return Outcome(Status.UNKNOWN, bound)
        optimal = quality == self.pulp.LpSolutionOptimal
        known: dict[str, float] = values
        return Outcome(
            Status.OPTIMAL if optimal else Status.FEASIBLE,
            bound,
            lambda variable: known[variable.name],
        )

    def _tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return " / ".join(line for line in lines[-4:] if line.strip())


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Ask CBC to stop and write its best solution; kill it if it does not."""
    if hasattr(signal, "SIGINT") and os.name == "posix":
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
    else:
        process.kill()
    process.wait()


def _printed(text: str) -> float:
    """Return a logged number, less one unit of its last digit: it may have been rounded up."""
    mantissa, _, power = text.partition("e")
    digits = len(mantissa.partition(".")[2])
    return float(text) - 10.0 ** (int(power or 0) - digits)
