"""Which nodes of a GraphDef are ops to place, and which belong to those that read them.

Folded into their readers are what takes no work and has no side effect: placeholders, constants,
reads of variables that nothing has written before, and names for any of these. Nodes that do
nothing but wait (NoOp) are passed through.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Ops that read a variable and leave it as it is.
_READS = frozenset(("ReadVariableOp", "VariableShape", "ResourceGather", "ResourceGatherNd"))
#: Names for a value.
_NAMES = frozenset(("Identity", "StopGradient", "PreventGradient"))


def node_of(text: str) -> str:
    """Return the node that an input of a node refers to."""
    return text.removeprefix("^").partition(":")[0]


def port_of(text: str) -> int:
    """Return which output of a node an input refers to; a control input none: -1."""
    if text.startswith("^"):
        return -1
    return int(text.rpartition(":")[2]) if ":" in text else 0


def is_control(text: str) -> bool:
    """Whether an input of a node is a control edge."""
    return text.startswith("^")


@dataclass(frozen=True)
class Folded:
    """Nodes of a flat graph by their part in it.

    Parameters
    ----------
    nodes : mapping of str to NodeDef
        All of them.
    ops : tuple of str
        To be placed, producers before their readers.
    roots : mapping of str to str
        The given or constant node that each source stands for; sources are folded into whoever
        reads them.
    inputs : mapping of str to tuple of str
        Data inputs of every op and source (``node`` or ``node:1``).
    controls : mapping of str to tuple of str
        Nodes that every op and source waits for, NoOps passed through.
    written : frozenset of str
        Placeholders of variables that some op writes.
    library : Any
        FunctionDefLibrary of the graph: bodies of control flow.
    """

    nodes: Mapping[str, Any]
    ops: tuple[str, ...]
    roots: Mapping[str, str]
    inputs: Mapping[str, tuple[str, ...]]
    controls: Mapping[str, tuple[str, ...]]
    written: frozenset[str]
    library: Any

    def producers(self, op: str) -> dict[str, set[int]]:
        """Return the ops that an op reads, with the outputs it reads; -1: it waits for it."""
        found: dict[str, set[int]] = {}
        for text in self.inputs[op]:
            name = node_of(text)
            if name not in self.roots:
                found.setdefault(name, set()).add(port_of(text))
        for name in self.controls[op]:
            if name not in self.roots:
                found.setdefault(name, set()).add(-1)
        return found

    def read_sources(self, op: str) -> tuple[str, ...]:
        """Return the sources among an op's data inputs, each once."""
        names = (node_of(text) for text in self.inputs[op])
        return tuple(dict.fromkeys(name for name in names if name in self.roots))


def fold(
    graph_def: Any,
    resources: Iterable[str] = (),
    returned: Sequence[str] = (),
    effects: Sequence[str] = (),
) -> Folded:
    """Return the nodes of a graph by their part in it.

    Parameters
    ----------
    graph_def : GraphDef
        Without calls of functions that could be inlined.
    resources : iterable of str
        Placeholders that stand for variables.
    returned : sequence of str
        Nodes whose values the graph returns. What they wait for, so that a function returns after
        its side effects, they need not: a step ends when all of its ops have.
    effects : sequence of str
        Nodes that have to run whoever reads them. What neither these nor `returned` need is left
        out.
    """
    nodes = {node.name: node for node in graph_def.node}
    inputs = {
        name: tuple(text for text in node.input if not is_control(text))
        for name, node in nodes.items()
    }
    controls = _passed_through(nodes, inputs)
    controls |= {name: () for name in returned if nodes[name].op in _NAMES}
    needed = _needed(nodes, inputs, controls, returned, effects)
    nodes = {name: node for name, node in nodes.items() if name in needed}
    handles = set(resources)
    order = sort_nodes({n: [*map(node_of, inputs[n]), *controls[n]] for n in nodes})
    sources: set[str] = set()
    for name in order:
        if _is_source(nodes[name], inputs[name], controls[name], sources):
            sources.add(name)
    ops = tuple(n for n in order if n not in sources and not _waits_only(nodes[n], inputs[n]))
    roots = _find_roots(sources, inputs)
    written = frozenset(
        roots[node_of(text)]
        for name in ops
        for text in inputs[name]
        if roots.get(node_of(text)) in handles
        # A read is by a name of its own; who takes the handle itself may do anything with it.
        and nodes[name].op not in _READS
        and not _reads_value(nodes, node_of(text), inputs)
    )
    # A constant has nothing to wait for; a source waits only for what it is made of.
    controls = {name: () if name in sources else controls[name] for name in nodes}
    return Folded(nodes, ops, roots, inputs, controls, written, graph_def.library)


