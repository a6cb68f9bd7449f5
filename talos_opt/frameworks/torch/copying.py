"""Copies beside the computing, and one clock over all devices.

With CUDA a copy runs on a stream of its own and readers wait for its event; on the CPU all is
done when a call returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils import _pytree as pytree

#: A point in time: seconds of the host's clock, or an event of a CUDA device.
Mark = Any

_cuda: Any = torch.cuda  # its classes have no annotations


class Clock:
    """Seconds since it was made, for the host and for every CUDA device.

    Parameters
    ----------
    devices : iterable of torch.device
    """

    def __init__(self, devices: Iterable[torch.device]) -> None:
        self._cuda = sorted({d.index or 0 for d in devices if d.type == "cuda"})
        self.wait()
        self._base: dict[int, Any] = {}
        for index in self._cuda:
            with torch.cuda.device(index):
                self._base[index] = _cuda.Event(enable_timing=True)
                self._base[index].record()
        self._began = time.perf_counter()

    def marker(self, device: torch.device) -> Callable[[], Mark]:
        """Return what marks the present of a device; of CUDA devices, of the current stream."""
        if device.type != "cuda":
            return time.perf_counter
        stream = torch.cuda.current_stream(device)

        def mark() -> Mark:
            event = _cuda.Event(enable_timing=True)
            event.record(stream)
            return event

        return mark

    def mark(self, device: torch.device) -> Mark:
        """Mark the present of a device once."""
        return self.marker(device)()

    def read(self, mark: Mark) -> float:
        """Return a mark in seconds, after `wait`."""
        if isinstance(mark, float):
            return mark - self._began
        return float(self._base[mark.device.index].elapsed_time(mark)) / 1e3

    def wait(self) -> None:
        """Wait until all devices have done what they were told."""
        for index in self._cuda:
            torch.cuda.synchronize(index)


class Streams:
    """CUDA streams of a placed model: to compute on, one a device, and to copy on, one a way.

    Parameters
    ----------
    devices : mapping of str to torch.device
        By the schedule's names; several may be one torch device, and have streams of their own.
    """

    def __init__(self, devices: Mapping[str, torch.device]) -> None:
        self._devices = dict(devices)
        self._computing = {
            name: _cuda.Stream(device=device)
            for name, device in devices.items()
            if device.type == "cuda"
        }
        distinct = list(dict.fromkeys(devices.values()))
        self._copying = {
            (source, target): _cuda.Stream(device=source if source.type == "cuda" else target)
            for source in distinct
            for target in distinct
            if source != target
        }

    def computing(self, name: str) -> Any:
        """Let a thread compute on a device's stream; nothing changes on the CPU."""
        stream = self._computing.get(name)
        return nullcontext() if stream is None else _cuda.stream(stream)

    def send(
        self, value: Any, source: str, target: str, clock: Clock, arrival: Any = None
    ) -> tuple[Any, Any, Mark, Mark]:
        """Bring a value to another device, beside the computing where that can be.

        Parameters
        ----------
        value : Any
            Tensors, or what holds them.
        source, target : str
        clock : Clock
        arrival : torch.cuda.Event, optional
            What has to happen before the value is at the source; none: it was made there.

        Returns
        -------
        moved : Any
            The value on the target, perhaps still on its way.
        event : torch.cuda.Event or None
            What readers have to wait for; see `receive`.
        begin, end : Mark
        """
        here, there = self._devices[source], self._devices[target]
        if here == there:
            if here.type == "cpu":  # the sender has other things to do: no more than it takes
                now = time.perf_counter()
                return value, arrival, now, now
            with self.computing(source):
                now = clock.mark(here)
            if arrival is None and here.type == "cuda":
                arrival = self._computing[source].record_event()
            return value, arrival, now, now
        stream = self._copying[here, there]
        if arrival is not None:
            stream.wait_event(arrival)
        elif here.type == "cuda":
            stream.wait_stream(self._computing[source])
        begin, end = (_cuda.Event(enable_timing=True) for _ in range(2))
        with _cuda.stream(stream):
            begin.record(stream)
            if type(value) is torch.Tensor:
                moved: Any = _send(value, there, stream)
            else:
                moved = pytree.tree_map_only(
                    torch.Tensor, lambda tensor: _send(tensor, there, stream), value
                )
            end.record(stream)
        return moved, end, begin, end

    def receive(self, value: Any, event: Any, name: str) -> None:
        """Let a device wait for a value before its thread's next call reads it."""
        stream = self._computing.get(name)
        if stream is None:
            event.synchronize()
            return
        stream.wait_event(event)
        if type(value) is torch.Tensor:
            value.record_stream(stream)
            return
        for leaf in pytree.tree_leaves(value):
            if isinstance(leaf, torch.Tensor):
                leaf.record_stream(stream)


def staged(tensor: torch.Tensor, target: torch.device) -> torch.Tensor:
    """Copy a tensor as a run does: through pinned memory, which is not waited for."""
    with _cuda.device(tensor.device if tensor.device.type == "cuda" else target):
        return _send(tensor, target, torch.cuda.current_stream())


def _send(tensor: torch.Tensor, target: torch.device, stream: Any) -> torch.Tensor:
    if tensor.is_conj() or tensor.is_neg():  # would be done on arrival, before it is there
        tensor = tensor.resolve_conj().resolve_neg()
    if tensor.device.type == "cpu":  # only pinned memory is copied beside the computing
        pinned = tensor
        if not tensor.is_pinned():
            pinned = torch.empty_like(tensor, pin_memory=True).copy_(tensor)
        return pinned.to(target, non_blocking=True)
    tensor.record_stream(stream)  # its memory must not be reused before it has been read
    if target.type == "cuda":
        return tensor.to(target, non_blocking=True)
    if not tensor.is_contiguous():
        laid_out = torch.empty_like(tensor, device="meta").stride()
        if laid_out != tensor.stride():
            tensor = tensor.clone()  # what is not dense would be waited for
    landing = torch.empty_like(tensor, device="cpu", pin_memory=True)
    return landing.copy_(tensor, non_blocking=True)
