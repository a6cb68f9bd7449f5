"""A captured graph with every node on a device: what a session runs.

The graph is given no feeds and asked for no fetches while it is timed: TensorFlow takes both
through the first CPU, over links that no schedule knows of. Inputs and outputs are variables on
the devices that read and make them, as weights are.

Every hop of a tensor ends in a node of its own on the device that it goes to, so that arrivals
can be seen; and each device runs its ops one after the other, in the order that is asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.running import Hop, in_turn
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.captured import Captured
from talos_opt.frameworks.tensorflow.folding import Folded, node_of, port_of, sort_nodes

_PREFIX = "talos_opt"


@dataclass(frozen=True, slots=True)
class Slot:
    """A variable of the session that is written or read from outside.

    Parameters
    ----------
    given : str
        Placeholder whose value it holds; of an output, the tensor.
    write, value : str
        Node that assigns it, and the placeholder that the value is fed through; empty for
        outputs.
    read : str
        Tensor that fetches it.
    """

    given: str
    write: str
    value: str
    read: str


@dataclass(frozen=True)
class Placed:
    """A graph to run.

    Parameters
    ----------
    graph_def : GraphDef
    steps : tuple of str
        One node for each device in use, which has run when everything there has.
    given, outputs : tuple of Slot
    hops : mapping of str to (Hop, int)
        What arrives at each node that ends a hop, and which output of the op it is.
    """

    graph_def: Any
    steps: tuple[str, ...]
    given: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    hops: Mapping[str, tuple[Hop, int]]


def place(
    captured: Captured,
    where: Mapping[str, str],
    strings: Mapping[str, str],
    order: Sequence[str] | None = None,
    hops: Iterable[Hop] = (),
) -> Placed:
    """Put every op on its device.

    Parameters
    ----------
    captured : Captured
    where : mapping of str to str
        Device of every op, by the schedule's names.
    strings : mapping of str to str
        TensorFlow's name of every device, such as ``/device:CPU:1``.
    order : sequence of str, optional
        Ops as each device runs them, one after the other; default: the graph's order.
    hops : iterable of Hop, optional
        How tensors travel, over other devices perhaps; what no hop brings comes straight.

    Raises
    ------
    InputError
        If ops that share a variable are on different devices, or the order contradicts the graph.
    """
    return _Placing(captured, where, strings, order, hops).run()


@dataclass
class _Placing:
    captured: Captured
    where: Mapping[str, str]
    strings: Mapping[str, str]
    order: Sequence[str] | None
    hops: Iterable[Hop]
    made: Any = field(default_factory=tf.compat.v1.GraphDef)
    copies: dict[str, dict[str, str]] = field(default_factory=dict)  # by source and device
    arrivals: dict[str, tuple[Hop, int]] = field(default_factory=dict)
    landed: dict[tuple[str, int, str], str] = field(default_factory=dict)
    given: list[Slot] = field(default_factory=list)
    outputs: list[Slot] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folded: Folded = self.captured.folded
        self.ports: dict[str, set[int]] = defaultdict(set)
        for op in self.folded.ops:
            for name, port in self.captured.reads(op):
                self.ports[name] |= {port} - {-1}
        self.routes: dict[tuple[str, str], list[Hop]] = defaultdict(list)
        for hop in self.hops:
            self.routes[hop.op, hop.output].append(hop)

    def run(self) -> Placed:
        queues = self._queues()
        previous: dict[str, str] = {}
        for op in queues:
            device = self.where[op]
            self._add_op(op, device, previous.get(device))
            previous[device] = op
        for k, tensor in enumerate(self.captured.outputs):
            self._add_output(k, tensor)
        steps = self._add_steps()
        self.made.library.CopyFrom(self.folded.library)
        self.made.versions.CopyFrom(self.captured.graph.as_graph_def().versions)
        return Placed(self.made, steps, tuple(self.given), tuple(self.outputs), self.arrivals)

    def _queues(self) -> list[str]:
        """Return all ops in an order that respects the graph and the queue of every device."""
        last: dict[str, str] = {}
        needed = {op: list(self.folded.producers(op)) for op in self.folded.ops}
        for op in self.order if self.order is not None else self.folded.ops:
            if self.where[op] in last:
                needed[op].append(last[self.where[op]])
            last[self.where[op]] = op
        try:
            return sort_nodes(needed)
        except ValueError as error:
            raise InputError(f"the schedule's order contradicts the graph: {error}") from error

    def _add(self, kind: str, name: str, device: str) -> Any:
        node = self.made.node.add()
        node.name, node.op, node.device = name, kind, device
        return node

    def _copy(self, name: str, new: str, device: str) -> Any:
        node = self.made.node.add()
        node.CopyFrom(self.folded.nodes[name])
        del node.input[:]
        node.attr.pop("_class", None)  # colocation as it was asked for before
        node.name, node.device = new, self.strings[device]
        return node

    def _add_op(self, op: str, device: str, previous: str | None) -> None:
        data = [self._reach(text, device) for text in self.folded.inputs[op]]
        waits = dict.fromkeys(self._waits(op, device))
        node = self._copy(op, op, device)
        node.input.extend(data)
        if previous is not None:
            waits.setdefault(previous)
        node.input.extend(f"^{name}" for name in waits)
        for port in sorted(self.ports[op]):
            self._add_hops(op, port)

    def _waits(self, op: str, device: str) -> Iterable[str]:
        """Nodes that an op waits for; reads of a variable only where the op writes it."""
        roots = {self.folded.roots.get(node_of(text)) for text in self.folded.inputs[op]}
        written = roots & self.folded.written
        for name in self.folded.controls[op]:
            if name not in self.folded.roots:
                yield name
            elif self.folded.roots[name] in written:
                yield self._source(name, device)

    def _add_hops(self, op: str, port: int) -> None:
        """Add a node for every device that a tensor hops to, in the order of the hops."""
        there = {self.where[op]: op if port == 0 else f"{op}:{port}"}
        kind = self.captured.graph.get_operation_by_name(op).outputs[port].dtype
        name = self.captured.output_name(op, port)
        for hop in in_turn(self.routes[op, name], self.where[op]):
            name = f"{_PREFIX}/hop/{op}/{port}/{len(self.landed)}"
            node = self._add("Identity", name, self.strings[hop.target])
            node.attr["T"].type = kind.as_datatype_enum
            node.input.append(there[hop.source])
            there[hop.target] = name
            self.landed[op, port, hop.target] = name
            self.arrivals[name] = (hop, port)

    def _reach(self, text: str, device: str) -> str:
        """Return the tensor that an op on a device reads for an input of the graph's."""
        name, port = node_of(text), port_of(text)
        if name in self.folded.roots:
            copied = self._source(name, device)
            return copied if port == 0 else f"{copied}:{port}"
        return self.landed.get((name, port, device), text)

    def _source(self, name: str, device: str) -> str:
        """Return a source's copy on a device, made when it is first read there."""
        there = self.copies.setdefault(name, {})
        if device in there:
            return there[device]
        given = self.captured.by_node.get(name)
        if given is not None:
            if given.kind == "variable" and there:
                raise InputError(
                    f"variable {given.source.name!r} is read on {device} and on "
                    f"{', '.join(sorted(there))}, expected one device"
                )
            copied = self._given(name, device, len(there))
        else:
            copied = name if not there else f"{_PREFIX}/copy/{name}/{len(there)}"
            data = [self._reach(text, device) for text in self.folded.inputs[name]]
            self._copy(name, copied, device).input.extend(data)
        there[device] = copied
        return copied

    def _given(self, name: str, device: str, copy: int) -> str:
        """Return what stands for a placeholder: a variable's handle, or a read of it."""
        given = self.captured.by_node[name]
        stem = f"{_PREFIX}/given/{name}/{copy}"
        place = self.strings[device]
        handle = self._handle(stem, given.dtype, place)
        read = self._read(f"{stem}/read", handle, given.dtype, place)
        value = self._add("Placeholder", f"{stem}/value", place)
        value.attr["dtype"].type = given.dtype.as_datatype_enum
        value.attr["shape"].shape.unknown_rank = True
        self._assign(f"{stem}/write", handle, value.name, given.dtype, place)
        self.given.append(Slot(name, f"{stem}/write", value.name, f"{read}:0"))
        return handle if given.kind == "variable" else read

    def _add_output(self, k: int, tensor: str) -> None:
        """Keep what the graph returns in a variable where it is made."""
        name = node_of(tensor)
        source = name in self.folded.roots
        device = self._home(name) if source else self.where[name]
        kind = self.captured.graph.get_tensor_by_name(tensor).dtype
        stem = f"{_PREFIX}/output/{k}"
        handle = self._handle(f"{stem}/handle", kind, self.strings[device])
        text = self._reach(tensor.removesuffix(":0"), device)
        self._assign(stem, handle, text, kind, self.strings[device])
        read = self._read(f"{stem}/read", handle, kind, self.strings[device])
        self.outputs.append(Slot(tensor, "", "", f"{read}:0"))
        self.ends.append(device)

    def _add_steps(self) -> tuple[str, ...]:
        """Gather the ends of each device: across devices this would cost messages."""
        ends: dict[str, list[str]] = defaultdict(list)
        for op in self.folded.ops:
            ends[self.where[op]].append(op)
        for k, device in enumerate(self.ends):
            ends[device].append(f"{_PREFIX}/output/{k}")
        for device, names in ends.items():
            node = self._add("NoOp", f"{_PREFIX}/step/{len(self.steps)}", self.strings[device])
            node.input.extend(f"^{name}" for name in names)
            self.steps.append(node.name)
        return tuple(self.steps)

    def _home(self, source: str) -> str:
        """Return a device for a source that is returned as it is."""
        return next(iter(self.copies.get(self.folded.roots[source], self.strings)))

    def _handle(self, stem: str, kind: Any, place: str) -> str:
        node = self._add("VarHandleOp", f"{stem}/variable", place)
        node.attr["dtype"].type = kind.as_datatype_enum
        node.attr["shape"].shape.unknown_rank = True
        node.attr["shared_name"].s = node.name.encode()
        return str(node.name)

    def _read(self, name: str, handle: str, kind: Any, place: str) -> str:
        node = self._add("ReadVariableOp", name, place)
        node.attr["dtype"].type = kind.as_datatype_enum
        node.input.append(handle)
        return name

    def _assign(self, name: str, handle: str, value: str, kind: Any, place: str) -> None:
        node = self._add("AssignVariableOp", name, place)
        node.attr["dtype"].type = kind.as_datatype_enum
        node.input.extend((handle, value))
