"""How long every op of a captured model takes on a device, and the whole model undisturbed.

The graph is run as a whole, over and over, and each op is timed where it stands: caches are as
warm as they are in the model, and memory is held no longer. Runs of the plain model, and of the
executor with all ops on the device, are timed in between, so that a machine that gets busier slows
them all. The executor tells what a step takes that starts op by op.

A CUDA device is kept asleep while the host starts the next few ops, so that events tell how long
their kernels take, not how fast Python starts them.
"""

from __future__ import annotations

import copy
import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import fx, nn

from talos_opt.frameworks.common.allocator import keep_freed_memory
from talos_opt.frameworks.common.measuring import Budget, Measured
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.costs import nbytes
from talos_opt.frameworks.torch.execute import Executor, alone
from talos_opt.frameworks.torch.signature import Output
from talos_opt.frameworks.torch.substitutes import callee, place_call
from talos_opt.frameworks.torch.tensors import is_pick
from talos_opt.frameworks.torch.training import training_step

#: Ops that are started while a CUDA device sleeps, for so long; its queue holds about a thousand.
CHUNK, SLEEP_S = 100, 10e-3
#: Rounds of one run of the model and one of its ops: no more than this,
MAX_ROUNDS = 50
#: and no more than so many seconds once there are as many rounds as these.
ENOUGH_ROUNDS, ENOUGH_S = 7, 20.0


_cuda: Any = torch.cuda  # its classes have no annotations


class Stopped(Exception):
    """The budget is spent in the middle of a run."""


def measure(
    captured: Captured,
    device: torch.device,
    inputs: Sequence[torch.Tensor],
    budget: Budget,
    progress: Callable[[float], None] | None = None,
    rounds: int = MAX_ROUNDS,
) -> Measured:
    """Time every op, and the plain model, on a device.

    Parameters
    ----------
    captured : Captured
    device : torch.device
    inputs : sequence of torch.Tensor
    budget : Budget
    progress : callable, optional
        Called with the share that is done.
    rounds : int
        At most.
    """
    keep_freed_memory()
    measured = Measured(resolution_s=timer_resolution(), kernels=device.type == "cuda")
    module = captured.module if device.type == "cpu" else copy.deepcopy(captured.module).to(device)
    given = [value.to(device) for value in inputs]
    values = [value.to(device) for value in captured.flat_values(inputs)]
    clock = _Clock(captured, device, budget, measured)
    warm: dict[str, list[float]] = {}
    try:
        clock.run_once(values, watch_memory=device.type == "cuda")
        warm, measured.ops = measured.ops, defaultdict(list)
        whole_time(module, captured, given, device)
        executor = alone(captured, device, values) if captured.ops() else None
        executor = _step(executor, Measured())
        for count in range(rounds):
            measured.whole.append(whole_time(module, captured, given, device))
            executor = _step(executor, measured)  # before what may be stopped in the middle
            clock.run_once(values)
            if progress is not None:
                progress(min(1.0, max((count + 1) / rounds, budget.used / budget.seconds)))
            if budget.spent or (count + 1 >= ENOUGH_ROUNDS and budget.used > ENOUGH_S):
                break
    except (Stopped, KeyboardInterrupt):
        measured.stopped = not measured.whole or len(measured.ops) < len(warm)
    for op, times in warm.items():  # better a first, cold time than none
        if op not in measured.ops:
            measured.ops[op] = times
    return measured


def _step(executor: Executor | None, measured: Measured) -> Executor | None:
    """Take the time of a step of the executor; return it, or None if it lacks the memory."""
    if executor is None:
        return None
    try:
        run = executor.run()
    except torch.OutOfMemoryError:
        measured.steps.clear()
        measured.starting.clear()
        return None
    measured.steps.append(run.wall_s)
    busy = sum(span.end_s - span.start_s for span in run.ops)
    measured.starting.append(max(0.0, 1 - busy / run.wall_s) if run.wall_s > 0 else 0.0)
    return executor


