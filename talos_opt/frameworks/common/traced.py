"""A profile from traces: what each op took on the devices that a model was traced on.

One trace per device; each holds the times of a model's ops there, per step. Who reads what comes
from `traced_flow`. Nothing is estimated but what the notes say.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from talos_opt.analysis.alignment import match
from talos_opt.analysis.steps import MeanOp, typical
from talos_opt.core.errors import InputError
from talos_opt.formats.source import split_suffix
from talos_opt.formats.trace_reader import Copy, Trace, TraceOp, read_trace
from talos_opt.frameworks.common import traced_flow
from talos_opt.frameworks.common.catalogue import identify, lookup
from talos_opt.frameworks.common.datasheets import (
    NETWORK_BANDWIDTH,
    NETWORK_LATENCY_S,
    Datasheet,
)
from talos_opt.frameworks.common.profile import (
    DeviceProfile,
    LinkProfile,
    OpProfile,
    Profile,
    Timing,
)
from talos_opt.frameworks.common.statistics import summarise
from talos_opt.frameworks.common.traced_flow import SEQUENCE, Flow

_PER_SECOND = 1e6
#: Share of a trace's time that the flow's ops must hold; below it is that of another model.
_ENOUGH = 0.5
#: Share of a step in which a device waited for launches, from which on it is worth a note.
_WAITED = 0.1
#: Copies below this say what starting one takes, and those above it how fast bytes move.
_SMALL, _LARGE = 4096, 1 << 20
#: Assumed of a link that neither copies nor the catalogue tell of: PCI Express 3.0 with 16 lanes.
ASSUMED_LATENCY_S, ASSUMED_BANDWIDTH = 12e-6, 0.75 * 15.75e9


@dataclass(frozen=True)
class _Side:
    """One trace, and the device that it stands for."""

    trace: Trace
    id: str
    ops: tuple[TraceOp, ...]
    timings: tuple[Timing, ...]
    sheet: Datasheet | None

    @property
    def device(self) -> DeviceProfile:
        memory = self.trace.memory
        if memory is None and self.sheet is not None:
            memory = self.sheet.memory
        return DeviceProfile(self.id, self.trace.device, memory)


def profile_traces(
    traces: Sequence[str | os.PathLike[str] | Trace],
    *,
    flow: str | os.PathLike[str] | None = None,
    devices: Sequence[str] | None = None,
    skip: int = 0,
    bandwidth: float | None = None,
    latency_s: float | None = None,
) -> Profile:
    """Make a profile from traces of one model, each from a run on one device.

    Parameters
    ----------
    traces : sequence of path or Trace
        At least one; see `read_traces`.
    flow : path, optional
        An execution trace of the same model, or ``sequence``: each op reads the one before it.
        Default: what TensorFlow's timelines say.
    devices : sequence of str, optional
        For each trace the device's id, ``NAME=CATALOGUE``, or a name of the catalogue. Default:
        ``cpu0``, ``gpu0`` and so on, by what the traces say.
    skip : int
        Steps that are left out of each trace that marks some.
    bandwidth : float, optional
        Bytes per second between the host and each other device, instead of what copies in the
        traces or the catalogue say.
    latency_s : float, optional
        Seconds of such a copy before the first byte.

    Raises
    ------
    InputError
        If a trace or the flow cannot be read, if there is no flow, or if the traces and it do not
        belong to one model.
    """
    if not traces:
        raise InputError("no trace is given, expected one for each device")
    whole = None
    if flow is not None and os.fspath(flow) != SEQUENCE:
        whole = traced_flow.from_execution_trace(flow)
    given = [item for item in traces if not isinstance(item, Trace)]
    read = iter(read_traces(given, flow=flow))
    sides = _sides(
        [item if isinstance(item, Trace) else next(read) for item in traces], devices, skip
    )
    if whole is None:
        runs = [side.ops for side in sides]
        whole = traced_flow.in_sequence(runs) if flow is not None else _from_traces(sides)
    ops, notes = _timed(whole, sides)
    links, said = _links(sides, bandwidth, latency_s)
    notes += _waits(sides, skip)
    unknown = [side.id for side in sides if side.device.memory is None]
    if unknown:
        notes.append(f"the memory of {', '.join(unknown)} is unknown: it counts as unlimited")
    if not any(op.weights for op in ops):
        notes.append("what ops hold in memory is unknown: only tensors that travel count")
    framework = next((side.trace.framework for side in sides if side.trace.framework), "")
    return Profile(
        name=split_suffix(os.path.basename(sides[0].trace.source))[0] or "traced",
        framework=framework or "chrome",
        mode="traced",
        ops=ops,
        devices=tuple(side.device for side in sides),
        links=links,
        facts={"flow": whole.origin, **{side.id: _origin(side, skip) for side in sides}},
        notes=(*whole.notes, *notes, *said),
    )


def read_traces(
    paths: Sequence[str | os.PathLike[str]],
    *,
    flow: str | os.PathLike[str] | None = None,
    processes: Sequence[str] = (),
) -> list[Trace]:
    """Read traces in the form that their flow needs.

    An execution trace lists the operators of the backward pass, not the nodes that call them.

    Parameters
    ----------
    paths : sequence of path
    flow : path, optional
        As for `profile_traces`.
    processes : sequence of str
        For each trace the process to read, ``-`` where it needs none; may be shorter.

    Raises
    ------
    InputError
        If a trace cannot be read, or more processes are given than traces.
    """
    if len(processes) > len(paths):
        raise InputError(
            f"{len(processes)} processes are given for {len(paths)} traces, expected one for each"
        )
    apart = flow is not None and os.fspath(flow) != SEQUENCE
    named = [name if name != "-" else None for name in processes]
    named += [None] * (len(paths) - len(named))
    return [
        read_trace(path, process=process, apart=apart)
        for path, process in zip(paths, named, strict=True)
    ]


def _sides(traces: Sequence[Trace], devices: Sequence[str] | None, skip: int) -> list[_Side]:
    if devices and len(devices) != len(traces):
        raise InputError(
            f"{len(devices)} devices are given for {len(traces)} traces, expected one for each"
        )
    sides: list[_Side] = []
    for k, trace in enumerate(traces):
        name, sheet = _named(trace, devices[k] if devices else "", sides)
        if any(side.id == name for side in sides):
            raise InputError(f"two devices are called {name!r}, expected different names")
        ops, timings = _step(trace, skip)
        sides.append(_Side(trace, name, ops, timings, sheet))
    return sides


def _named(trace: Trace, given: str, before: Sequence[_Side]) -> tuple[str, Datasheet | None]:
    """Return the id of a trace's device, and its datasheet if it is known."""
    name, equals, product = given.partition("=")
    sheet: Datasheet | None
    if equals:
        sheet = lookup(product)
    else:
        sheet = identify(name or trace.product) or (identify(trace.product) if name else None)
    if sheet is not None and sheet.kind != trace.device:
        if equals or identify(name) is sheet:
            raise InputError(
                f"{trace.source}: its ops ran on a {trace.device}, and {sheet.title} is a "
                f"{sheet.kind}; expected the device that was traced"
            )
        sheet = None
    if not name:
        name = f"{trace.device}{sum(side.trace.device == trace.device for side in before)}"
    return name, sheet