def _find_roots(sources: Iterable[str], inputs: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the given or constant node that each source stands for."""
    found: dict[str, str] = {}
    for name in sources:
        root = name
        while inputs[root]:
            root = node_of(inputs[root][0])
        found[name] = root
    return found


def _reads_value(
    nodes: Mapping[str, Any], source: str, inputs: Mapping[str, tuple[str, ...]]
) -> bool:
    """Whether a source is a variable's value, not its handle."""
    while nodes[source].op != "ReadVariableOp":
        if not inputs[source]:
            return False
        source = node_of(inputs[source][0])
    return True


def _needed(
    nodes: Mapping[str, Any],
    inputs: Mapping[str, tuple[str, ...]],
    controls: Mapping[str, tuple[str, ...]],
    returned: Sequence[str],
    effects: Sequence[str],
) -> set[str]:
    """Return the nodes that the ends of a graph depend on, with these."""
    waiting = list(returned)
    for name in effects:
        # What was inlined leaves a name behind that waits for what it did.
        only_waits = nodes[name].op in (*_NAMES, "IdentityN", "NoOp") and controls[name]
        waiting += controls[name] if only_waits else (name,)
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [node_of(text) for text in inputs[name]]
            waiting += controls[name]
    return found


def _waits_only(node: Any, inputs: Sequence[str]) -> bool:
    return node.op == "NoOp" and not inputs


def _passed_through(
    nodes: Mapping[str, Any], inputs: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return whom every node waits for, with those that NoOps wait for in their place."""
    direct = {
        name: [node_of(text) for text in node.input if is_control(text)]
        for name, node in nodes.items()
    }
    waiting = {name: None for name, node in nodes.items() if _waits_only(node, inputs[name])}
    through: dict[str, tuple[str, ...]] = {}

    def resolve(names: Iterable[str]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for name in names:
            for item in through.get(name, (name,)):
                found.setdefault(item)
        return tuple(found)

    order = sort_nodes({n: [m for m in direct[n] if m in waiting] for n in waiting})
    for name in order:
        through[name] = resolve(direct[name])
    return {name: resolve(names) for name, names in direct.items()}


def _is_source(
    node: Any, inputs: Sequence[str], controls: Sequence[str], sources: set[str]
) -> bool:
    if node.op in ("Const", "Placeholder"):
        return True
    if node.op not in _NAMES and node.op != "ReadVariableOp":
        return False
    if any(name not in sources for name in controls):
        return False  # a read after a write, or a value that must not be seen sooner
    return all(node_of(text) in sources for text in inputs)


def sort_nodes(readers: Mapping[str, Iterable[str]]) -> list[str]:
    """Return names such that each comes after what it depends on; else in their given order.

    Parameters
    ----------
    readers : mapping of str to iterable of str
        What each depends on; names that are not keys do not count.

    Raises
    ------
    ValueError
        If they depend on each other in a circle.
    """
    place = {name: k for k, name in enumerate(readers)}
    left: dict[str, int] = {}
    users: dict[str, list[str]] = defaultdict(list)
    for name, needed in readers.items():
        distinct = {item for item in needed if item in place}
        left[name] = len(distinct)
        for item in distinct:
            users[item].append(name)
    ready = [place[name] for name, count in left.items() if count == 0]
    heapq.heapify(ready)
    names = list(readers)
    order: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for user in users[name]:
            left[user] -= 1
            if left[user] == 0:
                heapq.heappush(ready, place[user])
    if len(order) < len(names):
        raise ValueError(
            f"nodes depend on each other in a circle, {len(names) - len(order)} of them"
        )
    return order
