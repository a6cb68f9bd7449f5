"""What all benchmarks share: an aligned table on standard output, and the same as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import talos_opt
from talos_opt.testing.expected_notes import unexpected

#: What a cell without a value shows.
NOTHING = "-"

Cell = str | int | float | None
Row = Mapping[str, Cell]

#: Libraries whose versions decide what is measured.
_LIBRARIES = ("ortools", "pulp", "highspy", "numba", "numpy")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    key : str
        Key in the rows; also the heading.
    digits : int
        Digits after the point of floats.
    """

    key: str
    digits: int = 2

    def show(self, value: Cell) -> str:
        """Write one value."""
        if value is None:
            return NOTHING
        return f"{value:.{self.digits}f}" if isinstance(value, float) else str(value)


def format_table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Return an aligned table: text to the left, numbers to the right."""
    cells = [[column.show(row.get(column.key)) for column in columns] for row in rows]
    texts = [any(isinstance(row.get(column.key), str) for row in rows) for column in columns]
    widths = [
        max(len(column.key), *(len(line[k]) for line in cells), 0)
        for k, column in enumerate(columns)
    ]
    lines = [[column.key for column in columns], *cells]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(line, widths, texts, strict=True)
        ).rstrip()
        for line in lines
    )


def publish(
    name: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    settings: Mapping[str, Any],
    target: Path | None,
) -> None:
    """Print a table, and write it with its circumstances to a JSON file if one is named.

    Parameters
    ----------
    name : str
        Name of the benchmark.
    columns : sequence of Column
    rows : sequence of mapping
        May hold more keys than there are columns; the JSON file has them all.
    settings : mapping
        What the run was told: limits, seeds, sizes.
    target : path, optional
    """
    print(format_table(columns, rows))
    if target is None:
        return
    document = {
        "benchmark": name,
        "date": time.strftime("%Y-%m-%d"),
        "machine": circumstances(),
        "settings": dict(settings),
        "rows": [dict(row) for row in rows],
    }
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def circumstances() -> dict[str, Any]:
    """Return what the numbers hang on beside the code: cores, Python, libraries, load."""
    known: dict[str, Any] = {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "libraries": {library: version(library) for library in _LIBRARIES},
    }
    if hasattr(os, "getloadavg"):
        known["load_average"] = round(os.getloadavg()[0], 2)
    return known


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the argument that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--json", type=Path, metavar="FILE", dest="target", help="write the rows to this file too"
    )
    return parser


#: Where TensorFlow is loaded, CP-SAT goes another way; that is no failure.
_BESIDE_TENSORFLOW = (r"CP-SAT cannot run beside TensorFlow",)


def solve(*problem_and_solver: Any, **options: Any) -> talos_opt.Result:
    """Call `talos_opt.solve` and `refuse_notes`."""
    result = talos_opt.solve(*problem_and_solver, **options)
    refuse_notes(result)
    return result


def refuse_notes(result: talos_opt.Result) -> None:
    """Refuse an answer with a note that is not expected.

    Raises
    ------
    RuntimeError
        If part of the search failed: its figures would be those of what is left.
    """
    notes = unexpected(list(result.notes), _BESIDE_TENSORFLOW)
    if notes:
        raise RuntimeError(f"unexpected notes: {'; '.join(notes)}")


def progress(text: str) -> None:
    """Tell on standard error how far a long run is."""
    print(text, file=sys.stderr, flush=True)