def _step(trace: Trace, skip: int) -> tuple[tuple[TraceOp, ...], tuple[Timing, ...]]:
    """Return the ops of one step with their mean times, or all ops where no steps are marked."""
    try:
        ops, mean = typical(trace.ops, [step.ops for step in trace.steps], skip)
    except InputError as error:
        raise error.located(source=trace.source) from None
    if not mean:
        return ops, tuple(Timing(*2 * (op.duration_us / _PER_SECOND,), repeats=1) for op in ops)
    return tuple(op.first for op in mean), tuple(map(_mean_timing, mean))


def _mean_timing(op: MeanOp[TraceOp]) -> Timing:
    there = [event.duration_us for event in op.events if event is not None]
    mean = op.duration_us / _PER_SECOND
    return Timing(mean, mean, summarise(there).spread, len(there))


def _from_traces(sides: Sequence[_Side]) -> Flow:
    found = traced_flow.from_nodes([side.ops for side in sides])
    if found is None:
        raise InputError(
            "the traces do not say which op reads which, and only TensorFlow's timelines do: give "
            "an execution trace of the model with --flow ET.json (PyTorch writes one with "
            "torch.profiler.ExecutionTraceObserver), or --flow sequence if each op reads the one "
            "before it"
        )
    return found


def _timed(flow: Flow, sides: Sequence[_Side]) -> tuple[tuple[OpProfile, ...], list[str]]:
    """Return the flow's ops with their times on every device, and what is to be said of them."""
    timings: list[dict[str, Timing]] = [{} for _ in flow.ops]
    notes = []
    for side in sides:
        weights = [timing.time_s for timing in side.timings]
        total = sum(weights)
        light = total / (100 * len(weights))
        pairs = match(
            flow.names,
            [op.name for op in side.ops],
            [light] * len(flow.names),
            [weight + light for weight in weights],
        )
        covered = sum(weights[j] for _, j in pairs)
        if covered < _ENOUGH * total:
            raise InputError(
                f"ops of the flow ({flow.origin}) take {100 * covered / total:.3g} % of the "
                f"time of this trace, expected at least {100 * _ENOUGH:g} %: both have to be of "
                f"one model, in the same mode{_several(flow, side)}",
                source=side.trace.source,
            )
        if covered < total:
            notes.append(
                f"{side.id}: {100 * covered / total:.4g} % of the traced time is in the graph; "
                f"{len(weights) - len(pairs)} ops of {side.trace.source} are not in the flow"
            )
        for i, j in pairs:
            timings[i][side.id] = side.timings[j]
    notes += _fill(flow, timings, sides)
    ops = tuple(replace(op, timings=found) for op, found in zip(flow.ops, timings, strict=True))
    return ops, notes


