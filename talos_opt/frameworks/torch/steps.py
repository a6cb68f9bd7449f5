"""What each device's thread does, op by op, worked out before a placed model runs.

Every device keeps its values in a list: weights, inputs, what it makes and what it is sent. Which
place of the list each argument is in, and after which op a place is free again, hangs on the
placement and the order of the ops alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import fx

from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.substitutes import callee, place_call

#: Takes a device's values, returns the arguments of a call.
Arguments = Callable[[list[Any]], Sequence[Any]]


class Send(NamedTuple):
    """A value goes from one device to another.

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
        Of what it makes; None: nothing here reads it.
    freed : tuple of int
        Places that nothing reads after it.
    sends : tuple of Send
        Sources before targets.
    """

    op: str
    call: Callable[..., Any]
    arguments: Arguments
    awaited: tuple[tuple[int, int], ...]
    place: int | None
    freed: tuple[int, ...]
    sends: tuple[Send, ...]


@dataclass
class Program:
    """What a device does in a run.

    Parameters
    ----------
    values : list
        To begin with: constants, and None where weights, inputs and values will be.
    given : dict of torch.fx.Node to int
        Places of weights and inputs.
    kept : dict of torch.fx.Node to int
        Places of outputs of the model.
    steps : list of Step
    peak : int
        Most values that it holds at a time, beside what it was given.
    """

    values: list[Any] = field(default_factory=list)
    given: dict[fx.Node, int] = field(default_factory=dict)
    kept: dict[fx.Node, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    peak: int = 0


def programs(
    captured: Captured,
    order: Sequence[fx.Node],
    where: Mapping[fx.Node, str],
    devices: Mapping[str, torch.device],
    hops: Mapping[fx.Node, Sequence[tuple[str, str, bool]]],
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
    hops : mapping of torch.fx.Node to sequence of (str, str, bool)
        Source, target and whether it counts, sources before targets.
    """
    mixed = any(device.type != "cpu" for device in devices.values())
    makers: dict[str, _Maker] = {}
    for node in order:
        makers.setdefault(where[node], _Maker()).read(node, where)
    for node in captured.graph_module.graph.output_node().all_input_nodes:
        if node in where:
            makers[where[node]].keep(node)
    numbers = iter(range(sum(len(found) for found in hops.values())))
    arriving: dict[tuple[fx.Node, str], int] = {}
    for node in order:
        sends = []
        for source, target, counted in hops[node]:
            number = next(numbers)
            there = makers.get(target)
            place = there.places.get(node) if there is not None else None
            sends.append(Send(source, target, number, place, counted))
            arriving[node, target] = number
        home = where[node]
        call = callee(node, devices[home], mixed=mixed)
        kwargs = place_call(node, devices[home])
        op = captured.op_id(node)
        makers[home].add(node, op, call, kwargs, home, arriving, tuple(sends))
    return {name: maker.finish() for name, maker in makers.items()}


class _Maker:
    """Makes a device's program: first all reads, then all steps, in the order of the ops."""

    def __init__(self) -> None:
        self.program = Program()
        self.places: dict[fx.Node, int] = {}
        self.last: dict[fx.Node, int] = {}  # the step that reads a value last
        self.freed: dict[int, list[int]] = defaultdict(list)
        self.count = 0
        self.here: set[fx.Node] = set()

    def read(self, node: fx.Node, where: Mapping[fx.Node, str]) -> None:
        for item in node.all_input_nodes:
            if item not in self.places:
                self.places[item] = self._place(None)
            if item in where:
                self.last[item] = self.count
            else:
                self.program.given[item] = self.places[item]
        self.count += 1

    def keep(self, node: fx.Node) -> None:
        if node not in self.places:
            self.places[node] = self._place(None)
        self.program.kept[node] = self.places[node]
        self.last.pop(node, None)

    def _place(self, value: Any) -> int:
        self.program.values.append(value)
        return len(self.program.values) - 1

    def add(
        self,
        node: fx.Node,
        op: str,
        call: Callable[..., Any],
        kwargs: Mapping[str, Any],
        home: str,
        arriving: Mapping[tuple[fx.Node, str], int],
        sends: tuple[Send, ...],
    ) -> None:
        steps = self.program.steps
        foreign = [item for item in node.all_input_nodes if (item, home) in arriving]
        awaited = [item for item in foreign if item not in self.here]
        self.here.update(awaited)
        call, arguments = self._bind(call, node.args, kwargs)
        read = [item for item in node.all_input_nodes if self.last.get(item) == len(steps)]
        steps.append(
            Step(
                op,
                call,
                arguments,
                tuple((arriving[item, home], self.places[item]) for item in awaited),
                self.places.get(node),
                tuple(self.places[item] for item in read),
                sends,
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
        flat = [self.places[i] if isinstance(i, fx.Node) else self._place(i) for i in args]
        if len(flat) > 1:
            return call, itemgetter(*flat)
        return call, lambda values: [values[place] for place in flat]

    def _nested(self, argument: Any) -> Callable[[list[Any]], Any]:
        """Return what puts values in the place of nodes, as `torch.fx.map_arg` does."""
        if isinstance(argument, fx.Node):
            return itemgetter(self.places[argument])
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
            held += len(step.awaited) + (step.place is not None)
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
