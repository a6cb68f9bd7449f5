"""Where the time of a schedule goes, as text for a person."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from talos_opt.analysis.gaps import LABELS, Part
from talos_opt.core.origins import origin_of
from talos_opt.core.units import format_bytes
from talos_opt.reports.digits import moment
from talos_opt.reports.texts.tables import percent, quantity, settled, table, visible, without_empty

if TYPE_CHECKING:
    from talos_opt.analysis.breakdown import Breakdown
    from talos_opt.analysis.device_time import DeviceTime
    from talos_opt.analysis.heaviest import Peak

#: Rows of what may be long; the JSON holds all of it.
SHOWN = 8
#: Links of the critical path that are named in its line.
LINKS = 3


def tell_briefly(found: Breakdown) -> str:
    """Return what ``solve`` prints: a table of devices, and a line about the critical path."""
    teller = _Teller(found)
    return f"{teller.devices()}\n\n{teller.path()}"


def tell(found: Breakdown) -> str:
    """Return all that ``explain`` prints of a whole schedule."""
    teller = _Teller(found)
    parts = [
        teller.devices(), teller.waits(), teller.path(), teller.longest(), teller.models(),
        teller.peaks(), teller.moved(), teller.types(),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


class _Teller:
    def __init__(self, found: Breakdown) -> None:
        self.found, self.problem = found, found.problem
        self.ids, self.unit = found.problem.device_ids, found.problem.graph.time_unit
        self.whole = found.span

    # ---- small parts -----------------------------------------------------------------------

    def long(self, time: float) -> str:
        return quantity(settled(time, self.whole), self.unit)

    def at(self, time: float) -> str:
        return moment(settled(time, self.whole), self.unit, self.whole)

    def share(self, time: float, whole: float | None = None) -> str:
        whole = self.whole if whole is None else whole
        time = settled(time, whole)
        return f"{100 * time / whole:.1f} %" if time and whole > 0 else "-"

    def link(self, row: int) -> str:
        moves = self.found.schedule.transfers
        return f"{self.ids[moves.source[row]]} -> {self.ids[moves.target[row]]}"

    def module(self, op: int) -> str:
        return origin_of(self.problem.graph.columns, op).module

    # ---- parts of the text -----------------------------------------------------------------

    def devices(self) -> str:
        """Return the time of each device in parts, those that are nowhere left out."""
        devices = self.found.devices
        shown = [
            part
            for part in Part
            if part is Part.COMPUTE
            or any(settled(device.parts[part], self.whole) for device in devices)
        ]
        rows = [
            (
                self.ids[device.device],
                self.share(device.busy),
                *(self.share(device.parts[part]) for part in shown),
                self._worst(device),
            )
            for device in devices
        ]
        columns = ("device", "busy", *(LABELS[part] for part in shown), "waits most for")
        head = f"where the time goes: shares of the makespan, {self.long(self.whole)}"
        return f"{head}\n{table(columns, rows, left=(0, len(columns) - 1))}"

    def _worst(self, device: DeviceTime) -> str:
        waits = [wait for wait in device.waits if settled(wait.time, self.whole)]
        if not waits:
            return ""
        wait = waits[0]
        return f"{self._waited_for(wait.op, wait.transfer)}, {self.long(wait.time)}"

    def _waited_for(self, op: int, row: int) -> str:
        name = self.problem.names[op]
        return name if row < 0 else f"{name} over {self.link(row)}"

    def waits(self) -> str:
        """Return the longest waits of all devices."""
        rows = [
            (self.ids[device.device], LABELS[wait.part], self._waited_for(wait.op, wait.transfer),
             self.long(wait.time), self.share(wait.time))
            for device in self.found.devices
            for wait in device.waits
            if settled(wait.time, self.whole)
        ]  # fmt: skip
        columns = ("device", "waits for", "", "time", "share")
        return table(columns, rows, left=(0, 1, 2)) if rows else ""

    def path(self) -> str:
        """Return the critical path in a line or two."""
        path = self.found.path
        parts = [("compute", path.compute), ("transfer", path.transfer)]
        parts += [("before the release", path.release), ("idle by the order", path.gap)]
        said = ", ".join(
            f"{name} {self.share(time, path.end)}"
            for name, time in parts
            if settled(time, path.end)
        )
        ops = sum(item.transfer < 0 for item in path.stretches)
        moves = len(path.stretches) - ops
        text = (
            f"critical path: {self.long(path.end)}, {ops} op{'s' * (ops != 1)} and {moves} "
            f"transfer{'s' * (moves != 1)}: {said or 'nothing takes time'}"
        )
        if settled(path.queue, path.end):
            text += f"; {self.share(path.queue, path.end)} in a queue for a slot, link or memory"
        where = [*self._path_places()][:LINKS]
        return text + (f"\nmost of it: {', '.join(where)}" if where else "")

    def _path_places(self) -> Iterator[str]:
        path, ids = self.found.path, self.ids
        places = [(f"ops on {visible(ids[d])}", time) for d, time in path.by_device.items()]
        places += [
            (f"transfers {visible(ids[a])} -> {visible(ids[b])}", time)
            for (a, b), time in path.by_link.items()
        ]
        for name, time in sorted(places, key=lambda item: -item[1]):
            if settled(time, path.end):
                yield f"{name} {self.long(time)}"

    def longest(self) -> str:
        """Return what takes longest on the critical path."""
        path = self.found.path
        ranked = sorted(path.stretches, key=lambda item: -item.length)[:SHOWN]
        rows = [
            (self.problem.names[item.op], self.module(item.op),
             self.link(item.transfer) if item.transfer >= 0
             else self.ids[self.found.schedule.device[item.op]],
             self.long(item.length), self.share(item.length, path.end), item.cause.name.lower())
            for item in ranked
        ]  # fmt: skip
        columns = ("longest on the path", "module", "where", "time", "share", "waited for")
        heads, cells = without_empty(columns, rows, 1)
        return table(heads, cells, left=(*range(len(heads) - 3), len(heads) - 1))

    def models(self) -> str:
        """Return when each model is done."""
        listed = sorted(self.found.models, key=lambda item: (-item.share, -item.completion))
        rows = [
            (self.problem.graph.model_ids[item.model], f"{item.weight:g}",
             self.at(item.completion), percent(item.share),
             self.long(item.slack) if math.isfinite(item.slack) else "any",
             self.at(item.bound))
            for item in listed[:SHOWN]
        ]  # fmt: skip
        columns = ("model", "weight", "done", "share of toct", "slack", "not before")
        return table(columns, rows) + _more(len(listed), "models")

    def peaks(self) -> str:
        """Return what holds most memory at the peak of each device."""
        rows = [row for peak in self.found.peaks if peak.bytes for row in self._peak(peak)]
        columns = ("memory at the peak", "when", "held", "largest", "", "")
        return table(columns, rows, left=(0, 3, 4)) if rows else ""

    def _peak(self, peak: Peak) -> Iterator[Sequence[str]]:
        when = "-" if peak.time is None else self.at(peak.time)
        head = (self.ids[peak.device], when, format_bytes(peak.bytes))
        for k, held in enumerate(peak.holdings[:LINKS]):
            name = self.problem.names[held.op] + (f" {held.output}" if held.output else "")
            lead = head if k == 0 else ("", "", "")
            yield (*lead, held.what, name, format_bytes(held.bytes))

    def moved(self) -> str:
        """Return which tensors moved most bytes."""
        rows = [
            (self.problem.names[item.op], self.module(item.op), str(item.hops),
             format_bytes(item.bytes), self.long(item.time))
            for item in self.found.moved
        ]  # fmt: skip
        columns = ("most moved: output of", "module", "hops", "bytes", "time")
        heads, cells = without_empty(columns, rows, 1)
        return table(heads, cells, left=range(len(heads) - 3)) if rows else ""

    def types(self) -> str:
        """Return which op types ran longest."""
        whole = float((self.found.schedule.end - self.found.schedule.start).sum())
        rows = [
            (item.type or "(no type)", str(item.ops), self.long(item.time),
             self.share(item.time, whole))
            for item in self.found.types
        ]  # fmt: skip
        return table(("op type", "ops", "time", "share"), rows)


def _more(count: int, what: str) -> str:
    return f"\nand {count - SHOWN} more {what}" if count > SHOWN else ""
