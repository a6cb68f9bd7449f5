"""A process that solves cases: pickled requests on standard input, rows on standard output.

It ends when its input does, which is also how it learns that its parent was killed.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from contextlib import suppress
from queue import Queue
from typing import Any

from talos_opt.studies.solving import solve_request

#: Seconds that a solve has to end itself, and its own children, once nobody waits for it.
_GRACE = 2.0


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the parent to stop
    cores = {int(core) for core in sys.argv[2].split(",") if core}
    if cores and hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(0, cores)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write between the rows
    cancel = threading.Event()
    requests: Queue[Any] = Queue()
    threading.Thread(target=_read, args=(requests, cancel), daemon=True).start()
    while (request := requests.get()) is not None:
        row = solve_request(request, cancel)
        if cancel.is_set():
            break
        with suppress(BrokenPipeError):
            pickle.dump(row, out)
            out.flush()
    os._exit(0)


def _read(requests: Queue[Any], cancel: threading.Event) -> None:
    try:
        while True:
            requests.put(pickle.load(sys.stdin.buffer))
    except Exception:  # the end of the input, however it came
        cancel.set()
        requests.put(None)
        time.sleep(_GRACE)
        os._exit(1)
