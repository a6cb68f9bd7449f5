"""Memory over time (rule ``peak``): what is alive on a device never exceeds what it has."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

from talos_opt.core.problem import UNLIMITED
from talos_opt.solvers.cpsat.timing import TimingFormulation
from talos_opt.solvers.shared.tensors import Tensor

#: Most pairs (bytes, moment) of a device that are decided by literals of their own. They make
#: tiny problems easy and larger ones slow.
_MOST_PAIRS = 1600


class Moment(NamedTuple):
    """The start of an op, or of a hop of a tensor that it makes.

    Parameters
    ----------
    op : int
    hop : tuple of (source, target), or empty
    tensor : int
        Which one hops.
    """

    op: int
    hop: tuple[int, ...] = ()
    tensor: int = -1


class Held(NamedTuple):
    """Bytes on a device between two moments, if a literal holds.

    Parameters
    ----------
    first : Moment
    start, until : variable
    literal : literal
    amount : int or variable
        Bytes.
    """

    first: Moment
    start: Any
    until: Any
    literal: Any
    amount: Any


class LiveMemory:
    """Constraints on what is alive: weights for ever, outputs, copies and workspaces in between.

    Parameters
    ----------
    formulation : TimingFormulation
        With ops and hops timed.
    """

    def __init__(self, formulation: TimingFormulation) -> None:
        self.formulation = formulation
        self.model = formulation.model
        self.arrays = formulation.arrays
        #: Bytes are counted in these.
        self.unit = formulation.byte_unit
        self.orders: dict[tuple[Moment, Moment], Any] = {}
        self.overs: dict[tuple[int, Moment], Any] = {}

    def limit(self) -> None:
        """Add the constraints of every device that has a limit."""
        arrays, x = self.arrays, self.formulation.x
        limited = [d for d in range(arrays.device_count) if arrays.capacity[d] < UNLIMITED]
        held: dict[int, list[Held]] = {d: [] for d in limited}
        self._hold_outputs(held)
        self._hold_copies(held)
        for d in limited:
            limit = int(arrays.capacity[d]) // self.unit
            weights = [
                int(arrays.weights[members].sum()) // self.unit * x[g][d]
                for g, members in enumerate(arrays.members)
                if x[g][d] is not None
            ]
            room = self.model.new_int_var(0, limit, f"room{d}")
            self.model.add(room + sum(weights) == limit)
            if not held[d]:
                continue
            intervals = [self._interval(item) for item in held[d]]
            self.model.add_cumulative(intervals, [item.amount for item in held[d]], room)
            if len(held[d]) ** 2 <= _MOST_PAIRS:
                self._look_at_starts(held[d], room)

    def _interval(self, item: Held) -> Any:
        size = self.model.new_int_var(0, self.formulation.grid.horizon, "")
        return self.model.new_optional_interval_var(item.start, size, item.until, item.literal, "")

    # ---- what is held ----------------------------------------------------------------------

    def _hold_outputs(self, held: dict[int, list[Held]]) -> None:
        formulation, arrays = self.formulation, self.arrays
        moving = {tensor.number: tensor for tensor in formulation.tensors}
        for i in range(arrays.op_count):
            formulation.look_up()
            row = formulation.x[int(arrays.group[i])]
            lives: list[tuple[int, Any]] = []
            for r in range(int(arrays.tensor_ptr[i]), int(arrays.tensor_ptr[i + 1])):
                if arrays.tensor_size[r] > 0:
                    until = self.model.new_int_var(0, formulation.grid.horizon, f"until{r}")
                    self._keep_output(r, until, moving.get(r))
                    lives.append((int(arrays.tensor_size[r]) // self.unit, until))
            start, end = formulation.start[i], formulation.end[i]
            for d in held:
                if row[d] is None:
                    continue
                length = formulation.grid.ticks(float(arrays.time[i, d]))
                if arrays.workspace[i] > 0 and length > 0:
                    size = int(arrays.workspace[i]) // self.unit
                    held[d].append(Held(Moment(i), start, end, row[d], size))
                for size, until in lives:
                    held[d].append(Held(Moment(i), start, until, row[d], size))

    def _keep_output(self, r: int, until: Any, tensor: Tensor | None) -> None:
        """An output lives until its op, its last local reader and its last outgoing hop end."""
        formulation, arrays = self.formulation, self.arrays
        i = int(arrays.tensor_op[r])
        self.model.add(until >= formulation.end[i])
        row = formulation.x[int(arrays.group[i])]
        for edge in range(int(arrays.read_ptr[r]), int(arrays.read_ptr[r + 1])):
            reader = int(arrays.edge_dst[edge])
            read = until >= formulation.end[reader]
            there = formulation.x[int(arrays.group[reader])]
            if arrays.group[reader] == arrays.group[i]:
                self.model.add(read)
                continue
            for at, literal in zip(row, there, strict=True):
                if at is not None and literal is not None:
                    self.model.add(read).only_enforce_if([at, literal])
        if tensor is None:
            return
        for hop in formulation.hops_of(tensor):
            at = row[hop[0]]
            if at is not None:
                self.model.add(until >= formulation.hop_end[r, *hop]).only_enforce_if(
                    [at, formulation.travel(tensor, hop)]
                )

    def _hold_copies(self, held: dict[int, list[Held]]) -> None:
        """A copy lives from its transfer's start until its last reader or onward hop there ends."""
        formulation = self.formulation
        for tensor in formulation.tensors:
            formulation.look_up()
            hops = formulation.hops_of(tensor)
            for d in held:
                into = [hop for hop in hops if hop[1] == d]
                if not into or not any(tensor.readers.values()):
                    continue
                until = self.model.new_int_var(
                    0, formulation.grid.horizon, f"copy{tensor.number},{d}"
                )
                for reader, literal in formulation.readers_on(tensor, d):
                    self.model.add(until >= formulation.end[reader]).only_enforce_if(literal)
                for onward in (hop for hop in hops if hop[0] == d):
                    self.model.add(
                        until >= formulation.hop_end[tensor.number, *onward]
                    ).only_enforce_if(formulation.travel(tensor, onward))
                for hop in into:
                    key, literal = (tensor.number, *hop), formulation.travel(tensor, hop)
                    self.model.add(until >= formulation.hop_end[key]).only_enforce_if(literal)
                    start, size = formulation.hop_start[key], self._copy_bytes(tensor, hop)
                    held[d].append(
                        Held(Moment(tensor.op, hop, tensor.number), start, until, literal, size)
                    )

    def _copy_bytes(self, tensor: Tensor, hop: tuple[int, int]) -> Any:
        """Bytes that a hop leaves on its target: a constant, or a variable if readers differ."""
        if tensor.uniform is not None:
            return tensor.uniform // self.unit
        amount = self.model.new_int_var(0, max(tensor.readers.values()) // self.unit, "")
        for condition, wanted in self.formulation.demands(tensor, hop):
            self.model.add(amount >= wanted // self.unit).only_enforce_if(condition)
        return amount

    # ---- redundant: the same, one start at a time ------------------------------------------

    def _look_at_starts(self, held: list[Held], room: Any) -> None:
        """At each start, what started before and is still alive fits beside what starts.

        The cumulative constraint says so already, but learns nothing from a contradiction that
        does not hang on numbers: without these literals a proof on a fine grid may raise bounds
        tick by tick.
        """
        for item in held:
            alive = [self._alive_at(other, item) for other in held if other is not item]
            terms = [term for term in alive if term is not None]
            if terms:
                self.model.add(sum(terms) + item.amount <= room).only_enforce_if(
                    [item.literal, self._lasts(item)]
                )

    def _lasts(self, item: Held) -> Any:
        """Literal that is true if an item is held for any time at all."""
        literal = self.model.new_bool_var("")
        self.model.add(item.until <= item.start).only_enforce_if(literal.negated())
        return literal

    def _alive_at(self, other: Held, item: Held) -> Any:
        """Bytes of `other` that are alive when `item` starts; None if that cannot be."""
        if other.first != item.first and self._surely_first(item.first, other.first):
            return None
        alive = self.model.new_bool_var("")
        away = [other.literal.negated(), item.literal.negated()]
        order = [] if other.first == item.first else [self._first(other, item).negated()]
        self.model.add_bool_or([alive, *away, *order, self._over(other, item)])
        if isinstance(other.amount, int):
            return other.amount * alive
        most = max(self.arrays.edge_bytes.tolist()) // self.unit
        amount = self.model.new_int_var(0, most, "")
        self.model.add(amount >= other.amount).only_enforce_if(alive)
        return amount

    def _first(self, one: Held, other: Held) -> Any:
        """Literal: `one` starts no later than `other`. Of two that start together one is first."""
        key = (one.first, other.first)
        if key not in self.orders:
            if self._surely_first(*key):
                literal = self.model.new_constant(1)
            else:
                literal = self.model.new_bool_var("")
                self.model.add(one.start <= other.start).only_enforce_if(literal)
                self.model.add(other.start <= one.start).only_enforce_if(literal.negated())
            self.orders[key] = literal
            self.orders[key[::-1]] = literal.negated()
        return self.orders[key]

    def _over(self, one: Held, other: Held) -> Any:
        """Literal that may only be true if `one` is over before `other` starts."""
        key = (one.until.index, other.first)
        if key not in self.overs:
            literal = self.model.new_bool_var("")
            self.model.add(one.until <= other.start).only_enforce_if(literal)
            self.overs[key] = literal
        return self.overs[key]

    def _surely_first(self, one: Moment, other: Moment) -> bool:
        """Whether the graph alone says that one moment is no later than another."""
        return not one.hop and bool(self._reach[one.op] >> other.op & 1)

    @cached_property
    def _reach(self) -> list[int]:
        """For every op the bits of itself and of all that depend on it."""
        arrays = self.arrays
        reach = [1 << i for i in range(arrays.op_count)]
        for i in arrays.order[::-1].tolist():
            for edge in range(int(arrays.out_ptr[i]), int(arrays.out_ptr[i + 1])):
                reach[i] |= reach[int(arrays.edge_dst[edge])]
        return reach
