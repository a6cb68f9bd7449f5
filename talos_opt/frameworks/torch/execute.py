"""Run a captured model under a placement: ops on their devices, each tensor moved once.

Each device has a thread, which runs the device's ops in their order and sends on what they make;
so ops of different devices overlap. Devices have the schedule's names; several may be one torch
device (all of them ``cpu``, say): tensors then move in name only, and are counted all the same,
and CPU devices share its intra-op threads.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from talos_opt.frameworks.common.running import Execution, Hop, Span, in_turn
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.copying import Clock, Mark, Streams
from talos_opt.frameworks.torch.steps import Program, Send, outputs, programs
from talos_opt.frameworks.torch.tensors import Made, made_by, tensors_read
from talos_opt.frameworks.torch.threads import threads_each, threads_set
from talos_opt.frameworks.torch.workers import Workers

#: Seconds for which a Ctrl-C waits for an op to end: a thread in the middle of one cannot be ended.
_PATIENCE = 5.0
#: Seconds between two looks at whether it has.
_PAUSE = 1e-3


class Executor:
    """A captured model with its weights and inputs in place, ready to run.

    Parameters
    ----------
    captured : Captured
    placement : mapping of str to str
        Device of every op id.
    devices : mapping of str to torch.device
        Torch device of every device.
    values : sequence of torch.Tensor, optional
        For every placeholder, as `Captured.flat_values` returns them; None: `give` does later.
    priority : mapping of str to float, optional
        Among ops whose inputs are there, the smallest goes first: starts of the schedule.
    hops : iterable of Hop, optional
        How tensors travel, over other devices perhaps; default: straight. What no hop brings to
        a reader (a tensor of no bytes) comes straight and is not counted.
    threads : int, optional
        Intra-op threads of each CPU device; default: torch's, shared out among those in `devices`.
    workers : Workers, optional
        Threads that another executor has already, of all these devices; default: new ones.
    """

    def __init__(
        self,
        captured: Captured,
        placement: Mapping[str, str],
        devices: Mapping[str, torch.device],
        values: Sequence[Any] | None,
        priority: Mapping[str, float] | None = None,
        hops: Iterable[Hop] | None = None,
        threads: int | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.captured = captured
        self.nodes = {node: captured.op_id(node) for node in captured.ops()}
        self.where = {node: placement[op] for node, op in self.nodes.items()}
        self.devices = dict(devices)
        self.order = self._sort(priority or {})
        self.hops = self._route(hops)
        self.programs = programs(captured, self.order, self.where, self.devices, self.hops)
        self.streams = Streams(self.devices)
        self.given: dict[fx.Node, Any] = {}
        self.given_bytes: dict[torch.device, int] = {}
        if values is not None:
            self.give(values)
        cpus = sum(device.type == "cpu" for device in self.devices.values())
        self._threads = threads or threads_each(cpus)
        if workers is None:
            with threads_set(self._threads):
                workers = Workers(self.devices, partial(_share, self._threads))
        self.workers = workers
        self._lock = threading.Lock()  # two runs at once would wait for each other's threads

    def run(self) -> Execution:
        """Run all ops once."""
        with self._lock:
            return _Run(self).finish(self.workers)

    def give(self, values: Sequence[Any]) -> None:
        """Put weights and inputs in the place of those that were there.

        Parameters
        ----------
        values : sequence
            For every placeholder.
        """
        before = _allocated(self.devices)
        self.given = self._put_in_place(values)
        self.given_bytes = {d: size - before[d] for d, size in _allocated(self.devices).items()}

    def forget(self) -> None:
        """Let go of weights and inputs; `give` has to come before the next run."""
        self.given, self.given_bytes = {}, {}
        for program in self.programs.values():
            for place in program.given.values():
                program.values[place] = None

    def _sort(self, priority: Mapping[str, float]) -> list[fx.Node]:
        """Topological order by priority: starts in files may be equal, or rounded."""
        place = {node: k for k, node in enumerate(self.nodes)}
        producers = {node: _producers(node, self.nodes) for node in self.nodes}
        missing = {node: len(found) for node, found in producers.items()}
        readers: dict[fx.Node, list[fx.Node]] = defaultdict(list)
        for node, found in producers.items():
            for producer in found:
                readers[producer].append(node)
        keys = {node: (priority.get(op, 0.0), place[node]) for node, op in self.nodes.items()}
        ready = [(keys[node], node) for node, count in missing.items() if count == 0]
        heapq.heapify(ready)
        order: list[fx.Node] = []
        while ready:
            _, node = heapq.heappop(ready)
            order.append(node)
            for reader in readers[node]:
                missing[reader] -= 1
                if missing[reader] == 0:
                    heapq.heappush(ready, (keys[reader], reader))
        return order

    def _route(self, hops: Iterable[Hop] | None) -> dict[Made, list[tuple[str, str, bool]]]:
        """Return source, target and whether it counts, of every hop, sources before targets."""
        wanted: dict[Made, dict[str, None]] = defaultdict(dict)
        for node in self.order:
            for tensor in tensors_read(node):
                wanted[tensor].setdefault(self.where[node])
        planned: dict[tuple[str, str], list[Hop]] = defaultdict(list)
        for hop in hops or ():
            if not {hop.source, hop.target} <= self.devices.keys():
                raise ValueError(f"{hop} is over a device that is not among those given")
            planned[hop.op, hop.output].append(hop)
        routes: dict[Made, list[tuple[str, str, bool]]] = {}
        for node, op in self.nodes.items():
            home = self.where[node]
            for path, name in self.captured.tensors.of(node).items():
                found = [(hop.source, hop.target, True) for hop in in_turn(planned[op, name], home)]
                there = {home, *(target for _, target, _ in found)}
                for target in wanted[Made(node, path)]:
                    if target not in there:
                        found.append((home, target, hops is None))
                routes[Made(node, path)] = found
        return routes

    def _put_in_place(self, values: Sequence[Any]) -> dict[fx.Node, Any]:
        """Copy weights and inputs to the devices that read them, once each."""
        nodes = self.captured.graph_module.graph.find_nodes(op="placeholder")
        given = dict(zip(nodes, values, strict=True))
        copies: dict[tuple[fx.Node, torch.device], Any] = {}
        for name, program in self.programs.items():
            there = self.devices[name]
            for node, place in program.given.items():
                if (node, there) not in copies:
                    value = given[node]  # a number, perhaps, that an op read out of a tensor
                    copies[node, there] = value.to(there) if hasattr(value, "to") else value
                program.values[place] = copies[node, there]
        for device in {device for _, device in copies if device.type == "cuda"}:
            torch.cuda.synchronize(device)  # they came on another stream than they are read on
        return given


def alone(captured: Captured, device: torch.device, values: Sequence[torch.Tensor]) -> Executor:
    """Return what runs a captured model with all ops on one device, with torch's threads."""
    placement = dict.fromkeys(map(captured.op_id, captured.ops()), "alone")
    threads = torch.get_num_threads()
    return Executor(captured, placement, {"alone": device}, values, threads=threads)


