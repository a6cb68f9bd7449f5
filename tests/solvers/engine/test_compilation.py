"""Kernels on their way: beside what goes on, in nobody's time, and left to nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numba
import pytest

import talos_opt
from talos_opt.core.errors import DependencyError
from talos_opt.solvers.engine import compilation
from talos_opt.solvers.engine.compilation import KERNELS, Compilation
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import TOO_LATE, get_ready
from tests.builders import fig1
from tests.cli.process import processes_with
from tests.clocks import Stopwatch
from tests.solvers.running import in_own_process, layered, press_ctrl_c

ROOT = Path(__file__).resolve().parents[3]
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


class Lathe:
    """Stands in for numba: what is made, by whom, and how long a child takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, child: list[str] | None) -> None:
        self.on_disk: set[str] = set()
        self.used: list[str] = []
        self.children: list[subprocess.Popen[bytes]] = []
        self.child = child
        monkeypatch.setattr(compilation, "load", self.load)
        monkeypatch.setattr(compilation, "use", self.use)
        monkeypatch.setattr(compilation, "start_python", self.start)
        monkeypatch.setattr(compilation, "_ready", self.on_disk)

    def load(self, name: str) -> bool:
        return name in self.on_disk

    def use(self, name: str) -> None:
        self.used.append(name)
        self.on_disk.add(name)

    def start(self, *_: object, env: object, **streams: Any) -> subprocess.Popen[bytes]:
        if self.child is None:
            raise OSError("no more processes")
        self.children.append(subprocess.Popen(self.child, **streams))
        return self.children[-1]


def test_every_kernel_has_somebody_who_calls_it() -> None:
    for module, function in KERNELS.values():
        assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize("child", [None, [sys.executable, "-c", "raise SystemExit(1)"]])
def test_what_no_child_compiles_is_compiled_here(
    monkeypatch: pytest.MonkeyPatch, child: list[str] | None
) -> None:
    lathe = Lathe(monkeypatch, child)
    run = Run(fig1(), time_limit=600)
    assert get_ready(run, "labels", "paths")
    assert sorted(lathe.used) == ["labels", "paths"]
    assert get_ready(run, "labels")
    assert len(lathe.used) == 2


def test_compiling_is_in_nobodys_time_but_cancelled_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lathe = Lathe(monkeypatch, SLEEP)
    told: list[str] = []
    run = Run(fig1(), time_limit=0.2, on_progress=lambda item: told.append(item.solver))
    part = run.limited(0.1)
    threading.Timer(0.6, run.cancel.set).start()
    assert not get_ready(part, "labels")
    assert run.clock.held > 0.2
    assert run.budget.end > run.clock()  # longer than the limit, and none of it is used up
    assert "compiling" in told[0]
    run.kernels.close()
    assert lathe.children[0].wait(5) != 0
    assert lathe.used == []


def test_no_longer_than_allowed_is_waited_beside_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Lathe(monkeypatch, SLEEP)
    run = Run(fig1(), time_limit=0.3)
    run.clock.most_held = 0.2
    assert not get_ready(run, "labels", urgent=False)
    assert run.remaining > 0
    assert not get_ready(run, "labels")
    assert run.spent
    assert run.notes == [TOO_LATE]
    run.kernels.close()


def test_a_result_says_that_kernels_never_came(monkeypatch: pytest.MonkeyPatch) -> None:
    Lathe(monkeypatch, SLEEP)
    monkeypatch.setattr("talos_opt.solvers.engine.run.MOST_S", 0.2)
    result = talos_opt.solve(layered(200), time_limit=3)
    assert result.notes == ("compiling kernels took 0.2 s beside the limit", TOO_LATE)


def test_what_has_no_interpreter_to_start_compiles_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = compilation.start_python
    lathe = Lathe(monkeypatch, None)
    monkeypatch.setattr(compilation, "start_python", start)
    monkeypatch.setattr(sys, "executable", None)  # as where Python is embedded
    kernels = Compilation()
    kernels.start("labels")
    kernels.wait(10, "labels")
    kernels.raise_errors("labels")
    assert lathe.used == ["labels"]


