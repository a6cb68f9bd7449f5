"""A result in a notebook: the figures, the Gantt chart, and what each device has to do."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

from talos_opt.core.errors import DependencyError
from talos_opt.reports.texts.summary import (
    MOST_ACTIVITIES,
    Table,
    device_table,
    headline,
    module_table,
    values,
)
from talos_opt.reports.texts.tables import visible

if TYPE_CHECKING:
    from talos_opt.core.result import Result

#: Inches and dots per inch of the chart: as wide as a notebook, in 50 to 150 KB.
WIDTH, HEIGHT, DOTS = 10.0, 3.6, 110


def to_html(result: Result) -> str:
    """Return a result as HTML, without scripts or styles of its own that a notebook would drop.

    Parameters
    ----------
    result : Result

    Returns
    -------
    str
        The chart is a PNG picture in it, which is small whatever the size of the schedule. It is
        missing without matplotlib.
    """
    parts = [f"<p><b>{_text(headline(result))}</b></p>"]
    if result.metrics is None:
        if result.reason:
            parts.append(f"<p>{_text(result.reason)}</p>")
        return "\n".join(parts)
    parts.append(_table(((), [*values(result, result.metrics)]), left=2))
    parts.append(_chart(result))
    modules = module_table(result)
    if modules is not None:
        parts.append(_table(modules, left=2))
    parts.append(_table(device_table(result, result.metrics), left=2))
    return "\n".join(part for part in parts if part)


def _text(text: str) -> str:
    return escape(visible(text))


def _table(found: Table, left: int) -> str:
    """Return a table whose first columns hold words, and the others numbers."""

    def cells(row: object, tag: str) -> str:
        assert isinstance(row, (tuple, list)), "a row is a sequence of cells"
        sides = ["left" if k < left else "right" for k in range(len(row))]
        return "".join(
            f'<{tag} style="text-align:{side}">{_text(cell)}</{tag}>'
            for side, cell in zip(sides, row, strict=True)
        )

    columns, rows = found
    head = f"<thead><tr>{cells(tuple(columns), 'th')}</tr></thead>" if columns else ""
    body = "".join(f"<tr>{cells(tuple(row), 'td')}</tr>" for row in rows)
    return f"<table>{head}<tbody>{body}</tbody></table>"


def _chart(result: Result) -> str:
    """Return the Gantt chart as a picture; nothing without matplotlib, or where it takes long."""
    from talos_opt.reports import plotting, style

    schedule = result.schedule
    assert schedule is not None, "metrics come from a schedule"
    if len(schedule.device) + len(schedule.transfers) > MOST_ACTIVITIES:
        return ""
    try:
        style.require_matplotlib()
    except DependencyError:
        return ""
    drawing = style.figure(WIDTH, HEIGHT)
    plotting.plot(result, drawing.subplots())
    picture = io.BytesIO()
    drawing.savefig(picture, format="png", dpi=DOTS)
    data = base64.b64encode(picture.getvalue()).decode("ascii")
    title = _text(f"Gantt chart of {result.problem.graph.name}")
    return f'<img src="data:image/png;base64,{data}" alt="{title}" style="max-width:100%">'
