"""Ctrl-C and SIGTERM, the live line, and the time limit, on a solve that would go on and on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.process import COMMAND, FIG1, ROOT, OnTerminal, hard_graph, processes_with, run
from tests.clocks import Stopwatch


@pytest.mark.timing
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_and_prints_the_best_schedule(
    tmp_path: Path, number: signal.Signals
) -> None:
    graph, answer = hard_graph(tmp_path), tmp_path / "answer.json"
    command = OnTerminal("solve", graph, "--solver", "cpsat", "--time-limit", 300, "-o", answer)
    command.wait_for("  cpsat")  # in the middle of compiled code that has handlers of its own
    watch = Stopwatch()
    command.process.send_signal(number)
    code, out = command.finish()
    assert code == 130
    watch.check(10)
    assert "hard: interrupted, feasible" in out
    document = json.loads(answer.read_text())
    assert document["interrupted"] is True
    assert len(document["ops"]) == 120
    assert run("check", graph, answer).returncode == 0


@pytest.mark.timing
@pytest.mark.parametrize("after", [0.0, 0.7, 3.1])
def test_a_signal_while_kernels_are_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: float
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    command = OnTerminal("solve", ROOT / "models" / "googlenet.yaml")
    command.wait_for("compiling kernels")
    time.sleep(after)
    watch = Stopwatch()
    command.process.send_signal(signal.SIGINT)
    code, out = command.finish()
    watch.check(2)  # the schedule is printed and the interpreter ends: a second where all is idle
    assert code == 130
    assert "googlenet: interrupted, feasible" in out
    assert processes_with(tmp_path) == []


@pytest.mark.timing
def test_a_second_signal_leaves_no_compiler_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    command = OnTerminal("solve", ROOT / "models" / "googlenet.yaml")
    command.wait_for("compiling kernels")
    time.sleep(1)
    watch = Stopwatch()
    for _ in range(2):
        command.process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    assert command.finish()[0] == 130
    while processes_with(tmp_path):
        time.sleep(0.02)
        watch.check(1)


def test_a_signal_prints_json_when_asked_for_it(tmp_path: Path) -> None:
    command = OnTerminal("solve", hard_graph(tmp_path), "--time-limit", 300, "--json")
    command.wait_for("best ")
    command.process.send_signal(signal.SIGINT)
    code, out = command.finish()
    assert code == 130
    assert json.loads(out)["status"] == "feasible"


STUBBORN = """
import time
from talos_opt.cli.signals import Signals

def work():
    print("at work", flush=True)
    time.sleep(600)

with Signals() as signals:
    signals.run(work, lambda: None)
"""


def test_a_second_signal_ends_a_solver_that_does_not_listen() -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    assert command.stderr is not None
    assert command.stdout.readline() == "at work\n"
    command.send_signal(signal.SIGTERM)
    assert "stopping" in command.stderr.readline() + command.stderr.readline()
    command.send_signal(signal.SIGTERM)
    assert command.wait(10) == 130
    command.communicate()


def test_a_signal_while_reading_is_told(tmp_path: Path) -> None:
    pipe = tmp_path / "graph.yaml"
    os.mkfifo(pipe)
    command = subprocess.Popen(
        [*COMMAND, "solve", str(pipe)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with pipe.open("w") as graph:  # opens once the command has begun to read
        graph.write("schema: talos-graph/1\n")
        graph.flush()
        time.sleep(0.5)  # let it wait for more: Python looks at signals only between two calls
        command.send_signal(signal.SIGTERM)
        out, err = command.communicate(timeout=30)
    assert command.returncode == 130
    assert (out, err) == ("", "interrupted before there was a result\n")


def test_compare_prints_the_rows_it_has(tmp_path: Path) -> None:
    graph = hard_graph(tmp_path)
    command = OnTerminal(
        "compare", graph, FIG1, "--solvers", "heft,cpsat", "--time-limit", 300, "--json"
    )
    command.wait_for("hard: cpsat")
    command.wait_for("best ")
    command.process.send_signal(signal.SIGTERM)
    code, out = command.finish()
    assert code == 130
    rows = json.loads(out)["rows"]
    assert [(row["graph"], row["solver"]) for row in rows] == [("hard", "heft"), ("hard", "cpsat")]


def test_a_terminal_shows_progress(tmp_path: Path) -> None:
    command = OnTerminal("solve", hard_graph(tmp_path), "--solver", "cpsat", "--time-limit", 3)
    code, out = command.finish()
    assert code == 0
    for part in ("of 3 s", "best ", "bound ", "gap ", "\r\x1b[K"):
        assert part in command.seen
    assert command.seen.endswith("\r\x1b[K")  # the line does not stay behind
    assert "\x1b" not in out


@pytest.mark.timing
def test_a_pipe_shows_none_and_the_limit_holds(tmp_path: Path) -> None:
    watch = Stopwatch()
    # Not auto: its first run on a machine compiles kernels, and says so.
    done = run("solve", hard_graph(tmp_path), "--solver", "cpsat", "--time-limit", 6, "--json")
    allowed = 6 + 1 + 0.05 * 6
    watch.check(allowed + 3)  # Python starts, reads and ends outside the limit
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["runtime_s"] < allowed + 3


START = "import sys; from talos_opt.cli.start import main; sys.exit(main())"


@pytest.mark.parametrize("start", [("-m", "talos_opt"), ("-c", START)])
def test_a_signal_while_the_program_is_loaded(tmp_path: Path, start: tuple[str, ...]) -> None:
    graph = hard_graph(tmp_path)
    # Interrupted from inside, so that it does not depend on how fast this machine is.
    modules = ("argparse", "talos_opt.cli.main", "talos_opt.cli.parser", "numpy", "numpy.linalg")
    for module in modules:
        site = tmp_path / module
        site.mkdir()
        (site / "sitecustomize.py").write_text(
            "import os, signal, sys\n"
            "class Finder:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            f"        if name == {module!r}:\n"
            "            os.kill(os.getpid(), signal.SIGINT)\n"
            "sys.meta_path.insert(0, Finder())\n"
        )
        done = subprocess.run(
            [sys.executable, *start, "solve", str(graph), "--time-limit", "5"],
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])},
            check=False,
        )
        assert done.returncode == 130, (module, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") <= 1
        assert done.stdout == ""


def test_an_ignored_signal_stays_ignored() -> None:
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "import sys; sys.argv = ['talos-opt', '--version']\n"
        "from talos_opt.cli.start import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
