"""Compiled work beside a thread that stays awake: for signals, cancellation and the clock."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from talos_opt.solvers.engine.run import Run

T = TypeVar("T")

#: Seconds between looks at the clock and the cancel flag.
_PATIENCE = 0.05

#: Puts the package on the path first: the caller may have found it in a way a child would not.
_START = "import sys; sys.path.insert(0, sys.argv[1]); from {module} import {name}; {name}()"


def run_beside(work: Callable[[], T], run: Run, stop: Callable[[], object]) -> T:
    """Do something on a thread of its own and wait for it, asking it to stop when the run does.

    Parameters
    ----------
    work : callable
        What to do; whatever it raises is raised here.
    run : Run
    stop : callable
        Makes `work` end soon. Also called if an exception, such as KeyboardInterrupt, reaches
        the waiting thread.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    # Not Thread.join: interrupted by Ctrl-C, Python 3.11 takes the thread for ended.
    done = threading.Event()

    def target() -> None:
        try:
            results.append(work())
        except BaseException as error:  # handed to the waiting thread
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=target, name="talos_opt", daemon=True).start()
    try:
        while not done.wait(_PATIENCE):
            if run.stopped:
                stop()
    except BaseException:
        stop()
        done.wait()
        raise
    if errors:
        raise errors[0]
    return results[0]


def start_python(module: str, name: str, **streams: Any) -> subprocess.Popen[bytes]:
    """Start an interpreter that calls ``module.name()``, free of what this process has imported.

    multiprocessing would not do: spawning imports the caller's main module again.

    Parameters
    ----------
    module, name : str
    **streams
        Passed on to `subprocess.Popen`.

    Raises
    ------
    OSError
    """
    root = str(Path(__file__).resolve().parents[3])
    code = _START.format(module=module, name=name)
    return subprocess.Popen([sys.executable, "-c", code, root], **streams)


def is_compiled(kernel: Any, arguments: tuple[Any, ...]) -> bool:
    """Tell whether calling a kernel with such arguments needs no compiling.

    True if it is loaded, if it lies in numba's cache on disk, or if numba is switched off.
    """
    if getattr(kernel, "signatures", True):
        return True
    from numba import typeof

    kinds = tuple(typeof(value) for value in arguments)  # type: ignore[no-untyped-call]
    cache = kernel._cache  # noqa: SLF001 - numba shows it nowhere else
    return cache.load_overload(kinds, kernel.targetctx) is not None


def compile_beside(
    module: str, name: str, run: Run, *, stopped: Callable[[], bool] | None = None
) -> bool:
    """Let a child process call ``module.name()``, which compiles kernels into numba's cache.

    Compiling cannot be interrupted and takes many seconds; a child can be ended when the run
    stops. What it has finished by then stays in the cache, so the next attempt goes on from
    there.

    Parameters
    ----------
    module, name : str
    run : Run
    stopped : callable, optional
        Tells whether to give up; default: when the run has stopped.

    Returns
    -------
    bool
        False if the run stopped first. If the child fails, True: compiling here is what is left.
    """
    try:
        child = start_python(
            module, name, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return True
    try:
        while not (stopped() if stopped else run.stopped):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_PATIENCE)
                return True
        return False
    finally:
        child.kill()
        child.wait()
