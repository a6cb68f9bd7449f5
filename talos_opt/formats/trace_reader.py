"""Traces in Chrome's event format, as torch.profiler and TensorFlow write them.

What is wanted of a trace is the sequence of the ops of one device, with their times. Of ops that
call others, only the outermost count. In a trace with kernels (a GPU's), an op takes as long as
the kernels that it launched, not as long as the launching took.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from talos_opt.core.errors import FormatError
from talos_opt.formats.source import Source, open_source
from talos_opt.formats.trace_events import Slice, load_events, row_names, slices_of
from talos_opt.formats.trace_tensorflow import latest_profile, settle

#: Categories of ops: torch.profiler (now, and up to 1.11), TensorFlow and this package.
OPS = frozenset(("cpu_op", "operator", "op"))
#: What runs on a GPU, and what launches it.
KERNELS = frozenset(("kernel", "gpu_memcpy", "gpu_memset", "memcpy", "memset"))
RUNTIME = frozenset(("cuda_runtime", "cuda_driver", "runtime"))

#: Microseconds by which neighbours may seem to overlap: profilers write whole nanoseconds, and a
#: clock that counts from 1970 or from the machine's start leaves a float few digits below those.
_GRAIN = 2e-3
#: What PyTorch writes before the name of an op of the backward pass.
_AUTOGRAD = "autograd::engine::evaluate_function: "


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
    """

    name: str
    type: str
    start_us: float
    duration_us: float
    count: int = 1
    process: str = ""
    thread: str = ""


@dataclass(frozen=True)
class Trace:
    """The ops of one device, in order.

    Parameters
    ----------
    source : str
        The file.
    ops : tuple of TraceOp
        By start; outermost ones only.
    kernels : bool
        Whether durations are those of kernels.
    unattributed_us : float
        Time of kernels that no op is known to have launched.
    """

    source: str
    ops: tuple[TraceOp, ...]
    kernels: bool = False
    unattributed_us: float = 0.0

    @property
    def total_us(self) -> float:
        """Sum of the durations, in microseconds."""
        return sum(op.duration_us for op in self.ops)


def read_trace(source: str | os.PathLike[str], *, process: str | None = None) -> Trace:
    """Read the op sequence of one device from a trace.

    Parameters
    ----------
    source : str or path
        JSON, as an object with ``traceEvents`` or as the bare list; packed as gzip or not.
        ``-``: standard input. A folder: that of tf.profiler's logs, whose latest run is read.
    process : str, optional
        Where ops of several processes are in the file: name, number or a unique part of the name
        of the one that is wanted.

    Raises
    ------
    FormatError
        If it is not a trace, holds no ops or those of several processes, an event is broken or
        negative, all take no time, or two of one thread overlap without one holding the other.
    """
    file = open_source(latest_profile(source) if os.path.isdir(source) else source)
    # Not `blamed`: to find the line of an event it would read the whole file again, as YAML.
    try:
        return _read(file, process)
    except FormatError as error:
        raise error.located(source=file.name) from None


def _read(file: Source, process: str | None) -> Trace:
    events = load_events(file)
    names = row_names(events)
    named = names.processes
    slices = list(slices_of(events))
    settled = settle(slices, names, process)
    if settled is not None:
        slices = settled
    ops = _chosen(slices, named, process)
    outermost = list(_outermost(ops))
    kernels = [item for item in slices if item.category in KERNELS]
    if settled is not None:  # which tells whose they are; torch.profiler shows them apart
        kernels = [item for item in kernels if item.pid == ops[0].pid]
    if kernels and all(op.category in OPS for op in ops):
        trace = _by_kernels(file.name, slices, ops, outermost, kernels, named)
    else:
        timed = tuple(_trace_op(op, op.duration, 1, named) for op in outermost)
        trace = Trace(file.name, timed)
    if trace.total_us <= 0:
        some = _some(op.name for op in trace.ops)
        raise FormatError(f"all {len(trace.ops)} ops take no time ({some}), expected durations")
    return trace


def _chosen(slices: Sequence[Slice], named: Mapping[str, str], process: str | None) -> list[Slice]:
    """Return the op events of one process; all events that are no kernels where none is an op."""
    ops = [item for item in slices if OPS & {part.strip() for part in item.category.split(",")}]
    if not ops:
        ops = [item for item in slices if item.category not in KERNELS | RUNTIME]
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


