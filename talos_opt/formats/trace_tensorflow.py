"""What is an op in a trace of TensorFlow's, and what only looks like one.

Two kinds of file are known:

- timelines (``tensorflow.python.client.timeline``): a process for each device of the step's
  statistics, called ``DEVICE Compute``. A GPU has several, which show the same work more than once:
  the launches on the host (``/job:.../device:GPU:0``), all kernels (``/device:GPU:0/stream:all``),
  and kernels and copies again by stream.
- trace-viewer JSON (tf.profiler, TensorBoard, jax.profiler): a process ``/host:CPU``, in whose
  threads ops stand as ``NODE:TYPE`` among all else that the host does, and one for each
  accelerator, with rows that the profiler derives from its kernels: steps, modules, scopes, ops.

`settle` brings both into the form in which `trace_reader` reads torch.profiler's: ops, and the
kernels that they launched.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from talos_opt.core.errors import FormatError
from talos_opt.formats.trace_events import HOW_TO_CONVERT, RowNames, Slice

#: The category that ops are given.
OP = "op"
#: The category that kernels of ops are given.
KERNEL = "kernel"

_COMPUTE = " Compute"
#: Processes of a timeline that repeat what another one holds: copies and kernels by stream, calls
#: that wait for the GPU, and the host's tracer, which sees the runtime's ops a second time.
_REPEATED = re.compile(r"/(stream|memcpy|sync|host:|context#)")
_ALL_STREAMS = "/stream:all"
_GPU = re.compile(r"gpu:(\d+)", re.IGNORECASE)

_PLANE = re.compile(r"(?:^|\s)/(host|device):")
#: Rows of an accelerator with an event for each op; the first that is there counts, as the others
#: show the same time by another name. Steps, modules and name scopes span many ops.
_OP_ROWS = ("TensorFlow Ops", "Framework Ops", "XLA Ops")
#: Node names and types as TensorFlow's profiler tells ops from its other events.
_FULL_NAME = re.compile(r"([A-Za-z0-9.][A-Za-z0-9_.\\/>-]*):([A-Z_][A-Za-z0-9_]*)")
_HLO_NUMBER = re.compile(r"(\.\d+|\.(clone|remat)\d*)+$")

#: Transfers between the parts of a graph, of TensorFlow's and XLA's. Their time is that of waiting
#: for the other device, whose work is counted there.
_TRANSFERS = frozenset(
    (
        *("_Send", "_Recv", "_HostSend", "_HostRecv", "Send", "Recv", "RecvTensor"),
        *("send", "recv", "send-done", "recv-done"),
    )
)
#: Where parts of a graph, and of a session, begin and end: no nodes of the model's.
_ENDS = frozenset(("_Arg", "_Retval", "_DeviceArg", "_DeviceRetval"))
#: Nodes that the executor adds to every graph, and what partitioning adds beside the transfers: the
#: names that it makes up for control edges between devices end in /_ and a number.
_ADDED = re.compile(r"_SOURCE|_SINK|.*/_\d+")


def settle(slices: Sequence[Slice], names: RowNames, process: str | None) -> list[Slice] | None:
    """Return what counts in a trace of TensorFlow's; None if it is not one.

    Parameters
    ----------
    slices : sequence of Slice
        All of the trace.
    names : RowNames
    process : str, optional
        Which process is asked for. Without it the host's ops count only where no accelerator is,
        as elsewhere they are launches.

    Returns
    -------
    list of Slice or None
        Ops, with name and type in their arguments; kernels, in the process of the ops that
        launched them, with the ``External id`` of their op.

    Raises
    ------
    FormatError
        If there are no ops, or no process is named and accelerators have no rows of ops.
    """
    if any(name.endswith(_COMPUTE) for name in names.processes.values()):
        found = _of_timeline(slices, names)
    elif _is_viewer(slices, names):
        found = _of_viewer(slices, names, process)
    else:
        return None
    if not any(item.category == OP for item in found):
        raise FormatError(
            "holds no ops of TensorFlow's, expected a timeline's or events such as "
            "'net/dense/MatMul:MatMul' (what runs eagerly, op by op, is not named so)"
        )
    return found


def latest_profile(folder: str | os.PathLike[str]) -> Path:
    """Return the trace of the latest run under a log folder of tf.profiler's.

    Raises
    ------
    FormatError
        If there is none, or one for each of several hosts.
    """
    root = Path(folder)
    found = [*root.glob("*.trace.json.gz"), *root.glob("**/plugins/profile/*/*.trace.json.gz")]
    if not found:
        packed = next(root.glob("**/*.xplane.pb"), None)
        why = ""
        if packed is not None:
            where = packed.relative_to(root)
            why = f" ({where} is not JSON; {HOW_TO_CONVERT} converts it: see docs/profiling.md)"
        raise FormatError(
            f"is a folder without plugins/profile/*/*.trace.json.gz{why}", source=str(root)
        )
    last = max(path.parent.name for path in found)
    runs = sorted(path for path in found if path.parent.name == last)
    if len(runs) > 1:
        listed = ", ".join(path.name for path in runs)
        raise FormatError(
            f"holds traces of {len(runs)} hosts, expected one: name the file ({listed})",
            source=str(runs[0].parent),
        )
    return runs[0]


def _is_viewer(slices: Iterable[Slice], names: RowNames) -> bool:
    """Whether it is trace-viewer JSON: planes for processes, and no categories."""
    planes = any(_PLANE.search(name) for name in names.processes.values())
    return planes and not any(item.category for item in slices)


def _of_timeline(slices: Sequence[Slice], names: RowNames) -> list[Slice]:
    ops: list[Slice] = []
    kernels: dict[str, list[Slice]] = defaultdict(list)
    for item in slices:
        device = names.processes.get(item.pid, "").removesuffix(_COMPUTE)
        if item.category != OP or not _counts(_text(item, "name"), _text(item, "op")):
            continue
        if _ALL_STREAMS in device:
            kernels[_gpu(device)].append(item)
        elif not _REPEATED.search(device):
            ops.append(replace(item))
    launches: dict[str, list[Slice]] = defaultdict(list)
    for item in ops:
        launches[_gpu(names.processes.get(item.pid, ""))].append(item)
    for gpu, items in kernels.items():
        # Without statistics of the launches, kernels are all that is known of the ops.
        ops += _linked(items, launches[gpu]) if launches[gpu] else items
    return ops


def _gpu(device: str) -> str:
    """Number of the GPU that a device's name ends in; empty for other devices."""
    found = _GPU.findall(device)
    return found[-1] if found else ""


