"""Named arrays in one file, as numpy's ``.npz``: a zip of ``.npy`` files.

Read strictly: nothing is unpickled, no header makes anything larger than the file claims to be,
and every column has the type and shape that its reader expects.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from talos_opt.core import units
from talos_opt.core.errors import FormatError
from talos_opt.formats.source import MAX_UNZIPPED, ZIP_MAGIC, Source
from talos_opt.formats.target import write_file
from talos_opt.formats.text import require_few_values

Array = npt.NDArray[Any]

#: Name of the column that holds the JSON text with all that is no column.
HEADER = "header"
#: Zip members carry a date; a fixed one makes equal content equal files.
_DATE = (1980, 1, 1, 0, 0, 0)


def is_npz(source: Source) -> bool:
    """Whether a file is a zip archive."""
    return source.data.startswith(ZIP_MAGIC)


class Members:
    """The arrays of one file; each is read when it is asked for, once.

    Parameters
    ----------
    source : Source

    Raises
    ------
    FormatError
        If the file is not a whole zip archive of ``.npy`` files.
    """

    def __init__(self, source: Source) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(source.data))
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise FormatError(
                f"is not an npz file, or is cut off: {error}; expected a zip archive of arrays"
            ) from None
        self._left: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name = info.filename.removesuffix(".npy")
            if name == info.filename or name in self._left:
                raise FormatError(
                    f"holds {info.filename!r}, expected arrays NAME.npy with distinct names"
                )
            self._left[name] = info
        total = sum(info.file_size for info in self._left.values())
        if total > MAX_UNZIPPED:
            raise FormatError(f"unzips to {total} bytes, expected at most {MAX_UNZIPPED}")

    def has(self, name: str) -> bool:
        """Whether there is an array of that name that has not been taken yet."""
        return name in self._left

    def whole(
        self, name: str, shape: tuple[int | None, ...], default: int | None = None
    ) -> npt.NDArray[np.int64]:
        """Return an array of whole numbers; see `take`."""
        if default is not None and not self.has(name):
            return np.full([length or 0 for length in shape], default, dtype=np.int64)
        array = self.take(name, shape, "iu", "whole numbers")
        if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise FormatError(f"column {name!r} holds {array.max()}, too large for 64 bits")
        return np.ascontiguousarray(array, dtype=np.int64)

    def real(self, name: str, shape: tuple[int | None, ...]) -> npt.NDArray[np.float64]:
        """Return an array of numbers; see `take`."""
        return np.ascontiguousarray(self.take(name, shape, "fiu", "numbers"), dtype=np.float64)

    def text(self, name: str) -> str:
        """Return text that is kept as its UTF-8 bytes."""
        data = self.take(name, (None,), "u", "bytes (uint8) of UTF-8 text")
        try:
            return data.astype(np.uint8, copy=False).tobytes().decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"column {name!r} is not UTF-8 text at byte {error.start}") from None

    def header(self) -> Mapping[str, Any]:
        """Return the mapping in the header."""
        text = self.text(HEADER)
        require_few_values(text)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"column {HEADER!r} is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise FormatError(f"column {HEADER!r} is {units.describe(value)}, expected a mapping")
        return value

    def take(self, name: str, shape: tuple[int | None, ...], kinds: str, what: str) -> Array:
        """Return an array, read-only, and forget it.

        Parameters
        ----------
        name : str
        shape : tuple of int or None
            Expected; None: any length.
        kinds : str
            numpy's letters of the types that will do.
        what : str
            Those types in words.

        Raises
        ------
        FormatError
            If it is missing, broken, or of another type or shape.
        """
        if name not in self._left:
            raise FormatError(f"has no column {name!r}, expected {what}")
        array = self._read(name, self._left.pop(name))
        fits = array.ndim == len(shape) and all(
            wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
        )
        if array.dtype.kind not in kinds or not fits:
            wanted = ", ".join("any" if length is None else str(length) for length in shape)
            raise FormatError(
                f"column {name!r} holds {array.dtype} of shape {array.shape}, "
                f"expected {what} of shape ({wanted})"
            )
        return array

    def finish(self) -> None:
        """Refuse arrays that nobody has asked for."""
        if self._left:
            raise FormatError(f"has an unknown column {min(self._left)!r}")

    def _read(self, name: str, info: zipfile.ZipInfo) -> Array:
        try:
            data = self._zip.read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise FormatError(f"column {name!r} is broken: {error}") from None
        except NotImplementedError as error:
            raise FormatError(f"column {name!r} cannot be unzipped: {error}") from None
        file = io.BytesIO(data)
        try:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, by_column, kind = np.lib.format.read_array_header_1_0(file)
            else:
                shape, by_column, kind = np.lib.format.read_array_header_2_0(file)
        except ValueError as error:
            raise FormatError(f"column {name!r} is not an array: {error}") from None
        if kind.hasobject:
            raise FormatError(f"column {name!r} holds Python objects, expected numbers")
        count = 1
        for length in shape:
            count *= length
        if count < 0 or file.tell() + count * kind.itemsize != len(data):
            raise FormatError(
                f"column {name!r} has {len(data) - file.tell()} bytes, "
                f"expected {count * kind.itemsize} for shape {shape} of {kind}"
            )
        flat = np.frombuffer(data, dtype=kind, count=count, offset=file.tell())
        return flat.reshape(shape, order="F" if by_column else "C")


def write_members(
    header: Mapping[str, Any],
    columns: Mapping[str, Array | str],
    target: str | os.PathLike[str],
) -> None:
    """Write named arrays and a header: whole or not at all.

    Parameters
    ----------
    header : mapping
        What JSON can hold.
    columns : mapping
        Arrays; and texts, which are kept as their UTF-8 bytes.
    target : str or path

    Raises
    ------
    FormatError
        If the target cannot be written.
    """
    texts = {HEADER: json.dumps(header, ensure_ascii=False, allow_nan=False), **columns}
    try:
        arrays = {
            name: _as_bytes(value) if isinstance(value, str) else value
            for name, value in texts.items()
        }
    except UnicodeEncodeError as error:
        raise FormatError(
            f"cannot be written as UTF-8: {error.reason}", source=os.fspath(target)
        ) from None

    def write(file: BinaryIO) -> None:
        # Headers are written before their content, never mended: the target may be a stream.
        with zipfile.ZipFile(_Stream(file), "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                info = zipfile.ZipInfo(f"{name}.npy", _DATE)
                info.external_attr = 0o644 << 16
                with archive.open(info, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)

    write_file(write, target)


def _as_bytes(text: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)


class _Stream(io.RawIOBase):
    """A file that is only ever written on: gzip's own says that it can go back, and cannot."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        return self._file.write(data)