def _outermost(ops: Iterable[Slice]) -> Iterator[Slice]:
    """Yield the ops that no other of their thread holds, by start; note in each its outermost.

    Raises
    ------
    FormatError
        If one begins within another and ends after it.
    """
    stacks: dict[tuple[str, str], list[Slice]] = {}
    for op in sorted(ops, key=lambda item: (item.start, -item.end)):
        stack = stacks.setdefault((op.pid, op.tid), [])
        while stack and not _holds(stack[-1], op):
            stack.pop()
        op.outer = stack[0] if stack else op
        stack.append(op)
        if op.outer is op:
            yield op


def _holds(holder: Slice, op: Slice) -> bool:
    """Whether an op lies within another that began no later, up to the clock's grain."""
    noise = math.ulp(holder.end)
    grain = _GRAIN + 2 * noise
    if op.start >= holder.end - 2 * noise:
        return False
    if op.end <= holder.end + grain:
        return True
    if op.start >= holder.end - grain:
        return False
    raise FormatError(
        f"{op} overlaps {holder} of the same thread, expected one within the other or after it",
        path=op.where,
    )


def _by_kernels(
    source: str,
    slices: Iterable[Slice],
    ops: Iterable[Slice],
    outermost: Sequence[Slice],
    kernels: Iterable[Slice],
    named: Mapping[str, str],
) -> Trace:
    """Return ops with the time of the kernels that they, or what they called, launched."""
    launcher = _Launchers(slices, ops, outermost)
    launched: dict[int, list[Slice]] = {id(op): [] for op in outermost}
    orphans: list[Slice] = []
    for kernel in kernels:
        op = launcher.of(kernel)
        (orphans if op is None else launched[id(op)]).append(kernel)
    timed = tuple(
        _trace_op(op, _busy(launched[id(op)]), len(launched[id(op)]), named) for op in outermost
    )
    return Trace(source, timed, kernels=True, unattributed_us=_busy(orphans))


class _Launchers:
    """Which outermost op launched a kernel: by External id, else by the launch's correlation."""

    def __init__(
        self, slices: Iterable[Slice], ops: Iterable[Slice], outermost: Sequence[Slice]
    ) -> None:
        self.by_external = {
            key: op for op in ops if (key := _identity(op, "External id")) is not None
        }
        self.by_correlation = {
            key: item
            for item in slices
            if item.category in RUNTIME and (key := _identity(item, "correlation")) is not None
        }
        self.threads: dict[tuple[str, str], list[Slice]] = {}
        for op in outermost:
            self.threads.setdefault((op.pid, op.tid), []).append(op)

    def of(self, kernel: Slice) -> Slice | None:
        op = self.by_external.get(_identity(kernel, "External id") or "")
        if op is not None:
            return op.outer
        launch = self.by_correlation.get(_identity(kernel, "correlation") or "")
        if launch is None:
            return None
        op = self.by_external.get(_identity(launch, "External id") or "")
        return op.outer if op is not None else self._around(launch)

    def _around(self, launch: Slice) -> Slice | None:
        """Return the outermost op of the launch's thread at that time."""
        thread = self.threads.get((launch.pid, launch.tid), [])
        k = bisect_right(thread, launch.start, key=lambda op: op.start) - 1
        return thread[k] if k >= 0 and launch.start <= thread[k].end else None


def _identity(item: Slice, key: str) -> str | None:
    """Return an id in an event's arguments; profilers write 0 or -1 for none."""
    value = item.args.get(key, item.args.get(key.lower()))
    return None if value in (None, 0, -1, "0", "-1", "") else str(value)


def _busy(kernels: Iterable[Slice]) -> float:
    """Time in which at least one of the kernels ran: those of two streams may overlap."""
    total, until = 0.0, -math.inf
    for kernel in sorted(kernels, key=lambda item: item.start):
        total += min(kernel.duration, max(0.0, kernel.end - until))
        until = max(until, kernel.end)
    return total


def _trace_op(op: Slice, duration: float, count: int, named: Mapping[str, str]) -> TraceOp:
    name, type_ = op.name, op.name.removeprefix(_AUTOGRAD)
    args = op.args
    if isinstance(args.get("type"), str):  # this package's
        type_ = args["type"] or op.name
    elif isinstance(args.get("op"), str) and isinstance(args.get("name"), str):  # TensorFlow's
        name, type_ = args["name"], args["op"]
    return TraceOp(name, type_, op.start, duration, count, named.get(op.pid, op.pid), thread=op.tid)
