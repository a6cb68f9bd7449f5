"""What it takes to hand a tensor over from one device's thread to another's, beside the copy.

A chain of ops is run as a placed model is: once with each device alone, and once with the devices
taking turns. What the turns take longer is for the tensors that change hands: the sender's part,
waking the reader's thread, CUDA events and a copy of four bytes. On the CPU an op works for a
while before it passes its number on, as a thread that has waited for long takes longer to wake.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from talos_opt.frameworks.torch.arguments import arguments
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.execute import Executor
from talos_opt.frameworks.torch.signature import Output, Placeholder

#: Ops of the chain, and runs of it that count.
LENGTH, REPEATS = 24, 9
#: Rows of the matrices whose product an op on the CPU works at: some 0.1 ms.
_ROWS = 128
_relu: Any = torch.ops.aten.relu.default


def handover_time(first: torch.device, second: torch.device) -> float:
    """Return the seconds that one tensor of four bytes takes from one device to another.

    Parameters
    ----------
    first, second : torch.device
        They may be the same: then it goes to another thread of the same device.
    """
    captured = chain(LENGTH, _busy)
    ops = [captured.op_id(node) for node in captured.ops()]
    devices = {"first": first, "second": second}
    ways = {
        "first": dict.fromkeys(ops, "first"),
        "second": dict.fromkeys(ops, "second"),
        "turns": {op: ("first", "second")[k % 2] for k, op in enumerate(ops)},
    }
    values = captured.flat_values([torch.ones(1)])
    executors = {
        name: Executor(captured, placement, devices, values, threads=1)
        for name, placement in ways.items()
    }
    extra = []
    for k in range(REPEATS + 1):
        took = {name: executor.run().wall_s for name, executor in executors.items()}
        if k:  # the first one warms up
            extra.append(took["turns"] - (took["first"] + took["second"]) / 2)
    return max(0.0, statistics.median(extra) / (LENGTH - 1))


def _busy(value: torch.Tensor) -> torch.Tensor:
    if value.device.type == "cpu":
        torch.mm(_MATRIX, _MATRIX)
    return value.relu()


_MATRIX = torch.zeros(_ROWS, _ROWS)


def chain(length: int, call: Callable[..., Any] = _relu) -> Captured:
    """Return a model of ops in a row, each of one number."""
    graph, value = fx.Graph(), torch.ones(1)
    node = given = graph.placeholder("x")
    for _ in range(length):
        node = graph.call_function(call, (node,))
    graph.output((node,))
    return Captured(
        graph_module=fx.GraphModule(nn.Module(), graph),
        placeholders=(Placeholder(given.name, "input", 0, value),),
        outputs=(Output("user_output", 0),),
        mode="inference",
        module=nn.ReLU(),
        tied=(),
        arguments=arguments((value,)),
    )
