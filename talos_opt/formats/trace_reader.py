"""Traces in Chrome's event format, as torch.profiler and TensorFlow write them.

What is wanted of a trace is the sequence of the ops of one device, with their times, step by step
where it marks its steps. Of ops that call others, only the outermost count. In a trace with kernels
(a GPU's), an op takes as long as the kernels that it launched, not as long as the launching took.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from talos_opt.core.errors import FormatError
from talos_opt.formats.source import Source, open_source
from talos_opt.formats.trace_events import Slice, load_trace, row_names, slices_of
from talos_opt.formats.trace_launches import Launched, attribute, busy
from talos_opt.formats.trace_nesting import outermost, scopes_among
from talos_opt.formats.trace_rows import (
    Rows,
    Unread,
    device_among,
    is_beside,
    is_known_kernel,
    is_op,
    product_of,
    sort_rows,
    unread,
)
from talos_opt.formats.trace_steps import Idle, TraceStep, Waiting, split
from talos_opt.formats.trace_tensorflow import latest_profile, settle

#: What PyTorch writes before the name of an op of the backward pass.
_AUTOGRAD = "autograd::engine::evaluate_function: "
#: How copies between the host and a device are called, and between what they go.
_COPY = re.compile(r"memcpy\s+(htod|dtoh)\b", re.IGNORECASE)
#: Bytes of an element, by PyTorch's and C++'s names of types.
_SIZES = {
    **dict.fromkeys(("double", "long int", "long", "c10::complex<float>"), 8),
    **dict.fromkeys(("float", "int", "unsigned int"), 4),
    **dict.fromkeys(("c10::Half", "c10::BFloat16", "short int", "short"), 2),
    **dict.fromkeys(("bool", "signed char", "unsigned char", "char"), 1),
    **dict.fromkeys(("c10::Float8_e4m3fn", "c10::Float8_e5m2"), 1),
    "c10::complex<double>": 16,
}


@dataclass(frozen=True, slots=True)
class TraceOp:
    """An outermost op of a trace.

    Parameters
    ----------
    name : str
        As shown; TensorFlow's node name.
    type : str
        Operator type; torch.profiler's name is one.
    start_us, duration_us : float
        Microseconds. Where the op launched kernels, the start is the op's and the duration
        theirs.
    count : int
        Events that the duration is from: 1, or the kernels; 0 where others launched kernels and
        this one none.
    process, thread : str
    reads : tuple of str
        Names of the nodes whose outputs it reads, where the trace has them: TensorFlow's timelines.
    read_bytes : tuple of int
        Bytes of the tensors that it reads, by position, where the trace has their shapes.
    """

    name: str
    type: str
    start_us: float
    duration_us: float
    count: int = 1
    process: str = ""
    thread: str = ""
    reads: tuple[str, ...] = ()
    read_bytes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy between the host and a device.

    Parameters
    ----------
    to_device : bool
        Whether it went from the host to the device.
    bytes : int
    duration_us : float
        Microseconds.
    """

    to_device: bool
    bytes: int
    duration_us: float


@dataclass(frozen=True)
class Trace:
    """The ops of one device, in order.

    Parameters
    ----------
    source : str
        The file.
    ops : tuple of TraceOp
        By start; outermost ones only, of all steps and between them.
    kernels : bool
        Whether durations are those of kernels.
    unattributed_us : float
        Time of kernels that no op is known to have launched.
    steps : tuple of TraceStep
        In order; empty where the trace marks none.
    outside_us : float
        The part of `unattributed_us` whose launch is not in the trace: by a graph that was
        recorded, or during the warm-up.
    kernels_us : float
        Time in which at least one kernel ran.
    doubted : int
        Kernels whose ``External id`` names another op than that around their launch, which counts.
    idle : Idle, optional
        Of the device, over the whole trace; None without kernels.
    device : str
        Kind of device: ``cpu``, ``gpu``, or as the trace calls it, such as ``mtia``.
    product : str
        What the trace calls the device whose kernels it has; empty: it does not say.
    memory : int, optional
        Bytes of that device.
    copies : tuple of Copy
        Between the host and the device, those whose bytes are known.
    unread : tuple of Unread
        Work of devices that no op can be given.
    framework : str
        ``tensorflow``, ``torch``, or empty.
    """

    source: str
    ops: tuple[TraceOp, ...]
    kernels: bool = False
    unattributed_us: float = 0.0
    steps: tuple[TraceStep, ...] = ()
    outside_us: float = 0.0
    kernels_us: float = 0.0
    doubted: int = 0
    idle: Idle | None = None
    device: str = "cpu"
    product: str = ""
    memory: int | None = None
    copies: tuple[Copy, ...] = ()
    unread: tuple[Unread, ...] = ()
    framework: str = ""

    @property
    def total_us(self) -> float:
        """Sum of the durations, in microseconds."""
        return sum(op.duration_us for op in self.ops)

    @property
    def outside_steps(self) -> tuple[int, float]:
        """Ops that are in no step: how many they are, and their time in microseconds."""
        count = len(self.ops) - sum(len(step.ops) for step in self.steps)
        inside = sum(op.duration_us for step in self.steps for op in step.ops)
        return count, max(0.0, self.total_us - inside)


