"""Device scopes put into a GraphDef: which device every node runs on.

Works on the protobuf that it is handed; TensorFlow itself is not imported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from talos_opt.core.errors import InputError

# The protobuf's class is TensorFlow's, which need not be installed to import this module.
GraphDef = TypeVar("GraphDef")

#: Number of DT_RESOURCE in TensorFlow's types.proto.
_RESOURCE = 20


def apply_device_scopes(
    graph_def: GraphDef, scopes: Mapping[str, str], *, strict: bool = True
) -> GraphDef:
    """Return a copy of a graph whose nodes are on the devices that scopes name.

    Nodes that the scopes do not name (constants, variables, their reads, names for these) go to
    the device of the first of their readers in the order of the graph; where nothing reads their
    outputs, to that of the first node that waits for them. A variable is read on the device that
    it is on, whoever wants the value. What has neither keeps the device that it had, perhaps none.
    Requests for colocation that contradict the devices are dropped. Bodies of functions are left
    as they are.

    Parameters
    ----------
    graph_def : GraphDef
    scopes : mapping of str to str
        Device of each node by its name, of one model: what ``talos-opt export --to
        tf-device-scopes`` writes.
    strict : bool
        Whether every name must be that of a node.

    Raises
    ------
    InputError
        If a name is not a node's (`strict`), or a device is not text.
    """
    made = type(graph_def)()
    made.CopyFrom(graph_def)  # type: ignore[attr-defined]
    nodes = {node.name: node for node in made.node}  # type: ignore[attr-defined]
    _check(scopes, nodes, strict)
    found = _Devices.of(nodes, scopes).resolve(nodes)
    for name, node in nodes.items():
        node.device = found.get(name, node.device)
        _keep_colocation(node, found)
    return made


def _check(scopes: Mapping[str, str], nodes: Mapping[str, object], strict: bool) -> None:
    for name, device in scopes.items():
        if not isinstance(device, str):
            raise InputError(
                f"the device of {name!r} is a {type(device).__name__}, expected text: of a "
                "schedule of several models, give the scopes of one"
            )
        if strict and name not in nodes:
            raise InputError(
                f"the graph has no node {name!r}, which the scopes place on {device!r}; it has "
                f"{len(nodes)} nodes"
            )


@dataclass
class _Devices:
    """Devices on their way from readers to what they read.

    Parameters
    ----------
    readers, waiting : mapping of str to list of str
        Who reads a node's outputs, and who waits for it, in the order of the graph.
    handles : mapping of str to str
        The variable or resource that a node reads.
    found : dict of str to str
        Device of each node, as far as it is known.
    named : frozenset of str
        Nodes whose devices were given.
    """

    readers: Mapping[str, list[str]]
    waiting: Mapping[str, list[str]]
    handles: Mapping[str, str]
    found: dict[str, str]
    named: frozenset[str]

    @staticmethod
    def of(nodes: Mapping[str, Any], scopes: Mapping[str, str]) -> _Devices:
        readers: dict[str, list[str]] = defaultdict(list)
        waiting: dict[str, list[str]] = defaultdict(list)
        handles: dict[str, str] = {}
        for name, node in nodes.items():
            for text in node.input:
                source = text.removeprefix("^").partition(":")[0]
                (waiting if text.startswith("^") else readers)[source].append(name)
                if not text.startswith("^") and source in nodes and _is_handle(nodes[source]):
                    handles.setdefault(name, source)
        named = {name: scopes[name] for name in nodes if name in scopes}
        return _Devices(readers, waiting, handles, named, frozenset(named))

    def resolve(self, nodes: Iterable[str]) -> dict[str, str]:
        """Return the devices of all nodes that have one."""
        known = -1
        while len(self.found) > known:  # once, but for loops, whose nodes read each other
            known = len(self.found)
            done = set(self.found)
            for name in nodes:
                self._settle(name, done)
        self._gather_at_handles()
        return self.found

    def _gather_at_handles(self) -> None:
        """Put a variable where an op is that must be there, and its reads beside it.

        Only a variable's value can be read from another device, not the variable.
        """
        for name, handle in self.handles.items():
            if name in self.named and handle not in self.named:
                self.found[handle] = self.found[name]
        for name, handle in self.handles.items():
            if name not in self.named and handle in self.found:
                self.found[name] = self.found[handle]

    def _settle(self, start: str, done: set[str]) -> None:
        """Settle a node after all that read it, but for those that a loop leads back to."""
        stack = [(start, False)]
        while stack:
            name, ready = stack.pop()
            if ready:
                device = self._first(self.readers.get(name)) or self._first(self.waiting.get(name))
                if device:
                    self.found[name] = device
            elif name not in done:
                done.add(name)
                stack.append((name, True))
                later = (*self.readers.get(name, ()), *self.waiting.get(name, ()))
                stack += [(reader, False) for reader in later]

    def _first(self, readers: Iterable[str] | None) -> str | None:
        return next((self.found[name] for name in readers or () if name in self.found), None)


def _is_handle(node: Any) -> bool:
    """Whether a node makes the handle of a variable or another resource."""
    return bool(node.op == "VarHandleOp" or _dtype(node) == _RESOURCE)


def _dtype(node: Any) -> int:
    # Asking for an attribute that is not there would add it.
    return int(node.attr["dtype"].type) if "dtype" in node.attr else 0


def _keep_colocation(node: Any, found: Mapping[str, str]) -> None:
    """Drop requests to be with a node that is on another device."""
    if "_class" not in node.attr:
        return
    wanted = node.attr["_class"].list.s
    kept = [
        text
        for text in wanted
        if not text.startswith(b"loc:@")
        or found.get(text.removeprefix(b"loc:@").decode(), node.device) == node.device
    ]
    if len(kept) < len(wanted):
        del node.attr["_class"].list.s[:]
        node.attr["_class"].list.s.extend(kept)
    if not kept:
        del node.attr["_class"]
