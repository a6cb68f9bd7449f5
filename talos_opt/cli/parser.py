"""What can be typed: all commands with their arguments and help.

argparse, because it starts fastest: ``--help`` of a parser of this size took 0.04 s with it,
0.08 s with click and 0.24 s with typer, of which the bare interpreter is 0.02 s.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from talos_opt import __version__
from talos_opt.cli import (
    analyze,
    check,
    compare,
    convert,
    exits,
    explain,
    export,
    fit,
    online,
    pipeline,
    plot,
    profile,
    report,
    run,
    schema,
    simulate,
    solve,
    solvers,
    speedups,
    sweep,
    trace,
    warmup,
    whatif,
)
from talos_opt.reports.texts.tables import visible

#: Modules of the commands, in the order in which the help lists them.
COMMANDS = (
    solve,
    compare,
    sweep,
    online,
    check,
    explain,
    simulate,
    analyze,
    convert,
    plot,
    report,
    profile,
    run,
    export,
    fit,
    trace,
    speedups,
    whatif,
    pipeline,
    solvers,
    schema,
    warmup,
)

EXIT_CODES = (
    "Exit codes: 0 solved; 1 no feasible schedule, proven or none found; 2 bad input; "
    "3 a solver's backend failed; 130 interrupted, the best schedule so far is still written; "
    "70 an internal error."
)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, like every other error of this program."""

    def error(self, message: str) -> NoReturn:
        self.exit(exits.BAD_INPUT, f"error: {visible(message)} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="talos-opt",
        description="Place the ops of deep-learning graphs on devices and schedule them, by "
        "optimisation.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"talos-opt {__version__}",
        help="print the version and exit",
    )
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
    for module in COMMANDS:
        module.add_parser(commands)
    return parser
