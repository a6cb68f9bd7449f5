"""Where bytes come from: a file, a gzip file or standard input; and the text in them."""

from __future__ import annotations

import gc
import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

from talos_opt.core.errors import FormatError, InputError

#: What stands for standard input or output on the command line.
STREAM = "-"

GZIP_MAGIC = b"\x1f\x8b"

ZIP_MAGIC = b"PK\x03\x04"

#: How a row of protobuf messages begins: a length, and field 1 of the first message, a text.
PROTOBUF = re.compile(rb"[\x80-\xff]{0,4}[\x01-\x7f]\x0a")

#: No file may hold, or unfold to, more: a few kilobytes of gzip can be a terabyte of zeros, and
#: a device or a pipe may never end.
MAX_UNZIPPED = 2**32

#: Nor may text. Graphs and schedules too large for it go into ``.npz``.
MAX_TEXT = 2**30

#: Bytes that are read at a time where the end is not known.
_CHUNK = 2**20


@dataclass(frozen=True)
class Source:
    """The content of one file, read once.

    Parameters
    ----------
    name : str
        How messages call it.
    path : Path or None
        None: standard input.
    data : bytes
        Content, unzipped.
    """

    name: str
    path: Path | None
    data: bytes

    @property
    def suffix(self) -> str:
        """Suffix of the file's name in lower case, ``.gz`` aside; empty for standard input."""
        return "" if self.path is None else split_suffix(self.path.name)[1]

    @property
    def stem(self) -> str:
        """Name of the file without its suffixes; ``stdin`` for standard input."""
        return "stdin" if self.path is None else split_suffix(self.path.name)[0]

    @property
    def folder(self) -> Path:
        """Folder that paths inside the file are relative to."""
        return Path() if self.path is None else self.path.parent

    @cached_property
    def text(self) -> str:
        """The content as text.

        Raises
        ------
        FormatError
            If it is empty or not UTF-8.
        """
        hole = self.data.find(b"\0")
        if hole >= 0:
            raise FormatError(
                f"is binary (byte {hole} is NUL), expected YAML or JSON text", source=self.name
            )
        try:
            text = self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise FormatError(
                f"byte {error.start} (0x{self.data[error.start]:02x}) is not UTF-8 text, "
                "expected YAML or JSON",
                source=self.name,
                line=self.data.count(b"\n", 0, error.start) + 1,
            ) from None
        if not text.strip():
            raise FormatError("is empty, expected YAML or JSON text", source=self.name)
        return text

    @cached_property
    def document(self) -> object:
        """The plain data in the text: mappings, lists, text, numbers, booleans, None.

        Raises
        ------
        FormatError
            If the text is not valid JSON (``.json``) or YAML (everything else).
        """
        from talos_opt.formats.text import parse

        with self.blamed():
            return parse(self.text, json_only=self.suffix == ".json")

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Add this file, and the line of the error's path in it, to errors raised inside."""
        try:
            yield
        except InputError as error:
            if error.source is not None:
                raise
            line = error.line
            if line is None and error.path is not None:
                from talos_opt.formats.locate import find_line

                line = find_line(self.text, error.path)
            raise error.located(source=self.name, line=line) from None


@contextmanager
def paused_collector() -> Iterator[None]:
    """Pause the collector of cyclic garbage while many objects are built that hold no cycles.

    It would look through all of them again and again, which doubles the time of a large file.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def split_suffix(name: str) -> tuple[str, str]:
    """Split a file name into its stem and its suffix in lower case, ``.gz`` aside."""
    if name.lower().endswith(".gz"):
        name = name[:-3]
    stem, suffix = os.path.splitext(name)
    return stem, suffix.lower()


def open_source(source: str | os.PathLike[str]) -> Source:
    """Read a file, or standard input for ``-``, and unzip it where it is gzip.

    Raises
    ------
    FormatError
        If it cannot be read, or is broken gzip; names the file.
    """
    if isinstance(source, str) and source == STREAM:
        return Source("<stdin>", None, _unzip(_read_stdin(), "<stdin>", zipped=False))
    name = os.fspath(source)
    path = Path(name)
    try:
        with path.open("rb") as file:
            data = _read_all(file, name, os.fstat(file.fileno()).st_size)
    except IsADirectoryError:
        raise FormatError("is a directory, expected a file", source=name) from None
    except FileNotFoundError:
        raise FormatError("does not exist, expected a file", source=name) from None
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror or error}", source=name) from None
    except ValueError as error:  # a NUL in the path
        raise FormatError(f"cannot be read: {error}", source=repr(name)) from None
    return Source(name, path, _unzip(data, name, zipped=path.suffix.lower() == ".gz"))


def _read_stdin() -> bytes:
    if sys.stdin is None:
        raise FormatError("cannot be read: it is closed", source="<stdin>")
    try:
        raw = getattr(sys.stdin, "buffer", None)
        if raw is None:  # a stand-in for standard input (a test, a notebook) may hold text only
            raw = io.BytesIO(sys.stdin.read(MAX_TEXT + 1).encode())
        return _read_all(raw, "<stdin>")
    except FormatError:
        raise
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot be read: {error}", source="<stdin>") from None


def _unzip(data: bytes, name: str, *, zipped: bool) -> bytes:
    if not data.startswith(GZIP_MAGIC):
        if zipped and data:
            raise FormatError("is not gzip data, though its name ends in .gz", source=name)
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return _read_all(cast("BinaryIO", file), name)
    except EOFError:
        raise FormatError("is gzip data that ends too early (cut off?)", source=name) from None
    except (OSError, zlib.error) as error:
        raise FormatError(f"is broken gzip data: {error}", source=name) from None


def _read_all(file: BinaryIO, name: str, size: int = 0) -> bytes:
    """Return what a file holds, up to the limit for what its first bytes say that it is.

    Parameters
    ----------
    file : binary file
    name : str
        For messages.
    size : int
        Bytes that it is said to hold; 0: not known.

    Raises
    ------
    FormatError
        If there is more than the limit.
    """
    head = file.read(_CHUNK)
    packed = head.startswith((GZIP_MAGIC, ZIP_MAGIC))
    limit = MAX_UNZIPPED if packed else MAX_TEXT
    if not packed and b"\0" in head and not PROTOBUF.match(head):
        return head  # no text, as whoever asks for it is told; a device of zeros has no end
    chunks, found = [head], len(head)
    while chunks[-1] and found <= limit:
        # Of a file whose size is known the rest comes in one piece, which is not copied again.
        step = max(_CHUNK, min(size, limit) - found + 1)
        chunks.append(file.read(step))
        found += len(chunks[-1])
    if found > limit:
        what = "bytes" if packed else "bytes of text; .npz files may hold more"
        raise FormatError(f"holds too much, expected at most {limit} {what}", source=name)
    return b"".join(chunks)
