"""What was measured on a device, and how it becomes part of a profile."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from threading import Event
from typing import TypeAlias, TypeVar

from talos_opt.frameworks.common.calibration import calibrated, launch_time, whole_factor
from talos_opt.frameworks.common.catalogue import lookup
from talos_opt.frameworks.common.disturbance import Others, note_of
from talos_opt.frameworks.common.profile import DeviceProfile, OpProfile, Profile, Timing
from talos_opt.frameworks.common.roofline import with_estimates
from talos_opt.frameworks.common.statistics import timing
from talos_opt.frameworks.common.targets import Target
from talos_opt.frameworks.common.workspaces import with_workspaces

#: Called with the share that is done, and what is being done.
ProgressCallback: TypeAlias = Callable[[float, str], None]
Device = TypeVar("Device")

#: Parts that the runs of the plain model are split into, in the order of time.
BATCHES = 5
#: Times of less than so many resolutions of the timer are marked.
RESOLUTIONS = 3.0


@dataclass
class Measured:
    """What was measured on a device; seconds and bytes.

    Parameters
    ----------
    ops : dict of str to list of float
        Times of each op, by id; empty where it was not reached.
    whole : list of float
        Times of the plain model.
    steps : list of float
        Times of the model as what runs placed models runs it, op by op, with all on this device;
        empty where that is how `whole` was measured.
    starting : list of float
        Of each such step, the share in which no op ran, as the next one was being started.
    workspace : dict of str to int
        By op; empty where the allocator does not tell.
    resolution_s : float
        Smallest difference that the timer tells.
    stopped : bool
        Whether time or patience ended before the first round was complete.
    unable : set of str
        Ops that the device cannot run: they get no time there.
    kernels : bool
        Whether `ops` are times of kernels that the host had started well ahead.
    others : float, optional
        Share of all cores that other processes took meanwhile; None: unknown.
    """

    ops: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    whole: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    starting: list[float] = field(default_factory=list)
    workspace: dict[str, int] = field(default_factory=dict)
    resolution_s: float = 0.0
    stopped: bool = False
    unable: AbstractSet[str] = frozenset()
    kernels: bool = False
    others: float | None = None

    @property
    def whole_s(self) -> float | None:
        """Time of the plain model; see `undisturbed`."""
        return undisturbed(self.whole)

    @property
    def step_s(self) -> float | None:
        """Time of the model run op by op: the median, as `run` reports it."""
        return statistics.median(self.steps) if self.steps else None

    @property
    def sum_s(self) -> float:
        """Sum of the medians of the ops."""
        return sum(statistics.median(times) for times in self.ops.values() if times)

    def too_short(self, op: str) -> bool:
        """Whether an op's time is not much more than what the timer can tell."""
        times = self.ops.get(op)
        return bool(times) and statistics.median(times or ()) < RESOLUTIONS * self.resolution_s


