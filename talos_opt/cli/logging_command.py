"""The log of a command: ``--log-file``, around whatever the command logs itself."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from talos_opt.cli import exits
from talos_opt.cli.output import complain
from talos_opt.core import logs
from talos_opt.core.errors import DependencyError, InputError, SolverError, TalosError
from talos_opt.version import __version__


@contextmanager
def running(
    command: str, path: str, form: str, argv: Sequence[str]
) -> Iterator[Callable[[int], None]]:
    """Log that a command runs, and how it ends, into a file.

    Parameters
    ----------
    command : str
    argv : sequence of str
        What was typed.
    path, form : str
        Of the log: where it is appended to, ``text`` or ``json``.

    Yields
    ------
    callable
        To be called with the exit code.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    _require_own_file(path, argv)
    stack = ExitStack()
    stack.callback(lambda: complain_of(path, file.failure))  # once it is closed
    try:
        file = stack.enter_context(logs.into_file(path, form))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", source=path) from None
    began = time.monotonic()

    def end(code: int) -> None:
        seconds = round(time.monotonic() - began, 3)
        logs.tell(
            "exit", f"{command} ends with exit code {code}", command=command, exit_code=code,
            elapsed_s=seconds,
        )  # fmt: skip

    with stack:
        logs.tell(
            "command", f"talos-opt {command}", command=command, version=__version__,
            arguments=list(argv),
        )  # fmt: skip
        try:
            yield end
        except BaseException as error:
            kind = "" if isinstance(error, TalosError) else f"{type(error).__name__}: "
            logs.tell("error", f"{kind}{error}", logging.ERROR, command=command)
            end(_code(error))
            raise


def _require_own_file(path: str, argv: Sequence[str]) -> None:
    """Refuse standard output, which is for the answer, and a file that is read or written too."""
    if path == "-":
        raise InputError("--log-file is '-', expected a file: standard output is for the answer")
    here = os.path.realpath(path)
    named = [word.partition("=")[2] if word.startswith("--") else word for word in argv]
    if sum(os.path.realpath(word) == here for word in named if word) > 1:
        raise InputError("is named twice, expected a file of its own for the log", source=path)


def complain_of(path: str, failure: str) -> None:
    """Say that a log is not whole, where it is not."""
    if failure:
        complain(f"note: {path}: the log is incomplete: {failure}")


def _code(error: BaseException) -> int:
    """Return the exit code that an exception leads to, as `talos_opt.cli.main` has it."""
    if isinstance(error, SolverError):
        return exits.SOLVER_FAILED
    if isinstance(error, KeyboardInterrupt):
        return exits.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return exits.SOLVED
    bad = isinstance(error, (InputError, DependencyError, OSError))
    return exits.BAD_INPUT if bad else exits.INTERNAL
