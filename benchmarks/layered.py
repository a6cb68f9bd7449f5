"""Random layered graphs of any size: what a benchmark needs that `models/` has no file for."""

from __future__ import annotations

import random

from talos_opt import Cluster, Device, Graph, Input, Link, Memory, Model, Op, Problem

_MODELS = 4
_WIDEST = 8
_GIB = 2**30


def layered_problem(ops: int, seed: int = 0) -> Problem:
    """Return a problem of four models with layers of one to eight ops, on a CPU and two GPUs.

    An op reads one to three ops of the layer before it. CPU times are log-normal around 1 ms,
    speedups uniform between 0.5 and 20, outputs up to 8 MiB; links carry 12 GB/s.

    Parameters
    ----------
    ops : int
        Over all models.
    seed : int
        Same ops and seed, same problem.
    """
    draw = random.Random(f"{ops},{seed}")
    sizes = [ops // _MODELS + (j < ops % _MODELS) for j in range(_MODELS)]
    models = tuple(_model(f"m{j}", size, draw) for j, size in enumerate(sizes))
    devices = (
        Device("cpu0", "cpu", memory=64 * _GIB),
        Device("gpu0", "gpu", memory=11 * _GIB),
        Device("gpu1", "gpu", memory=11 * _GIB),
    )
    links = (Link("cpu", "gpu", 0.01, 12e9), Link("gpu", "gpu", via="cpu0"))
    return Problem(Graph(f"layered{ops}", models, "ms"), Cluster(devices, links))


def _model(name: str, size: int, draw: random.Random) -> Model:
    made: list[Op] = []
    before: list[str] = []
    while len(made) < size:
        width = min(draw.randint(1, _WIDEST), size - len(made))
        layer = [_op(f"op{len(made) + k}", before, draw) for k in range(width)]
        made += layer
        before = [op.id for op in layer]
    return Model(name, tuple(made), weight=draw.choice((1.0, 1.0, 2.0)))


def _op(name: str, before: list[str], draw: random.Random) -> Op:
    cpu = draw.lognormvariate(0.0, 1.0)
    read = draw.sample(before, min(len(before), draw.randint(1, 3)))
    return Op(
        name,
        {"cpu": cpu, "gpu": cpu / draw.uniform(0.5, 20.0)},
        memory=Memory(draw.randrange(4 * 2**20), draw.randrange(8 * 2**20), 0),
        inputs=tuple(Input(producer) for producer in read),
    )
