"""Run a captured model under a placement: ops on their devices, each tensor moved once.

Devices have the schedule's names; several may be one torch device (all of them ``cpu``, say).
Tensors then move in name only, and are counted all the same.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from talos_opt.frameworks.common.running import Execution, Hop, Span, in_turn
from talos_opt.frameworks.torch.captured import Captured, place_call
from talos_opt.frameworks.torch.copying import Clock, Copier


class Executor:
    """A captured model with its weights and inputs in place, ready to run.

    Parameters
    ----------
    captured : Captured
    placement : mapping of str to str
        Device of every op id.
    devices : mapping of str to torch.device
        Torch device of every device.
    values : sequence of torch.Tensor
        For every placeholder, as `Captured.flat_values` returns them.
    priority : mapping of str to float, optional
        Among ops whose inputs are there, the smallest goes first: starts of the schedule.
    hops : iterable of Hop, optional
        How tensors travel, over other devices perhaps; default: straight. What no hop brings to
        a reader (a tensor of no bytes) comes straight and is not counted.
    """

    def __init__(
        self,
        captured: Captured,
        placement: Mapping[str, str],
        devices: Mapping[str, torch.device],
        values: Sequence[torch.Tensor],
        priority: Mapping[str, float] | None = None,
        hops: Iterable[Hop] | None = None,
    ) -> None:
        self.captured = captured
        self.nodes = {node: captured.op_id(node) for node in captured.ops()}
        self.where = {node: placement[op] for node, op in self.nodes.items()}
        self.devices = dict(devices)
        self.order = self._sort(priority or {})
        self.hops = self._route(hops)
        self.uses = self._count_uses()
        self.given = self._put_in_place(values)

    def run(self) -> Execution:
        """Run all ops once."""
        return _Run(self).finish()

    def _sort(self, priority: Mapping[str, float]) -> list[fx.Node]:
        """Topological order by priority: starts in files may be equal, or rounded."""
        place = {node: k for k, node in enumerate(self.nodes)}
        missing = {node: len(_producers(node, self.nodes)) for node in self.nodes}
        keys = {node: (priority.get(op, 0.0), place[node]) for node, op in self.nodes.items()}
        ready = [(keys[node], node) for node, count in missing.items() if count == 0]
        heapq.heapify(ready)
        order: list[fx.Node] = []
        while ready:
            _, node = heapq.heappop(ready)
            order.append(node)
            for user in node.users:
                if user in missing:
                    missing[user] -= 1
                    if missing[user] == 0:
                        heapq.heappush(ready, (keys[user], user))
        return order

    def _route(self, hops: Iterable[Hop] | None) -> dict[fx.Node, list[tuple[str, str, bool]]]:
        """Return source, target and whether it counts, of every hop, sources before targets."""
        wanted: dict[fx.Node, dict[str, None]] = defaultdict(dict)
        for node in self.order:
            for producer in _producers(node, self.nodes):
                wanted[producer].setdefault(self.where[node])
        planned: dict[str, list[Hop]] = defaultdict(list)
        for hop in hops or ():
            planned[hop.op].append(hop)
        routes: dict[fx.Node, list[tuple[str, str, bool]]] = {}
        for node, op in self.nodes.items():
            home = self.where[node]
            found = [(hop.source, hop.target, True) for hop in in_turn(planned[op], home)]
            there = {home, *(target for _, target, _ in found)}
            for target in wanted[node]:
                if target not in there:
                    found.append((home, target, hops is None))
            routes[node] = found
        return routes

    def _count_uses(self) -> Counter[tuple[fx.Node, str]]:
        """How often each value is read on each device; a value goes after its last reader."""
        uses: Counter[tuple[fx.Node, str]] = Counter()
        for node in self.order:
            uses.update((p, self.where[node]) for p in _producers(node, self.nodes))
            uses.update((node, source) for source, _, _ in self.hops[node])
        for node in self.captured.graph_module.graph.output_node().all_input_nodes:
            if node in self.nodes:
                uses[node, self.where[node]] += 1
        return uses

    def _put_in_place(self, values: Sequence[torch.Tensor]) -> dict[tuple[fx.Node, str], Any]:
        """Copy weights and inputs to the devices that read them, once each."""
        placed: dict[tuple[fx.Node, str], Any] = {}
        nodes = self.captured.graph_module.graph.find_nodes(op="placeholder")
        for node, value in zip(nodes, values, strict=True):
            copies: dict[torch.device, torch.Tensor] = {}
            for user in node.users:
                if user in self.where:
                    device = self.where[user]
                    there = self.devices[device]
                    if there not in copies:
                        copies[there] = value.to(there)
                    placed[node, device] = copies[there]
            placed[node, ""] = value  # for outputs that hand an input through
        return placed


class _Run:
    """State of one run."""

    def __init__(self, executor: Executor) -> None:
        self.plan = executor
        self.values: dict[tuple[fx.Node, str], Any] = {}
        self.left = Counter(executor.uses)
        self.copier = Copier(executor.devices.values())
        self.clock = Clock(executor.devices.values())
        self.ops: list[tuple[str, str, Any, Any]] = []
        self.moves: list[tuple[str, str, str, Any, Any, int]] = []
        self.peak = 0

    def finish(self) -> Execution:
        plan = self.plan
        began = time.perf_counter()
        with torch.no_grad():
            for node in plan.order:
                self._compute(node)
                for source, target, counted in plan.hops[node]:
                    self._move(node, source, target, counted)
        self.clock.wait()
        wall = time.perf_counter() - began
        read = self.clock.read
        return Execution(
            self._outputs(),
            wall,
            tuple(Span(op, device, read(a), read(b)) for op, device, a, b in self.ops),
            tuple(
                Span(op, source, read(a), read(b), target, size)
                for op, source, target, a, b, size in self.moves
            ),
            self.peak,
        )

    def _compute(self, node: fx.Node) -> None:
        plan = self.plan
        name = plan.where[node]
        device = plan.devices[name]
        arguments = (node.args, place_call(node, device))
        args, kwargs = fx.node.map_arg(arguments, lambda item: self._value(item, name))
        self.copier.await_arrivals(device, [args, kwargs])
        begin = self.clock.mark(device)
        assert callable(node.target), "captured graphs hold calls of functions only"
        with _on(device):
            self._keep(node, name, node.target(*args, **kwargs))
        self.ops.append((plan.nodes[node], name, begin, self.clock.mark(device)))
        for producer in _producers(node, plan.nodes):
            self._release(producer, name)

    def _move(self, node: fx.Node, source: str, target: str, counted: bool) -> None:
        devices = self.plan.devices
        value = self.values[node, source]
        copied, begin, end = self.copier.copy(value, devices[source], devices[target], self.clock)
        self._keep(node, target, copied)
        if counted:
            op = self.plan.nodes[node]
            self.moves.append((op, source, target, begin, end, _size(value)))
        self._release(node, source)

    def _value(self, node: fx.Node, device: str) -> Any:
        key = (node, device)
        return self.plan.given[key] if node.op == "placeholder" else self.values[key]

    def _keep(self, node: fx.Node, device: str, value: Any) -> None:
        if self.left[node, device] > 0:
            self.values[node, device] = value
            self.peak = max(self.peak, len(self.values))

    def _release(self, node: fx.Node, device: str) -> None:
        self.left[node, device] -= 1
        if self.left[node, device] == 0:
            del self.values[node, device]

    def _outputs(self) -> list[Any]:
        plan = self.plan
        (returned,) = plan.captured.graph_module.graph.output_node().args
        where = plan.where
        found = fx.node.map_arg(returned, lambda item: self._value(item, where.get(item, "")))
        return list(found) if isinstance(found, (tuple, list)) else [found]


def _producers(node: fx.Node, nodes: Mapping[fx.Node, str]) -> list[fx.Node]:
    """Return the ops that an op reads, each once."""
    return [item for item in node.all_input_nodes if item in nodes]


def _size(value: Any) -> int:
    leaves = pytree.tree_leaves(value)
    return sum(t.numel() * t.element_size() for t in leaves if isinstance(t, torch.Tensor))


def _on(device: torch.device) -> Any:
    """Make a CUDA device the current one: some ops ask for it instead of looking at inputs."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
