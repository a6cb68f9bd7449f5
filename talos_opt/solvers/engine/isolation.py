"""A question to a process of its own: pickles on its standard input and output.

The child is a bare interpreter (`background.start_python`): multiprocessing's spawn would import
the caller's main module again, and with it the very library that the child must be free of.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Queue
from typing import Any

from talos_opt.core.errors import SolverError, TalosError
from talos_opt.solvers.engine.background import start_python
from talos_opt.solvers.engine.run import Run

_PATIENCE = 0.05
#: Seconds that the child may outlast the time limit before it is ended.
_GRACE = 0.5
#: Kinds of the last message; all others are the two sides' own.
_ANSWER, _ERROR, _GONE = "answer", "error", "gone"


def ask(
    module: str, request: object, run: Run, hear: Callable[[str, Any], object] | None = None
) -> Any:
    """Let ``module.main()`` answer in a child process, which ends when the run does.

    Parameters
    ----------
    module : str
        Its `main` calls `serve`.
    request : object
        Is pickled.
    run : Run
    hear : callable, optional
        Called with the kind and content of each message before the answer.

    Returns
    -------
    object
        The answer, None if there was none in time.

    Raises
    ------
    SolverError
        If the child cannot be started or dies; or what its work raised.
    """
    try:
        child = start_python(module, "main", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError as error:
        raise SolverError(f"no process can be started for CP-SAT: {error}") from error
    assert child.stdin is not None
    messages: Queue[Any] = Queue()
    reader = threading.Thread(target=_read, args=(child.stdout, messages), daemon=True)
    reader.start()
    try:
        # A child that is gone already shows in what it (did not) answer.
        with suppress(BrokenPipeError), child.stdin as pipe:
            pickle.dump(request, pipe)
        return _follow(messages, run, hear)
    finally:
        child.kill()
        child.wait()
        reader.join()
        assert child.stdout is not None
        child.stdout.close()


def _read(stream: Any, messages: Queue[Any]) -> None:
    while True:
        try:
            messages.put(pickle.load(stream))
        except Exception:  # its end, or what nobody can read: either way there is no more
            messages.put((_GONE, None))
            return


def _follow(messages: Queue[Any], run: Run, hear: Callable[[str, Any], object] | None) -> Any:
    while True:
        try:
            kind, content = messages.get(timeout=_PATIENCE)
        except Empty:
            if run.cancel.is_set() or run.budget.is_over_by(_GRACE):
                return None
            continue
        if kind == _ANSWER:
            return content
        if kind == _ERROR:
            raise content if isinstance(content, TalosError) else SolverError(str(content))
        if kind == _GONE:
            raise SolverError("the CP-SAT process ended unexpectedly")
        if hear is not None:
            hear(kind, content)


def serve(work: Callable[[Any, Callable[[str, Any], None]], object]) -> None:
    """Answer the request on standard input; the child's side of `ask`.

    Parameters
    ----------
    work : callable
        Takes the request, and a function that sends messages; returns the answer.
    """
    # Ctrl-C in a terminal reaches this process too; it is for the caller to stop it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else, compiled code included, may write between the messages
    lock = threading.Lock()

    def send(kind: str, content: Any) -> None:
        with lock, suppress(BrokenPipeError):
            pickle.dump((kind, content), out)
            out.flush()

    try:
        send(_ANSWER, work(pickle.load(sys.stdin.buffer), send))
    except Exception as error:
        send(_ERROR, error if isinstance(error, TalosError) else SolverError(str(error)))
