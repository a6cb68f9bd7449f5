"""Copies beside the computing, and one clock over all devices.

With CUDA a copy runs on a stream of its own and readers wait for its event; on the CPU all is
done when a call returns.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
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

    def mark(self, device: torch.device) -> Mark:
        """Return the present of a device, in the order of its current stream."""
        if device.type != "cuda":
            return time.perf_counter() - self._began
        with torch.cuda.device(device):
            event = _cuda.Event(enable_timing=True)
            event.record()
        return (device.index or 0, event)

    def read(self, mark: Mark) -> float:
        """Return a mark in seconds, after `wait`."""
        if isinstance(mark, float):
            return mark
        index, event = mark
        return float(self._base[index].elapsed_time(event)) / 1e3

    def wait(self) -> None:
        """Wait until all devices have done what they were told."""
        for index in self._cuda:
            torch.cuda.synchronize(index)


class Copier:
    """Copies values between devices.

    Parameters
    ----------
    devices : iterable of torch.device
        All that take part.
    """

    def __init__(self, devices: Iterable[torch.device]) -> None:
        indices = sorted({d.index or 0 for d in devices if d.type == "cuda"})
        self._streams = {index: _cuda.Stream(device=index) for index in indices}
        self._arrivals: dict[int, Any] = {}  # id of a tensor on its way -> event

    def copy(
        self, value: Any, source: torch.device, target: torch.device, clock: Clock
    ) -> tuple[Any, Mark, Mark]:
        """Return a value on another device, which may still be on its way, and its times."""
        if source == target or "cuda" not in (source.type, target.type):
            begin = clock.mark(target)
            moved = pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to(target), value)
            return moved, begin, clock.mark(target)
        device = source if source.type == "cuda" else target
        stream = self._streams[device.index or 0]
        with torch.cuda.device(device):
            self.await_arrivals(device, value)
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                begin = clock.mark(device)
                moved = pytree.tree_map_only(
                    torch.Tensor, lambda tensor: self._send(tensor, target, stream), value
                )
                end = clock.mark(device)
                event = _cuda.Event()
                event.record(stream)
        for tensor in _tensors(moved):
            self._arrivals[id(tensor)] = (tensor, event)
        return moved, begin, end

    def await_arrivals(self, device: torch.device, value: Any) -> None:
        """Let a device wait for what it is about to read."""
        if not self._arrivals:
            return
        for tensor in _tensors(value):
            found = self._arrivals.get(id(tensor))
            if found is None:
                continue
            if device.type == "cuda":
                stream = torch.cuda.current_stream(device)
                stream.wait_event(found[1])
                tensor.record_stream(stream)
            else:
                found[1].synchronize()
            del self._arrivals[id(tensor)]  # later readers come after this one in any case

    @staticmethod
    def _send(tensor: torch.Tensor, target: torch.device, stream: Any) -> torch.Tensor:
        if tensor.device.type == "cpu":  # only pinned memory is copied beside the computing
            pinned = torch.empty_like(tensor, pin_memory=True).copy_(tensor)
            return pinned.to(target, non_blocking=True)
        tensor.record_stream(stream)  # its memory must not be reused before it has been read
        if target.type == "cuda":
            return tensor.to(target, non_blocking=True)
        landing = torch.empty_like(tensor, device="cpu", pin_memory=True)
        return landing.copy_(tensor, non_blocking=True)


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]
