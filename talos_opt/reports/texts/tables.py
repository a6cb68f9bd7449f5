"""Numbers, names and tables for a person to read."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from talos_opt.core.units import format_bytes
from talos_opt.reports.digits import DIGITS, duration, significant

#: Whether tables go to a terminal, whose width they keep to and which shows headings in bold.
_on_terminal = ContextVar("_on_terminal", default=False)


@contextmanager
def for_terminal(there: bool) -> Iterator[None]:
    """Make tables for a terminal, if there is one; elsewhere they are plain text."""
    token = _on_terminal.set(there)
    try:
        yield
    finally:
        _on_terminal.reset(token)


def visible(text: str) -> str:
    """Return text on one line, with all that is not printable escaped: a name in an answer."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return repr(char)[1:-1]


def number(value: float) -> str:
    """Write a number with `DIGITS` significant digits, without exponent where it is readable."""
    return significant(value, DIGITS)


def quantity(value: float | None, unit: str) -> str:
    """Write a value with its unit, or a dash where there is none.

    Times are in s, ms, us or ns and bytes in powers of 1024, whichever suits their size.
    """
    if value is None:
        return "-"
    return format_bytes(value) if unit == "bytes" else duration(value, unit)


def settled(value: float, whole: float) -> float:
    """Return 0 for what float sums leave of a difference between times as long as `whole`."""
    return 0.0 if abs(value) <= 1e-9 * whole else value


def percent(share: float | None) -> str:
    """Write a share in percent; a gap that is not zero is never shown as 0."""
    if share is None:
        return "-"
    if 0 < share < 5e-5:
        return "<0.01 %"
    return f"{number(round(100 * share, 2))} %"


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: Sequence[int] = (0,)
) -> str:
    """Return an aligned table: cut to the width of a terminal, or as wide as it is.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : iterable of sequence of str
        Shown by `visible`, as the headings are.
    left : sequence of int
        Columns to align left; the others hold numbers.
    """
    # Only commands that print a table pay for rich (0.1 s).
    from rich.console import Console
    from rich.table import Table

    terminal = _on_terminal.get()
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(columns):
        grid.add_column(visible(name), justify="left" if i in left else "right", overflow="fold")
    for row in rows:
        grid.add_row(*map(visible, row))
    sheet = io.StringIO()
    console = Console(
        file=sheet,
        force_terminal=terminal,
        width=shutil.get_terminal_size().columns if terminal else 10_000,
        # Names come from files: nothing in them is markup.
        markup=False,
        emoji=False,
        highlight=False,
    )
    console.print(grid)
    return "\n".join(line.rstrip() for line in sheet.getvalue().splitlines())


def without_empty(
    columns: Sequence[str], rows: Sequence[Sequence[str]], at: int
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return columns and rows without one of the columns, where no row has anything in it."""
    if any(row[at] for row in rows):
        return columns, rows
    return [*columns[:at], *columns[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows]
