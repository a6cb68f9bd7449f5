"""The rules of presolve, each exact: docs/presolve.md has the argument for every one.

A rule gives ops an owner, with which they become one op, or forbids devices. It looks at what the
rules before it have left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import (
    NO_ROUTE,
    UNLIMITED,
    Arrays,
    Bools,
    Ints,
    MemoryRule,
    Objective,
    Problem,
)
from talos_opt.core.sums import max_by, sum_by


@dataclass
class Findings:
    """What the rules have found so far.

    Parameters
    ----------
    owner : (n,) int
        Op that each one becomes part of; itself where it stays.
    allowed : (g, m) bool
        Devices that each colocation group need be tried on.
    counts : dict of str to int
        How often each rule applied, by what it does.
    """

    owner: Ints
    allowed: Bools
    counts: dict[str, int]

    @classmethod
    def nothing(cls, arrays: Arrays) -> Findings:
        """Return that every op stays, and may go where it could."""
        return cls(np.arange(arrays.op_count), arrays.allowed.copy(), {})

    def root(self, op: int) -> int:
        """Return the op that an op is part of by now."""
        while self.owner[op] != op:
            op = int(self.owner[op])
        return op

    def count(self, rule: str, times: int) -> None:
        """Note that a rule applied."""
        if times:
            self.counts[rule] = self.counts.get(rule, 0) + times


def apply_rules(problem: Problem) -> Findings:
    """Apply every rule once, those about devices until they find no more."""
    arrays = problem.arrays
    found = Findings.nothing(arrays)
    before = int(found.allowed.sum())
    while before:
        left = int(found.allowed.sum())
        _leave_unreachable(arrays, found.allowed)
        _leave_full(problem, found.allowed)
        if int(found.allowed.sum()) == left:
            break
    if not found.allowed.any(axis=1).all():  # infeasible: the solvers say why
        return Findings.nothing(arrays)
    found.count("devices left out", before - int(found.allowed.sum()))
    fold = _Folding(problem, found)
    fold.into_producers()
    fold.into_readers()
    fold.chains()
    return found


# ---- devices -------------------------------------------------------------------------------


def _leave_unreachable(arrays: Arrays, allowed: Bools) -> None:
    """A group is not tried where no tensor can come from, or go to, any device of a neighbour."""
    if not (arrays.via == NO_ROUTE).any():
        return
    reach = (arrays.via != NO_ROUTE).astype(np.int64)
    np.fill_diagonal(reach, 1)
    source, target = arrays.group[arrays.edge_src], arrays.group[arrays.edge_dst]
    np.logical_and.at(allowed, source, allowed[target] @ reach.T > 0)
    np.logical_and.at(allowed, target, allowed[source] @ reach > 0)


def _leave_full(problem: Problem, allowed: Bools) -> None:
    """A group is not tried where what can go nowhere else leaves it no room."""
    arrays = problem.arrays
    if not arrays.memory_limited:
        return
    static = problem.memory_rule is MemoryRule.STATIC
    size = arrays.group_held if static else arrays.group_weights
    work = arrays.group_workspace if static else np.zeros_like(size)
    fixed = allowed.sum(axis=1) == 1
    home = allowed.argmax(axis=1)
    held = sum_by(home[fixed], size[fixed], arrays.device_count)
    widest = max_by(home[fixed], work[fixed], arrays.device_count)
    need = size[:, None] + held + np.maximum(widest, work[:, None])
    limit = arrays.capacity < UNLIMITED
    allowed &= fixed[:, None] | (need <= arrays.capacity) | ~limit


# ---- ops -----------------------------------------------------------------------------------


class _Folding:
    """Finds ops that become part of others.

    Parameters
    ----------
    problem : Problem
    found : Findings
        Owners are filled in.
    """

    def __init__(self, problem: Problem, found: Findings) -> None:
        arrays = self.arrays = problem.arrays
        self.problem, self.found = problem, found
        counts = arrays.memory_limited or problem.objective is Objective.MEMORY
        #: Whether it matters which bytes are alive when.
        self.live = counts and problem.memory_rule is MemoryRule.PEAK
        may = found.allowed[arrays.group]
        #: Whether an op takes no time wherever it may go.
        self.instant = np.where(may, arrays.time, 0.0).max(axis=1) == 0
        #: The only device of a group, -1 if it has several.
        one = found.allowed.sum(axis=1) == 1
        self.fixed = np.where(one, found.allowed.argmax(axis=1), -1)
        sizes = np.bincount(arrays.group, minlength=arrays.group_count)
        #: Whether an op shares its device with others in every placement.
        self.bound: Bools = np.asarray((sizes > 1) | one)[arrays.group]

    def into_producers(self) -> None:
        """An op of no length that reads one op beside it: what it makes, that one makes."""
        arrays, found = self.arrays, self.found
        able = self.instant & self.bound & (np.diff(arrays.in_ptr) > 0)
        if self.live:  # its tensors would be alive from the producer's start on
            able &= arrays.output == 0
        taken = 0
        for op in arrays.order[able[arrays.order]].tolist():
            root = self._only_producer(op)
            if root >= 0 and self._together(root, op):
                found.owner[op] = root
                taken += 1
        found.count("ops of no length that became tensors", taken)

    def into_readers(self) -> None:
        """An op of no length that only one op beside it reads: it runs when that one starts."""
        arrays, found = self.arrays, self.found
        if self.live:  # its inputs would be alive until the reader ends
            return
        able = self.instant & self.bound & (np.diff(arrays.out_ptr) > 0)
        able &= self._alone()
        taken = 0
        for op in arrays.order[::-1][able[arrays.order[::-1]]].tolist():
            root = self._only_reader(op)
            if root >= 0 and self._together(root, op):
                found.owner[op] = root
                taken += 1
        found.count("ops of no length that became part of their reader", taken)

    def chains(self) -> None:
        """An op joins the only one that it reads, and whose only reader it is, in nobody's way."""
        arrays, found = self.arrays, self.found
        if self.live or not self.problem.objective.is_timed:
            return
        crowded = np.asarray((found.allowed & ~_roomy(arrays, found.allowed)).any(axis=1))
        able = ~crowded[arrays.group] & self.bound & ~self.instant & (np.diff(arrays.in_ptr) > 0)
        alone = self._alone()
        able &= alone
        if not able.any():
            return
        unknown = np.isnan(self.problem.graph.columns.time)
        taken = 0
        for op in arrays.order[able[arrays.order]].tolist():
            root = self._only_producer(op)
            if root < 0 or not self._together(root, op) or self.instant[root]:
                continue
            edges = arrays.in_edge[arrays.in_ptr[op] : arrays.in_ptr[op + 1]]
            last = {int(producer) for producer in arrays.edge_src[edges]}
            # Behind the chain's end, whose readers it alone is; times by kind and id do not mix.
            if (
                len(last) == 1
                and alone[min(last)]
                and self._only_reader(min(last)) == op
                and arrays.demand[root] == arrays.demand[op]
                and (unknown[root] == unknown[op]).all()
            ):
                found.owner[op] = root
                taken += 1
        found.count("ops that were joined to the one before them", taken)

    def _alone(self) -> Bools:
        """Ops that neither became part of another nor own one."""
        owner = self.found.owner
        counts = np.bincount(owner, minlength=len(owner))
        return np.asarray((owner == np.arange(len(owner))) & (counts == 1))

    def _together(self, a: int, b: int) -> bool:
        """Whether two ops share a device in every placement, and a phase where that matters."""
        forward = self.arrays.forward
        if self.problem.stages and forward[a] != forward[b]:
            return False
        g, h = int(self.arrays.group[a]), int(self.arrays.group[b])
        return g == h or (int(self.fixed[g]) >= 0 and self.fixed[g] == self.fixed[h])

    def _only_producer(self, op: int) -> int:
        """Return the one op that all inputs of an op come from by now, -1 if there are several."""
        arrays = self.arrays
        edges = arrays.in_edge[arrays.in_ptr[op] : arrays.in_ptr[op + 1]]
        roots = {self.found.root(producer) for producer in arrays.edge_src[edges].tolist()}
        return roots.pop() if len(roots) == 1 else -1

    def _only_reader(self, op: int) -> int:
        """Return the one op that reads all of an op's tensors by now, -1 if there are several."""
        arrays = self.arrays
        readers = arrays.edge_dst[arrays.out_ptr[op] : arrays.out_ptr[op + 1]].tolist()
        roots = {self.found.root(reader) for reader in readers}
        return roots.pop() if len(roots) == 1 else -1


def _roomy(arrays: Arrays, allowed: Bools) -> Bools:
    """Devices that could run all ops that may go there at the same moment (m,).

    Without a copy engine transfers could be in the way. Memory does not matter: the rule that
    counts it over time is not asked about.
    """
    demand = (allowed[arrays.group] * arrays.demand[:, None]).sum(axis=0)
    return np.asarray((demand <= arrays.slots) & arrays.copy_engine)
