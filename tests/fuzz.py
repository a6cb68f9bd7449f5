"""Run the property tests at random, round after round with a new seed, until the time is over.

    python -m tests.fuzz [--minutes 30] [--jobs 2] [--folder build/fuzz] [path ...]

Exits with 1 if a test failed, and says how to see it fail again.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
#: Seconds that the tests still running have for their end when the time is over.
_PATIENCE = 600.0
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
#: Exit codes of pytest for: all passed, some failed, nothing was run.
_EXPECTED = (0, 1, 5)


def fuzz(minutes: float, jobs: int, folder: Path, paths: Sequence[str]) -> dict[str, tuple]:
    """Return each test that failed, with the seed and the report of the round that found it."""
    folder.mkdir(parents=True, exist_ok=True)
    until = time.time() + 60 * minutes
    finds: dict[str, tuple[int, Path]] = {}
    number = 0
    while time.time() < until:
        number, seed = number + 1, secrets.randbits(32)
        report = folder / f"round{number}.log"
        print(f"round {number}: seed {seed}, {(until - time.time()) / 60:.1f} min left", flush=True)
        code = run_round(seed, until, jobs, report, paths)
        failed = _FAILED.findall(report.read_text())
        if code not in _EXPECTED or (code == 1 and not failed):
            failed.append(f"pytest itself (exit code {code})")
        for test in failed:
            if test not in finds:
                finds[test] = seed, report
                print(f"    find: {test}", flush=True)
    return finds


def run_round(seed: int, until: float, jobs: int, report: Path, paths: Sequence[str]) -> int:
    """Run every property test once with a seed; return pytest's exit code."""
    environment = os.environ | {"HYPOTHESIS_PROFILE": "fuzz", "FUZZ_UNTIL": repr(until)}
    command = [sys.executable, "-m", "pytest", "-n", str(jobs), "-rfE", "-m", "not timing"]
    command += ["-p", "tests.properties", f"--hypothesis-seed={seed}", *paths]
    with report.open("w") as out:
        process = subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
        )
        try:
            return process.wait(max(0.0, until - time.time()) + _PATIENCE)
        except BaseException as error:  # Ctrl-C as well: no worker is left behind
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return -signal.SIGKILL


def summary(finds: Mapping[str, tuple[int, Path]]) -> str:
    """Say what was found, and how to see it again."""
    if not finds:
        return "fuzz: no find"
    lines = []
    for test, (seed, report) in finds.items():
        lines += [
            f"find: {test}",
            f"    falsifying example and @reproduce_failure line: {report}",
            f"    again: HYPOTHESIS_PROFILE=fuzz {sys.executable} -m pytest -n 0 "
            f"--hypothesis-seed={seed} '{test}'",
        ]
    return "\n".join([*lines, f"fuzz: {len(finds)} tests failed"])


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"))
    parser.add_argument("paths", nargs="*", default=["tests"])
    arguments = parser.parse_args()
    finds = fuzz(arguments.minutes, arguments.jobs, arguments.folder, arguments.paths)
    print(summary(finds))
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