def read_trace(
    source: str | os.PathLike[str], *, process: str | None = None, apart: bool = False
) -> Trace:
    """Read the op sequence of one device from a trace.

    Parameters
    ----------
    source : str or path
        JSON, as an object with ``traceEvents`` or as the bare list; packed as gzip or not.
        ``-``: standard input. A folder: that of tf.profiler's logs, whose latest run is read.
    process : str, optional
        Where ops of several processes are in the file: name, number or a unique part of the name
        of the one that is wanted.
    apart : bool
        Whether nodes of PyTorch's backward pass are taken apart into the operators that they call,
        as execution traces list them.

    Raises
    ------
    FormatError
        If it is not a trace, holds no ops or those of several processes, an event is broken or
        negative, all take no time, or two of one thread overlap without one holding the other.
    """
    file = open_source(latest_profile(source) if os.path.isdir(source) else source)
    # Not `blamed`: to find the line of an event it would read the whole file again, as YAML.
    try:
        return _Reader(file, process, apart).read()
    except FormatError as error:
        raise error.located(source=file.name) from None


class _Reader:
    """Reads one file."""

    def __init__(self, file: Source, process: str | None, apart: bool) -> None:
        self.file, self.process, self.apart = file, process, apart
        events, self.header = load_trace(file)
        self.names = row_names(events)
        self.slices = list(slices_of(events))
        settled = settle(self.slices, self.names, process)
        self.settled = settled is not None
        if settled is not None:
            self.slices = settled
        self.rows: Rows = sort_rows(self.slices)

    def read(self) -> Trace:
        ops = _chosen(self.rows.ops, self.slices, self.names.processes, self.process)
        categorised = all(is_op(op) for op in ops)
        scopes: list[Slice] = []
        if categorised and not self.settled:
            scopes = scopes_among(ops, apart=self.apart)
            aside = {id(item) for item in scopes}
            ops = [op for op in ops if id(op) not in aside]
        first = list(outermost(ops))
        kernels = self.rows.kernels
        if self.settled:  # which tells whose they are; torch.profiler shows them apart
            kernels = [item for item in kernels if item.pid == ops[0].pid]
        trace = None
        if kernels and categorised:
            trace = self._by_kernels(ops, first, scopes, kernels)
        if trace is None:
            timed = [self._op(op, op.duration, 1) for op in first]
            lost = unread(kernels, self.names) if categorised else ()
            trace = self._trace(timed, first, None, unread=lost)
        if trace.total_us <= 0:
            some = _some(op.name for op in trace.ops)
            raise FormatError(f"all {len(trace.ops)} ops take no time ({some}), expected durations")
        return trace

    def _by_kernels(
        self,
        ops: Sequence[Slice],
        first: Sequence[Slice],
        scopes: Sequence[Slice],
        kernels: Sequence[Slice],
    ) -> Trace | None:
        """Return ops with the time of the kernels that they, or what they called, launched.

        None if all that seems to be work of a device is of an unknown kind, and launched by none.
        """
        found = attribute(kernels, self.rows.launches, ops, first, scopes, trusted=self.settled)
        lost = [
            item
            for items in (found.between, found.outside)
            for item in items
            if not is_known_kernel(item)
        ]
        aside = {id(item) for item in lost}
        kernels = [item for item in kernels if id(item) not in aside]
        if not kernels:
            return None
        found.between = [item for item in found.between if id(item) not in aside]
        found.outside = [item for item in found.outside if id(item) not in aside]
        timed = [self._op(op, busy(found.by_op[id(op)]), len(found.by_op[id(op)])) for op in first]
        timed += [self._op(scope, busy(own), len(own)) for scope, own in found.by_scope]
        timed.sort(key=lambda op: op.start_us)
        waiting = Waiting(kernels, first, self.rows.launches)
        product, memory = product_of(kernels, self.header)
        return self._trace(
            timed,
            first,
            waiting,
            kernels=True,
            **_left(found),
            kernels_us=busy(kernels),
            device=device_among(kernels, self.rows.launches, self.names),
            product=product,
            memory=memory,
            copies=tuple(_copies(kernels)),
            unread=unread(lost, self.names),
        )

    def _trace(
        self,
        timed: Sequence[TraceOp],
        first: Sequence[Slice],
        waiting: Waiting | None,
        **facts: Any,
    ) -> Trace:
        """Return a trace with its steps."""
        steps = []
        # A process that was chosen may be another than that of the marks.
        marks = [item for item in self.rows.marks if item.pid == first[0].pid]
        parts = split(marks, timed)
        for k, (mark, ops) in enumerate(parts):
            idle = None
            if waiting is not None:
                limit = parts[k + 1][0].start if k + 1 < len(parts) else float("inf")
                end = min(limit, max(mark.end, waiting.last_end(mark.start, mark.end)))
                idle = waiting.within(mark.start, end)
            steps.append(TraceStep(mark.name, mark.start, mark.duration, tuple(ops), idle))
        whole = None
        if waiting is not None and not self.settled:
            start, end = first[0].start, max(op.end for op in first)
            whole = waiting.within(start, max(end, waiting.last_end(start, end)))
        if not facts.get("device"):
            facts["device"] = _tensorflow_device(timed) if self.settled else "cpu"
        torch = any(op.category in ("cpu_op", "operator") for op in first)
        facts["framework"] = "tensorflow" if self.settled else "torch" if torch else ""
        return Trace(self.file.name, tuple(timed), steps=tuple(steps), idle=whole, **facts)

    def _op(self, op: Slice, duration: float, count: int) -> TraceOp:
        name, type_ = op.name, op.name.removeprefix(_AUTOGRAD)
        args = op.args
        if isinstance(args.get("type"), str):  # this package's
            type_ = args["type"] or op.name
        elif isinstance(args.get("op"), str) and isinstance(args.get("name"), str):  # TensorFlow's
            name, type_ = args["name"], args["op"]
        process = self.names.processes.get(op.pid, op.pid)
        return TraceOp(
            name,
            type_,
            op.start,
            duration,
            count,
            process,
            thread=op.tid,
            reads=_producers(args) if self.settled else (),
            read_bytes=_read_bytes(args),
        )


