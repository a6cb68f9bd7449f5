"""The plugins of this test suite, and fuzzing, on small suites of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import fuzz

ROOT = Path(__file__).resolve().parents[1]

SUITE = """
import os
import pytest
from hypothesis import assume, given, strategies as st
from talos_opt.solvers.engine.run import Run
from tests.builders import fig1

@given(st.integers(0, 10**6))
def test_hardly_reached(x):
    assume(x % 4 == 0)

@pytest.mark.reaches(0.01)
@given(st.integers(0, 10**6))
def test_known_to_be_hardly_reached(x):
    assume(x % 4 == 0)

@given(st.lists(st.integers() | st.floats() | st.text()))
def test_draws(x):
    with open(os.environ["DRAWN"], "a") as out:
        print(repr(x), file=out)

def test_strange_note():
    Run(fig1()).note("lns: lost its way")

@pytest.mark.notes("lost its way")
def test_known_note():
    Run(fig1()).note("lns: lost its way")
"""


def run_pytest(suite: Path, *arguments: str, **variables: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "tests.properties", "-p", "tests.notes"]
    command += ["-p", "no:cacheprovider", "-rA", *arguments, str(suite)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_silence_and_strange_notes_fail_and_draws_are_the_same(tmp_path: Path) -> None:
    suite, drawn = tmp_path / "test_suite.py", [tmp_path / "first", tmp_path / "second"]
    suite.write_text(SUITE)
    out = run_pytest(suite, DRAWN=str(drawn[0]))
    assert "2 failed, 3 passed" in out
    assert "examples reach the end of this test, expected 50%" in out
    assert "unexpected notes: lns: lost its way" in out
    # More modules of this project are loaded, and numbers could be taken from their sources.
    run_pytest(suite, "-k", "draws", "-p", "talos_opt.api", DRAWN=str(drawn[1]))
    assert drawn[0].read_text() == drawn[1].read_text()
    assert drawn[0].read_text().count("\n") >= 60


def test_a_round_of_fuzzing_finds_and_says_how_to_reproduce(tmp_path: Path) -> None:
    suite, report = tmp_path / "test_found.py", tmp_path / "report"
    suite.write_text(
        "from hypothesis import given, strategies as st\n\n"
        "@given(st.integers())\ndef test_small(x):\n    assert x < 1000\n\n"
        "def test_no_property():\n    assert False\n"
    )
    assert fuzz.run_round(7, time.time() + 300, 1, report, [str(suite)]) == 1
    text = report.read_text()
    assert "x=1000" in text
    assert "@reproduce_failure(" in text
    assert "1 failed in" in text, "only property tests run"


def test_rounds_go_on_until_the_time_is_over_and_tell_each_find_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now, codes = [0.0], [1, 0, 1, -9]
    monkeypatch.setattr(fuzz.time, "time", lambda: now[0])

    def one_round(seed: int, until: float, jobs: int, report: Path, paths: object) -> int:
        now[0] += 15.0
        code = codes.pop(0)
        report.write_text("FAILED tests/a.py::test_b[x y] - boom\n" if code == 1 else "")
        return code

    monkeypatch.setattr(fuzz, "run_round", one_round)
    finds = fuzz.fuzz(1.0, 2, tmp_path, ["tests"])
    assert codes == []
    assert list(finds) == ["tests/a.py::test_b[x y]", "pytest itself (exit code -9)"]
    seed, report = finds["tests/a.py::test_b[x y]"]
    assert report == tmp_path / "round1.log"
    assert f"--hypothesis-seed={seed} 'tests/a.py::test_b[x y]'" in fuzz.summary(finds)
    assert fuzz.summary({}) == "fuzz: no find"
    monkeypatch.setattr(fuzz, "fuzz", lambda *_: finds)
    monkeypatch.setattr(sys, "argv", ["fuzz"])
    assert fuzz.main() == 1
    assert "fuzz: 2 tests failed" in capsys.readouterr().out
