"""Entry point of ``talos-opt``: run a command, turn what went wrong into a message and a code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from talos_opt.cli import exits
from talos_opt.cli.output import complain, flush, open_streams, silence
from talos_opt.cli.parser import build_parser
from talos_opt.cli.signals import Signals
from talos_opt.core.errors import DependencyError, InputError, SolverError
from talos_opt.reports.texts.tables import for_terminal

#: Environment variable that shows the traceback of an internal error.
DEBUG = "TALOS_OPT_DEBUG"


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``talos-opt`` and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; default: those of the process.

    Returns
    -------
    int
        0 solved; 1 no feasible schedule; 2 bad input; 3 a solver failed; 130 interrupted;
        70 an internal error.
    """
    open_streams()
    try:
        args = build_parser().parse_args(argv)
        args.argv = sys.argv[1:] if argv is None else list(argv)
    except SystemExit as end:  # argparse has printed the help, the version or what is wrong
        return _finish(int(end.code or 0))
    with Signals() as signals, for_terminal(sys.stdout.isatty()):
        return _finish(_guarded(args, signals))


def _guarded(args: argparse.Namespace, signals: Signals) -> int:
    """Run the command; say what went wrong in one message and with the right code."""
    try:
        code = _logged(args, signals)
    except (InputError, DependencyError) as error:
        complain(f"error: {error}")
        return exits.BAD_INPUT
    except SolverError as error:
        complain(f"error: {error}")
        return exits.SOLVER_FAILED
    except KeyboardInterrupt:
        complain("interrupted before there was a result")
        return exits.INTERRUPTED
    except BrokenPipeError:  # the reader of standard output has had enough
        silence(sys.stdout)
        return exits.SOLVED
    except OSError as error:
        if os.environ.get(DEBUG):
            raise
        complain(f"error: {_describe(error)}")
        return exits.BAD_INPUT
    except MemoryError:
        complain("error: out of memory")
        return exits.INTERNAL
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        complain(
            f"internal error: {type(error).__name__}: {error}",
            f"This is a bug in talos_opt: please report it with the command and, if you can, the "
            f"graph. {DEBUG}=1 shows where it happened.",
        )
        return exits.INTERNAL
    return code


def _logged(args: argparse.Namespace, signals: Signals) -> int:
    """Run the command, and write what happens to the file of ``--log-file``."""
    path, form = getattr(args, "log_file", None), getattr(args, "log_format", None)
    code: int
    if path is None:
        if form is not None:
            raise InputError("--log-format is of a log: it needs --log-file FILE")
        code = args.run(args, signals)
        return code
    from talos_opt.cli.logging_command import running

    with running(args.command, path, form or "text", args.argv) as end:
        code = args.run(args, signals)
        end(code)
    return code


def _describe(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename else what


def _finish(code: int) -> int:
    """Flush standard output while an error in it can still be told."""
    problem = flush()
    if problem:
        complain(f"error: cannot write standard output: {problem}")
        return code or exits.BAD_INPUT
    return code


if __name__ == "__main__":
    sys.exit(main())
