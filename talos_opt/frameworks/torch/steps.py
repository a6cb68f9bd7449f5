"""What each device's thread does, op by op, worked out before a placed model runs.

Every device keeps its values in a list: weights, inputs, what it makes and what it is sent. Which
place of the list each argument is in, and after which op a place is free again, hangs on the
placement and the order of the ops alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import fx

from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.substitutes import callee, place_call
from talos_opt.frameworks.torch.tensors import Made, Path, made_by, picker, tensors_read

#: Takes a device's values, returns the arguments of a call.
Arguments = Callable[[list[Any]], Sequence[Any]]
#: Takes what a call returns, returns one of its tensors; None: it returns just that.
Pick = Callable[[Any], Any] | None


class Send(NamedTuple):
    """A tensor goes from one device to another.

    Parameters
    ----------
    source, target : str
    number : int
        Of the transfer, counted over all devices.
    place : int or None
        Where it goes in the target's list; None: it is only passed on from there.
    counted : bool
        Whether it is a transfer of the schedule.
    """

    source: str
    target: str
    number: int
    place: int | None
    counted: bool


class Sending(NamedTuple):
    """Where one tensor of an op goes.

    Parameters
    ----------
    output : str
        Its name, if the op has several.
    pick : Pick
    sends : tuple of Send
        Sources before targets.
    """

    output: str
    pick: Pick
    sends: tuple[Send, ...]


class Step(NamedTuple):
    """One op.

    Parameters
    ----------
    op : str
    call : callable
    arguments : Arguments
    awaited : tuple of (int, int)
        Numbers of the sends that have to be there first, and their places.
    place : int or None
        Of what it returns; None: nothing here reads it, or only single results of several.
    picked : tuple of (Pick, int)
        Places of single results.
    freed : tuple of int
        Places that nothing reads after it.
    sendings : tuple of Sending
    """

    op: str
    call: Callable[..., Any]
    arguments: Arguments
    awaited: tuple[tuple[int, int], ...]
    place: int | None
    picked: tuple[tuple[Callable[[Any], Any], int], ...]
    freed: tuple[int, ...]
    sendings: tuple[Sending, ...]


@dataclass
class Program:
    """What a device does in a run.

    Parameters
    ----------
    values : list
        To begin with: constants, and None where weights, inputs and values will be.
    given : dict of torch.fx.Node to int
        Places of weights and inputs.
    kept : dict of Made to int
        Places of outputs of the model.
    steps : list of Step
    peak : int
        Most values that it holds at a time, beside what it was given.
    """

    values: list[Any] = field(default_factory=list)
    given: dict[fx.Node, int] = field(default_factory=dict)
    kept: dict[Made, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    peak: int = 0


def programs(
    captured: Captured,
    order: Sequence[fx.Node],
    where: Mapping[fx.Node, str],
    devices: Mapping[str, torch.device],
    hops: Mapping[Made, Sequence[tuple[str, str, bool]]],
) -> dict[str, Program]:
    """Return a program for every device that runs an op.

    Parameters
    ----------
    captured : Captured
    order : sequence of torch.fx.Node
        All ops, producers before their readers.
    where : mapping of torch.fx.Node to str
        Device of every op.
    devices : mapping of str to torch.device
    hops : mapping of Made to sequence of (str, str, bool)
        Of every tensor of every op: source, target and whether it counts, sources before targets.
    """
    mixed = any(device.type != "cpu" for device in devices.values())
    makers: dict[str, _Maker] = {}
    for node in order:
        makers.setdefault(where[node], _Maker()).read(node, where)
    for tensor in tensors_read(captured.graph_module.graph.output_node()):
        if tensor.node in where:
            makers[where[tensor.node]].keep(tensor)
    numbers = iter(range(sum(len(found) for found in hops.values())))
    arriving: dict[tuple[Made, str], int] = {}
    for node in order:
        sendings = []
        for path, name in captured.tensors.of(node).items():
            tensor, sends = Made(node, path), []
            for source, target, counted in hops[tensor]:
                number = next(numbers)
                there = makers.get(target)
                place = there.places.get(tensor) if there is not None else None
                sends.append(Send(source, target, number, place, counted))
                arriving[tensor, target] = number
            if sends:
                sendings.append(Sending(name, picker(path) if path else None, tuple(sends)))
        home = where[node]
        call = callee(node, devices[home], mixed=mixed)
        kwargs = place_call(node, devices[home])
        op = captured.op_id(node)
        paths = captured.tensors.of(node)
        makers[home].add(node, paths, op, call, kwargs, home, arriving, tuple(sendings))
    return {name: maker.finish() for name, maker in makers.items()}


class _Maker:
    """Makes a device's program: first all reads, then all steps, in the order of the ops."""

    def __init__(self) -> None:
        self.program = Program()
        self.places: dict[Made, int] = {}
        self.last: dict[Made, int] = {}  # the step that reads a tensor last
        self.freed: dict[int, list[int]] = defaultdict(list)
        self.count = 0
        self.here: set[Made] = set()

    def read(self, node: fx.Node, where: Mapping[fx.Node, str]) -> None:
        for item in tensors_read(node):
            if item not in self.places:
                self.places[item] = self._place(None)
            if item.node in where:
                self.last[item] = self.count
            else:
                self.program.given[item.node] = self.places[item]
        self.count += 1

    def keep(self, tensor: Made) -> None:
        if tensor not in self.places:
            self.places[tensor] = self._place(None)
        self.program.kept[tensor] = self.places[tensor]
        self.last.pop(tensor, None)

    def _place(self, value: Any) -> int:
        self.program.values.append(value)
        return len(self.program.values) - 1

    def add(
        self,
        node: fx.Node,
        paths: Iterable[Path],
        op: str,
        call: Callable[..., Any],
        kwargs: Mapping[str, Any],
        home: str,
        arriving: Mapping[tuple[Made, str], int],
        sendings: tuple[Sending, ...],
    ) -> None:
        steps = self.program.steps
        foreign = [item for item in tensors_read(node) if (item, home) in arriving]
        awaited = [item for item in foreign if item not in self.here]
        self.here.update(awaited)
        call, arguments = self._bind(call, node.args, kwargs)
        read = [item for item in tensors_read(node) if self.last.get(item) == len(steps)]
        made = [(path, self.places.get(Made(node, path))) for path in paths if path]
        steps.append(
            Step(
                op,
                call,
                arguments,
                tuple((arriving[item, home], self.places[item]) for item in awaited),
                self.places.get(Made(node)),
                tuple((picker(path), place) for path, place in made if place is not None),
                tuple(self.places[item] for item in read),
                sendings,
            )
        )

    def _bind(
        self, call: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Callable[..., Any], Arguments]:
        """Return what to call, and what gives it its arguments, by position."""
        if kwargs and _nodes_in(kwargs):
            names, count = tuple(kwargs), len(args)
            target = call

            def call(*given: Any) -> Any:
                return target(*given[:count], **dict(zip(names, given[count:], strict=True)))

            args = (*args, *kwargs.values())
        elif kwargs:
            call = partial(call, **kwargs)
        if any(not isinstance(item, fx.Node) and _nodes_in(item) for item in args):
            parts = [self._nested(item) for item in args]
            return call, lambda values: [part(values) for part in parts]
        flat = [
            self.places[made_by(item)] if isinstance(item, fx.Node) else self._place(item)
            for item in args
        ]
        if len(flat) > 1:
            return call, itemgetter(*flat)
        return call, lambda values: [values[place] for place in flat]

    def _nested(self, argument: Any) -> Callable[[list[Any]], Any]:
        """Return what puts values in the place of nodes, as `torch.fx.map_arg` does."""
        if isinstance(argument, fx.Node):
            return itemgetter(self.places[made_by(argument)])
        if not _nodes_in(argument):
            return lambda values: argument
        if isinstance(argument, Mapping):
            pairs = [(key, self._nested(item)) for key, item in argument.items()]
            return lambda values: {key: part(values) for key, part in pairs}
        if isinstance(argument, slice):
            ends = [self._nested(end) for end in (argument.start, argument.stop, argument.step)]
            return lambda values: slice(*(end(values) for end in ends))
        kind = list if isinstance(argument, list) else tuple
        parts = [self._nested(item) for item in argument]
        return lambda values: kind(part(values) for part in parts)

    def finish(self) -> Program:
        held = 0
        for step in self.program.steps:
            held += len(step.awaited) + (step.place is not None) + len(step.picked)
            self.program.peak = max(self.program.peak, held)
            held -= len(step.freed)
        return self.program


def _nodes_in(argument: Any) -> list[fx.Node]:
    found: list[fx.Node] = []
    fx.node.map_arg(argument, found.append)
    return found


def outputs(captured: Captured) -> Iterator[Any]:
    """Yield what the graph returns: nodes, and constants."""
    (returned,) = captured.graph_module.graph.output_node().args
    yield from returned if isinstance(returned, (tuple, list)) else [returned]
