"""In which ways devices can be bundled: partitions of each class of equal devices.

Equal devices can change places, so only the sizes and modes of the bundles count: 8 devices have
22 partitions for each mode. Where stages are ordered, the order of the bundles among the devices
of the cluster counts too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

from talos_opt.core.bundles import Bundle, BundleMode, BundleRule
from talos_opt.core.equal_devices import Twins
from talos_opt.core.errors import GraphError, InputError
from talos_opt.core.problem import Problem, StageRule

#: Above this number of ways a search could look at few of them.
MOST_WAYS = 20_000


@dataclass(frozen=True)
class Shape:
    """A size and mode of bundles; a device that is alone has no mode."""

    size: int
    mode: BundleMode | None = None


@dataclass(frozen=True)
class EqualDevices:
    """Equal devices and how they can be bundled.

    Parameters
    ----------
    devices : tuple of int
        In the cluster's order.
    shapes : tuple of Shape
    """

    devices: tuple[int, ...]
    shapes: tuple[Shape, ...]


#: Bundles of one way, without the devices that are alone.
Way = tuple[Bundle, ...]


def find_ways(problem: Problem, classes: Sequence[EqualDevices]) -> list[Way]:
    """Return all ways to bundle the devices of a problem, each up to an exchange of equal ones.

    Raises
    ------
    InputError
        If there are too many.
    """
    if problem.stages.rule is StageRule.ORDERED:
        found = _in_order(problem, classes)
    else:
        found = _in_any_order(problem, classes)
    ways = list(islice(found, MOST_WAYS + 1))
    if len(ways) > MOST_WAYS:
        raise InputError(
            f"there are more than {MOST_WAYS} ways to bundle, expected fewer: name fewer sizes or "
            "one mode",
            path="bundles",
        )
    return ways


def find_classes(problem: Problem, twins: Twins) -> list[EqualDevices]:
    """Return the classes of equal devices that are to be bundled.

    Raises
    ------
    GraphError
        If no class is as large as a size asked for, or cannot be divided into those sizes.
    """
    found = []
    for kind, rule in problem.cluster.bundles.rules:
        classes = twins.classes(kind)
        largest = max(len(row) for row in classes)
        if max(rule.sizes, default=1) > largest:
            told = twins.difference(classes[0][0], classes[1][0])
            a, b = (problem.device_ids[row[0]] for row in classes[:2])
            raise GraphError(
                f"there are no {max(rule.sizes)} equal devices of kind {kind}: {a} and {b} are not "
                f"equal: {told}",
                path=f"cluster.bundles.{kind}.sizes",
            )
        for row in classes:
            shapes = _shapes(problem, rule, len(row))
            if not _divides(len(row), {shape.size for shape in shapes}):
                sizes = ", ".join(str(size) for size in rule.sizes)
                raise GraphError(
                    f"{len(row)} equal device(s) of kind {kind} cannot be divided into bundles of "
                    f"{sizes}",
                    path=f"cluster.bundles.{kind}.sizes",
                )
            found.append(EqualDevices(tuple(row), shapes))
    return found


def allows(classes: Sequence[EqualDevices], ids: Sequence[str], way: Way) -> bool:
    """Tell whether the rules allow these bundles of devices."""
    shape_of = {name: Shape(bundle.size, bundle.mode) for bundle in way for name in bundle.members}
    known = {ids[d] for equal in classes for d in equal.devices}
    return known.issuperset(shape_of) and all(
        shape_of.get(ids[d], Shape(1)) in equal.shapes for equal in classes for d in equal.devices
    )


def _shapes(problem: Problem, rule: BundleRule, most: int) -> tuple[Shape, ...]:
    """Return the shapes of bundles, largest first."""
    sizes, modes = rule.sizes_up_to(most), rule.modes
    split = problem.graph.columns.split
    if 1 in sizes and (split is None or not split.any()) and not problem.stages.use_all:
        # Without split ops a tensor bundle is one of its members, and the others do nothing.
        modes = tuple(mode for mode in modes if mode is not BundleMode.TENSOR)
    found = [Shape(size, mode) for size in sizes if size > 1 for mode in modes]
    if 1 in sizes:
        found.append(Shape(1))
    return tuple(sorted(found, key=lambda shape: -shape.size))


def _divides(count: int, sizes: set[int]) -> bool:
    """Tell whether so many devices can be divided into groups of these sizes."""
    reached = [True] + [False] * count
    for total in range(1, count + 1):
        reached[total] = any(size <= total and reached[total - size] for size in sizes)
    return reached[count]


def _partitions(count: int, shapes: Sequence[Shape]) -> Iterator[tuple[Shape, ...]]:
    """Yield the multisets of shapes that take so many devices."""
    if count == 0:
        yield ()
    for k, shape in enumerate(shapes):
        if shape.size <= count:
            for rest in _partitions(count - shape.size, shapes[k:]):
                yield (shape, *rest)


def _in_any_order(problem: Problem, classes: Sequence[EqualDevices]) -> Iterator[Way]:
    each = [list(islice(_partitions(len(c.devices), c.shapes), MOST_WAYS + 1)) for c in classes]
    for choice in product(*each):
        leaders: list[tuple[int, Shape, int]] = []
        for number, (equal, shapes) in enumerate(zip(classes, choice, strict=True)):
            at = 0
            for shape in shapes:
                leaders.append((equal.devices[at], shape, number))
                at += shape.size
        yield _bundles(problem, classes, leaders)


def _in_order(problem: Problem, classes: Sequence[EqualDevices]) -> Iterator[Way]:
    """Yield ways that differ in the order of bundles and other devices in the cluster."""
    yield from (
        _bundles(problem, classes, leaders)
        for leaders in _Orders(classes, len(problem.device_ids)).all()
    )


class _Orders:
    """All orders of first members among the devices of a cluster.

    Between devices of other classes stands a run of equal devices. First members come first in
    it, and the rest join bundles that began here or before: any order of first members in a run
    that leaves room for the rest is possible, and no two give the same order.
    """

    def __init__(self, classes: Sequence[EqualDevices], count: int) -> None:
        self.classes = classes
        owner = {d: number for number, equal in enumerate(classes) for d in equal.devices}
        self.runs: list[tuple[int, list[int]]] = []
        for d in range(count):
            number = owner.get(d, -1)
            if number >= 0 and self.runs and self.runs[-1][0] == number:
                self.runs[-1][1].append(d)
            else:
                self.runs.append((number, [d]))
        self.left = Counter(number for number, run in self.runs for _ in run)

    def all(self) -> Iterator[list[tuple[int, Shape, int]]]:
        """Yield lists of first members, their shapes and classes."""
        return self._from(0, Counter(), Counter(self.left), [])

    def _from(
        self,
        k: int,
        room: Counter[int],
        left: Counter[int],
        leaders: list[tuple[int, Shape, int]],
    ) -> Iterator[list[tuple[int, Shape, int]]]:
        if k == len(self.runs):
            yield list(leaders)
            return
        number, run = self.runs[k]
        if number < 0:
            yield from self._from(k + 1, room, left, leaders)
            return
        after = left[number] - len(run)
        for shapes in self._fillings(len(run), room[number], after, number):
            joined = len(run) - len(shapes)
            seats = room[number] + sum(shape.size - 1 for shape in shapes) - joined
            more = [(run[at], shape, number) for at, shape in enumerate(shapes)]
            yield from self._from(
                k + 1,
                Counter({**room, number: seats}),
                Counter({**left, number: after}),
                [*leaders, *more],
            )

    def _fillings(
        self, length: int, room: int, after: int, number: int
    ) -> Iterator[tuple[Shape, ...]]:
        """Yield first members of a run; `after` more equal devices come behind it.

        What is left of the run joins bundles, so there is room for it, and all bundles have to
        be full in the end.
        """
        joined = length
        if joined <= room <= joined + after:
            yield ()
        if length == 0:
            return
        for shape in self.classes[number].shapes:
            # A first member takes one place of the run and opens room for the others.
            if room + shape.size - 1 <= length - 1 + after:
                for rest in self._fillings(length - 1, room + shape.size - 1, after, number):
                    yield (shape, *rest)


def _bundles(
    problem: Problem,
    classes: Sequence[EqualDevices],
    leaders: Sequence[tuple[int, Shape, int]],
) -> Way:
    """Give bundles their members: first members are fixed, the others join in order."""
    ids = problem.device_ids
    first = {d: shape for d, shape, _ in leaders}
    found: list[Bundle] = []
    for equal in classes:
        waiting = [d for d in equal.devices if d not in first]
        # Those that begin last need members that stand behind them least.
        own = [d for d in equal.devices if d in first]
        for d in own:
            shape = first[d]
            rest = [waiting.pop(0) for _ in range(shape.size - 1)]
            if shape.mode is not None:
                found.append(Bundle(tuple(ids[m] for m in (d, *rest)), shape.mode))
    return tuple(found)
