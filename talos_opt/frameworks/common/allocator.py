"""Where freed memory goes, which decides how long ops of large tensors take."""

from __future__ import annotations

import ctypes

# glibc's mallopt: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and the most that they take.
_KEEP = ((-1, 2**31 - 1), (-3, 32 * 1024 * 1024))


def keep_freed_memory() -> None:
    """Let the process keep the memory that it frees, where the C library can be told to.

    Memory that goes back to the system costs page faults in the next step, and whether it does
    hangs on the thread that allocates it and on how long a tensor is held. A step that is traced
    holds its tensors longer than a plain one: ops of 10 MB were seen to take twice as long. One
    executor of a model of convolutions took 1900 faults a step, and the next one 256.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return
    for parameter, value in _KEEP:
        mallopt(parameter, value)