class _Stopped(Exception):
    """Another device's thread has failed."""


class _Run:
    """State of one run; a device's thread writes its own values, and those that it sends."""

    def __init__(self, executor: Executor) -> None:
        self.plan = executor
        self.values = {name: list(p.values) for name, p in executor.programs.items()}
        count = sum(len(found) for found in executor.hops.values())
        self.arrivals: list[Any] = [None] * count  # CUDA events of what was sent
        self.sent = [threading.Lock() for _ in range(count)]  # held until it was
        for lock in self.sent:
            lock.acquire()
        self.failed = False
        self.ended: set[str] = set()  # devices whose programs have ended
        self.clock = Clock(executor.devices.values())
        self.marks: dict[str, list[tuple[Mark, Mark]]] = {}
        self.moves: list[tuple[str, str, Send, Mark, Mark, int]] = []

    def finish(self, workers: Workers) -> Execution:
        plan = self.plan
        before = _allocated(plan.devices)
        for device in before:
            torch.cuda.reset_peak_memory_stats(device)
        self._run_all(workers)
        self.clock.wait()
        # From the first op on, not from when this thread woke the others: that is no part of a
        # schedule, and takes as long as many a short op.
        starts = [self.clock.read(marks[0][0]) for marks in self.marks.values() if marks]
        ops = self._op_spans(min(starts, default=0.0))
        return Execution(
            self._outputs(),
            max((span.end_s for span in ops), default=0.0),
            ops,
            self._move_spans(min(starts, default=0.0)),
            sum(program.peak for program in plan.programs.values()),
            self._peak_bytes(before),
        )

    def _run_all(self, workers: Workers) -> None:
        """Run all programs; what one of them raises, or Ctrl-C, ends the others."""
        ended: SimpleQueue[BaseException | None] = SimpleQueue()
        errors: list[BaseException] = []
        begun: list[str] = []
        try:
            for name in self.plan.programs:
                workers.put(name, partial(self._work, name, ended))
                begun.append(name)
            for _ in begun:
                error = ended.get()
                if error is not None and not isinstance(error, _Stopped):
                    errors.append(error)
        except BaseException:
            self._stop()
            # Each ends after its present op. What the queue says is not enough here: Ctrl-C may
            # have come between taking something out of it and counting that.
            patience = time.monotonic() + _PATIENCE
            while not self.ended.issuperset(begun) and time.monotonic() < patience:
                time.sleep(_PAUSE)
            raise
        try:
            for error in errors:
                raise error
        finally:
            del error, errors  # the traceback holds this frame, and all values with it

    def _stop(self) -> None:
        self.failed = True
        for lock in self.sent:
            with suppress(RuntimeError):  # it was sent
                lock.release()

    def _work(self, name: str, ended: SimpleQueue[BaseException | None]) -> None:
        """Run a device's ops in their order, and say how that ended."""
        try:
            with torch.no_grad(), self.plan.streams.computing(name):
                self._run(self.plan.programs[name], name)
        except BaseException as error:
            self._stop()
            self.values[name].clear()
            ended.put(error.with_traceback(None) if isinstance(error, _Stopped) else error)
        else:
            ended.put(None)
        finally:
            self.ended.add(name)

    def _run(self, program: Program, name: str) -> None:
        # What is done here for each op keeps a GPU waiting: so it is little.
        device = self.plan.devices[name]
        values, mark = self.values[name], self.clock.marker(device)
        marks = self.marks[name] = []
        end: Mark = None
        # Events take as long to record as a short op to start. On one stream an op begins when the
        # one before it has ended, unless it waits for another device.
        follows = device.type == "cuda"
        for op, call, arguments, awaited, place, picked, freed, sendings in program.steps:
            if self.failed:
                raise _Stopped
            for number, where in awaited:
                self._await(number, values, where, name)
            given = arguments(values)
            begin = end if follows and end is not None and not awaited else mark()
            made = call(*given)
            end = mark()
            marks.append((begin, end))
            if place is not None:
                values[place] = made
            for take, where in picked:
                values[where] = take(made)
            for output, pick, sends in sendings:
                self._send(op, output, made if pick is None else pick(made), sends)
            del given, made  # nothing is held for longer than it is read
            for where in freed:
                values[where] = None

    def _await(self, number: int, values: list[Any], place: int, name: str) -> None:
        """Wait until another device has sent a value, and make this one's stream wait for it."""
        self.sent[number].acquire()
        if self.failed:
            raise _Stopped
        event = self.arrivals[number]
        if event is not None:
            self.plan.streams.receive(values[place], event, name)

    def _send(self, op: str, output: str, made: Any, sends: Sequence[Send]) -> None:
        there = {sends[0].source: (made, None)}  # the first goes from where it was made
        for send in sends:
            value, arrival = there[send.source]
            moved, event, begin, end = self.plan.streams.send(
                value, send.source, send.target, self.clock, arrival
            )
            there[send.target] = moved, event
            if send.place is not None:
                self.values[send.target][send.place] = moved
            self.arrivals[send.number] = event
            try:
                self.sent[send.number].release()
            except RuntimeError:  # all were released
                raise _Stopped from None
            if send.counted:  # the reader need not wait for the books
                self.moves.append((op, output, send, begin, end, _size(value)))

    def _op_spans(self, origin: float) -> tuple[Span, ...]:
        read = self.clock.read
        spans = [
            Span(step.op, name, read(begin) - origin, read(end) - origin)
            for name, program in self.plan.programs.items()
            for step, (begin, end) in zip(program.steps, self.marks[name], strict=True)
        ]
        return tuple(sorted(spans, key=lambda span: span.start_s))

    def _move_spans(self, origin: float) -> tuple[Span, ...]:
        read = self.clock.read
        spans = [
            Span(
                op, send.source, read(begin) - origin, read(end) - origin,
                send.target, size, output,
            )
            for op, output, send, begin, end, size in self.moves
        ]  # fmt: skip
        return tuple(sorted(spans, key=lambda span: span.start_s))

    def _peak_bytes(self, before: Mapping[torch.device, int]) -> dict[str, int]:
        """Return the most that a CUDA device held of weights and values, if it has one name."""
        plan = self.plan
        names = defaultdict(list)
        for name, device in plan.devices.items():
            names[device].append(name)
        return {
            names[device][0]: torch.cuda.max_memory_allocated(device)
            - size
            + plan.given_bytes.get(device, 0)
            for device, size in before.items()
            if len(names[device]) == 1
        }

    def _outputs(self) -> list[Any]:
        plan = self.plan

        def find(node: fx.Node) -> Any:
            if node in plan.given:
                return plan.given[node]
            tensor = made_by(node)
            home = plan.where[tensor.node]
            return self.values[home][plan.programs[home].kept[tensor]]

        return [fx.node.map_arg(item, find) for item in outputs(plan.captured)]


def _allocated(devices: Mapping[str, torch.device]) -> dict[torch.device, int]:
    """Return the bytes that tensors take up on every CUDA device now."""
    distinct = {device for device in devices.values() if device.type == "cuda"}
    return {device: torch.cuda.memory_allocated(device) for device in distinct}


def _share(threads: int) -> None:
    """Give the present thread so many intra-op threads.

    It has to be asked for their number first: a thread's first parallel op, or this question,
    sets it to what was last set anywhere.
    """
    torch.get_num_threads()
    torch.set_num_threads(threads)


def _producers(node: fx.Node, nodes: Mapping[fx.Node, str]) -> list[fx.Node]:
    """Return the ops that an op reads, each once."""
    return [n for n in dict.fromkeys(item.node for item in tensors_read(node)) if n in nodes]


def _size(value: Any) -> int:
    if type(value) is torch.Tensor:
        return value.nbytes
    leaves = pytree.tree_leaves(value)
    return sum(t.numel() * t.element_size() for t in leaves if isinstance(t, torch.Tensor))
