"""Random graphs of up to millions of ops, made as columns: no object for each op."""

from __future__ import annotations

import numpy as np

from talos_opt import Cluster, Device, Graph, Link, Problem
from talos_opt.core.columns import (
    NONE,
    WHOLE_OUTPUT,
    Columns,
    Ints,
    Texts,
    pointers,
)
from talos_opt.core.graph import ColumnarModels

_MIB = 2**20
#: Ops of one model of `chained_problem`.
_MODEL_OPS = 10_000
#: Room for weights and outputs, over what all ops need.
_ROOM = 1.4


def layered_problem(ops: int, seed: int = 0) -> Problem:
    """Return one model of square-root-of-n layers; an op reads two ops of the layer before it."""
    draw = np.random.default_rng((ops, seed))
    width = max(2, int(ops**0.5))
    op = np.arange(ops)
    layer = op // width
    first = np.maximum(0, (layer - 1) * width)
    one = draw.integers(0, width, ops)
    other = (one + draw.integers(1, width, ops)) % width
    producer = np.column_stack([first + one, first + other])
    return _problem(f"layered{ops}", producer, layer > 0, pointers(np.array([ops])), draw)


def chained_problem(ops: int, seed: int = 0) -> Problem:
    """Return models of ten thousand ops like deep networks: long and narrow, with short skips."""
    draw = np.random.default_rng((ops, seed, 1))
    models = max(1, round(ops / _MODEL_OPS))
    model_ptr = pointers(np.full(models, ops // models) + (np.arange(models) < ops % models))
    op = np.arange(ops)
    place = op - np.repeat(model_ptr[:-1], np.diff(model_ptr))
    near = draw.integers(1, 4, ops)
    far = near + draw.integers(1, 13, ops)
    return _problem(
        f"chained{ops}", np.column_stack([op - near, op - far]), place >= 16, model_ptr, draw
    )


def _problem(
    name: str, producer: Ints, reads: Ints, model_ptr: Ints, draw: np.random.Generator
) -> Problem:
    """Give ops times and sizes, and put them on two hosts and six accelerators."""
    count, models = len(producer), len(model_ptr) - 1
    cpu = draw.lognormal(0.0, 1.0, count)
    gpu = cpu / draw.uniform(0.5, 20.0, count)
    gpu[draw.random(count) < 0.02] = np.nan  # some ops run on hosts only
    weights = draw.integers(0, 4 * _MIB, count)
    output = draw.integers(0, _MIB, count)
    # One op in a hundred shares its weights with the next one.
    group = np.full(count, NONE)
    shared = np.flatnonzero(draw.random(count - 1) < 0.01)
    group[shared + 1] = group[shared] = np.arange(len(shared))
    columns = Columns(
        model_ids=tuple(f"m{j}" for j in range(models)),
        model_weight=draw.choice((1.0, 1.0, 2.0), models),
        release=np.zeros(models),
        model_ptr=model_ptr,
        ids=Texts.join([f"op{i}" for i in range(count)]),
        time_keys=("cpu", "gpu"),
        time=np.column_stack([cpu, gpu]),
        weights=weights,
        output=output,
        workspace=draw.integers(0, 16 * _MIB, count),
        input_ptr=pointers(np.where(reads, 2, 0)),
        input_op=producer[reads].ravel(),
        input_bytes=np.full(2 * int(reads.sum()), WHOLE_OUTPUT),
        slots=np.ones(count, dtype=np.int64),
        types=("",),
        type=np.zeros(count, dtype=np.int64),
        groups=tuple(f"g{k}" for k in range(len(shared))),
        group=group,
        pins=(),
        pin=np.full(count, NONE),
    )
    limit = int(_ROOM * (weights.sum() + output.sum()) / 8) + 32 * _MIB
    devices = [Device(f"cpu{k}", "cpu", memory=limit, slots=4) for k in range(2)]
    devices += [Device(f"gpu{k}", "gpu", memory=limit) for k in range(6)]
    links = (
        Link("cpu", "gpu", 0.005, 12e9),
        Link("cpu", "cpu", 0.002, 40e9),
        Link("gpu", "gpu", 0.005, 100e9),
    )
    return Problem(Graph(name, ColumnarModels(columns), "ms"), Cluster(tuple(devices), links))


KINDS = {"layered": layered_problem, "chained": chained_problem}
