"""Which kernels there are to be compiled, and having that done while solvers go on.

Kernels are loaded by threads, which nobody has to wait for who was interrupted, and compiled in
child processes, which can be ended. A child compiles into the cache on disk, from which its thread
then loads; where there is none, or where the child fails, the thread compiles for itself.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from talos_opt.core.errors import InputError
from talos_opt.core.machine import available_cores
from talos_opt.solvers.engine.background import start_python

#: Seconds for which solvers wait for kernels outside their time limit, all together.
MOST_S = 20.0
#: Most kernels that are compiled at the same time.
MOST_AT_ONCE = 3
#: What is said where numba is not there.
MISSING = (
    "compiled kernels need numba, which cannot be imported ({}); run: pip install 'numba>=0.61'"
)
#: Seconds between two looks at what has to be noticed soon.
_PATIENCE = 0.05

#: All kernels by what they are for: the module and the function that call them on something tiny.
KERNELS = {
    "annealing": ("talos_opt.solvers.fast.solver", "use_annealing"),
    "reinsertion": ("talos_opt.solvers.fast.solver", "use_reinsertion"),
    "shops": ("talos_opt.solvers.shop.solver", "use_shops"),
    "labels": ("talos_opt.solvers.dp.solver", "use_labels"),
    "inserting": ("talos_opt.solvers.polish.setup", "use_inserting"),
    "passes": ("talos_opt.solvers.large.solver", "use_passes"),
    "loads": ("talos_opt.solvers.large.solver", "use_loads"),
    "packs": ("talos_opt.solvers.coarse.solver", "use_packs"),
    "orders": ("talos_opt.solvers.beam.solver", "use_orders"),
    "joins": ("talos_opt.solvers.bounds.joins", "use_joins"),
    "contents": ("talos_opt.solvers.relax.covering", "use_contents"),
    "splits": ("talos_opt.solvers.shared.splits.search", "use_splits"),
    "steps": ("talos_opt.solvers.pipelines.solver", "use_steps"),
    "paths": ("talos_opt.solvers.shared.paths", "use_paths"),
    "sampling": ("talos_opt.solvers.robust.search", "use_sampling"),
}

#: What is loaded or compiled in this process.
_ready: set[str] = set()


def use(name: str) -> None:
    """Call kernels once on something tiny: that loads them, or else compiles them."""
    module, function = KERNELS[name]
    getattr(import_module(module), function)()
    _ready.add(name)


def load(name: str) -> bool:
    """Load kernels that are on disk; False if they would have to be compiled.

    Raises
    ------
    ImportError
        If numba cannot be imported.
    """
    if name in _ready:
        return True
    from talos_opt.kernels.compiling import NotCompiledError, loading_only

    try:
        with loading_only():
            use(name)
    except NotCompiledError:
        return False
    return True


def is_loaded(name: str) -> bool:
    """Tell whether kernels can be called at once."""
    return name in _ready


class _Job:
    """Kernels on their way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done = threading.Event()
        self.compiling = False
        self.dropped = False
        self.error: BaseException | None = None
        self.child: subprocess.Popen[bytes] | None = None


#: Threads at work, and what they work for.
_at_work: weakref.WeakKeyDictionary[threading.Thread, Compilation] = weakref.WeakKeyDictionary()
#: Seconds that the end of the interpreter waits for them.
_LAST_WAIT = 10.0


def _outlive_no_interpreter(compilation: Compilation, thread: threading.Thread) -> None:
    """Have a thread end before the interpreter does: ended inside LLVM it would abort all."""
    if not _at_work:
        atexit.unregister(_end_threads)
        atexit.register(_end_threads)
    _at_work[thread] = compilation


def _end_threads() -> None:
    until = time.monotonic() + _LAST_WAIT
    at_work = [item for item in _at_work.items() if item[0].is_alive()]
    for _, compilation in at_work:
        compilation.close()
    for thread, _ in at_work:
        thread.join(max(0.0, until - time.monotonic()))


