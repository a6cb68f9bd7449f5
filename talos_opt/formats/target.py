"""Where text goes: a file, written beside its place and then moved there, or standard output."""

from __future__ import annotations

import gzip
import io
import os
import secrets
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

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
        _write_stdout(lines)
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
                _write(lines, file, zipped=zipped)
        else:
            _replace(lines, path, zipped=zipped)
    except OSError as error:
        raise FormatError(f"cannot be written: {error.strerror or error}", source=name) from None
    except UnicodeEncodeError as error:
        raise FormatError(f"cannot be written as UTF-8: {error.reason}", source=name) from None


def _replace(lines: Iterable[str], path: Path, *, zipped: bool) -> None:
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(None, "Permission denied")
    beside = path.with_name(f".talos-{secrets.token_hex(8)}.tmp")
    # Unlike tempfile's, a plain open gives the permissions that the user's umask asks for.
    with beside.open("xb") as file:
        try:
            if path.exists():
                beside.chmod(stat.S_IMODE(path.stat().st_mode))
            _write(lines, file, zipped=zipped)
            file.close()
            beside.replace(path)
        except BaseException:
            file.close()
            beside.unlink(missing_ok=True)
            raise


def _write(lines: Iterable[str], file: BinaryIO, *, zipped: bool) -> None:
    if not zipped:
        _write_text(lines, file)
        return
    # No name and no time inside, so that equal content makes equal files.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as packed:
        _write_text(lines, packed)


def _write_text(lines: Iterable[str], file: BinaryIO | gzip.GzipFile) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="\n")
    text.writelines(f"{line}\n" for line in lines)
    text.detach()


def _write_stdout(lines: Iterable[str]) -> None:
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
