"""The command line as a process of its own, for what cannot be seen from inside."""

from __future__ import annotations

import json
import os
import pty
import random
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIG1 = ROOT / "models" / "fig1.yaml"
COMMAND = (sys.executable, "-m", "talos_opt")

#: Long enough for a slow shared machine; a test that waits this long has failed.
PATIENCE = 60.0


def run(
    *argv: object, text: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with standard output and error piped."""
    return subprocess.run(
        [*COMMAND, *map(str, argv)],
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | variables,
        check=False,
    )


def best_time(argv: Sequence[str], tries: int = 3) -> float:
    """Least time of several runs, by the wall or by the processor.

    Other work on the machine lengthens the first, threads the second; neither is the command's
    doing.
    """
    times = []
    for _ in range(tries):
        began, used = time.perf_counter(), _children_time()
        subprocess.run(argv, capture_output=True, timeout=PATIENCE, check=True)
        times.append(min(time.perf_counter() - began, _children_time() - used))
    return min(times)


def _children_time() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class OnTerminal:
    """A command whose standard error is a terminal, so that its progress can be watched."""

    def __init__(self, *argv: object) -> None:
        self.seen = ""
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, argv)],
            stdout=subprocess.PIPE,
            stderr=slave,
            text=True,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
            # A shell that runs tests in the background makes them ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(slave)

    def wait_for(self, text: str) -> None:
        """Read the terminal until a text has appeared there."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"
            assert self._read(), f"ended without {text!r}: {self.seen!r}"

    def finish(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what went to standard output."""
        while self._read():
            pass
        out, _ = self.process.communicate(timeout=PATIENCE)
        os.close(self._master)
        return self.process.returncode, out

    def _read(self) -> bool:
        """Take what the terminal shows next; False once the process has closed it."""
        ready, _, _ = select.select([self._master], [], [], PATIENCE)
        if not ready:
            self.process.kill()
            raise AssertionError(f"nothing for {PATIENCE} s after {self.seen!r}")
        try:
            chunk = os.read(self._master, 4096)
        except OSError:  # how Linux reports that the other end is closed
            return False
        self.seen += chunk.decode()
        return bool(chunk)


def processes_with(folder: Path) -> list[int]:
    """Return the processes whose environment names a folder, as Linux lists them."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in place.read_bytes():
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found


def hard_graph(folder: Path) -> Path:
    """Write a graph that no solver proves optimal within minutes: random DAGs, tight devices."""
    rng = random.Random(5)
    models = []
    for m in range(3):
        ops = []
        for i in range(40):
            inputs = sorted({rng.randrange(i) for _ in range(min(i, 2))}) if i else []
            ops.append(
                {
                    "id": f"op{i}",
                    "time": {"cpu": rng.randint(5, 60), "gpu": rng.randint(5, 60)},
                    "memory": {"output": rng.randint(1, 60) * 1000},
                    "inputs": [f"op{j}" for j in inputs],
                }
            )
        models.append({"id": f"m{m}", "ops": ops})
    document = {
        "schema": "talos-graph/1",
        "name": "hard",
        "time_unit": "ms",
        "cluster": {
            "devices": [
                {"id": "cpu0", "kind": "cpu"},
                {"id": "gpu0", "kind": "gpu"},
                {"id": "gpu1", "kind": "gpu"},
            ],
            "links": [
                {"between": ["cpu", "gpu"], "latency": 1, "bandwidth": 4e6},
                {"between": ["gpu", "gpu"], "latency": 1, "bandwidth": 4e6},
            ],
        },
        "models": models,
    }
    path = folder / "hard.json"
    path.write_text(json.dumps(document))
    return path
