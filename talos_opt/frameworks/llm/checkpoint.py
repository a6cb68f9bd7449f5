"""What a folder of Hugging Face says of its model: config, index, headers of safetensors.

Formats: huggingface/safetensors, README; transformers, sharded checkpoints.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from talos_opt.core.errors import FormatError
from talos_opt.frameworks.llm.tensors import Tensor

#: Bits of a value by the word of a safetensors header.
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16,
    "I16": 16, "U16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
CONFIG, INDEX, SINGLE = "config.json", "model.safetensors.index.json", "model.safetensors"
#: The most that a safetensors header may take, as its own reader has it.
_MOST = 100_000_000


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as its files describe it.

    Parameters
    ----------
    config : mapping or None
    tensors : tuple of Tensor or None
        None: no file lists their sizes.
    names : tuple of str or None
        Of the index, where it is all that is there.
    total : int or None
        Bytes of all tensors, as the index says.
    source : str
        The file that the tensors, or the config, are from.
    """

    config: Mapping[str, Any] | None = field(repr=False)
    tensors: tuple[Tensor, ...] | None = field(repr=False)
    names: tuple[str, ...] | None = field(repr=False)
    total: int | None
    source: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a folder, a config, an index or a safetensors file.

    What lies beside the file counts too: the config of an index, the shards that it names.

    Raises
    ------
    FormatError
        If a file is missing, broken or contradicts another.
    """
    folder = path if path.is_dir() else path.parent
    config_path = path if path.name == CONFIG else folder / CONFIG
    if path.suffix == ".json" and path.name not in (CONFIG, INDEX):
        if path.name.endswith(".index.json"):
            return _of_index(path, _config(config_path))
        return Checkpoint(_document(path), None, None, None, str(path))
    if not path.is_dir() and path.suffix not in (".json", ".safetensors"):
        raise FormatError(
            f"is not a model, expected a GGUF file, a {CONFIG}, an index, a safetensors file or a "
            "folder", source=str(path),
        )  # fmt: skip
    config = _config(config_path)
    if path.suffix == ".safetensors":
        return Checkpoint(config, tuple(read_header(path)), None, None, str(path))
    index, single = folder / INDEX, folder / SINGLE
    if index.is_file():
        return _of_index(index, config)
    if single.is_file():
        return Checkpoint(config, tuple(read_header(single)), None, None, str(single))
    if config is None:
        raise FormatError(
            f"there is no {CONFIG}, {INDEX}, {SINGLE} or GGUF file in it", source=str(path)
        )
    return Checkpoint(config, None, None, None, str(config_path))


def _config(path: Path) -> Mapping[str, Any] | None:
    return _document(path) if path.is_file() else None


def _of_index(path: Path, config: Mapping[str, Any] | None) -> Checkpoint:
    document = _document(path)
    files = document.get("weight_map")
    if not isinstance(files, dict) or not files:
        raise FormatError(
            "is missing or empty, expected tensors and their files",
            path="weight_map",
            source=str(path),
        )
    for name, file in files.items():
        if not isinstance(file, str) or "/" in file or "\\" in file:
            raise FormatError(
                f"the file of tensor {name!r} is {file!r}, expected a name without folders",
                path="weight_map", source=str(path),
            )  # fmt: skip
    metadata = document.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    if total is not None and (not isinstance(total, int) or isinstance(total, bool) or total < 0):
        raise FormatError(f"is {total!r}, expected a number of bytes", source=str(path),
                          path="metadata.total_size")  # fmt: skip
    shards = [path.parent / name for name in dict.fromkeys(files.values())]
    try:
        there = [shard for shard in shards if shard.is_file()]
    except OSError as error:  # a name that no file can have
        raise FormatError(
            f"names a file that cannot be read: {error.strerror}", source=str(path),
            path="weight_map",
        ) from None  # fmt: skip
    if not there:
        return Checkpoint(config, None, tuple(files), total, str(path))
    if len(there) < len(shards):
        missing = next(shard.name for shard in shards if shard not in there)
        count = len(shards) - len(there)
        raise FormatError(
            f"names {len(shards)} files, of which {count} are missing: {missing}",
            source=str(path),
        )
    found = {t.name: (t, shard.name) for shard in there for t in read_header(shard)}
    for name, file in files.items():
        if name not in found or found[name][1] != file:
            raise FormatError(
                f"tensor {name!r} is not in {file}, which the index says", source=str(path)
            )
    tensors = tuple(found[name][0] for name in files)
    _require_total(tensors, total, str(path))
    return Checkpoint(config, tensors, None, total, str(path))


def _require_total(tensors: tuple[Tensor, ...], total: int | None, source: str) -> None:
    size = sum(tensor.bytes for tensor in tensors)
    if total is not None and size != total:
        raise FormatError(
            f"the tensors of the files sum to {size} bytes, expected the total_size of the index, "
            f"{total}", source=source,
        )  # fmt: skip


def read_header(path: Path) -> list[Tensor]:
    """Read the header of a safetensors file.

    Raises
    ------
    FormatError
        If it is not one, or is shorter or longer than its header says.
    """
    source = str(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            lead = file.read(8)
            length = struct.unpack("<Q", lead)[0] if len(lead) == 8 else _MOST + 1
            if length > _MOST:
                raise FormatError("is not a safetensors file: it has no header", source=source)
            text = file.read(length)
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", source=source) from None
    if len(text) < length:
        raise FormatError(
            f"the file ends inside its header of {length} bytes: it is truncated", source=source
        )
    rows = {n: row for n, row in _parse(text, source).items() if n != "__metadata__"}
    found = [_tensor(name, row, source) for name, row in rows.items()]
    end = 8 + length + max((row["data_offsets"][1] for row in rows.values()), default=0)
    if size < end:
        raise FormatError(
            f"the file has {size} bytes, expected {end}: it is truncated", source=source
        )
    return found


def _tensor(name: str, row: Any, source: str) -> Tensor:
    try:
        dtype, shape = str(row["dtype"]), tuple(row["shape"])
        begin, end = row["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise FormatError(
            f"tensor {name!r} has no dtype, shape and data_offsets", source=source
        ) from None
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)) or begin > end:
        raise FormatError(
            f"tensor {name!r} has shape {list(shape)} and data_offsets {[begin, end]}, expected "
            "whole numbers, of which the second offset is not the smaller", source=source,
        )  # fmt: skip
    if dtype in BITS and prod(shape) * BITS[dtype] != 8 * (end - begin):
        raise FormatError(
            f"tensor {name!r} takes {end - begin} bytes, expected {prod(shape) * BITS[dtype] // 8} "
            f"for {dtype} and shape {list(shape)}", source=source,
        )  # fmt: skip
    return Tensor(name, dtype, shape, end - begin)


def _document(path: Path) -> dict[str, Any]:
    try:
        return _parse(path.read_bytes(), str(path))
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", source=str(path)) from None


def _parse(raw: bytes, source: str) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8-sig")
        document = json.loads(text)
    except UnicodeDecodeError:
        raise FormatError("is not JSON: it is not UTF-8", source=source) from None
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1 :][:1]
        mark = line and line[0].startswith(("<<<<<<<", "=======", ">>>>>>>"))
        more = ": a merge conflict was committed with it" if mark else ""
        raise FormatError(
            f"is not JSON: {error.msg.lower()}{more}", source=source, line=error.lineno
        ) from None
    except ValueError:  # Python reads no more than 4,300 digits
        raise FormatError("has a number of too many digits", source=source) from None
    except RecursionError:
        raise FormatError("is not JSON: it is nested too deeply", source=source) from None
    if not isinstance(document, dict):
        raise FormatError("is not a JSON object", source=source)
    return document