def _several(flow: Flow, side: _Side) -> str:
    """Say that a trace may hold several steps and not mark them, if it looks like that."""
    if side.trace.steps or len(side.ops) < 2 * len(flow.ops):
        return ""
    return (
        f"; it marks no steps and has {len(side.ops)} ops, the flow has {len(flow.ops)}: trace one "
        "step, or have torch.profiler mark them with schedule= and step()"
    )


def _fill(
    flow: Flow, timings: Sequence[dict[str, Timing]], sides: Sequence[_Side]
) -> Iterable[str]:
    """Give ops that no trace has the median time of others of their name, and say so."""
    alike: dict[tuple[str, str], list[float]] = {}
    for name, found in zip(flow.names, timings, strict=True):
        for device, timing in found.items():
            alike.setdefault((name, device), []).append(timing.time_s)
    guessed, silent = 0, []
    for name, found in zip(flow.names, timings, strict=True):
        if found:
            continue
        usual = {
            side.id: statistics.median(alike[name, side.id])
            for side in sides
            if (name, side.id) in alike
        }
        if usual:
            guessed += 1
        else:
            silent.append(name)
            usual = {side.id: 0.0 for side in sides}
        found.update({device: Timing(time, time) for device, time in usual.items()})
    if guessed:
        yield f"{guessed} ops of the flow are in no trace: they take the median of their type"
    if silent:
        listed = ", ".join(list(dict.fromkeys(silent))[:5])
        yield f"{len(silent)} ops of the flow are of types in no trace: they take 0 us ({listed})"
    for side in sides:
        lacking = sum(side.id not in found for found in timings)
        if lacking:
            yield f"{lacking} of {len(timings)} ops have no time on {side.id}, and cannot run there"


def _waits(sides: Sequence[_Side], skip: int) -> Iterable[str]:
    """Say which devices waited for the host: a step takes longer than the kernels in the graph."""
    for side in sides:
        spans = [step.idle for step in side.trace.steps[skip:] if step.idle is not None]
        if not spans and side.trace.idle is not None:
            spans = [side.trace.idle]
        total = sum(span.span_us for span in spans)
        share = sum(span.launching_us for span in spans) / total if total > 0 else 0.0
        if share >= _WAITED:
            yield (
                f"{side.id} waited for launches {100 * share:.3g} % of the traced time; the graph "
                "has the times of kernels, so a run takes longer than it says"
            )


