"""Random placements of captured models, and the hops that they need."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence

import numpy as np

from talos_opt.frameworks.common.running import Hop
from talos_opt.frameworks.tensorflow.capture import capture
from talos_opt.frameworks.tensorflow.captured import Captured
from talos_opt.frameworks.tensorflow.models import as_model
from talos_opt.frameworks.tensorflow.ops import describe_ops
from tests.frameworks.tensorflow import nets

#: Example inputs of the networks.
INPUTS = {
    "cnn": [((4, 16, 16, 3), "float32")],
    "branches": [((8, 1024), "float32")],
    "bert": [((3, 12), "int32")],
    "two_inputs": [((5, 4), "float32"), ((5, 4), "float32")],
    "loop": [((4, 8), "float32")],
    "twice": [((3, 5), "float32")],
    "several": [((4, 6, 12), "float32")],
}


def inputs_of(name: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 100, shape).astype(dtype)
        if dtype == "int32"
        else rng.random(shape).astype(dtype)
        for shape, dtype in INPUTS[name]
    ]


@functools.cache  # tests leave what they are given as it was
def captured_net(name: str, mode: str = "inference") -> Captured:
    return captured_anew(name, mode)


def captured_anew(name: str, mode: str = "inference") -> Captured:
    nets.tf.keras.backend.clear_session()
    nets.tf.keras.utils.set_random_seed(0)
    made = getattr(nets, name)
    return capture(as_model(made if name == "twice" else made()), inputs_of(name), mode)


def random_placement(captured: Captured, devices: Sequence[str], seed: int) -> dict[str, str]:
    """Return a device for every op; ops of a group share theirs."""
    rng = random.Random(seed)
    groups: dict[str, str] = {}
    return {
        op.id: groups.setdefault(op.colocate or op.id, rng.choice(devices))
        for op in describe_ops(captured)
    }


def direct_hops(captured: Captured, where: dict[str, str]) -> list[Hop]:
    """Return a hop for every tensor that is read on another device."""
    found: dict[Hop, None] = {}
    for op in captured.op_ids():
        for producer, port in captured.reads(op):
            if where[producer] != where[op] and port >= 0:
                name = captured.output_name(producer, port)
                found.setdefault(Hop(producer, where[producer], where[op], name))
    return list(found)
