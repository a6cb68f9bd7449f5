"""Compiled work beside a thread that stays awake: for signals, cancellation and the clock."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

#: Seconds between looks at the clock and the cancel flag.
_PATIENCE = 0.05

#: Puts the package on the path first: the caller may have found it in a way a child would not.
_START = "import sys; sys.path.insert(0, sys.argv[1]); from {module} import {name}; {name}()"
#: Ctrl-C in a terminal goes to its whole process group: a child has one of its own.
_GROUP: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}


def run_beside(work: Callable[[], T], stopped: Callable[[], bool], stop: Callable[[], object]) -> T:
    """Do something on a thread of its own and wait for it, asking it to stop when it is time.

    Parameters
    ----------
    work : callable
        What to do; whatever it raises is raised here.
    stopped : callable
        Tells whether it is time.
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
            if stopped():
                stop()
    except BaseException:
        stop()
        done.wait()
        raise
    if errors:
        raise errors[0]
    return results[0]


def start_python(
    module: str, name: str, *arguments: str, **streams: Any
) -> subprocess.Popen[bytes]:
    """Start an interpreter that calls ``module.name()``, free of what this process has imported.

    multiprocessing would not do: spawning imports the caller's main module again.

    Parameters
    ----------
    module, name : str
    *arguments : str
        The last ones in the child's `sys.argv`.
    **streams
        Passed on to `subprocess.Popen`.

    Raises
    ------
    OSError
    """
    if not sys.executable:
        raise OSError("Python does not know its own executable")  # embedded in another program
    root = str(Path(__file__).resolve().parents[3])
    code = _START.format(module=module, name=name)
    return subprocess.Popen([sys.executable, "-c", code, root, *arguments], **_GROUP, **streams)
