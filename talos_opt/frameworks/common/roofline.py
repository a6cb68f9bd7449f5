"""The time of an op on a device that is not there: from its FLOPs, its bytes and a datasheet.

    time = launches x launch + max(flops / (efficiency x peak), bytes / (efficiency x bandwidth))

Efficiencies stand in `op_classes`, peaks and bandwidths in `datasheets`. What was measured on
another device of the same profile mends the estimates, as `calibrate` explains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.calibration import TypeRatios, type_ratios
from talos_opt.frameworks.common.catalogue import device_ids, identify, links, lookup
from talos_opt.frameworks.common.datasheets import Datasheet, dtype_name
from talos_opt.frameworks.common.op_classes import EFFICIENCIES, NOTHING, VIEW, class_of
from talos_opt.frameworks.common.profile import DeviceProfile, OpProfile, Profile, Timing

#: Share of the efficiency above that is left where tensor cores multiply: they outrun the memory
#: and the scheduler that feed them. Assumed.
TENSOR_SHARE = 0.75
_TENSOR_TYPES = frozenset(("tf32", "fp16", "bf16", "int8"))
#: Work that is multiplications for the most part: what tensor cores do, where there are any.
TENSOR_CLASSES = frozenset(("matmul", "batch_matmul", "attention", "conv", "conv_grad"))

#: How much of what is peculiar to an op type on one kind of device is taken to hold on another:
#: half, on a logarithmic scale. Half is put down to the op, half to the device. Assumed.
TRANSFER = 0.5


class Work(Protocol):
    """What an estimate goes by; an `OpProfile` has it, and so has a `Call`."""

    @property
    def type(self) -> str:
        """Operator type, as the framework names it."""

    @property
    def flops(self) -> float | None:
        """None: unknown; the bytes decide."""

    @property
    def moved_bytes(self) -> int:
        """Bytes read and written, weights included."""

    @property
    def output(self) -> int:
        """Bytes of its own that it returns; 0: a view."""

    @property
    def launches(self) -> int:
        """Kernels that are started for it."""


class Call(NamedTuple):
    """A call of an op that is nothing but work, not part of a graph; see `Work`."""

    type: str
    flops: float | None
    moved_bytes: int
    output: int
    launches: int = 1


def estimate(op: Work, device: Datasheet, dtype: str = "fp32") -> Timing:
    """Return the time that the roofline gives an op.

    Parameters
    ----------
    op : Work
        FLOPs that are unknown count as none: the bytes decide.
    device : Datasheet
    dtype : str
        What is computed with; see `Datasheet.peak_for`.

    Returns
    -------
    Timing
        An estimate (no repeats). A view, a constant or a name takes no time at all.

    Raises
    ------
    InputError
        If the data type is unknown.
    """
    seconds = terms(op, device, dtype).seconds
    return Timing(seconds, seconds)


class Terms(NamedTuple):
    """What the time of an op consists of, in seconds."""

    launch: float
    arithmetic: float
    traffic: float

    @property
    def seconds(self) -> float:
        """The time: whatever takes longer, after the launch."""
        return self.launch + max(self.arithmetic, self.traffic)


def terms(op: Work, device: Datasheet, dtype: str = "fp32") -> Terms:
    """Return what `estimate` makes a time of; see there."""
    if is_free(op):
        return Terms(0.0, 0.0, 0.0)
    work = class_of(op.type)
    efficiency = EFFICIENCIES.get(work, EFFICIENCIES["elementwise"])
    usable = efficiency.compute[device.kind] * _peak(device, work, dtype)
    arithmetic = (op.flops or 0.0) / usable
    traffic = op.moved_bytes / (efficiency.memory[device.kind] * device.bandwidth)
    return Terms(op.launches * device.launch_s, arithmetic, traffic)


def reached(type_: str, device: Datasheet, dtype: str = "fp32") -> tuple[float, float]:
    """Return the shares of the bandwidth and of the peak that ops of a type are taken to reach."""
    work = class_of(type_)
    efficiency = EFFICIENCIES.get(work, EFFICIENCIES["elementwise"])
    used = _peak(device, work, dtype) / _peak(device, work, dtype, share=1.0)
    return efficiency.memory[device.kind], efficiency.compute[device.kind] * used


def least_s(op: Work, device: Datasheet, dtype: str = "fp32") -> float:
    """Return the seconds below which a device would exceed its datasheet: at every efficiency 1.

    Parameters
    ----------
    op : Work
    device : Datasheet
    dtype : str
        See `estimate`.
    """
    if is_free(op):
        return 0.0
    peak = _peak(device, class_of(op.type), dtype, share=1.0)
    return max((op.flops or 0.0) / peak, op.moved_bytes / device.bandwidth)


def stream_s(size: int, device: Datasheet) -> float:
    """Return the seconds that reading so many bytes in a row adds to an op that runs anyway."""
    return size / (EFFICIENCIES["elementwise"].memory[device.kind] * device.bandwidth)


def is_free(op: Work) -> bool:
    """Whether an op does nothing: a view has no output of its own, a name never has work."""
    work = class_of(op.type)
    if work == NOTHING:
        return True
    idle = not op.flops and not op.moved_bytes
    return op.output == 0 and (work == VIEW or idle)


def _peak(device: Datasheet, work: str, dtype: str, share: float = TENSOR_SHARE) -> float:
    """Operations per second, of tensor cores only where they are used."""
    name = dtype_name(dtype)
    tensor = device.kind == "gpu" and name in _TENSOR_TYPES and name in device.peak
    if not tensor:
        return device.peak_for(name)
    if work not in TENSOR_CLASSES:
        return device.peak["fp32"]
    return max(device.peak["fp32"], share * device.peak[name])


@dataclass(frozen=True)
class Calibration:
    """What estimates are multiplied by, and why.

    Parameters
    ----------
    ratios : TypeRatios
    reason : str
        For the graph's description.
    """

    ratios: TypeRatios
    reason: str


def calibrate(
    profile: Profile,
    device: Datasheet,
    measured: Mapping[str, Datasheet | str] | None = None,
    dtype: str = "fp32",
) -> Calibration:
    """Return how measurements on other devices mend the estimates for a device.

    - A measured device of the same kind with a known datasheet: how many times longer its ops
      took than its own roofline says, per type, is taken over as it is.
    - Otherwise the first measured device: only what is peculiar to a type is taken over (its
      ratio over the overall one), and `TRANSFER` of that. Its datasheet is the known one, or
      one fitted to what its ops reached; how fast it is as a whole cancels.
    - Nothing measured: the estimates stay.

    A type that was measured a few times leans on its class, as `type_ratios` says, and one that was
    not takes the ratio of its class. What comes of it never exceeds a datasheet: see `least_s`.

    Parameters
    ----------
    profile : Profile
    device : Datasheet
        To be estimated.
    measured : mapping of str to Datasheet or str, optional
        Datasheets, or names that `identify` knows, of measured devices by id; names that it does
        not know are passed over.
    dtype : str
    """
    ids = [d.id for d in profile.devices if not d.estimated and _observed(profile, d.id)]
    if not ids:
        return Calibration(TypeRatios(), "not calibrated: nothing was measured")
    kinds = {d.id: d.kind for d in profile.devices}
    known = _known(measured or {})
    for name in ids:
        sheet = known.get(name)
        if sheet is not None and sheet.kind == device.kind:
            ratios = type_ratios(_observations(profile, name, sheet, dtype), class_of)
            text = f"calibrated per op type by {name} over its own roofline ({sheet.title})"
            return Calibration(ratios, text + _clamps(ratios))
    first = min(ids, key=lambda name: kinds[name] != device.kind)
    sheet = known.get(first) or fitted(profile, first, kinds[first], dtype)
    ratios = type_ratios(_observations(profile, first, sheet, dtype), class_of).shape(TRANSFER)
    text = f"calibrated per op type by {TRANSFER:g} of what is peculiar to it on {first}"
    return Calibration(ratios, text + _clamps(ratios))


def _clamps(ratios: TypeRatios) -> str:
    return f" (clamped: {', '.join(ratios.clamped)})" if ratios.clamped else ""


def _known(measured: Mapping[str, Datasheet | str]) -> dict[str, Datasheet]:
    found: dict[str, Datasheet] = {}
    for name, sheet in measured.items():
        known = identify(sheet) if isinstance(sheet, str) else sheet
        if known is not None:
            found[name] = known
    return found


def _observed(profile: Profile, device: str) -> list[OpProfile]:
    """Ops that were measured on a device and took time there."""
    return [
        op
        for op in profile.ops
        if device in op.timings
        and not op.timings[device].estimated
        and op.timings[device].time_s > 0
        and not is_free(op)
    ]


def _observations(
    profile: Profile, device: str, sheet: Datasheet, dtype: str
) -> list[tuple[str, float, float]]:
    return [
        (op.type, op.timings[device].time_s, estimate(op, sheet, dtype).raw_s)
        for op in _observed(profile, device)
    ]


def fitted(profile: Profile, device: str, kind: str, dtype: str = "fp32") -> Datasheet:
    """Return a datasheet that the measurements on a device suggest.

    Peak and bandwidth are such that a tenth of its ops, those that used it best, would have
    exceeded the efficiency of their class.

    Parameters
    ----------
    profile : Profile
    device, kind : str
        Id and kind of a measured device.
    dtype : str
    """
    like = "cpu" if kind == "cpu" else "gpu"
    launch = 2e-6 if like == "cpu" else 5e-6
    rates, flows = [], []
    for op in _observed(profile, device):
        efficiency = EFFICIENCIES.get(class_of(op.type), EFFICIENCIES["elementwise"])
        busy = max(op.timings[device].time_s - launch, op.timings[device].time_s / 10)
        if op.flops and class_of(op.type) in TENSOR_CLASSES:
            rates.append(op.flops / busy / efficiency.compute[like])
        if op.moved_bytes:
            flows.append(op.moved_bytes / busy / efficiency.memory[like])
    peak = float(np.percentile(rates, 90)) if rates else 1e12
    bandwidth = float(np.percentile(flows, 90)) if flows else 20e9
    return Datasheet(
        name=device,
        title=f"fitted to {device}",
        kind=like,
        peak={"fp32": peak, dtype_name(dtype): peak},
        bandwidth=bandwidth,
        memory=None,
        launch_s=launch,
        host_bandwidth=bandwidth,
        host_latency_s=0.0,
        source="measurements of this profile",
    )


def with_estimates(
    profile: Profile,
    devices: Sequence[str] | Mapping[str, str],
    *,
    dtype: str = "fp32",
    measured: Mapping[str, Datasheet | str] | None = None,
) -> Profile:
    """Return a profile with catalogue devices beside those that it has.

    Parameters
    ----------
    profile : Profile
        With or without measured devices. Ops keep the timings that they have.
    devices : sequence of str, or mapping of str to str
        Catalogue names; or names by the device id that each is to have. In a sequence the name is
        the id, numbered where it comes twice.
    dtype : str
        What the model computes with.
    measured : mapping of str to Datasheet or str, optional
        See `calibrate`.

    Returns
    -------
    Profile
        With estimated timings, devices and links. Tensors move through the memory of the first
        device of kind cpu; ``facts`` say for each device where its figures are from.

    Raises
    ------
    InputError
        If the catalogue lacks a name, an id is taken, or the data type is unknown.
    """
    taken = {device.id for device in profile.devices}
    if isinstance(devices, Mapping):
        sheets = {name: lookup(sheet) for name, sheet in devices.items()}
    else:
        sheets = device_ids([lookup(name) for name in devices], taken)
    for name in sheets:
        if name in taken:
            raise InputError(f"device {name!r} is there already, expected another id")
    found = {name: calibrate(profile, sheet, measured, dtype) for name, sheet in sheets.items()}
    added = tuple(
        DeviceProfile(name, sheet.kind, sheet.memory, estimated=True)
        for name, sheet in sheets.items()
    )
    every = (*profile.devices, *added)
    host = next((device.id for device in every if device.kind == "cpu"), None)
    ops = tuple(_estimated(op, sheets, found, dtype) for op in profile.ops)
    facts = {
        f"estimate {name}": f"{sheet.title}, {dtype_name(dtype)}; {found[name].reason}"
        f"{_held(ops, name, found[name])}; source: {sheet.source}"
        for name, sheet in sheets.items()
    }
    return replace(
        profile,
        ops=ops,
        devices=every,
        links=(*profile.links, *links(sheets, host)),
        facts={**profile.facts, **facts},
    )


def _held(ops: Sequence[OpProfile], name: str, calibration: Calibration) -> str:
    """Say how many ops would have exceeded the datasheet."""
    count = sum(
        op.timings[name].time_s > op.timings[name].raw_s * calibration.ratios.of(op.type)
        for op in ops
    )
    return f" ({count} held at the datasheet's limits)" if count else ""


def _estimated(
    op: OpProfile,
    sheets: Mapping[str, Datasheet],
    found: Mapping[str, Calibration],
    dtype: str,
) -> OpProfile:
    timings = dict(op.timings)
    for name, sheet in sheets.items():
        raw = estimate(op, sheet, dtype).raw_s
        mended = raw * found[name].ratios.of(op.type)
        timings[name] = Timing(raw, max(mended, least_s(op, sheet, dtype)))
    return replace(op, timings=timings)