def test_what_is_only_loaded_takes_its_time_from_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    lathe = Lathe(monkeypatch, None)

    def load(name: str) -> bool:
        time.sleep(0.2)
        lathe.on_disk.add(name)
        return True

    monkeypatch.setattr(compilation, "load", load)
    run = Run(fig1(), time_limit=600)
    assert get_ready(run, "labels")
    assert run.clock.held == 0
    assert run.notes == []


def test_what_keeps_a_kernel_from_being_there_is_raised_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Lathe(monkeypatch, None)

    def fail(name: str) -> None:
        raise ImportError("No module named 'numba'")

    monkeypatch.setattr(compilation, "load", fail)
    with pytest.raises(DependencyError, match="pip install 'numba"):
        get_ready(Run(fig1()), "labels")


def test_what_was_ended_can_be_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lathe = Lathe(monkeypatch, SLEEP)
    kernels = Compilation()
    kernels.start("labels")
    while not lathe.children:
        time.sleep(0.01)
    kernels.close()
    lathe.child = None
    kernels.start("labels")
    kernels.wait(10, "labels")
    assert kernels.are_done("labels")
    assert lathe.used == ["labels"]


@pytest.mark.timing
@in_own_process
def test_ctrl_c_is_heard_while_kernels_are_compiled() -> None:
    lathe = Lathe(pytest.MonkeyPatch(), SLEEP)
    press_ctrl_c(1.0)
    watch = Stopwatch()
    with pytest.raises(talos_opt.Interrupted) as caught:
        talos_opt.solve(layered(200), "auto", time_limit=60)
    watch.check(2)
    assert caught.value.result is not None
    assert caught.value.result.schedule is not None
    assert [child.wait(5) != 0 for child in lathe.children] == [True] * len(lathe.children)
    assert lathe.children


# ---- with numba ----------------------------------------------------------------------------

compiles = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | variables,
        check=False,
        timeout=300,
    )


PATHS = """
from talos_opt.kernels import compiling
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready
from tests.builders import fig1
run = Run(fig1(), time_limit=600)
assert get_ready(run, "paths")
print(compiling.folder)
print(compiling.describe_keeping())
print(run.clock.held > 0)
"""

#: Lets numba look in one place alone, where nobody can write.
UNWRITABLE = {
    "NUMBA_CACHE_DIR": "/proc/nowhere",
    "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
}
can_be_unwritable = pytest.mark.skipif(
    not hasattr(numba.config, "CACHE_LOCATOR_CLASSES") or not os.path.isdir("/proc"),
    reason="numba looks in more places than this test can close",
)


@compiles
@can_be_unwritable
def test_without_a_writable_cache_a_folder_of_the_users_own_serves(tmp_path: Path) -> None:
    for again in (False, True):
        done = python(PATHS, TMPDIR=str(tmp_path), **UNWRITABLE)
        assert done.returncode == 0, done.stderr
        folder, kept, held = done.stdout.splitlines()
        assert folder.startswith(str(tmp_path))
        assert "NUMBA_CACHE_DIR" in kept
        assert held == "False" or not again
    (own,) = tmp_path.iterdir()
    assert own.stat().st_mode & 0o777 == 0o700


