"""Where a schedule puts the modules of a model, in a table short enough to be read."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from talos_opt.core.given import require_schedule
from talos_opt.core.module_paths import is_view, module_of
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule

#: Rows that a table has at most, unless there are more devices than that.
ROWS = 15
#: Shares of a module's time that may be elsewhere while its row names one device, tried in turn.
_SCATTERED = (0.0, 0.01, 0.05, 0.2)
_NUMBERED = re.compile(r"(.*?)(0|[1-9]\d*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ModuleRow:
    """A module, or several that are alike, on a device.

    Parameters
    ----------
    module : str
        Its path, ``encoder.layers.0-5`` for six of them; of several models, the model's id comes
        first. Empty: what belongs to no single row, a few ops here and there.
    device : str
    ops : int
    time : float
        Sum of their times there, in the graph's unit.
    weights : int
        Bytes of their weights there.
    whole : bool
        Whether no op of the module is on another device, but for views of what is there.
    """

    module: str
    device: str
    ops: int
    time: float
    weights: int
    whole: bool


def modules_by_device(
    problem: Problem,
    schedule: Schedule,
    limit: int = ROWS,
    *,
    ops: Collection[int] | None = None,
) -> tuple[ModuleRow, ...]:
    """Return where each module is: the outermost ones that are on one device as a whole.

    Modules with numbers in a row (``layers.0`` to ``layers.5``) of which all parts are placed
    alike share a row. Where that takes too many rows, modules count as being where nearly all of
    their time is; after that, the innermost modules are left out, and those around them have a row
    for each device. Ops, times and weights of the rows always add up to those of the schedule.

    Parameters
    ----------
    problem : Problem
        Ops say in ``attrs: {module: path}`` which module they belong to; those of a graph in
        which none does belong to their model.
    schedule : Schedule
    limit : int
        Rows at most; more only where it takes more to name each device that is used once.
    ops : collection of int, optional
        Only these ops, by their numbers; default: all.

    Returns
    -------
    tuple of ModuleRow
        In the order of the graph.
    """
    require_schedule(problem, schedule)
    root = _tree(problem, schedule, None if ops is None else frozenset(ops))
    depth = _depth(root)
    ways = [(depth, share) for share in _SCATTERED]
    ways += [(k, _SCATTERED[-1]) for k in range(depth - 1, -1, -1)]
    rows: list[_Entry] = []
    for levels, share in ways:
        scattered: dict[str, _Sum] = defaultdict(_Sum)
        rows = _rows(root, levels, share, scattered)
        rows += [_Entry("", d, False, total, scattered=True) for d, total in scattered.items()]
        if len(rows) <= limit:
            break
    name = problem.graph.model_ids[0] if len(problem.graph.model_ids) == 1 else problem.graph.name
    return tuple(
        ModuleRow(
            "" if row.scattered else row.label or name,
            row.device, row.total.ops, row.total.time, row.total.weights, row.whole,
        )
        for row in rows
    )  # fmt: skip


@dataclass(slots=True)
class _Sum:
    ops: int = 0
    time: float = 0.0
    weights: int = 0
    views: int = 0

    def add(self, other: _Sum) -> None:
        self.ops += other.ops
        self.views += other.views
        self.time += other.time
        self.weights += other.weights


@dataclass(slots=True)
class _Tree:
    """A module: what it does itself, and all that it holds, by device."""

    own: dict[str, _Sum] = field(default_factory=lambda: defaultdict(_Sum))
    all: dict[str, _Sum] = field(default_factory=lambda: defaultdict(_Sum))
    parts: dict[str, _Tree] = field(default_factory=dict)


@dataclass(slots=True)
class _Entry:
    label: str
    device: str
    whole: bool
    total: _Sum
    scattered: bool = False

    @property
    def shape(self) -> tuple[str, str, bool]:
        """What is the same for rows that can share one."""
        return self.label, self.device, self.whole


def _tree(problem: Problem, schedule: Schedule, ops: Collection[int] | None) -> _Tree:
    root = _Tree()
    weights = problem.arrays.weights_at(schedule.device).tolist()
    times = (schedule.end - schedule.start).tolist()
    devices = [problem.device_ids[d] for d in schedule.device.tolist()]
    several = len(problem.graph.models) > 1
    placed = enumerate((model.id, op) for model in problem.graph.models for op in model.ops)
    for k, (model, op) in placed:
        if ops is not None and k not in ops:
            continue
        path = [model] if several else []
        path += module_of(op).split(".") if module_of(op) else []
        one = _Sum(1, times[k], weights[k], int(is_view(op)))
        node = root
        node.all[devices[k]].add(one)
        for name in path:
            node = node.parts.setdefault(name, _Tree())
            node.all[devices[k]].add(one)
        node.own[devices[k]].add(one)
    return root


def _depth(tree: _Tree) -> int:
    depth, level = 0, [tree]
    while level := [part for node in level for part in node.parts.values()]:
        depth += 1
    return depth


def _rows(tree: _Tree, levels: int, share: float, scattered: dict[str, _Sum]) -> list[_Entry]:
    """Return the rows of a module, with labels that begin below it."""
    homes = [d for d, total in tree.all.items() if total.views < total.ops]
    if len(homes) == 1:
        for device, total in tree.all.items():
            if device != homes[0]:
                scattered[device].add(total)
        return [_Entry("", homes[0], True, tree.all[homes[0]])]
    if len(tree.all) == 1 or levels == 0:
        return [_Entry("", d, len(tree.all) == 1, total) for d, total in tree.all.items()]
    most = max(tree.all, key=lambda d: tree.all[d].time)
    time = sum(total.time for total in tree.all.values())
    if share and tree.all[most].time >= (1 - share) * time > 0:
        for device, total in tree.all.items():
            if device != most:
                scattered[device].add(total)
        return [_Entry("", most, False, tree.all[most])]
    rows = [_Entry("", d, False, total) for d, total in tree.own.items()]
    return rows + _parts(tree, levels, share, scattered)


def _parts(tree: _Tree, levels: int, share: float, scattered: dict[str, _Sum]) -> list[_Entry]:
    """Return the rows of a module's parts; parts in a row that are placed alike share theirs."""
    groups: list[_Group] = []
    latest: dict[str, _Group] = {}
    for name, part in tree.parts.items():
        entries = _rows(part, levels - 1, share, scattered)
        match = _NUMBERED.match(name)
        stem, number = (match[1], int(match[2])) if match else (name, None)
        last = latest.get(stem)
        if last is not None and number is not None and last.goes_on(number, entries):
            last.take(number, entries)
            continue
        latest[stem] = _Group(stem, number, number, _copies(entries))
        groups.append(latest[stem])
    return [row for group in groups for row in group.rows()]


@dataclass(slots=True)
class _Group:
    stem: str
    first: int | None
    last: int | None
    entries: list[_Entry]

    def goes_on(self, number: int, entries: Sequence[_Entry]) -> bool:
        return (
            self.last is not None
            and number == self.last + 1
            and [a.shape for a in self.entries] == [b.shape for b in entries]
        )

    def take(self, number: int, entries: Sequence[_Entry]) -> None:
        self.last = number
        for mine, other in zip(self.entries, entries, strict=True):
            mine.total.add(other.total)

    def rows(self) -> list[_Entry]:
        number = "" if self.first is None else str(self.first)
        if self.first != self.last:
            number += f"-{self.last}"
        for entry in self.entries:
            entry.label = ".".join(filter(None, (self.stem + number, entry.label)))
        return self.entries


def _copies(entries: Sequence[_Entry]) -> list[_Entry]:
    """Return entries with sums of their own, since those of the tree stay as they are."""
    return [_Entry(e.label, e.device, e.whole, dataclasses.replace(e.total)) for e in entries]
