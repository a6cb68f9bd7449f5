"""Where text goes: answers to standard output, everything else to standard error.

A reader that closes its end of a pipe (``| head``) wants no more text; it is no error, and what
the command still has to do, such as writing a file, goes on.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO


def open_streams() -> None:
    """Give a process that was started with closed streams (``>&-``) some that go nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open until the end


def emit(text: str) -> None:
    """Write an answer to standard output, with a line end."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """Write an error or a note to standard error, with a line end."""
    _write(sys.stderr, text)
    flush(sys.stderr)


def flush(stream: TextIO | None = None) -> str:
    """Flush a stream, by default standard output; return what went wrong, or nothing."""
    stream = sys.stdout if stream is None else stream
    try:
        stream.flush()
    except BrokenPipeError:
        silence(stream)
    except OSError as error:
        silence(stream)
        return error.strerror or str(error)
    return ""


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    # A graph's names may hold characters that the terminal's encoding lacks.
    printable = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        stream.write(printable + "\n")
    except BrokenPipeError:
        silence(stream)


def silence(stream: TextIO) -> None:
    """Send the rest of a broken stream nowhere, so that the exit's flush finds no error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
