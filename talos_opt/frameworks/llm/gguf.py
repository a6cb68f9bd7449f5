"""The header of a GGUF file: its metadata, and the name, type, shape and bytes of every tensor.

Read here rather than by the package ``gguf``, which maps the whole file and makes an array for
each field. Format: ggml, docs/gguf.md (versions 2 and 3; little endian).
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from talos_opt.core.errors import FormatError
from talos_opt.frameworks.llm.tensors import Tensor

MAGIC = b"GGUF"

#: By number: name, values of a block, and bytes of a block (ggml.h, ggml-common.h).
TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2),
    26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
_BY_NAME = {name: (block, size) for name, block, size in TYPES.values()}

#: Scalars of the metadata, by number.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
            12: "d"}  # fmt: skip
_STRING, _ARRAY = 8, 9
#: What a header may hold at most: more are a sign of a damaged file.
_MOST = 2**24
#: Arrays longer than this are vocabularies, which nothing here reads.
_KEPT = 2**13
_PART = re.compile(r"(.*-)(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of its model.

    Parameters
    ----------
    metadata : dict
        By key. Long arrays, such as the vocabulary, are left out.
    tensors : tuple of Tensor
        Of all parts, in the files' order.
    path : Path
        The first part.
    """

    metadata: dict[str, Any] = field(repr=False)
    tensors: tuple[Tensor, ...] = field(repr=False)
    path: Path

    @property
    def total_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.bytes for tensor in self.tensors)


def bytes_of(dtype: str, shape: Sequence[int]) -> int:
    """Return the bytes of a tensor of a type of ggml, by its block size.

    Raises
    ------
    ValueError
        If the type is unknown, or a row is not a whole number of blocks.
    """
    if dtype.upper() not in _BY_NAME:
        raise ValueError(f"type {dtype!r} is unknown, expected one of {', '.join(_BY_NAME)}")
    block, size = _BY_NAME[dtype.upper()]
    if shape and shape[0] % block:
        raise ValueError(
            f"rows of {shape[0]} values are not a whole number of blocks of {block} ({dtype})"
        )
    return prod(shape) // block * size


def read_gguf(path: str | os.PathLike[str]) -> Header:
    """Read the header of a GGUF file and, if it is one of several parts, of all of them.

    Raises
    ------
    FormatError
        If a part is missing, is not GGUF, or is shorter than its header says.
    """
    first, *others = _parts(Path(path))
    metadata, tensors = _read(first)
    for other in others:
        tensors = [*tensors, *_read(other)[1]]
    said = metadata.get("split.tensors.count")
    if isinstance(said, int) and others and said != len(tensors):
        raise FormatError(
            f"its parts list {len(tensors)} tensors, expected {said}", source=str(first),
            path="split.tensors.count",
        )  # fmt: skip
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise FormatError(f"tensor {tensor.name!r} is listed twice", source=str(first))
        seen.add(tensor.name)
    return Header(metadata, tuple(tensors), first)


def _parts(path: Path) -> list[Path]:
    match = _PART.fullmatch(path.name)
    if not match:
        return [path]
    found = []
    for k in range(1, int(match[3]) + 1):
        part = path.with_name(f"{match[1]}{k:05d}-of-{match[3]}.gguf")
        if not part.is_file():
            raise FormatError(
                f"part {k} of {int(match[3])} is missing, expected {part.name}", source=str(path)
            )
        found.append(part)
    return found


def _read(path: Path) -> tuple[dict[str, Any], list[Tensor]]:
    try:
        with path.open("rb") as file:
            return _Reader(file, path).read()
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", source=str(path)) from None


class _Reader:
    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._source = file, str(path)
        self._size = path.stat().st_size

    def read(self) -> tuple[dict[str, Any], list[Tensor]]:
        if self._file.read(4) != MAGIC:
            raise self._error("is not a GGUF file: it does not begin with GGUF")
        version = self._number("I", "version")
        if version not in (2, 3):
            raise self._error(f"version is {version}, expected 2 or 3 (little endian)")
        tensors = self._count("number of tensors")
        keys = self._count("number of metadata entries")
        metadata = dict(self._entry(k) for k in range(keys))
        rows = [self._tensor(k) for k in range(tensors)]
        self._require_data(metadata, rows)
        return metadata, [tensor for tensor, _ in rows]

    def _entry(self, k: int) -> tuple[str, Any]:
        where = f"metadata[{k}]"
        key = self._text(where)
        return key, self._value(self._number("I", where), key)

    def _value(self, kind: int, where: str) -> Any:
        if kind in _SCALARS:
            return self._number(_SCALARS[kind], where)
        if kind == _STRING:
            return self._text(where)
        if kind != _ARRAY:
            raise self._error(f"{where} has the unknown type {kind}")
        kind, length = self._number("I", where), self._count(f"length of {where}")
        if kind == _STRING:
            for _ in range(length):
                self._skip(self._count(where), where)
            return None
        if kind not in _SCALARS:
            raise self._error(f"{where} is an array of the unknown type {kind}")
        size = struct.calcsize(f"<{_SCALARS[kind]}") * length
        if length > _KEPT:
            self._skip(size, where)
            return None
        return list(struct.unpack(f"<{length}{_SCALARS[kind]}", self._bytes(size, where)))

    def _tensor(self, k: int) -> tuple[Tensor, int]:
        where = f"tensors[{k}]"
        name = self._text(where)
        axes = self._number("I", where)
        if axes > 8:
            raise self._error(f"{where}, {name!r}, has {axes} axes, expected at most 8")
        shape = tuple(self._number("Q", where) for _ in range(axes))
        kind, offset = self._number("I", where), self._number("Q", where)
        if kind not in TYPES:
            raise self._error(f"tensor {name!r} has the unknown type {kind}")
        try:
            size = bytes_of(TYPES[kind][0], shape)
        except ValueError as error:
            raise self._error(f"tensor {name!r}: {error}") from None
        return Tensor(name, TYPES[kind][0], shape, size), offset

    def _require_data(self, metadata: dict[str, Any], rows: list[tuple[Tensor, int]]) -> None:
        align = metadata.get("general.alignment", 32)
        if not isinstance(align, int) or align < 1:
            raise self._error(f"general.alignment is {align!r}, expected a number of at least 1")
        begin = -(-self._file.tell() // align) * align
        for tensor, offset in rows:
            if begin + offset + tensor.bytes > self._size:
                raise self._error(
                    f"the file ends inside tensor {tensor.name!r}: it has {self._size} bytes, "
                    f"expected at least {begin + offset + tensor.bytes}"
                )

    def _number(self, code: str, where: str) -> Any:
        size = struct.calcsize(f"<{code}")
        return struct.unpack(f"<{code}", self._bytes(size, where))[0]

    def _count(self, what: str) -> int:
        count = int(self._number("Q", what))
        if count > _MOST:
            raise self._error(f"{what} is {count}, expected at most {_MOST}: is it damaged?")
        return count

    def _text(self, where: str) -> str:
        raw = self._bytes(self._count(f"length of {where}"), where)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._error(f"{where} is not UTF-8") from None

    def _bytes(self, size: int, where: str) -> bytes:
        raw = self._file.read(size)
        if len(raw) < size:
            raise self._error(f"the file ends inside its header, in {where}: it is truncated")
        return raw

    def _skip(self, size: int, where: str) -> None:
        if self._file.tell() + size > self._size:
            raise self._error(f"the file ends inside its header, in {where}: it is truncated")
        self._file.seek(size, os.SEEK_CUR)

    def _error(self, message: str) -> FormatError:
        return FormatError(message, source=self._source)