@compiles
@can_be_unwritable
def test_what_others_could_have_written_is_not_loaded(tmp_path: Path) -> None:
    own = tmp_path / f"talos_opt-{os.getuid()}"
    own.mkdir()
    own.chmod(0o777)
    done = python(PATHS, TMPDIR=str(tmp_path), **UNWRITABLE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("None\ncompiled kernels are kept nowhere")
    assert list(own.iterdir()) == []


@compiles
@can_be_unwritable
def test_a_baked_cache_that_can_only_be_read_is_used(tmp_path: Path) -> None:
    baked = tmp_path / "baked"
    assert python(PATHS, NUMBA_CACHE_DIR=str(baked)).returncode == 0
    code = (
        "import tempfile\n"
        "real = tempfile.TemporaryFile\n"
        "def refuse(*args, **more):\n"
        f"    if str(more.get('dir')).startswith({str(baked)!r}):\n"
        "        raise PermissionError\n"
        "    return real(*args, **more)\n"
        "tempfile.TemporaryFile = refuse\n"
    )
    (tmp_path / "tmp").mkdir()
    places = UNWRITABLE | {"NUMBA_CACHE_DIR": str(baked), "TMPDIR": str(tmp_path / "tmp")}
    done = python(code + PATHS, **places)
    assert done.returncode == 0, done.stderr
    folder, _, held = done.stdout.splitlines()
    assert folder.startswith(str(tmp_path / "tmp"))
    assert held == "False"


@compiles
@can_be_unwritable
def test_warmup_refuses_where_nothing_can_be_kept(tmp_path: Path) -> None:
    code = "import sys; from talos_opt.cli.main import main; sys.exit(main(['warmup']))"
    done = python(code, TMPDIR=str(tmp_path), **UNWRITABLE)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot keep compiled kernels: neither /proc/nowhere (NUM")
    assert done.stdout == ""


@compiles
def test_warmup_says_where_the_kernels_are(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from talos_opt.solvers.engine import compilation\n"
        "compilation.KERNELS = {'paths': compilation.KERNELS['paths']}\n"
        "from talos_opt.cli.main import main; sys.exit(main(['warmup']))\n"
    )
    done = python(code, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"compiled kernels are in {tmp_path}")
    done = python(code.replace("'warmup'", "'warmup', '--json'"), NUMBA_CACHE_DIR=str(tmp_path))
    folder = Path(json.loads(done.stdout)["folder"])
    assert folder.parent == tmp_path
    assert list(folder.glob("*.nbc"))
    assert "True" not in python(PATHS, NUMBA_CACHE_DIR=str(tmp_path)).stdout


@compiles
@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_full_disk_keeps_nobody_from_using_kernels(tmp_path: Path) -> None:
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
    done = python(full + PATHS, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"compiled kernels cannot be kept in {tmp_path}" in done.stdout
    code = (
        "import sys\n"
        "from talos_opt.solvers.engine import compilation\n"
        "compilation.KERNELS = {'paths': compilation.KERNELS['paths']}\n"
        "from talos_opt.cli.main import main; sys.exit(main(['warmup']))\n"
    )
    done = python(full + code, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: compiled kernels cannot be kept in ")


@compiles
def test_after_warming_up_nothing_is_left_to_compile() -> None:
    code = (
        "import sys\n"
        "import talos_opt\n"
        "from talos_opt.solvers.engine import compilation\n"
        "from tests.solvers.running import layered\n"
        "for name in compilation.KERNELS: assert compilation.load(name), name\n"
        "for objective in ('toct', 'makespan', 'bottleneck'):\n"
        "    for rule in ('static', 'peak'):\n"
        "        given = layered(60, objective=objective, rule=rule)\n"
        "        for solver in ('auto', 'fast', 'large', 'coarse'):\n"
        "            talos_opt.solve(given, solver, time_limit=0.4)\n"
        "missed = [\n"
        "    f'{module}.{key}: {value.stats.cache_misses}'\n"
        "    for module in list(sys.modules) if module.startswith('talos_opt.kernels.')\n"
        "    for key, value in vars(sys.modules[module]).items()\n"
        "    if hasattr(value, 'stats') and value.stats.cache_misses\n"
        "]\n"
        "assert not missed, missed\n"
    )
    run = Run(fig1(), time_limit=600)
    run.clock.most_held = 600
    assert get_ready(run, *KERNELS)
    done = python(code)
    assert done.returncode == 0, done.stderr


@compiles
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks at processes in /proc")
def test_no_child_outlives_its_parent(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from talos_opt.solvers.engine.compilation import Compilation\n"
        "kernels = Compilation()\n"
        "kernels.start('annealing', 'labels')\n"
        "while not all(job.child for job in kernels._jobs.values()): time.sleep(0.01)\n"
        "print('started', flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"started\n"
    time.sleep(2)  # in the middle of compiling
    assert len(processes_with(tmp_path)) > 1
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 20
    while processes_with(tmp_path) and time.monotonic() < until:
        time.sleep(0.05)
    assert processes_with(tmp_path) == []
    parent.stdout.close()