def _origin(side: _Side, skip: int) -> str:
    steps = side.trace.steps[skip:]
    if not steps:
        return f"measured in {side.trace.source}"
    if len(steps) == 1:
        return f"measured in {side.trace.source}, {steps[0].name}"
    names = f"{steps[0].name} to {steps[-1].name}"
    return f"measured in {side.trace.source}, mean of {len(steps)} steps ({names})"


def _links(
    sides: Sequence[_Side], bandwidth: float | None, latency_s: float | None
) -> tuple[tuple[LinkProfile, ...], list[str]]:
    """Return a link of the host with every other device, or of all pairs if no CPU was traced."""
    if len(sides) < 2:
        return (), []
    host = next((side for side in sides if side.trace.device == "cpu"), None)
    notes: list[str] = []
    rates: dict[str, tuple[float, float, bool]] = {}
    for side in sides:
        if side is host:
            continue
        latency, rate, measured, note = _rate(side)
        if bandwidth is not None or latency_s is not None:
            latency = latency if latency_s is None else latency_s
            rate = rate if bandwidth is None else bandwidth
            note = "" if None not in (bandwidth, latency_s) else note
        rates[side.id] = (latency, rate, measured)
        if note:
            notes.append(note)
    if host is not None:
        return tuple(
            LinkProfile(host.id, name, latency, rate, not measured)
            for name, (latency, rate, measured) in rates.items()
        ), notes
    listed = list(rates.items())
    return tuple(
        LinkProfile(a, b, first[0] + second[0], 1 / (1 / first[1] + 1 / second[1]), True)
        for k, (a, first) in enumerate(listed)
        for b, second in listed[k + 1 :]
    ), notes


def _rate(side: _Side) -> tuple[float, float, bool, str]:
    """Return latency, bandwidth and whether they were measured, of copies to the host; a note."""
    found = _measured_rate(side.trace.copies)
    if found is not None:
        latency, rate = found
        said = f"{rate / 1e9:.3g} GB/s and {latency * _PER_SECOND:.3g} us, from copies in its trace"
        return latency, rate, True, f"the link of {side.id} has {said}"
    if side.sheet is not None:
        sheet = side.sheet
        return (
            sheet.host_latency_s,
            sheet.host_bandwidth,
            False,
            f"the link of {side.id} is estimated from the datasheet of {sheet.title}",
        )
    if side.trace.device == "cpu":
        latency, rate = NETWORK_LATENCY_S, NETWORK_BANDWIDTH
    else:
        latency, rate = ASSUMED_LATENCY_S, ASSUMED_BANDWIDTH
    return (
        latency,
        rate,
        False,
        f"nothing is known of the link of {side.id}: {rate / 1e9:.3g} GB/s and "
        f"{latency * _PER_SECOND:g} us are assumed; --bandwidth and --latency set it",
    )


def _measured_rate(copies: Sequence[Copy]) -> tuple[float, float] | None:
    """Return latency in seconds and bytes per second of the slower direction, if copies tell.

    The median of small copies is the latency; without any it is assumed. The bandwidth is that of
    the copies above `_LARGE`.
    """
    ways = []
    for direction in (True, False):
        here = [copy for copy in copies if copy.to_device is direction]
        small = [copy.duration_us for copy in here if copy.bytes <= _SMALL]
        large = [copy for copy in here if copy.bytes >= _LARGE]
        latency = statistics.median(small) / _PER_SECOND if small else ASSUMED_LATENCY_S
        if large:
            rate = statistics.median(
                copy.bytes / max(copy.duration_us / _PER_SECOND - latency, 1e-9) for copy in large
            )
            ways.append((latency, rate))
    if not ways:
        return None
    return max(latency for latency, _ in ways), min(rate for _, rate in ways)
