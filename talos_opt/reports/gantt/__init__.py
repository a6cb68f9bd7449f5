"""A schedule as a picture: lanes of ops and transfers over time, memory under them.

drawing     the picture as a whole, from a `View`
options     what of it is drawn, and how
lanes       the lanes: bars, what is idle, names
bands       how high each lane is, and where it lies
bars        bars of ops and transfers as shapes
categories  what ops are coloured as: models, op types, classes of slack
coverage    devices of a kind as one lane
blocks      what is done with bars too narrow to tell apart
path        the critical path over them
memory      memory of a device over time, as a panel
legend      what the colours and lines mean
"""

from __future__ import annotations

from talos_opt.reports.gantt.drawing import draw_gantt, write_gantt
from talos_opt.reports.gantt.options import WIDTH, Options

__all__ = ["WIDTH", "Options", "draw_gantt", "write_gantt"]
