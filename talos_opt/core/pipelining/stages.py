"""The blocks of a placement: their lengths, their order, and what stages send each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from talos_opt.core.columns import BACKWARD, FORWARD, PHASES, UPDATE
from talos_opt.core.errors import InputError
from talos_opt.core.pipelining.settings import PipelineSchedule
from talos_opt.core.problem import DIRECT, NO_ROUTE, Floats, Ints, Problem
from talos_opt.core.stages import cycle_of, stage_arcs


class Key(NamedTuple):
    """A block before it has a time.

    Parameters
    ----------
    device : int
    phase : int
        `FORWARD`, `BACKWARD` or `UPDATE` of `core.columns`.
    microbatch : int
        From 0; -1 for the update.
    """

    device: int
    phase: int
    microbatch: int


class PipelineStages:
    """The stages of a placement, and what they send each other.

    Parameters
    ----------
    problem : Problem
    device : (n,) int
        Device of each op.

    Raises
    ------
    InputError
        If a device is entered again after it was left; if an op cannot run where it is; if a
        device that sends or receives has no copy engine; if an op reads from a later phase; or if
        there is no route.
    """

    def __init__(self, problem: Problem, device: Ints) -> None:
        self.problem, self.device = problem, device
        self.arrays = problem.arrays
        self.phase = problem.graph.columns.phases
        self._require_stages()
        self._require_phases()
        self.length = self._lengths()
        self.behind = self._stages_behind()
        self.sends = self._sends()

    # ---- what is run -----------------------------------------------------------------------

    def _lengths(self) -> Floats:
        """Time of each device's block of each phase (m, 3): a load, as in model.md."""
        arrays = self.arrays
        found = np.zeros((arrays.device_count, len(PHASES)))
        ops = np.arange(arrays.op_count)
        time = arrays.time[ops, self.device] * arrays.demand / arrays.slots[self.device]
        wrong = np.flatnonzero(~np.isfinite(time))
        if len(wrong):
            i = int(wrong[0])
            raise InputError(
                f"{self.problem.names[i]} cannot run on {self.problem.device_ids[self.device[i]]}, "
                "where the schedule has it: solve again, or give the cluster that it was made for"
            )
        np.add.at(found, (self.device, self.phase), time)
        return found

    def _require_stages(self) -> None:
        arcs = stage_arcs(self.arrays, self.device)
        cycle = cycle_of(np.unique(arcs[:, 1:], axis=0))
        if not cycle:
            return
        names = " -> ".join(self.problem.device_ids[d] for d in [*cycle, cycle[0]])
        if any(cycle_of(arcs[arcs[:, 0] == j, 1:]) for j in np.unique(arcs[:, 0])):
            reason, rule = "forward ops enter a device again", "acyclic"
        else:
            reason, rule = "models go through the devices in different directions", "ordered"
        raise InputError(
            f"the placement forms no pipeline: {reason}: {names}; solve with --stages {rule}"
        )

    def _require_phases(self) -> None:
        arrays = self.arrays
        wrong = np.flatnonzero(self.phase[arrays.edge_src] > self.phase[arrays.edge_dst])
        if len(wrong):
            a, b = int(arrays.edge_src[wrong[0]]), int(arrays.edge_dst[wrong[0]])
            raise InputError(
                f"{self.problem.names[b]}, of phase {PHASES[self.phase[b]]}, reads "
                f"{self.problem.names[a]}, of phase {PHASES[self.phase[a]]}: no step runs in "
                "that order"
            )

    def _stages_behind(self) -> Ints:
        """Stages on the longest way from each device to the end of the forward pass (m,)."""
        arcs = np.unique(stage_arcs(self.arrays, self.device)[:, 1:], axis=0)
        behind = np.zeros(self.arrays.device_count, dtype=np.int64)
        for _ in range(self.arrays.device_count):
            longer = behind.copy()
            np.maximum.at(longer, arcs[:, 0], behind[arcs[:, 1]] + 1)
            if (longer == behind).all():
                break
            behind = longer
        return behind

    # ---- what is sent ----------------------------------------------------------------------

    def _sends(self) -> dict[tuple[int, int], list[Send]]:
        """Return what each device sends after a block, by device and phase of that block."""
        arrays, device = self.arrays, self.device
        crossing = np.flatnonzero(device[arrays.edge_src] != device[arrays.edge_dst])
        copies: dict[tuple[int, int], list[int]] = {}
        for k in crossing.tolist():
            target = int(device[arrays.edge_dst[k]])
            copies.setdefault((int(arrays.edge_tensor[k]), target), []).append(k)
        found: dict[tuple[int, int], list[Send]] = {}
        for (tensor, target), edges in copies.items():
            op = int(arrays.tensor_op[tensor])
            source, size = int(device[op]), int(arrays.edge_bytes[edges].max())
            readers = frozenset(self.phase[arrays.edge_dst[edges]].tolist())
            send = Send(tensor, target, size, self._hops(source, target, size), readers)
            found.setdefault((source, int(self.phase[op])), []).append(send)
        return found

    def _hops(self, source: int, target: int, size: int) -> tuple[tuple[float, int], ...]:
        """Time and channel of each hop of a route."""
        arrays, ids = self.arrays, self.problem.device_ids
        stage = int(arrays.via[source, target])
        if stage == NO_ROUTE:
            raise InputError(f"there is no route from {ids[source]} to {ids[target]}")
        ends = [(source, target)] if stage == DIRECT else [(source, stage), (stage, target)]
        for d in {d for pair in ends for d in pair}:
            if not arrays.copy_engine[d]:
                raise InputError(
                    f"{ids[d]} has no copy engine, so sending would hold up its blocks: pipelines "
                    "are worked out for devices with one (copy_engine: true)"
                )
        return tuple(
            (float(arrays.latency[a, b] + arrays.per_byte[a, b] * size), int(arrays.channel[a, b]))
            for a, b in ends
        )

    # ---- in which order ---------------------------------------------------------------------

    def order(self, d: int, schedule: PipelineSchedule, microbatches: int) -> list[Key]:
        """Return the blocks of a device in the order in which it runs them."""
        here = self.phase[self.device == d]
        forward = [Key(d, FORWARD, k) for k in range(microbatches)]
        backward = [Key(d, BACKWARD, k) for k in range(microbatches)]
        found: list[Key] = []
        if not (here == BACKWARD).any():
            found = forward if (here == FORWARD).any() else []
        elif schedule is PipelineSchedule.GPIPE:
            found = [*forward, *backward[::-1]]
        else:
            ahead = min(int(self.behind[d]), microbatches - 1)
            found = forward[:ahead]
            for k in range(microbatches):
                found += [*forward[ahead + k : ahead + k + 1], backward[k]]
        if (here == UPDATE).any():
            found.append(Key(d, UPDATE, -1))
        return found


class Send(NamedTuple):
    """A tensor that a device sends to another one after a block.

    Parameters
    ----------
    tensor, target, size : int
        The tensor, the device it goes to, and its bytes.
    hops : tuple of (float, int)
        Time and channel of each; channel -1: links carry any number of tensors at once.
    readers : frozenset of int
        Phases of the ops that read it there.
    """

    tensor: int
    target: int
    size: int
    hops: tuple[tuple[float, int], ...]
    readers: frozenset[int]

    def is_stashed(self, phase: int) -> bool:
        """Whether the copy of what was made in this phase stays for a backward block."""
        return phase == FORWARD and BACKWARD in self.readers
