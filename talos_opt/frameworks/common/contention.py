"""Devices of one host that compute at the same time slow each other down.

Logical CPU devices share memory and its caches, threads that start ops share one interpreter, and
other processes leave fewer cores than there are devices. A problem has one time for an op on a
device, whoever else computes: that of the device alone, so that what is predicted of one device
holds. So what the devices do to each other is measured with the model itself, and stretches those
parts of a schedule in which several of them compute.
"""

from __future__ import annotations

import statistics
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence

from talos_opt.core.schedule import Schedule
from talos_opt.frameworks.common.measuring import Budget, undisturbed
from talos_opt.frameworks.common.running import RunReport, Span

#: Rounds of some steps alone and as many beside the others: at most so many,
ROUNDS, STEPS = 7, 3
#: and none is begun after this share of the time for all measurements, or so many seconds.
SHARE, ENOUGH_S = 0.1, 5.0


def slowdown(
    step: Callable[[], float], others: Sequence[Callable[[], object]], max_time_s: float
) -> float:
    """Return how many times as long a device's step takes while other devices compute.

    Parameters
    ----------
    step : callable
        Runs the model on the device once and returns the seconds that it took.
    others : sequence of callable
        Run it once on another device each. They are called over and over, each in a thread.
    max_time_s : float
        Of the time for all measurements, of which this takes a share.

    Returns
    -------
    float
        At least 1.
    """
    alone: list[float] = []
    beside: list[float] = []
    budget = Budget(min(ENOUGH_S, SHARE * max_time_s))
    for call in (step, *others):
        call()
    for _ in range(ROUNDS):
        alone += [step() for _ in range(STEPS)]
        beside += _beside(step, others)
        if budget.spent:
            break
    least = undisturbed(alone)
    return max(1.0, statistics.median(beside) / least) if least else 1.0


def _beside(step: Callable[[], float], others: Sequence[Callable[[], object]]) -> list[float]:
    """Return the times of some steps while all others compute."""
    over, failed = threading.Event(), []
    ready = [threading.Event() for _ in others]

    def keep_on(call: Callable[[], object], begun: threading.Event) -> None:
        try:
            while not over.is_set():
                begun.set()
                call()
        except Exception as error:  # raised below, in the thread that can be asked for it
            failed.append(error)

    threads = [
        threading.Thread(target=keep_on, args=pair, daemon=True)
        for pair in zip(others, ready, strict=True)
    ]
    try:
        for thread in threads:
            thread.start()
        for begun in ready:
            begun.wait()
        found = [step() for _ in range(STEPS)]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if failed:
        raise failed[0]
    return found


def contended(spans: Iterable[tuple[str, float, float]], factors: Mapping[str, float]) -> float:
    """Return when a schedule ends if devices that compute at the same time slow each other down.

    Its times are stretched wherever several of the devices compute: by the largest of their
    factors if all do, and by a share of what it is above 1 if some do.

    Parameters
    ----------
    spans : iterable of (str, float, float)
        Device, start and end of every op, in any unit.
    factors : mapping of str to float
        By device, how many times as long its ops take while all others of the mapping compute;
        devices that are not in it slow nobody down.
    """
    changes: list[tuple[float, int, str]] = []
    last = 0.0
    for device, start, end in spans:
        last = max(last, end)
        if device in factors and end > start:
            changes += [(start, 1, device), (end, -1, device)]
    running = dict.fromkeys(factors, 0)
    now = extra = 0.0
    for time, change, device in sorted(changes):
        busy = [factors[d] for d, count in running.items() if count]
        if len(busy) > 1:
            extra += (time - now) * (max(busy) - 1) * (len(busy) - 1) / (len(factors) - 1)
        running[device] += change
        now = time
    return last + extra


def stretched(report: RunReport) -> tuple[float | None, float | None]:
    """Return how many times as long as predicted ops took, alone and beside other devices.

    Ops count as beside others if, in the run of the median, others computed for most of their
    time. None: there are no such ops, or they were predicted to take no time.
    """
    spans = report.execution.ops
    sums = {False: [0.0, 0.0], True: [0.0, 0.0]}
    busy = {device: _merged(spans, device) for device in {span.device for span in spans}}
    times = {op.op: op for op in report.ops}
    for span in spans:
        others = [found for device, found in busy.items() if device != span.device]
        shared = max((_within(found, span) for found in others), default=0.0)
        measured = sums[2 * shared > span.end_s - span.start_s]
        measured[0] += times[span.op].measured_s
        measured[1] += times[span.op].predicted_s
    alone, beside = (took / planned if planned > 0 else None for took, planned in sums.values())
    return alone, beside


def _merged(spans: Iterable[Span], device: str) -> tuple[list[float], list[float]]:
    """Return starts and ends of the times in which a device computes."""
    starts: list[float] = []
    ends: list[float] = []
    for span in sorted((s for s in spans if s.device == device), key=lambda s: s.start_s):
        if ends and span.start_s <= ends[-1]:
            ends[-1] = max(ends[-1], span.end_s)
        else:
            starts.append(span.start_s)
            ends.append(span.end_s)
    return starts, ends


def _within(busy: tuple[list[float], list[float]], span: Span) -> float:
    """Return for how long of a span's time a device computes."""
    starts, ends = busy
    total = 0.0
    for k in range(bisect_right(ends, span.start_s), bisect_left(starts, span.end_s)):
        total += min(ends[k], span.end_s) - max(starts[k], span.start_s)
    return total


def contended_schedule(
    schedule: Schedule, device_ids: Sequence[str], factors: Mapping[str, float]
) -> float:
    """Return when a schedule of a problem ends under `contended`, in the schedule's unit.

    Parameters
    ----------
    schedule : Schedule
    device_ids : sequence of str
        Of the problem.
    factors : mapping of str to float
        Such as ``Profile.contention``.
    """
    names = [device_ids[d] for d in schedule.device.tolist()]
    times = zip(names, schedule.start.tolist(), schedule.end.tolist(), strict=True)
    return contended(times, factors)