def _left(found: Launched) -> dict[str, Any]:
    """Return the time of kernels that are no op's."""
    return {
        "unattributed_us": busy([*found.between, *found.outside]),
        "outside_us": busy(found.outside),
        "doubted": found.doubted,
    }


def _tensorflow_device(ops: Sequence[TraceOp]) -> str:
    """Return the kind of device whose process TensorFlow's ops are shown in."""
    found = re.findall(r"device:([A-Za-z]+)|/(cpu|gpu|tpu):\d", ops[0].process, re.IGNORECASE)
    return (found[-1][0] or found[-1][1]).lower() if found else "cpu"


def _copies(kernels: Iterable[Slice]) -> Iterable[Copy]:
    for item in kernels:
        way, size = _COPY.match(item.name), item.args.get("bytes")
        if way and type(size) is int and size > 0 and item.duration > 0:
            yield Copy(way[1].lower() == "htod", size, item.duration)


def _producers(args: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the nodes that TensorFlow's timeline says an op reads, control inputs included."""
    found = []
    k = 0
    while isinstance(text := args.get(f"input{k}"), str):
        found.append(text.removeprefix("^").partition(":")[0].strip())
        k += 1
    return tuple(dict.fromkeys(name for name in found if name))


def _read_bytes(args: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the bytes of the tensors among an op's inputs, as torch.profiler has their shapes."""
    shapes, types = args.get("Input Dims"), args.get("Input type")
    if not isinstance(shapes, list) or not isinstance(types, list):
        return ()
    found = []
    for shape, type_ in zip(shapes, types, strict=False):
        size = _SIZES.get(type_) if isinstance(type_, str) else None
        if size is None or not isinstance(shape, list):
            continue
        for extent in shape:
            size = size * extent if type(extent) is int and extent >= 0 else 0
        found.append(size)
    return tuple(found)


def _chosen(
    ops: list[Slice], slices: Sequence[Slice], named: Mapping[str, str], process: str | None
) -> list[Slice]:
    """Return the op events of one process; all events that are no kernels where none is an op."""
    if not ops:
        ops = [item for item in slices if not is_beside(item)]
    if not ops:
        raise FormatError("holds no ops, expected complete events (ph X) or begins and ends")
    pids = list(dict.fromkeys(item.pid for item in ops))
    if process is None:
        if len(pids) > 1:
            raise FormatError(
                f"holds ops of {len(pids)} processes ({_listed(pids, named)}), expected one: "
                "name the process"
            )
        return ops
    exact = [pid for pid in pids if process in (pid, named.get(pid))]
    found = exact or [pid for pid in pids if process in named.get(pid, "")]
    if len(found) != 1:
        problem = "no process" if not found else f"{len(found)} processes"
        raise FormatError(
            f"{problem} with ops for {process!r}, expected one of {_listed(pids, named)}"
        )
    return [item for item in ops if item.pid == found[0]]


def _listed(pids: Sequence[str], named: Mapping[str, str]) -> str:
    return _some(f"{pid} {named[pid]!r}" if pid in named else pid for pid in pids)


def _some(names: Iterable[str]) -> str:
    listed = list(dict.fromkeys(names))
    return ", ".join(listed[:6]) + (", ..." if len(listed) > 6 else "")
