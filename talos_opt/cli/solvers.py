"""``talos-opt solvers``: what there is to choose from."""

from __future__ import annotations

import argparse
import json
from typing import Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import emit, emit_json
from talos_opt.cli.signals import Signals
from talos_opt.reports.texts.tables import table


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "solvers",
        help="list the solvers",
        description="List the solvers: what each is, whether it proves optimality given enough "
        "time, and which parts of the model it does not cover.",
        allow_abbrev=False,
    )
    arguments.add_json(parser, "the list")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Print the solvers and return the exit code."""
    from talos_opt import api

    known = api.solvers()
    everything = sorted({feature.value for info in known for feature in info.features})
    if args.json:
        document = [
            {
                "name": info.name,
                "exact": info.exact,
                "summary": info.summary,
                "package": info.package or None,
                "covers": sorted(feature.value for feature in info.features),
            }
            for info in known
        ]
        emit_json(json.dumps({"schema": "talos-solvers/1", "solvers": document}, indent=1))
        return exits.SOLVED
    rows = []
    for info in known:
        covered = {feature.value for feature in info.features}
        missing = [feature for feature in everything if feature not in covered]
        kind = "exact" if info.exact else "heuristic"
        whose = f" (package {info.package})" if info.package else ""
        rows.append((info.name, kind, f"{info.summary}{whose}", ", ".join(missing) or "-"))
    emit(table(("solver", "kind", "what it is", "does not cover"), rows, left=(0, 1, 2, 3)))
    return exits.SOLVED
