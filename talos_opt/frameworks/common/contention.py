"""Devices of one host that compute at the same time slow each other down, in two ways.

Logical CPU devices share memory and its caches, and other processes leave fewer cores than there
are devices: ops take a factor longer. And threads that start ops share one interpreter: each hands
its lock over to another whenever an op begins or ends, so that an op takes a constant time longer
if another device starts ops at least as often, and seldom so if the other's ops are long.

A problem has one time for an op on a device, whoever else computes: that of the device alone, so
that what is predicted of one device holds. So what the devices do to each other is measured with
the model itself, and stretches those parts of a schedule in which several of them compute.
"""

from __future__ import annotations

import statistics
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from talos_opt.core.schedule import Schedule
from talos_opt.frameworks.common.running import RunReport, Span

#: Rounds of some steps alone and as many beside the others: at most so many,
ROUNDS, STEPS = 7, 3
#: and none is begun after this share of the time for all measurements, or so many seconds.
SHARE, ENOUGH_S = 0.1, 5.0
#: A model says how long the lock takes if that slows it down by this share.
_TELLING = 0.1


@dataclass(frozen=True)
class Contention:
    """What devices of one host do to each other.

    Parameters
    ----------
    factors : mapping of str to float
        By device, how many times as long its ops take while all others in it compute, beside what
        the lock takes; at least 1. Devices that are not in it slow nobody down.
    lock_s : float
        Seconds that an op takes longer if another device starts an op meanwhile.
    whole : mapping of str to float
        By device, how many times as long the whole model was seen to take while all others ran it.
    """

    factors: Mapping[str, float] = field(default_factory=dict)
    lock_s: float = 0.0
    whole: Mapping[str, float] = field(default_factory=dict)

    def end_s(self, spans: Iterable[tuple[str, float, float]]) -> float:
        """Return when a schedule ends if devices slow each other down.

        Its times are stretched wherever several devices compute: by the largest of their factors
        if all do, by a share of what that is above 1 if some do; and by what the lock takes over
        the time of the longer of two ops, as each op of the one meets one of the other.

        Parameters
        ----------
        spans : iterable of (str, float, float)
            Device, start and end of every op, in seconds.
        """
        changes: list[tuple[float, int, str, float]] = []
        last = 0.0
        for device, start, end in spans:
            last = max(last, end)
            if device in self.factors and end > start:
                changes += [(start, 1, device, end - start), (end, -1, device, end - start)]
        running: dict[str, list[float]] = {device: [] for device in self.factors}
        now = extra = 0.0
        for moment, change, device, length in sorted(changes):
            extra += (moment - now) * self._rate(running)
            if change > 0:
                running[device].append(length)
            else:
                running[device].remove(length)
            now = moment
        return last + extra

    def describe(self) -> str:
        """Return a line that says it."""
        whole = ", ".join(f"{device} {times:.3f}" for device, times in self.whole.items())
        text = f"times as long while all devices compute: {whole}"
        if self.lock_s > 0:
            text += f", of which {self.lock_s * 1e6:.1f} us for each op beside another"
        return text

    def _rate(self, running: Mapping[str, Sequence[float]]) -> float:
        """Return how much longer than planned what runs now takes, per second."""
        busy = [device for device, lengths in running.items() if lengths]
        if len(busy) < 2:
            return 0.0
        shared = max(self.factors[device] for device in busy) - 1
        second = sorted(min(running[device]) for device in busy)[1]
        return shared * (len(busy) - 1) / (len(self.factors) - 1) + self.lock_s / second


def apart(
    whole: Mapping[str, float], lengths: Mapping[str, Sequence[float]], lock_s: float
) -> Contention:
    """Tell what the lock takes from what else makes a model take longer.

    Parameters
    ----------
    whole : mapping of str to float
        By device, how many times as long a model takes while all others run it.
    lengths : mapping of str to sequence of float
        Seconds of the model's ops on each device.
    lock_s : float
        Seconds that an op takes longer beside another device's, where all are as short as can be.
        Less is assumed if the model, of many short ops, does not take as much longer.
    """
    meetings = {
        device: max(_meetings(lengths[device], lengths[other]) for other in whole.keys() - {device})
        for device in whole
    }
    for device, rate in meetings.items():
        if lock_s * rate > _TELLING:
            lock_s = min(lock_s, max(0.0, whole[device] - 1) / rate)
    factors = {d: max(1.0, times - lock_s * meetings[d]) for d, times in whole.items()}
    return Contention(factors, lock_s, dict(whole))


def _meetings(own: Sequence[float], other: Sequence[float]) -> float:
    """Return how often per second ops meet one of another device, over all moments of both.

    At a moment when an op of the length a meets one of the length b, they do 1 / max(a, b) times
    a second.
    """
    mine, theirs = (np.sort([x for x in lengths if x > 0]) for lengths in (own, other))
    if not mine.size or not theirs.size:
        return 0.0
    # A moment is in an op with a probability of its length over the sum: what is left of a * b
    # over the longer one is the shorter one.
    below = np.concatenate(([0.0], np.cumsum(theirs)))
    k = np.searchsorted(theirs, mine)
    shorter = below[k] + mine * (theirs.size - k)
    return float(shorter.sum() / mine.sum() / theirs.sum())


def beside(
    step: Callable[[], float], others: Sequence[Callable[[], object]], max_time_s: float
) -> tuple[float, float]:
    """Return the seconds of a device's step alone, and while other devices compute.

    Parameters
    ----------
    step : callable
        Runs the model on the device once and returns the seconds that it took.
    others : sequence of callable
        Run it once on another device each. They are called over and over, each in a thread.
    max_time_s : float
        Of the time for all measurements, of which this takes a share.
    """
    alone: list[float] = []
    together: list[float] = []
    until = time.monotonic() + min(ENOUGH_S, SHARE * max_time_s)
    for call in (step, *others):
        call()
    for _ in range(ROUNDS):
        alone += [step() for _ in range(STEPS)]
        together += _together(step, others)
        if time.monotonic() > until:
            break
    return statistics.median(alone), statistics.median(together)


def times_longer(alone_s: float, together_s: float) -> float:
    """Return how many times as long a step takes beside others, at least 1."""
    return max(1.0, together_s / alone_s) if alone_s > 0 else 1.0


def _together(step: Callable[[], float], others: Sequence[Callable[[], object]]) -> list[float]:
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
    schedule: Schedule,
    device_ids: Sequence[str],
    contention: Contention | None,
    seconds: float = 1e-6,
) -> float:
    """Return the seconds after which a schedule of a problem ends, see `Contention.end_s`.

    Parameters
    ----------
    schedule : Schedule
    device_ids : sequence of str
        Of the problem.
    contention : Contention, optional
        Such as ``Profile.contention``; None: devices do not slow each other down.
    seconds : float
        Of the problem's time unit; default: those of a profile's.
    """
    names = [device_ids[d] for d in schedule.device.tolist()]
    start, end = schedule.start * seconds, schedule.end * seconds
    spans = zip(names, start.tolist(), end.tolist(), strict=True)
    return (contention or Contention()).end_s(spans)
