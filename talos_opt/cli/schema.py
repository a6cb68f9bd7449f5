"""``talos-opt schema``: the JSON Schemas of the files that are read and written."""

from __future__ import annotations

import argparse
import json
from typing import Any

from talos_opt.cli import arguments, exits
from talos_opt.cli.output import emit, emit_json
from talos_opt.cli.signals import Signals
from talos_opt.reports.texts.tables import table
from talos_opt.schemas import SCHEMAS, path_of


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of a file format",
        description="Print the JSON Schema of a file format, for editors and other tools. Without "
        "a name, list them and where they are.",
        epilog="A YAML file that begins with '# yaml-language-server: $schema=PATH' is completed "
        "and checked by editors that know the YAML language server.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "name", nargs="?", choices=tuple(SCHEMAS), metavar="NAME", help="which one; default: a list"
    )
    arguments.add_json(parser, "the list")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, signals: Signals) -> int:
    """Print a schema, or the list of them, and return the exit code."""
    if args.name is not None:
        emit_json(path_of(args.name).read_text(encoding="utf-8").rstrip("\n"))
        return exits.SOLVED
    if args.json:
        listed = [
            {"name": name, "summary": what, "file": str(path_of(name))}
            for name, what in SCHEMAS.items()
        ]
        emit_json(json.dumps({"schema": "talos-schemas/1", "schemas": listed}, indent=1))
        return exits.SOLVED
    rows = [(name, what, str(path_of(name))) for name, what in SCHEMAS.items()]
    emit(table(("name", "what it describes", "file"), rows, left=(0, 1, 2)))
    return exits.SOLVED
