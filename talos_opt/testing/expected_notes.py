"""Which notes a run may leave. Others may be all that is left of a failure, and are one."""

from __future__ import annotations

import re

#: What depends on the machine and its load, and may be noted in any run.
EXPECTED = (
    r"compiling kernels took",
    r"kernels were not compiled in time",
    r"the time limit was reached while the formulation was written",
    r"before there was a schedule: whole models were placed",
    r"^presolve: ",
    r"^bundles: \d+ ways",
)


def unexpected(notes: list[str], patterns: tuple[str, ...] = ()) -> list[str]:
    """Return the notes that neither `EXPECTED` nor any of the patterns matches."""
    known = re.compile("|".join((*EXPECTED, *patterns)))
    return [note for note in notes if not known.search(note)]
