"""A process that solves cases: pickled requests on standard input, rows on standard output.

Between a request and its row, a case that is solved by several at once also gets and sends `News`.

It ends when its input does, which is also how it learns that its parent was killed.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Queue
from typing import Any

from talos_opt.studies.portfolios.news import Mailbox, News
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
    lock = threading.Lock()

    def send(message: object) -> None:
        with lock, suppress(BrokenPipeError):
            pickle.dump(message, out)
            out.flush()

    threading.Thread(target=_read, args=(requests, cancel, send), daemon=True).start()
    while (item := requests.get()) is not None:
        request, mailbox = item
        row = solve_request(request, mailbox, cancel)
        if cancel.is_set():
            break
        send(row)
    os._exit(0)


def _read(requests: Queue[Any], cancel: threading.Event, send: Callable[[object], None]) -> None:
    mailbox = Mailbox(send)
    try:
        while True:
            message = pickle.load(sys.stdin.buffer)
            if isinstance(message, News):
                mailbox.deliver(message)
            else:
                mailbox = Mailbox(send)
                requests.put((message, mailbox))
    except Exception:  # the end of the input, however it came
        cancel.set()
        requests.put(None)
        time.sleep(_GRACE)
        os._exit(1)
