"""What this process may use of the machine it runs on."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Return how many cores the process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
