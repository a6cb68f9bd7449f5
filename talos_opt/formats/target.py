"""Where content goes: a file, written beside its place and then moved there, or standard output."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from talos_opt.core.errors import FormatError
from talos_opt.formats.source import STREAM


def write_lines(lines: Iterable[str], target: str | os.PathLike[str]) -> None:
    """Write lines of text as UTF-8, as gzip where the name ends in ``.gz``.

    A file appears whole or not at all: whoever reads it meanwhile sees the old content, and a
    failure leaves it as it was.

    Raises
    ------
    FormatError
        If the target cannot be written; names it.
    BrokenPipeError
        If whoever reads standard output has left.
    """
    if isinstance(target, str) and target == STREAM:
        _print_lines(lines)
        return
    write_file(lambda file: _write_text(lines, file), target)


def write_json(document: Mapping[str, Any], target: str | os.PathLike[str]) -> None:
    """Write a document as JSON, an entry on each line; see `write_lines`."""
    write_lines(json.dumps(document, indent=1, ensure_ascii=False).split("\n"), target)


def write_file(write: Callable[[BinaryIO], None], target: str | os.PathLike[str]) -> None:
    """Let `write` fill a file with bytes, packed as gzip where the name ends in ``.gz``.

    Parameters
    ----------
    write : callable
        Writes to the binary file that it is given; called once.
    target : str or path
        See `write_lines`; ``-``: standard output.

    Raises
    ------
    FormatError
        If the target cannot be written; names it.
    BrokenPipeError
        If whoever reads standard output has left.
    """
    if isinstance(target, str) and target == STREAM:
        _print_bytes(write)
        return
    name = os.fspath(target)
    if "\0" in name:
        raise FormatError("cannot be written: a NUL in its name", source=repr(name))
    zipped = name.lower().endswith(".gz")
    try:
        path = Path(os.path.realpath(name))  # a link stays, what it points to is replaced
        if path.is_dir():
            raise FormatError("is a directory, expected a file to write", source=name)
        if not path.parent.is_dir():
            raise FormatError("cannot be written: its folder does not exist", source=name)
        if path.exists() and not path.is_file():  # a pipe or device is written to, not replaced
            with path.open("wb") as file:
                _pack(write, file, zipped=zipped)
        else:
            _replace(write, path, zipped=zipped)
    except OSError as error:
        raise FormatError(f"cannot be written: {error.strerror or error}", source=name) from None
    except UnicodeEncodeError as error:
        raise FormatError(f"cannot be written as UTF-8: {error.reason}", source=name) from None


def _replace(write: Callable[[BinaryIO], None], path: Path, *, zipped: bool) -> None:
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(None, "Permission denied")
    beside = path.with_name(f".talos-{secrets.token_hex(8)}.tmp")
    # Unlike tempfile's, a plain open gives the permissions that the user's umask asks for.
    file = beside.open("xb")
    try:
        with file:  # closing writes what is buffered, and may fail too
            if path.exists():
                beside.chmod(stat.S_IMODE(path.stat().st_mode))
            _pack(write, file, zipped=zipped)
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong before is the news
            beside.unlink(missing_ok=True)
        raise


def _pack(write: Callable[[BinaryIO], None], file: BinaryIO, *, zipped: bool) -> None:
    if not zipped:
        write(file)
        return
    # No name and no time inside, so that equal content makes equal files.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as packed:
        write(cast("BinaryIO", packed))


def _write_text(lines: Iterable[str], file: BinaryIO) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="\n")
    text.writelines(f"{line}\n" for line in lines)
    text.detach()


def _print_lines(lines: Iterable[str]) -> None:
    try:
        binary = getattr(sys.stdout, "buffer", None)
        if binary is None:  # a stand-in for standard output that takes text only
            for line in lines:
                sys.stdout.write(f"{line}\n")
            return
        sys.stdout.flush()
        for line in lines:
            binary.write(line.encode())
            binary.write(b"\n")
        binary.flush()
    except BrokenPipeError:  # whoever read it has had enough, which is no error
        raise
    except (OSError, UnicodeEncodeError) as error:
        raise FormatError(f"cannot be written: {error}", source="<stdout>") from None


def _print_bytes(write: Callable[[BinaryIO], None]) -> None:
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:
        raise FormatError("takes text only, expected a file for binary data", source="<stdout>")
    try:
        sys.stdout.flush()
        write(binary)
        binary.flush()
    except BrokenPipeError:  # whoever read it has had enough, which is no error
        raise
    except OSError as error:
        raise FormatError(f"cannot be written: {error}", source="<stdout>") from None