class Compilation:
    """The kernels that one solve has asked for. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}
        self._waiting: deque[_Job] = deque()
        self._threads = 0

    def start(self, *names: str) -> None:
        """Have kernels loaded, or compiled, in this order; returns at once."""
        with self._lock:
            for name in names:
                if name not in self._jobs and name not in _ready:
                    self._jobs[name] = _Job(name)
                    self._waiting.append(self._jobs[name])
            most = min(MOST_AT_ONCE, available_cores())
            for _ in range(min(len(self._waiting), most - self._threads)):
                self._threads += 1
                thread = threading.Thread(target=self._work, name="talos_opt kernels", daemon=True)
                thread.start()
                _outlive_no_interpreter(self, thread)

    def are_done(self, *names: str) -> bool:
        """Tell whether there is nothing to wait for: kernels are there, or never will be."""
        return all(
            name in _ready or (name in self._jobs and self._jobs[name].done.is_set())
            for name in names
        )

    @property
    def compiling(self) -> bool:
        """Whether some kernels are being compiled at the moment."""
        return any(job.compiling and not job.done.is_set() for job in list(self._jobs.values()))

    def raise_errors(self, *names: str) -> None:
        """Raise what kept kernels from being there."""
        for name in names:
            job = self._jobs.get(name)
            if job is not None and job.error is not None:
                raise job.error

    def wait(self, seconds: float, *names: str) -> None:
        """Wait until kernels are there, or for so long."""
        until = time.monotonic() + seconds
        for name in names:
            job = self._jobs.get(name)
            if job is not None:
                job.done.wait(max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """End what is still being compiled; whoever needs it can start it again."""
        with self._lock:
            for job in self._jobs.values():
                job.dropped = True
                if job.child is not None:
                    job.child.kill()
            self._jobs = {}
            self._waiting.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                job = self._waiting.popleft()
            try:
                self._make(job)
            except BaseException as error:  # raised where the kernels are needed
                job.error = error
            finally:
                job.done.set()

    def _make(self, job: _Job) -> None:
        if load(job.name):
            return
        job.compiling = True
        if (not self._compile_in_child(job) or not load(job.name)) and not job.dropped:
            use(job.name)

    def _compile_in_child(self, job: _Job) -> bool:
        """Compile into the cache on disk; False where there is none, or if that fails."""
        from talos_opt.kernels import compiling

        if compiling.folder is None:
            return False
        with self._lock:
            if job.dropped:
                return False
            try:
                job.child = start_python(
                    __name__, "serve", job.name, env=compiling.environment(),
                    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            except OSError:
                return False
        code = job.child.wait()
        assert job.child.stdin is not None
        job.child.stdin.close()
        return code == 0


def serve() -> None:
    """Compile the kernels that the last argument names; the child's side."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends this process when it likes
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from talos_opt.kernels import compiling

    compiling.must_keep = True  # else the caller compiles for itself, without this going on
    use(sys.argv[-1])
    os._exit(0)  # without waiting for the other thread


def _end_with_parent() -> None:
    os.read(0, 1)  # returns when the other end is closed, by whatever ended that process
    os._exit(1)


def describe_keeping() -> str:
    """Say that compiled kernels are not kept for good, and what to do; empty where they are."""
    from talos_opt.kernels import compiling

    return compiling.describe_keeping()


def compile_all(tell: Callable[[float, str], None], cancel: threading.Event) -> Path | None:
    """Compile all kernels into the cache on disk, in several processes.

    Parameters
    ----------
    tell : callable
        Called now and then with the share that is there, and the names of what is not.
    cancel : threading.Event
        Set it, from another thread, to stop.

    Returns
    -------
    Path or None
        The folder of the cache; None if cancelled.

    Raises
    ------
    InputError
        If the cache cannot be written to.
    ImportError
        If numba cannot be imported.
    """
    from talos_opt.kernels import compiling

    if compiling.describe_keeping():
        raise InputError(f"cannot keep compiled kernels: {compiling.describe_unwritable()}")
    if compiling.folder is None:
        raise InputError("NUMBA_DISABLE_JIT is set: there is nothing to compile")
    compilation, names = Compilation(), tuple(KERNELS)
    compilation.start(*names)
    try:
        while not compilation.are_done(*names):
            if cancel.is_set():
                return None
            left = [name for name in names if not compilation.are_done(name)]
            tell(1 - len(left) / len(names), ", ".join(left))
            compilation.wait(_PATIENCE, *left[:1])
        compilation.raise_errors(*names)
        if compiling.lost is not None:
            raise InputError(compiling.describe_keeping())
    finally:
        compilation.close()
    return compiling.folder