def _linked(kernels: Iterable[Slice], launches: Sequence[Slice]) -> list[Slice]:
    """Return kernels with the id of their op: the last launch of their node before them."""
    by_node: dict[str, list[Slice]] = defaultdict(list)
    for k, op in enumerate(sorted(launches, key=lambda item: item.start)):
        op.args = {**op.args, "External id": k + 1}
        by_node[_text(op, "name")].append(op)
    linked = []
    for kernel in kernels:
        same = by_node.get(_text(kernel, "name"), [])
        k = bisect_right(same, kernel.start, key=lambda op: op.start) - 1
        pid, args = launches[0].pid, {}
        if same:
            op = same[max(k, 0)]
            pid, args = op.pid, {"External id": op.args["External id"]}
        linked.append(replace(kernel, category=KERNEL, pid=pid, args=args))
    return linked


def _of_viewer(slices: Sequence[Slice], names: RowNames, process: str | None) -> list[Slice]:
    rows = _op_rows(names)
    host: list[Slice] = []
    device: list[Slice] = []
    for item in slices:
        if _is_accelerator(names.processes.get(item.pid, "")):
            if rows.get(item.pid) == names.threads.get((item.pid, item.tid)):
                device += _device_op(item)
        else:
            host += _host_op(item)
    if process is None and not device:
        _require_op_rows(slices, names)
    return device if device and process is None else device + host


def _is_accelerator(name: str) -> bool:
    return _PLANE.search(name) is not None and "/device:" in name and "/device:CPU:" not in name


def _op_rows(names: RowNames) -> dict[str, str]:
    """Return the row of each accelerator whose events are its ops."""
    rows: dict[str, str] = {}
    for pid, name in names.processes.items():
        threads = {text for (owner, _), text in names.threads.items() if owner == pid}
        known = [row for row in _OP_ROWS if row in threads]
        rows[pid] = known[0] if known and _is_accelerator(name) else ""
    return rows


def _require_op_rows(slices: Iterable[Slice], names: RowNames) -> None:
    for item in slices:
        name = names.processes.get(item.pid, "")
        if _is_accelerator(name):
            row = names.threads.get((item.pid, item.tid), item.tid)
            raise FormatError(
                f"{name!r} has no ops, only rows such as {row!r}; expected a row called "
                f"{' or '.join(repr(row) for row in _OP_ROWS)}. To read the host's ops, name its "
                "process"
            )


def _device_op(item: Slice) -> list[Slice]:
    """Return an event of a row of ops as an op, if it counts."""
    for text in (_text(item, "tf_op"), _text(item, "long_name"), item.name):
        match = _FULL_NAME.fullmatch(text.strip())
        if match:
            return [_op(item, *match.groups())] if _counts(*match.groups()) else []
    type_ = _HLO_NUMBER.sub("", item.name)
    return [_op(item, item.name, type_)] if _counts(item.name, type_) else []


def _host_op(item: Slice) -> list[Slice]:
    """Return an event of the host as an op, if it is one that counts.

    Where an event has a short name to show, the node is told by ``long_name`` alone.
    """
    match = _FULL_NAME.fullmatch((_text(item, "long_name") or item.name).strip())
    return [_op(item, *match.groups())] if match and _counts(*match.groups()) else []


def _op(item: Slice, name: str, type_: str) -> Slice:
    return replace(item, category=OP, args={"name": name, "op": type_})


def _counts(name: str, type_: str) -> bool:
    return type_ not in _TRANSFERS and type_ not in _ENDS and not _ADDED.fullmatch(name)


def _text(item: Slice, key: str) -> str:
    value = item.args.get(key)
    return value if isinstance(value, str) else ""
