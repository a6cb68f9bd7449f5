"""Which tensors a placement sends where: once per destination, staged once per `via` device."""

from __future__ import annotations

from typing import NamedTuple

from talos_opt.core.problem import DIRECT, NO_ROUTE, Ints, Problem


class Hop(NamedTuple):
    """One hop that a placement needs.

    Parameters
    ----------
    source, target : int
        Devices.
    bytes : int
        Largest amount that a reader served by the hop names.
    duration : float
        In the graph's time unit.
    """

    source: int
    target: int
    bytes: int
    duration: float


class NoRouteError(Exception):
    """A placement parts two ops that exchange a tensor by a pair of devices with no route."""

    def __init__(self, producer: int, source: int, target: int) -> None:
        super().__init__(producer, source, target)
        self.producer, self.source, self.target = producer, source, target


def plan_transfers(problem: Problem, device: Ints) -> list[dict[int, Hop]]:
    """Return, for every tensor, the hop by which it reaches each device: ``{target: hop}``.

    A transfer of no bytes that takes no time is left out: the tensor is simply there.

    Parameters
    ----------
    problem : Problem
    device : (n,) int
        Device of every op.

    Raises
    ------
    NoRouteError
        If a reader's device cannot be reached.
    """
    arrays = problem.arrays
    where = device.tolist()
    sizes: list[dict[int, int]] = [{} for _ in range(arrays.tensor_count)]
    stages: list[dict[int, int]] = [{} for _ in range(arrays.tensor_count)]
    for op, tensor, reader, size in zip(
        arrays.edge_src.tolist(),
        arrays.edge_tensor.tolist(),
        arrays.edge_dst.tolist(),
        arrays.edge_bytes.tolist(),
        strict=True,
    ):
        source, target = where[op], where[reader]
        if source == target:
            continue
        stage = int(arrays.via[source, target])
        if stage == NO_ROUTE:
            raise NoRouteError(op, source, target)
        wanted = sizes[tensor]
        wanted[target] = max(wanted.get(target, 0), size)
        if stage != DIRECT:
            stages[tensor][target] = stage
            wanted[stage] = max(wanted.get(stage, 0), size)
    home = device[arrays.tensor_op].tolist()
    plan: list[dict[int, Hop]] = [{} for _ in home]
    for tensor, wanted in enumerate(sizes):
        for target, size in wanted.items():
            source = stages[tensor].get(target, home[tensor])
            duration = arrays.transfer_time(source, target, size)
            if size > 0 or duration > 0:
                plan[tensor][target] = Hop(source, target, size, duration)
    return plan
