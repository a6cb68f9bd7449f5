"""Where text goes: answers to standard output, everything else to standard error.

Names and messages come from files, so nothing of them reaches a terminal (or a pipe to one) as it
is: control characters, which move the cursor and set titles, and those that reverse the order of
letters are shown as Python escapes them. JSON, which is for programs, is left alone.

A reader that closes its end of a pipe (``| head``) wants no more text. That is not an error: what
the command still has to do, such as writing a file, goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from talos_opt.reports.texts.tables import visible

#: Bold and its end, which only our tables write.
_BOLD = re.compile("(\x1b\\[[01]m)")


def open_streams() -> None:
    """Give a process that was started with closed streams (``>&-``) some that go nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open until the end


def emit(text: str) -> None:
    """Write an answer to standard output, with a line end.

    What is not printable is escaped. Not line ends, which are part of an answer: `visible` takes
    them out of names.
    """
    _write(sys.stdout, "\n".join(map(_settled, text.split("\n"))))


def _settled(line: str) -> str:
    """Return a line escaped, less the marks of bold text."""
    if line.isprintable():
        return line
    return "".join(part if k % 2 else visible(part) for k, part in enumerate(_BOLD.split(line)))


def emit_json(text: str) -> None:
    """Write a JSON document to standard output, with a line end."""
    _write(sys.stdout, text)


def emit_written(args: argparse.Namespace, facts: Mapping[str, Any], text: str = "") -> None:
    """Say what was written to the file of ``-o``, unless that is standard output.

    Parameters
    ----------
    args : namespace
    facts : mapping
        For ``--json``.
    text : str
        For a person; default: the file's name and the facts, which are then counts.
    """
    if args.output == "-":
        return
    if args.json:
        document = {"schema": "talos-written/1", "command": args.command, "output": args.output}
        emit_json(json.dumps({**document, **facts}, indent=1))
    else:
        listed = ", ".join(
            f"{count} {what[:-1] if count == 1 else what}" for what, count in facts.items()
        )
        emit(text or f"{args.output}: {listed}")


def complain(*lines: str) -> None:
    """Write an error or a note to standard error, each line with a line end."""
    logs = sys.modules.get("talos_opt.core.logs")  # loaded where something is logged
    for line in lines:
        _write(sys.stderr, visible(line))
        kind, colon, text = line.partition(": ")
        if logs is not None and colon and kind == "note":
            logs.tell("note", text)
    flush(sys.stderr)


def tell_who_waits(workers: int, scheduler: str | None) -> None:
    """Say that a Dask cluster has no workers yet: what is handed over begins when one joins."""
    if scheduler is not None and not workers:
        complain(f"note: no worker of Dask scheduler {scheduler!r} is there yet, waiting for one")


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
