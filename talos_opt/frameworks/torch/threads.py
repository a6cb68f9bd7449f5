"""Torch's intra-op threads, for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def threads_set(count: int | None) -> Iterator[int]:
    """Run with a number of intra-op threads (None: as it is) and go back to the one before."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def threads_each(devices: int) -> int:
    """Return how many of torch's intra-op threads each of some CPU devices has: one at least."""
    return max(1, torch.get_num_threads() // max(1, devices))
