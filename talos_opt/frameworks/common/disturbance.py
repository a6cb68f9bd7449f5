"""How much of the machine other processes took while something was measured."""

from __future__ import annotations

import os
from pathlib import Path

#: Columns of the first line of ``/proc/stat`` in which nothing runs: idle, iowait.
_IDLE = (3, 4)
#: Columns that are counted as part of user and nice already: guest, guest_nice.
_GUESTS = 8
#: Share of all cores beyond which it is worth saying.
_WORTH_SAYING = 0.05


class Others:
    """Looks at the machine from when it is made on; knows nothing where there is no ``/proc``."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._before = self._look()

    def share(self) -> float | None:
        """Return the share of all cores' time that other processes took; None if unknown."""
        now = self._look()
        if now is None or self._before is None:
            return None
        busy, whole, own = (b - a for a, b in zip(self._before, now, strict=True))
        return max(0.0, busy - own) / whole if whole > 0 else None

    def _look(self) -> tuple[float, float, float] | None:
        """Return seconds so far: all cores busy, all cores, this process and its children."""
        try:
            fields = self._stat.read_text(encoding="ascii").splitlines()[0].split()[1:]
            ticks = [int(field) for field in fields[:_GUESTS]]
            second = os.sysconf("SC_CLK_TCK")
        except (AttributeError, IndexError, OSError, ValueError):
            return None
        whole, idle = sum(ticks), sum(ticks[k] for k in _IDLE if k < len(ticks))
        return (whole - idle) / second, whole / second, sum(os.times()[:4])


def note_of(share: float | None) -> str:
    """Return what is to be said of times that were measured meanwhile; empty if nothing."""
    if share is None or share < _WORTH_SAYING:
        return ""
    return f"other processes took {share:.0%} of the CPU meanwhile, so times may be too long"
