"""A model that is trained as a pipeline: one process for each stage, micro-batches in turn.

    python examples/pipeline_processes.py
    python examples/pipeline_processes.py --microbatches 8 --schedule gpipe

The model is profiled for two devices on this machine's CPU, split into two stages whose slower one
is as fast as possible, and run by `torch.distributed.pipelining`. Outputs and gradients are
compared with those of the plain model, and times with the predicted ones. On a machine with two
GPUs, profile with `devices=["cuda:0", "cuda:1"]`, and without `threads` and `processes`.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

if find_spec("torch") is None:
    sys.exit("this example needs torch: pip install torch")

import torch
from torch import nn

import talos_opt
from talos_opt.core.granularity import by_module
from talos_opt.frameworks.torch import profile_module
from talos_opt.frameworks.torch.loading import make_arguments
from talos_opt.frameworks.torch.pipeline_run import run_pipeline


class Block(nn.Module):
    """A residual block; blocks are what stages consist of."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input with what the block adds."""
        return x + self.narrow(torch.relu(self.wide(self.norm(x))))


class Net(nn.Module):
    """Six blocks between an embedding and a head; returns the loss."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.embed = nn.Embedding(1000, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(6))
        self.head = nn.Linear(width, 1000)
        self.loss = nn.CrossEntropyLoss()  # a module, so that its backward pass stays beside it

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return loss and logits of a micro-batch."""
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        logits = self.head(x)
        return {"loss": self.loss(logits, labels), "logits": logits}


def make_model() -> Net:
    """Return the model: every process calls this, so it is a function of a module."""
    torch.manual_seed(0)
    return Net()


def main() -> None:
    """Profile, split, run, and print what was predicted and measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schedule", default="1f1b", choices=["1f1b", "gpipe"])
    parser.add_argument("--microbatches", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4, help="time for measuring ops")
    args = parser.parse_args()

    inputs = make_arguments(["ids=128:int64:0-999", "labels=128:int64:0-999"])
    profile = profile_module(
        make_model(),
        inputs,
        mode="training",
        devices=["2xcpu"],
        threads=1,  # of each process
        processes=True,
        max_time_s=args.seconds,
    )
    problem = by_module(profile.problem("bottleneck"), ["blocks.*"])
    problem = problem.with_stages({"rule": "ordered", "use_all": True})
    result = talos_opt.solve(problem, time_limit=5)
    if result.schedule is None:
        sys.exit(result.reason)
    where: dict[str, list[str]] = {}
    for row in talos_opt.modules_by_device(problem, result.schedule):
        if row.weights:
            where.setdefault(row.device, []).append(row.module)
    for device, modules in where.items():
        print(f"{device}: {', '.join(modules)}")

    report = run_pipeline(
        make_model,
        inputs,
        problem,
        result.schedule,
        order=args.schedule,
        microbatches=args.microbatches,
        mode="training",
        repeats=3,
    )
    print(f"outputs equal: {report.outputs_equal}, gradients equal: {report.gradients_equal}")
    print(
        f"a step of {args.microbatches} micro-batches: "
        f"{1000 * report.predicted_s:.1f} ms predicted, "
        f"{1000 * report.measured_s:.1f} ms measured, "
        f"{1000 * report.single_process_s:.1f} ms in one process"
    )
    for note in report.notes:
        print(f"note: {note}")
    if not (report.outputs_equal and report.gradients_equal):
        sys.exit(1)


if __name__ == "__main__":  # the processes import this file
    main()