class _Clock(fx.Interpreter):
    """Runs the graph and times its calls."""

    def __init__(
        self, captured: Captured, device: torch.device, budget: Budget, measured: Measured
    ) -> None:
        super().__init__(captured.graph_module)
        self._captured = captured
        self._device = device
        self._budget = budget
        self._measured = measured
        self._overhead = timer_overhead()
        self._kwargs = {node: place_call(node, device) for node in captured.ops()}
        self._events: list[tuple[str, Any, Any]] = []
        self._watch_memory = False
        self._gap_s, self._second = _gpu_clock(device) if device.type == "cuda" else (0.0, 0)

    def run_once(self, values: Sequence[torch.Tensor], *, watch_memory: bool = False) -> None:
        """Run all ops once, and keep how long each took."""
        self._watch_memory = watch_memory
        self._events.clear()
        here = torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()
        with torch.no_grad(), here:
            self.run(*values)
        if self._events:
            torch.cuda.synchronize(self._device)
            for op, start, end in self._events:
                took = start.elapsed_time(end) / 1e3 - self._gap_s
                self._measured.ops[op].append(max(0.0, took))

    def run_node(self, n: fx.Node) -> Any:
        """Run one node, timed if it is an op."""
        if n.op != "call_function" or is_pick(n):
            return super().run_node(n)
        if self._budget.spent:
            raise Stopped
        args, _ = self.fetch_args_kwargs_from_env(n)
        kwargs = fx.node.map_arg(self._kwargs[n], lambda m: self.env[m])
        call: Any = callee(n, self._device)
        op = self._captured.op_id(n)
        if self._device.type == "cuda":
            return self._on_cuda(op, call, args, kwargs)
        start = time.perf_counter_ns()
        result = call(*args, **kwargs)
        took = time.perf_counter_ns() - start
        self._measured.ops[op].append(max(0, took - self._overhead) / 1e9)
        return result

    def _on_cuda(self, op: str, call: Any, args: Any, kwargs: Any) -> Any:
        before = 0
        if self._watch_memory:
            torch.cuda.reset_peak_memory_stats(self._device)
            before = torch.cuda.memory_allocated(self._device)
        elif len(self._events) % CHUNK == 0:
            _cuda._sleep(int(SLEEP_S * self._second))
        start, end = (_cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        result = call(*args, **kwargs)
        end.record()
        self._events.append((op, start, end))
        if self._watch_memory:
            peak = torch.cuda.max_memory_allocated(self._device) - before
            self._measured.workspace[op] = max(0, peak - nbytes(result))
        return result


def whole_time(
    module: nn.Module,
    captured: Captured,
    inputs: Sequence[torch.Tensor],
    device: torch.device,
) -> float:
    """Return how long one run of the plain model takes, in seconds.

    In training that is forwards, backwards and the step of gradient descent; weights and buffers
    stay as they are.
    """
    asked: tuple[Output, ...] = tuple(s for s in captured.outputs if s.kind in ("loss", "update"))
    given = captured.given(inputs)
    synchronise(device)
    start = time.perf_counter_ns()
    if captured.mode == "training":
        training_step(module, given, asked)
    else:
        with torch.no_grad():
            given.call(module)
    synchronise(device)
    return (time.perf_counter_ns() - start) / 1e9


def synchronise(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _gpu_clock(device: torch.device) -> tuple[float, int]:
    """Return the seconds between two events with nothing between them, and cycles per second."""
    events = [_cuda.Event(enable_timing=True) for _ in range(103)]
    cycles = 10_000_000
    with torch.cuda.device(device):
        _cuda._sleep(cycles)  # wakes the clock up
        events[0].record()
        _cuda._sleep(cycles)
        for event in events[1:]:
            event.record()
    synchronise(device)
    gaps = [a.elapsed_time(b) / 1e3 for a, b in itertools.pairwise(events[1:])]
    return statistics.median(gaps), round(cycles / (events[0].elapsed_time(events[1]) / 1e3))


def timer_overhead() -> int:
    """Return what two looks at the clock cost, in nanoseconds."""
    looks = [(time.perf_counter_ns(), time.perf_counter_ns()) for _ in range(1001)]
    return int(statistics.median(end - start for start, end in looks))


def timer_resolution() -> float:
    """Return the smallest difference that the clock tells, in seconds."""
    return max(time.get_clock_info("perf_counter").resolution, timer_overhead() / 1e9)
