"""What the events of a trace are: ops, marks of steps, kernels, launches, or none of these.

torch.profiler tells by an event's category. Kinds of accelerators come and go, so what is not known
here is sorted by its form: a category that ends in ``_runtime`` or ``_driver`` launches, and any
other unknown one that has a process of its own, away from all ops, is work of a device.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from talos_opt.formats.trace_events import RowNames, Slice

#: Categories of ops: torch.profiler (now, and up to 1.11), TensorFlow and this package.
OPS = frozenset(("cpu_op", "operator", "op"))
#: What runs on a GPU, and what launches it.
KERNELS = frozenset(("kernel", "gpu_memcpy", "gpu_memset", "memcpy", "memset"))
RUNTIME = frozenset(("cuda_runtime", "cuda_driver", "runtime"))

#: Of torch.profiler's other categories those that are neither work of a device nor ops.
_BESIDE = frozenset(
    (
        *("user_annotation", "gpu_user_annotation", "python_function", "cpu_instant_event"),
        *("overhead", "trace", "cuda_sync", "external_correlation", "cuda_profiler_range"),
        *("fwdbwd", "ac2g", "mtia_insight", "mtia_counters", ""),
    )
)
_LAUNCHES = re.compile(r".+_(runtime|driver)")
#: What marks a step, and what a profiler or a user puts around ops without being one.
_STEP = re.compile(r"profilerstep[#*]?\s*(\d+)", re.IGNORECASE)
_NUMBERED = re.compile(r"\w*(?:step|iteration|iter)\s?[#:]\s?(\d+)", re.IGNORECASE)
_ANNOTATION = re.compile(
    r"(profilerstep\W*\d*|optimizer\.\w+#.*|enumerate\(dataloader\)#.*|##.*##|\[pl\]\[.*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Unread:
    """Events of a device that no op is known to have launched, and that are not counted.

    Parameters
    ----------
    category : str
        As the trace calls them.
    device : str
        What they seem to have run on.
    count : int
    total_us : float
        Sum of their durations, microseconds.
    """

    category: str
    device: str
    count: int
    total_us: float


@dataclass(frozen=True)
class Rows:
    """The complete events of a trace, sorted by what they are.

    Parameters
    ----------
    ops : list of Slice
        Empty where no event is in a category of ops.
    marks : list of Slice
        Of steps, on the host, by start; none overlaps another.
    kernels : list of Slice
        Work of devices, copies included.
    launches : list of Slice
        Calls of the host that start such work, or wait for it.
    """

    ops: list[Slice]
    marks: list[Slice]
    kernels: list[Slice]
    launches: list[Slice]


def is_op(item: Slice) -> bool:
    """Whether an event's category is one of ops."""
    return bool(OPS & {part.strip() for part in item.category.split(",")})


def is_known_kernel(item: Slice) -> bool:
    """Whether an event is work of a GPU without a doubt, by its category."""
    return item.category in KERNELS


def is_beside(item: Slice) -> bool:
    """Whether an event is known to be no op: a kernel, a launch, an annotation and the like."""
    beside = item.category in KERNELS | RUNTIME | _BESIDE and item.category != ""
    return beside or bool(_LAUNCHES.fullmatch(item.category))


def sort_rows(slices: Iterable[Slice]) -> Rows:
    """Sort events by what they are; annotations, Python's frames and the like are left out."""
    slices = list(slices)
    ops = [item for item in slices if is_op(item)]
    # Only torch.profiler shows devices beside ops; this package's rows of transfers are not work.
    hosts = {item.pid for item in ops if _is_torch(item)}
    kernels, launches = [], []
    for item in slices:
        if item.category in RUNTIME or _LAUNCHES.fullmatch(item.category):
            launches.append(item)
        elif item.category in KERNELS or (
            hosts and item.category not in _BESIDE | OPS and item.pid not in hosts
        ):
            kernels.append(item)
    notes = [item for item in slices if _is_torch(item) or item.category == "user_annotation"]
    return Rows(
        [item for item in ops if not (_is_torch(item) and _ANNOTATION.fullmatch(item.name))],
        _marks(notes),
        kernels,
        launches,
    )


def _is_torch(item: Slice) -> bool:
    """Whether an event's category is one of torch.profiler's for ops."""
    return item.category in ("cpu_op", "operator")


def _marks(candidates: Iterable[Slice]) -> list[Slice]:
    """Return the marks of steps: the profiler's own, else what a user numbered, if in turn."""
    candidates = list(candidates)
    for form in (_STEP, _NUMBERED):
        found = [item for item in candidates if form.fullmatch(item.name.strip())]
        # Each process of a trace that was merged has its own; those of the first count.
        found = [item for item in found if item.pid == found[0].pid and item.duration > 0]
        found.sort(key=lambda item: item.start)
        apart = all(b.start >= a.end - 1.0 for a, b in pairwise(found))
        if found and apart:
            return found
    return []


def device_of(item: Slice, names: RowNames) -> str:
    """Return the kind of device that a kernel ran on: ``gpu``, or what its category begins with."""
    if is_known_kernel(item):
        label = re.match(r"([A-Za-z]+)", names.labels.get(item.pid, ""))
        kind = label[1].lower() if label else "gpu"
        return kind if kind != "cpu" else "gpu"
    return item.category.partition("_")[0] or "device"


def device_among(kernels: Sequence[Slice], launches: Sequence[Slice], names: RowNames) -> str:
    """Return the kind of device that most kernels ran on.

    Kernels of several kinds are called alike; then it is the launches that say which it is:
    ``xpu_runtime``.
    """
    kinds = [device_of(item, names) for item in kernels]
    kind = max(dict.fromkeys(kinds), key=kinds.count)
    callers = [item.category.partition("_")[0] for item in launches]
    callers = [caller for caller in callers if caller != "runtime"]
    if kind != "gpu" or not callers or "cuda" in callers:
        return kind
    return max(dict.fromkeys(callers), key=callers.count)


def unread(items: Iterable[Slice], names: RowNames) -> tuple[Unread, ...]:
    """Return events by category and device, with how many they are and how long they took."""
    groups: dict[tuple[str, str], list[float]] = {}
    for item in items:
        key = (item.category, names.labels.get(item.pid) or device_of(item, names))
        groups.setdefault(key, []).append(item.duration)
    return tuple(Unread(*key, len(times), sum(times)) for key, times in groups.items())


def product_of(kernels: Sequence[Slice], header: Mapping[str, object]) -> tuple[str, int | None]:
    """Return name and bytes of memory of the device that most kernels ran on, as the trace says."""
    counts: dict[object, int] = {}
    for item in kernels:
        number = item.args.get("device")
        if isinstance(number, int):
            counts[number] = counts.get(number, 0) + 1
    listed = header.get("deviceProperties")
    if not counts or not isinstance(listed, list):
        return "", None
    most = max(counts, key=lambda number: counts[number])
    rows = [row for row in listed if isinstance(row, dict)]
    # Kernels may count devices of the machine where the list has those that the process may use.
    alike = (
        rows
        if len({str((row.get("name"), row.get("totalGlobalMem"))) for row in rows}) == 1
        else []
    )
    for row in [row for row in rows if row.get("id") == most] or alike:
        name, memory = row.get("name"), row.get("totalGlobalMem")
        whole = type(memory) is int and memory > 0
        return (name if isinstance(name, str) else ""), (memory if whole else None)
    return "", None
