"""Numbers and tables for a person to read."""

from __future__ import annotations

import io
import math
import shutil
import sys
from collections.abc import Iterable, Sequence

from talos_opt.cli.output import visible
from talos_opt.reports.digits import significant

#: Significant digits of what is printed; files hold every digit.
DIGITS = 6
#: More digits than these a float does not have.
FLOAT_DIGITS = 17


def number(value: float) -> str:
    """Write a number with `DIGITS` significant digits, without exponent where it is readable."""
    return significant(value, DIGITS)


def quantity(value: float | None, unit: str) -> str:
    """Write a value with its unit, or a dash where there is none."""
    return "-" if value is None else f"{number(value)} {unit}"


def moment(time: float, unit: str, span: float) -> str:
    """Write a time with its unit, `span` of which has `DIGITS` digits, however late it is."""
    if not abs(time) > span > 0:
        return quantity(time, unit)
    more = math.floor(math.log10(abs(time))) - math.floor(math.log10(span))
    return f"{significant(time, min(DIGITS + more, FLOAT_DIGITS))} {unit}"


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
    """Return an aligned table: cut to the terminal's width, or as wide as it is when piped.

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

    terminal = sys.stdout.isatty()
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