def undisturbed(times: Sequence[float]) -> float | None:
    """Return the least median of `BATCHES` in a row; None of nothing.

    A model's run is hit by any interruption, one of its ops seldom; so what is wanted is the
    model's time while nobody interrupts.
    """
    if not times:
        return None
    size = max(3, -(-len(times) // BATCHES))
    batches = (times[k : k + size] for k in range(0, len(times), size))
    full = [batch for batch in batches if len(batch) == size] or [times]
    return min(statistics.median(batch) for batch in full)


class Budget:
    """Until when measurements may go on.

    Parameters
    ----------
    seconds : float
    cancel : threading.Event, optional
        Set by whoever wants what has been measured so far.
    """

    def __init__(self, seconds: float, cancel: Event | None = None) -> None:
        self._cancel = cancel
        self._began = time.monotonic()
        self.seconds = seconds

    @property
    def used(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def spent(self) -> bool:
        """Whether it is time to stop."""
        return self.used >= self.seconds or (self._cancel is not None and self._cancel.is_set())


def silent(share: float, doing: str) -> None:
    """Report to nobody."""


def measure_each(
    devices: Iterable[Device],
    measure: Callable[[Device, Budget, Callable[[float], None]], tuple[Measured, int | None]],
    *,
    max_time_s: float,
    cancel: Event | None,
    report: ProgressCallback,
) -> dict[Device, tuple[Measured, int | None]]:
    """Measure on each device once, with an equal share of the time for each.

    Parameters
    ----------
    devices : iterable
        As the framework has them; several of one are measured once.
    measure : callable
        Called with a device, its budget, and whom to tell which share of it is done; returns what
        was measured, and the intra-op threads.
    max_time_s : float
    cancel : threading.Event, optional
    report : callable
    """
    distinct = list(dict.fromkeys(devices))
    found: dict[Device, tuple[Measured, int | None]] = {}
    for k, device in enumerate(distinct):

        def share(done: float, k: int = k, device: Device = device) -> None:
            report((k + done) / len(distinct), f"measuring on {device}")

        share(0.0)
        others = Others()
        found[device] = measure(device, Budget(max_time_s / len(distinct), cancel), share)
        found[device][0].others = others.share()
    return found


def with_device(
    profile: Profile, target: Target, measured: Measured, threads: int | None
) -> Profile:
    """Return the profile with a device's timings, calibrated so that they sum to the whole.

    Ops that were not reached take as long as others of their type; those that the device cannot
    run have no time there.

    Parameters
    ----------
    profile : Profile
    target : Target
    measured : Measured
    threads : int, optional
        Intra-op threads that it was measured with.
    """
    ops = tuple(_timed(op, target.id, measured) for op in profile.ops)
    ops = _filled(ops, target.id, measured.unable)
    whole_s, step_s, launch_s = measured.whole_s, measured.step_s, 0.0
    total = whole_s if step_s is None else step_s
    if measured.kernels:
        launch_s = launch_time(ops, target.id, total)
    elif step_s is not None:
        count = sum(target.id in op.timings for op in ops)
        launch_s = statistics.median(measured.starting) * step_s / count if count else 0.0
    ahead = measured.kernels and launch_s > 0
    device = DeviceProfile(
        target.id,
        target.kind,
        target.memory,
        whole_s=whole_s,
        factor=1.0 if ahead else whole_factor(ops, target.id, total, launch_s),
        threads=threads,
        launch_s=launch_s,
        step_s=step_s,
    )
    facts = dict(profile.facts)
    if threads is not None:
        facts[f"threads on {target.id}"] = str(threads)
    stopped = "stopped before every op had been timed repeatedly" if measured.stopped else ""
    said = "; ".join(filter(None, (stopped, note_of(measured.others))))
    if said:
        facts[f"measured on {target.id}"] = said
    ops = calibrated(ops, target.id, total, launch_s, ahead=ahead)
    return dataclasses.replace(profile, ops=ops, devices=(*profile.devices, device), facts=facts)


def _timed(op: OpProfile, device: str, measured: Measured) -> OpProfile:
    times = measured.ops.get(op.id)
    if not times:
        return op
    facts = dict(op.facts)
    if measured.too_short(op.id):
        facts["below_resolution"] = [*facts.get("below_resolution", ()), device]
    workspace = op.workspace
    if op.id in measured.workspace:
        workspace = max(workspace or 0, measured.workspace[op.id])
    return dataclasses.replace(
        op, timings={**op.timings, device: timing(times)}, facts=facts, workspace=workspace
    )


def _filled(
    ops: tuple[OpProfile, ...], device: str, unable: AbstractSet[str]
) -> tuple[OpProfile, ...]:
    """Return the ops, with those that were not reached taking as long as others of their type."""
    known = [op for op in ops if device in op.timings]
    if len(known) == len(ops):
        return ops
    filled: list[OpProfile] = []
    for op in ops:
        if device in op.timings or op.id in unable:
            filled.append(op)
            continue
        like = [o.timings[device].raw_s for o in known if o.type == op.type]
        like = like or [o.timings[device].raw_s for o in known] or [0.0]
        guess = statistics.median(like)
        filled.append(dataclasses.replace(op, timings={**op.timings, device: Timing(guess, guess)}))
    return tuple(filled)


def with_sheets(profile: Profile, targets: Sequence[Target], dtype: str) -> Profile:
    """Return the profile with the catalogue's devices, all in the order that was asked for.

    Workspaces that nobody measured are estimated.

    Parameters
    ----------
    profile : Profile
        With the devices that were measured.
    targets : sequence of Target
        All that were asked for.
    dtype : str
        What is computed with.
    """
    sheets = {target.id: target.sheet for target in targets if target.sheet is not None}
    if sheets:
        products = {target.id: target.product for target in targets if target.local is not None}
        profile = with_estimates(profile, sheets, dtype=dtype, measured=products)
    profile = with_workspaces(profile, {name: lookup(sheet) for name, sheet in sheets.items()})
    order = {target.id: k for k, target in enumerate(targets)}
    devices = tuple(sorted(profile.devices, key=lambda device: order[device.id]))
    return dataclasses.replace(profile, devices=devices)
