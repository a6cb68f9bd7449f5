"""Orders of one device's ops that hold few bytes at once: a beam search, then windows of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from talos_opt.core.problem import Arrays, Ints

#: Sets of ops that the first searches keep, one after the other.
_WIDTHS = (30, 100, 300)
#: What copying all states of one search may take, in ops: tenths of a second. More ops, fewer.
_MOST_COPIED = 200_000_000
#: Windows that may be searched in a row without a gain.
_MOST_FUTILE = 1000
#: Fewest and most ops of a window, and states kept there.
_LEAST_WINDOW, _MOST_WINDOW, _WINDOW_WIDTH = 12, 160, 200


@dataclass(frozen=True)
class Tensors:
    """What an order of ops holds: all that the search has to know of them.

    Parameters
    ----------
    in_ptr, in_tensor : (n + 1,) and (e,) int
        Tensors that each op reads.
    tensor_ptr : (n + 1,) int
        Tensors that each op makes are ``tensor_ptr[i]:tensor_ptr[i + 1]``.
    size : (t,) int
        Bytes.
    workspace : (n,) int
        Bytes; -1 for an op that takes no time wherever it may run: it holds nothing.
    """

    in_ptr: Ints
    in_tensor: Ints
    tensor_ptr: Ints
    size: Ints
    workspace: Ints

    @classmethod
    def of(cls, arrays: Arrays) -> Tensors:
        """Return those of all ops of a problem."""
        timed = ((arrays.time > 0) & arrays.allowed[arrays.group]).any(axis=1)
        return cls(
            arrays.in_ptr.copy(),
            arrays.edge_tensor[arrays.in_edge],
            arrays.tensor_ptr.copy(),
            arrays.tensor_size,
            np.where(timed, arrays.workspace, -1),
        )

    @cached_property
    def maker(self) -> Ints:
        """Op that makes each tensor (t,)."""
        return np.repeat(np.arange(len(self.workspace)), np.diff(self.tensor_ptr))

    @cached_property
    def readers(self) -> Ints:
        """Number of readers of each tensor (t,)."""
        return np.bincount(self.in_tensor, minlength=len(self.size))

    @cached_property
    def made(self) -> Ints:
        """Bytes that each op makes, and those of them that anybody reads (n, 2)."""
        read = np.where(self.readers > 0, self.size, 0)
        columns = [np.add.reduceat(part, self.tensor_ptr[:-1]) for part in (self.size, read)]
        return np.column_stack(columns)

    def profile(self, order: Ints) -> tuple[Ints, Ints]:
        """Return the bytes alive while each op of an order runs, and after it (n,)."""
        from talos_opt.kernels.orders import memory_profile

        top, after = np.empty_like(order), np.empty_like(order)
        memory_profile(
            self.in_ptr, self.in_tensor, self.readers, self.size, self.made, self.workspace,
            order, top, after,
        )  # fmt: skip
        return top, after

    def peak(self, order: Ints) -> int:
        """Return the most bytes alive at once."""
        return int(self.profile(order)[0].max(initial=0))


class OrderSearch:
    """Search for an order of small peak; what is better than the best is told at once.

    Parameters
    ----------
    tensors : Tensors
    seed : int
    stopped : callable
        Asked between two searches, whether to leave it at that.
    order : (n,) int
        A topological order to begin with.
    """

    def __init__(
        self, tensors: Tensors, order: Ints, seed: int, stopped: Callable[[], bool]
    ) -> None:
        self.tensors = tensors
        self.stopped = stopped
        self.random = np.random.default_rng(seed)
        self.order, self.peak = order, tensors.peak(order)
        count = len(order)
        self._code = self.random.integers(1, 2**62, count).astype(np.uint64)

    def tops(self) -> Ints:
        """Return the bytes alive while each op runs (n,), by op."""
        top = np.empty_like(self.order)
        top[self.order] = self.tensors.profile(self.order)[0]
        return top

    def reach(self, target: int) -> bool:
        """Search until the peak is no more than a target; False if that was not found."""
        for width in _WIDTHS:
            if self.peak <= target or self.stopped():
                break
            self.search(0, len(self.order), target, width)
            self.search(0, len(self.order), self.peak - 1, width)
        futile = 0
        while self.peak > target and futile < _MOST_FUTILE and not self.stopped():
            before = self.peak
            self._search_window()
            futile = futile + 1 if self.peak == before else 0
        return self.peak <= target

    def _search_window(self) -> None:
        """Order the ops around the peak anew, so that they stay below it."""
        top, _ = self.tensors.profile(self.order)
        count = len(self.order)
        worst = np.flatnonzero(top == top.max())
        centre = int(self.random.choice(worst))
        most = min(count, _MOST_WINDOW)
        length = int(self.random.integers(min(_LEAST_WINDOW, most), most + 1))
        low = int(np.clip(centre - self.random.integers(length), 0, count - length))
        self.search(low, low + length, int(top.max()) - 1, _WINDOW_WIDTH)

    def search(self, low: int, high: int, limit: int, width: int) -> None:
        """Order the ops at some places anew, within a limit, and keep that if it is no worse.

        Parameters
        ----------
        low, high : int
            Places ``order[low:high]``.
        limit : int
            Bytes.
        width : int
            Sets of ops that are kept.
        """
        from talos_opt.kernels.orders import narrow_order

        tensors, chosen = self.tensors, self.order[low:high]
        count = len(chosen)
        # Tensors that these ops make are numbered first, in their order.
        place = np.full(len(self.order), count)
        place[chosen] = np.arange(count)
        inner = np.flatnonzero(place[tensors.maker] < count)
        inner = inner[np.argsort(place[tensors.maker[inner]], kind="stable")]
        local = np.full(len(tensors.size), -1, dtype=np.int64)
        local[inner] = np.arange(len(inner))
        lengths = np.diff(tensors.in_ptr)[chosen]
        in_ptr = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(lengths, out=in_ptr[1:])
        places = np.repeat(tensors.in_ptr[chosen] - in_ptr[:-1], lengths) + np.arange(in_ptr[-1])
        read = tensors.in_tensor[places]
        outside = np.unique(read[local[read] < 0])
        local[outside] = len(inner) + np.arange(len(outside))
        everything = np.concatenate([inner, outside])
        reads = np.bincount(read, minlength=len(tensors.size))
        # What later ops read stays alive: one more reader, which never comes.
        unread = tensors.readers - self._reads_before(low)
        unread = np.where(unread > reads, reads + 1, reads)[everything]
        _, after = tensors.profile(self.order)
        producer = place[tensors.maker[read]]
        by_producer = np.argsort(producer, kind="stable")
        within = by_producer[producer[by_producer] < count]
        out_ptr = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(np.bincount(producer[within], minlength=count), out=out_ptr[1:])
        reader = np.repeat(np.arange(count), lengths)[within]
        scale = int(tensors.size[inner].max(initial=1)) // 40
        order, _ = narrow_order(
            (in_ptr, local[read], out_ptr, reader),
            unread,
            tensors.size[everything],
            tensors.made[chosen],
            tensors.workspace[chosen],
            int(after[low - 1]) if low else 0,
            limit,
            max(2, min(width, _MOST_COPIED // (count * len(everything)))),
            self._code[chosen],
            self.random.integers(0, scale + 1, count),
        )
        if len(order):
            found = self.order.copy()
            found[low:high] = chosen[order]
            peak = tensors.peak(found)
            if peak <= self.peak:
                self.order, self.peak = found, peak

    def _reads_before(self, low: int) -> Ints:
        """Return how often each tensor has been read by the first ops (t,)."""
        count = len(self.order)
        done = np.zeros(count, dtype=bool)
        done[self.order[:low]] = True
        reader = np.repeat(np.arange(count), np.diff(self.tensors.in_ptr))
        read = self.tensors.in_tensor[done[reader]]
        return np.bincount(read, minlength=len(self.tensors.size))
