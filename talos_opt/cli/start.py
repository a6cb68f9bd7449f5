"""The program's first steps: Ctrl-C ends it quietly while it is still being loaded.

Nothing is imported above `main` but what the interpreter has anyway. An exception would be no
good here: imports of compiled modules turn it into errors of their own.
"""

from __future__ import annotations

import os
import signal
import sys

#: As `talos_opt.cli.exits` has it, which is not loaded yet.
INTERRUPTED = 130


def _leave(number: int, frame: object) -> None:
    os._exit(INTERRUPTED)


def main() -> int:
    """Run ``talos-opt``; see `talos_opt.cli.main.main`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, _leave)
    from talos_opt.cli.main import main as run

    code = run()
    import threading

    if any(thread.daemon for thread in threading.enumerate()):
        # One that compiles cannot be ended, and the interpreter's own end would wait for it.
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
