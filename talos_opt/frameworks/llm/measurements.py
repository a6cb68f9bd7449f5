"""Speeds that somebody measured: which layers were where, and how many tokens a second came out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from talos_opt.core import units
from talos_opt.core.errors import GraphError
from talos_opt.core.plain import Keys, as_list, as_name, as_text, is_mapping
from talos_opt.formats.source import open_source
from talos_opt.frameworks.llm.model import LanguageModel
from talos_opt.frameworks.llm.parts import EXPERTS, HEAD

SCHEMA = "talos-measurements/1"
_FILE = Keys("measurements", "schema description")
_ROW = Keys("layers context tokens_per_second", "phase batch experts head note")
_PHASES = ("decode", "prefill")
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
#: Measurements that a file may have.
_MOST = 10_000


@dataclass(frozen=True)
class Measurement:
    """A speed, and the split of a model that had it.

    Parameters
    ----------
    devices : tuple of str
        Id of each part's device.
    phase : {'decode', 'prefill'}
    context : int
        Tokens before each that is generated; or those of the prompt.
    batch : int
        Sequences.
    rate : float
        Tokens per second, of all sequences together.
    path : str
        Where it stands in its file.
    """

    devices: tuple[str, ...]
    phase: str
    context: int
    batch: int
    rate: float
    path: str

    @property
    def seconds(self) -> float:
        """Of a token for each sequence, or of the prompts."""
        tokens = self.context if self.phase == "prefill" else 1
        return self.batch * tokens / self.rate


def read_measurements(
    path: str | os.PathLike[str], model: LanguageModel, devices: Sequence[str]
) -> tuple[Measurement, ...]:
    """Read a file of measurements.

    Parameters
    ----------
    path : path
        YAML or JSON.
    model : LanguageModel
    devices : sequence of str
        Ids that the file may name.

    Raises
    ------
    InputError
        If it cannot be read, a split leaves out a layer or has one twice, or names a layer or
        device that is not there; names file, line and path.
    """
    source = open_source(path)
    with source.blamed():
        record = _FILE.check(source.document, "the file of measurements", "")
        schema = record.get("schema", SCHEMA)
        if schema != SCHEMA:
            raise GraphError(f"schema is {units.describe(schema)}, expected {SCHEMA!r}",
                             path="schema")  # fmt: skip
        rows = as_list(record["measurements"], "measurements", "measurements")
        if not 0 < len(rows) <= _MOST:
            raise GraphError(f"has {len(rows)} measurements, expected 1 to {_MOST}",
                             path="measurements")  # fmt: skip
        return tuple(_row(row, f"measurements[{k}]", model, devices) for k, row in enumerate(rows))


def _row(value: object, path: str, model: LanguageModel, devices: Sequence[str]) -> Measurement:
    record = _ROW.check(value, "a measurement", path)
    phase = as_text(record.get("phase", "decode"), "phase", f"{path}.phase")
    if phase not in _PHASES:
        raise GraphError(f"phase is {phase!r}, expected decode or prefill", path=f"{path}.phase")
    context = units.positive_int(record["context"], "context", path=f"{path}.context")
    limit = model.architecture.limit
    if limit is not None and context > limit:
        raise GraphError(f"context is {context}, the model's is {limit}", path=f"{path}.context")
    rate = units.number(record["tokens_per_second"], "tokens_per_second", positive=True,
                        path=f"{path}.tokens_per_second")  # fmt: skip
    batch = units.positive_int(record.get("batch", 1), "batch", path=f"{path}.batch")
    return Measurement(_split(record, path, model, devices), phase, context, batch, rate, path)


def _split(
    record: Mapping[str, Any], path: str, model: LanguageModel, devices: Sequence[str]
) -> tuple[str, ...]:
    """Return the device of each part."""
    count = len(model.architecture.layers)
    layers = _by_layer(record["layers"], f"{path}.layers", count, devices)
    left = [k for k in range(count) if k not in layers]
    if left:
        more = f" and {len(left) - 1} others" if len(left) > 1 else ""
        raise GraphError(f"leaves out layer {left[0]}{more}, expected all of {count}",
                         path=f"{path}.layers")  # fmt: skip
    moved: dict[int, str] = {}
    if "experts" in record:
        where = f"{path}.experts"
        moved = _by_layer(record["experts"], where, count, devices)
        mixtures = {part.layer for part in model.parts if part.role == EXPERTS}
        strange = [k for k in moved if k not in mixtures]
        if strange:
            raise GraphError(f"names layer {strange[0]}, which has no routed experts", path=where)
    head = layers[count - 1]
    if "head" in record:
        head = _device(record["head"], f"{path}.head", devices)
    found: list[str] = []
    for part in model.parts:
        if part.layer is not None:
            elsewhere = moved.get(part.layer) if part.role == EXPERTS else None
            found.append(elsewhere or layers[part.layer])
        elif part.role == HEAD:
            found.append(head)
        else:  # takes next to no time: no hop for it
            found.append(found[-1] if found else layers[0])
    return tuple(found)


def _by_layer(value: object, path: str, count: int, devices: Sequence[str]) -> dict[int, str]:
    if not is_mapping(value):  # all on one device
        return dict.fromkeys(range(count), _device(value, path, devices))
    found: dict[int, str] = {}
    for key, ranges in value.items():
        device = _device(key, path, devices)
        for layer in _layers(ranges, f"{path}.{device}", count):
            if layer in found:
                raise GraphError(f"has layer {layer} twice: on {found[layer]} and {device}",
                                 path=path)  # fmt: skip
            found[layer] = device
    return found


def _layers(value: object, path: str, count: int) -> list[int]:
    """Read ``7``, ``0-39``, ``0-3,8`` or a list of such."""
    if isinstance(value, list):
        return [layer for item in value for layer in _layers(item, path, count)]
    number = isinstance(value, int) and not isinstance(value, bool)
    words = str(value).split(",") if number or isinstance(value, str) else [""]
    found: list[int] = []
    for word in words:
        match = _RANGE.fullmatch(word.strip())
        first = int(match[1]) if match else 0
        last = int(match[2] or first) if match else -1
        if not first <= last < count:
            raise GraphError(
                f"is {units.describe(value)}, expected layers of 0 to {count - 1}, such as 0-3,7",
                path=path,
            )  # fmt: skip
        found += range(first, last + 1)
    return found


def _device(value: object, path: str, devices: Sequence[str]) -> str:
    name = as_name(value, "a device", path)
    if name not in devices:
        raise GraphError(f"names the unknown device {name!r}, expected one of {', '.join(devices)}",
                         path=path)  # fmt: skip
    return name
