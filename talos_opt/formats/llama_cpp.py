"""Flags of llama.cpp that a placement stands for: ``-ngl``, ``-dev``, ``-ts``, ``-ot``.

What llama.cpp does with them (src/llama-model.cpp, load_tensors; common/arg.cpp): the last ``-ngl``
of the layers and the output, which counts as one more layer, go to the devices of ``-dev`` in
shares of ``-ts``; all before stay on the CPU, and so does the embedding. The KV cache of a layer
lies on the layer's device. ``-ot`` then puts single tensors elsewhere: patterns are searched for in
the tensor's name, and the first that is found counts; ``--n-cpu-moe N`` stands for such patterns of
the routed experts of the first N layers.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.core.graph import Op
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.target import write_lines

CPU = "CPU"
_LAYER = re.compile(r"blk\.(\d+)\.(.+)")
_MOST_LAYERS = 10_000
#: Of which llama.cpp gives each layer a copy, whatever the flags are (TENSOR_DUPLICATED).
_EVERYWHERE = re.compile(r"rope_(freqs|factors)")
#: What ``--n-cpu-moe`` keeps on the CPU, of one layer (common/common.h, LLM_FFN_EXPS_REGEX).
_EXPERTS = r"blk\.{}\.ffn_(up|down|gate|gate_up)_(ch|)exps"


@dataclass(frozen=True)
class Flags:
    """Flags of llama.cpp.

    Parameters
    ----------
    layers : int
        Layers that the model has, without the output.
    gpu_layers : int
        ``-ngl``: the last of them on GPUs, the output included.
    devices : tuple of str
        ``-dev``: GPUs in the order in which layers go to them.
    split : tuple of int
        ``-ts``: layers of each, the output included.
    cpu_moe : int
        ``--n-cpu-moe``: first layers whose routed experts stay on the CPU.
    overrides : tuple of (str, str)
        ``-ot``: pattern and device, in the order in which they are tried.
    """

    layers: int
    gpu_layers: int
    devices: tuple[str, ...]
    split: tuple[int, ...]
    cpu_moe: int
    overrides: tuple[tuple[str, str], ...]

    def arguments(self) -> list[str]:
        """Return the arguments of a command line."""
        found = ["-ngl", str(self.gpu_layers)]
        if self.devices:
            found += ["-dev", ",".join(self.devices), "-sm", "layer"]
        if len(self.devices) > 1:
            found += ["-ts", ",".join(map(str, self.split))]
        if self.cpu_moe:
            found += ["--n-cpu-moe", str(self.cpu_moe)]
        if self.overrides:
            found += ["-ot", ",".join(f"{pattern}={device}" for pattern, device in self.overrides)]
        return found

    def layer_device(self, k: int) -> str:
        """Return the device of a layer and of its KV cache; `layers` is the output."""
        first = max(self.layers + 1 - self.gpu_layers, 0)
        if k < first or not self.devices:
            return CPU
        # As llama.cpp computes it, in floats of 32 bits.
        total = np.float32(sum(self.split))
        share = np.float32(k - first) / np.float32(min(self.gpu_layers, self.layers + 1))
        ends = np.cumsum(np.asarray(self.split, dtype=np.float32), dtype=np.float32) / total
        return self.devices[int(np.searchsorted(ends, share, side="right"))]

    def tensor_device(self, name: str) -> str:
        """Return the device that a tensor of the model goes to."""
        for k in range(self.cpu_moe):
            if re.search(_EXPERTS.format(k), name):
                return CPU
        for pattern, device in self.overrides:
            if re.search(pattern, name):
                return device
        return self.default_device(name)

    def default_device(self, name: str) -> str:
        """Return the device that a tensor goes to without ``-ot`` and ``--n-cpu-moe``."""
        match = _LAYER.fullmatch(name)
        if match:
            return self.layer_device(int(match[1]))
        return self.layer_device(self.layers) if name.startswith("output") else CPU


def device_names(problem: Problem, names: Mapping[str, str] | None = None) -> list[str]:
    """Return what llama.cpp calls each device: CUDA0 and on for GPUs, CPU.

    Raises
    ------
    InputError
        If two devices have one name, as two CPUs have.
    """
    found: list[str] = []
    gpus = 0
    for device in problem.cluster.devices:
        own = (names or {}).get(device.id)
        if own is None:
            own = CPU if device.kind == "cpu" else f"CUDA{gpus}"
        gpus += device.kind != "cpu"
        if own in found:
            raise InputError(
                f"devices {problem.device_ids[found.index(own)]} and {device.id} are both {own!r} "
                f"for llama.cpp: name one with --map {device.id}=NAME"
            )
        if re.search(r"[=,\s]", own):
            raise InputError(f"the name {own!r} of device {device.id} has one of = , or a space")
        found.append(own)
    return found


def flags_of(problem: Problem, schedule: Schedule, names: Mapping[str, str] | None = None) -> Flags:
    """Return the flags that reproduce a schedule's placement, tensor by tensor.

    Parameters
    ----------
    problem : Problem
        Of ``profile llm`` and a GGUF file.
    schedule : Schedule
    names : mapping of str to str, optional
        What llama.cpp calls a device; see `device_names`.

    Raises
    ------
    InputError
        If the graph is not of a GGUF file, a tensor would be on two devices, or the layers with
        their KV caches do not lie as llama.cpp can have them.
    """
    called = device_names(problem, names)
    on = [called[d] for d in schedule.device.tolist()]
    wanted = _wanted(problem, on)
    numbers = [int(match[1]) for name in wanted if (match := _LAYER.fullmatch(name))]
    # Those too that predict further tokens, of which the file may not have the tensors.
    said = [op.attrs["blocks"] for op in problem.ops if isinstance(op.attrs.get("blocks"), int)]
    layers = max([1 + max(numbers), *said])
    if layers > _MOST_LAYERS:
        raise InputError(f"the graph has {layers} layers, expected at most {_MOST_LAYERS}")
    homes = _homes(problem.ops, on, layers)
    flags = _split(homes, wanted)
    moved = {n: d for n, d in wanted.items() if flags.default_device(n) != d}
    flags = _with_overrides(flags, wanted, moved)
    for name, device in wanted.items():
        assert flags.tensor_device(name) == device, name
    _require_copy(problem, on, flags)
    return flags


def _require_copy(problem: Problem, on: Sequence[str], flags: Flags) -> None:
    """A head without a tensor of its own gets a copy of the embedding where the output is."""
    output = flags.layer_device(flags.layers)
    for op, device in zip(problem.ops, on, strict=True):
        copied = op.attrs.get("copy_of")
        if copied is None:
            continue
        if device != output:
            raise InputError(
                f"llama.cpp copies {copied} for the output to the device behind the last layer, "
                f"{output}, expected {device}, where op {op.id!r} is"
            )
        if flags.tensor_device(copied) not in (CPU, output):
            raise InputError(
                f"llama.cpp would put {copied} and its copy for the output on one device, expected "
                f"the embedding on the CPU, or with op {op.id!r} on {output}"
            )


def _wanted(problem: Problem, on: Sequence[str]) -> dict[str, str]:
    """Return the device of each tensor."""
    found: dict[str, str] = {}
    for op, device in zip(problem.ops, on, strict=True):
        tensors = op.attrs.get("tensors")
        if not isinstance(tensors, list | tuple):
            raise InputError(
                f"op {op.id!r} does not say which tensors it holds (attrs: {{tensors: [...]}}): "
                "profile llm makes such graphs"
            )
        found |= {str(name): device for name in tensors if not _EVERYWHERE.match(str(name))}
    if not any(_LAYER.fullmatch(name) for name in found):
        raise InputError(
            f"the tensors of graph {problem.graph.name!r} are not named as in GGUF files "
            "(blk.0.attn_q.weight): profile the GGUF file"
        )
    return found


def _homes(ops: Sequence[Op], on: Sequence[str], layers: int) -> list[str]:
    """Return the device that each layer has to be on: that of its KV cache."""
    found: list[str | None] = [None] * layers
    kept = [False] * layers
    for op, device in zip(ops, on, strict=True):
        k = op.attrs.get("layer")
        if isinstance(k, int) and (found[k] is None or (op.attrs.get("kv") and not kept[k])):
            found[k], kept[k] = device, bool(op.attrs.get("kv"))
    before = CPU
    homes: list[str] = []
    for home in found:
        before = home or before
        homes.append(before)
    return homes


def _split(homes: Sequence[str], wanted: Mapping[str, str]) -> Flags:
    runs = [(device, len(list(group))) for device, group in groupby(homes)]
    first = runs[0][1] if runs and runs[0][0] == CPU else 0
    gpus = runs[1:] if first else runs
    at = first
    seen: set[str] = set()
    for device, count in gpus:
        if device == CPU or device in seen:
            raise InputError(
                f"llama.cpp keeps the KV cache of a layer where the layer is, first the layers of "
                f"the CPU, then those of each GPU in a row: layer {at} on {device} comes after "
                f"layer {at - 1} on {homes[at - 1]}; --regroup exchanges layers that are alike, "
                "and solve --stages ordered with the CPU as the first device keeps to this order"
            )
        seen.add(device)
        at += count
    head = wanted.get("output.weight", wanted.get("output_norm.weight", CPU))
    order = [device for device, _ in gpus] or ([head] if head != CPU else [])
    counts = [count for _, count in gpus] or [0] * len(order)
    if counts:
        counts[-1] += 1  # the output
    # What holds single tensors needs to be in use, with no layers of its own.
    others = [d for d in dict.fromkeys(wanted.values()) if d not in (CPU, *order)]
    order, counts = order + others, counts + [0] * len(others)
    return Flags(len(homes), sum(counts), tuple(order), tuple(counts), 0, ())


def _with_overrides(flags: Flags, wanted: Mapping[str, str], moved: Mapping[str, str]) -> Flags:
    """Add the fewest patterns: one for each device and set of tensors that layers have in common.

    Where nothing but the routed experts of the first layers are moved to the CPU, one flag does.
    """
    experts = re.compile(_EXPERTS.format(r"(\d+)"))
    numbers = {int(m[1]) for name in moved if (m := experts.match(name))}
    count = 1 + max(numbers, default=-1)
    simple = Flags(flags.layers, flags.gpu_layers, flags.devices, flags.split, count, ())
    if count and all(simple.tensor_device(name) == device for name, device in wanted.items()):
        return simple
    by: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    rests: dict[tuple[str, int], list[str]] = defaultdict(list)
    outside: dict[str, list[str]] = defaultdict(list)
    for name, device in moved.items():
        match = _LAYER.fullmatch(name)
        if match:
            rests[device, int(match[1])].append(match[2])
        else:
            outside[device].append(name)
    for (device, k), rest in rests.items():
        by[device, tuple(sorted(rest))].append(k)
    patterns = [
        (rf"^blk\.{_numbers(sorted(ks))}\.{_alternatives(rest)}$", device)
        for (device, rest), ks in by.items()
    ]
    patterns += [(f"^{_alternatives(sorted(names))}$", device) for device, names in outside.items()]
    return Flags(flags.layers, flags.gpu_layers, flags.devices, flags.split, 0, tuple(patterns))


def _alternatives(names: Sequence[str]) -> str:
    escaped = [name.replace(".", r"\.") for name in names]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _numbers(numbers: Sequence[int]) -> str:
    """Return a pattern of numbers: runs of those with the same digits before the last are ranges.

    ``[8, 9, 10, 11]`` is ``([89]|1[01])``.
    """
    tens: dict[int, list[int]] = defaultdict(list)
    for number in numbers:
        tens[number // 10].append(number % 10)
    parts = []
    for digits, heads in groupby(sorted(tens, key=lambda t: (tens[t], t)), key=lambda t: tens[t]):
        leads = [str(t) if t else "" for t in heads]
        if "" in leads:
            parts.append(_digits(digits))
            leads.remove("")
        if leads:
            lead = leads[0] if len(leads) == 1 else f"({'|'.join(leads)})"
            parts.append(lead + _digits(digits))
    return parts[0] if len(parts) == 1 else f"({'|'.join(parts)})"


def _digits(digits: Sequence[int]) -> str:
    if len(digits) == 1:
        return str(digits[0])
    if digits[-1] - digits[0] == len(digits) - 1 and len(digits) > 2:
        return f"[{digits[0]}-{digits[-1]}]"
    return f"[{''.join(map(str, digits))}]"


def placement_of(
    problem: Problem, flags: Flags, names: Mapping[str, str] | None = None
) -> list[int]:
    """Return the device of each op under flags: the way back.

    Raises
    ------
    InputError
        If an op's tensors, or its KV cache, lie on several devices.
    """
    called = device_names(problem, names)
    placed: list[int] = []
    for op in problem.ops:
        held = [str(name) for name in op.attrs["tensors"]]
        found = {flags.tensor_device(name) for name in held if not _EVERYWHERE.match(name)}
        if op.attrs.get("kv"):
            found.add(flags.layer_device(op.attrs["layer"]))
        if not found:
            found = {flags.layer_device(flags.layers)}  # a tied head's copy
        if len(found) > 1:
            raise InputError(f"op {op.id!r} would be on {' and '.join(sorted(found))}")
        placed.append(called.index(found.pop()))
    return placed


def write_flags(flags: Flags, called: Iterable[tuple[str, str]], target: str | os.PathLike[str]
                ) -> None:  # fmt: skip
    """Write flags, an argument with its value a line; ``-``: to standard output."""
    given = flags.arguments()
    pairs = zip(given[::2], given[1::2], strict=True)
    lines = [f"# {theirs} is {ours}" for ours, theirs in called]
    lines += [f"{name} {shlex.quote(value)}" for name, value in pairs]
    write_lines(lines, target)
