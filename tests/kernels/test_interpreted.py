"""The same tests with the compiler off: what Python makes of a kernel is what numba makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: A handful: those that come by most of the code.
TESTS = (
    "test_listing.py::test_schedules_are_those_of_queues",
    "test_listing.py::test_peaks_are_what_is_alive_at_once",
    "test_inserting.py",
    "test_placing.py",
    "test_relieving.py",
    "test_graphs.py",
    "test_contracting.py",
    "test_chunks.py",
    "test_cuts.py",
    "test_labels.py::test_labels_are_the_minimal_rows_of_all_partial_schedules",
    "test_loads.py",
    "test_anneal.py::test_books_are_right_after_a_run",
    "test_sampling.py::test_values_are_those_that_simulate_finds",
)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled here")
def test_interpreted_kernels_pass_the_same_tests() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n0"),
            "--hypothesis-profile=interpreted",
            *(f"tests/kernels/{name}" for name in TESTS),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout
