"""The process of one stage: it makes its part of the model, runs steps, and times them.

Times are those of the machine's monotonic clock, which all processes on it share.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from talos_opt.core.columns import BACKWARD, FORWARD, UPDATE
from talos_opt.core.errors import TalosError
from talos_opt.frameworks.common.allocator import keep_freed_memory
from talos_opt.frameworks.common.loading import explain
from talos_opt.frameworks.torch.arguments import Arguments
from talos_opt.frameworks.torch.cutting import Part, cut, move_part
from talos_opt.frameworks.torch.peers import handover_s, join_group, obey_parent, wire_of
from talos_opt.frameworks.torch.reasons import plain_module
from talos_opt.frameworks.torch.training import LEARNING_RATE, loss_of, set_mode

#: Kinds of messages to the parent.
READY, CHECKED, TIMED, FAILED = "ready", "checked", "timed", "failed"


@dataclass(frozen=True)
class Job:
    """What all processes are told.

    Parameters
    ----------
    make : callable
        Makes the model, without arguments; can be pickled.
    folder : str
        Where the parent has put ``given.pt`` (weights, and the micro-batches' arguments) and
        stages put what they have found.
    begins : tuple of str
        Modules that the stages but the first begin with.
    devices : tuple of str
        Torch device of each stage.
    mode : {'inference', 'training'}
    schedule : {'gpipe', '1f1b'}
    named : int, optional
        Which output is the loss.
    scale : float
        What a micro-batch's loss counts in the step's.
    port : int
        Of the store.
    threads : int
    repeats, warmup : int
    timeout_s : float
        Seconds that a stage waits for another one.
    """

    make: Callable[[], nn.Module]
    folder: str
    begins: tuple[str, ...]
    devices: tuple[str, ...]
    mode: str
    schedule: str
    named: int | None
    scale: float
    port: int
    threads: int = 1
    repeats: int = 5
    warmup: int = 2
    timeout_s: float = 60.0


class Lap(NamedTuple):
    """A block as it was run.

    Parameters
    ----------
    phase, microbatch : int
    start, end : int
        In nanoseconds of the clock that all processes of a machine share.
    computed : int
        Nanoseconds for which the stage's thread had a core meanwhile.
    """

    phase: int
    microbatch: int
    start: int
    end: int
    computed: int


class Moment(NamedTuple):
    """When a block began, by both clocks; in nanoseconds."""

    wall: int
    computed: int


def now() -> Moment:
    """Return the present moment."""
    return Moment(time.monotonic_ns(), time.thread_time_ns())


def main(job: Job, rank: int, pipe: connection.Connection) -> None:
    """Run a stage; the parent hears of it by messages, and of what went wrong too."""
    obey_parent()
    sys.stdout = sys.stderr  # what the model prints is no part of the answer
    try:
        _Stage(job, rank, pipe).run()
    except BaseException as error:
        pipe.send((FAILED, (_reason(error), _is_of_another(error))))
        pipe.close()
        os._exit(1)  # without waiting for others in the process group
    pipe.close()


def _reason(error: BaseException) -> str:
    """Return an error in one line: what the model raised, where torch wraps that."""
    while error.__cause__ is not None and "failed to run" in str(error):
        error = error.__cause__
    return str(error) if isinstance(error, TalosError) else explain(error)


def _is_of_another(error: BaseException) -> bool:
    """Whether an error only says that another process is gone or late."""
    if isinstance(error, dist.DistError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        word in text for word in ("gloo", "nccl", "connection closed", "timed out")
    )


def _begin(ops: Sequence[dist.P2POp]) -> list[Any]:
    return dist.batch_isend_irecv(list(ops)) if ops else []


class _Timed(PipelineStage):
    """A stage that notes when its blocks begin and end, and has the inputs of all micro-batches."""

    computes_on: torch.device  # `device` is where its tensors are sent from
    laps: list[Lap]
    inputs: Sequence[dict[str, torch.Tensor]]
    kept: dict[int, Any] | None = None
    coming: dict[tuple[int, int], list[Any]]

    def expect_all(self) -> None:
        """Ask for all tensors of a step beforehand, once torch has made room for them.

        gloo sends nothing before it was asked for it. Its thread would have to be woken for each
        answer, while the sender's only core computes the next block.
        """
        self.coming = {}
        if self.device.type != "cpu" or not self.args_recv_info:
            return
        for k in range(len(self.inputs)):
            self.coming[FORWARD, k] = _begin(super().get_fwd_recv_ops(k))
            self.coming[BACKWARD, k] = _begin(super().get_bwd_recv_ops(k))

    def get_fwd_recv_ops(self, fwd_chunk_id: int) -> list[dist.P2POp]:
        """Return what is still to be asked for before a forward block."""
        if (FORWARD, fwd_chunk_id) in self.coming:
            return []
        return super().get_fwd_recv_ops(fwd_chunk_id)

    def get_bwd_recv_ops(self, bwd_chunk_id: int) -> list[dist.P2POp]:
        """Return what is still to be asked for before a backward block."""
        if (BACKWARD, bwd_chunk_id) in self.coming:
            return []
        return super().get_bwd_recv_ops(bwd_chunk_id)

    def _await(self, phase: int, microbatch: int) -> None:
        for work in self.coming.pop((phase, microbatch), ()):
            work.wait()

    def forward_one_chunk(
        self,
        fwd_chunk_id: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
        save_forward_output: bool = True,
    ) -> Any:
        """Run a forward block."""
        self._await(FORWARD, fwd_chunk_id)
        start = now()
        made = super().forward_one_chunk(
            fwd_chunk_id, args, self.inputs[fwd_chunk_id], save_forward_output
        )
        self.note(FORWARD, fwd_chunk_id, start)
        if self.kept is not None and self.is_last:
            self.kept[fwd_chunk_id] = [x.detach() for x in made]
        return made

    def backward_one_chunk(
        self,
        bwd_chunk_id: int,
        loss: torch.Tensor | None = None,
        full_backward: bool = True,
        last_backward: bool = False,
    ) -> None:
        """Run a backward block."""
        self._await(BACKWARD, bwd_chunk_id)
        start = now()
        super().backward_one_chunk(bwd_chunk_id, loss, full_backward, last_backward)
        if self.has_backward:
            self.note(BACKWARD, bwd_chunk_id, start)

    def note(self, phase: int, microbatch: int, start: Moment) -> None:
        """Note a block that ends now, once its device has done it."""
        if self.computes_on.type == "cuda":
            torch.cuda.synchronize(self.computes_on)
        end = now()
        computed = end.computed - start.computed
        self.laps.append(Lap(phase, microbatch, start.wall, end.wall, computed))


class _Stage:
    """One stage, from its model to its times."""

    def __init__(self, job: Job, rank: int, pipe: connection.Connection) -> None:
        self.job, self.rank, self.pipe = job, rank, pipe
        self.count = len(job.devices)
        devices = [torch.device(device) for device in job.devices]
        self.device, self.wire = devices[rank], wire_of(devices, rank)
        self.training = job.mode == "training"
        self.losses: list[float] = []

    def run(self) -> None:
        """Make the stage, check what it computes, and time it."""
        torch.set_num_threads(self.job.threads)
        keep_freed_memory()
        part, microbatches = self._make()
        join_group(self.rank, self.count, self.job.port, self.wire, self.job.timeout_s)
        self.pipe.send((READY, None))
        stage = self._stage(part, microbatches)
        schedule = self._schedule(stage, part, len(microbatches))
        self._check(stage, schedule, part)
        self.pipe.send((CHECKED, None))
        for _ in range(self.job.warmup):
            self._step(stage, schedule)
        handover = self._handover(part)
        runs = [self._step(stage, schedule) for _ in range(self.job.repeats)]
        self.pipe.send((TIMED, (runs, handover)))
        dist.barrier()
        dist.destroy_process_group()

    def _make(self) -> tuple[Part, list[Arguments]]:
        with warnings.catch_warnings(action="ignore"):  # torch warns of its own trees
            given = torch.load(Path(self.job.folder, "given.pt"), weights_only=False)
        module = plain_module(self.job.make())
        set_mode(module, self.job.mode)
        take_state(module, given["state"])
        microbatches: list[Arguments] = given["microbatches"]
        part = cut(module, microbatches[0], self.job.begins)[self.rank]
        move_part(part, self.device)
        if self.wire != self.device:
            _bridge(part.module, self.device, self.wire)
        return part, microbatches

    def _stage(self, part: Part, microbatches: Sequence[Arguments]) -> _Timed:
        stage = _Timed(
            part.module,
            self.rank,
            self.count,
            self.wire,
            input_args=self._examples(part.received),
            output_args=self._examples(part.made),
        )
        stage.computes_on = self.device
        stage.laps = []
        stage.inputs = [
            {name: one.tensors[k].to(self.device) for name, k in part.inputs.items()}
            for one in microbatches
        ]
        return stage

    def _examples(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Return tensors like those that come and go; without gradients in inference."""
        return tuple(x if self.training else x.detach() for x in tensors)

    def _schedule(self, stage: _Timed, part: Part, count: int) -> Any:
        """Return torch's schedule; without backward passes both orders are one."""

        def loss(made: Any, _: torch.Tensor) -> torch.Tensor:
            start, block = now(), stage.laps.pop()
            found = loss_of(part.leaves(made), self.job.named)
            self.losses.append(float(found.detach()))
            scaled = found * self.job.scale
            # The loss is a part of the forward pass.
            begun = Moment(block.start, start.computed - block.computed)
            stage.note(block.phase, block.microbatch, begun)
            return scaled

        kind = Schedule1F1B if self.training and self.job.schedule == "1f1b" else ScheduleGPipe
        return kind(stage, count, loss_fn=loss if self.training else None, scale_grads=False)

    def _step(self, stage: _Timed, schedule: Any) -> list[Lap]:
        """Run a step from a common start, and return its blocks."""
        learnt = [p for p in stage.submod.parameters() if p.requires_grad]
        for parameter in learnt:
            parameter.grad = None
        stage.laps.clear()
        self.losses.clear()
        target = torch.zeros(len(stage.inputs)) if self.training else None
        stage.expect_all()
        dist.barrier()
        with torch.set_grad_enabled(self.training):
            schedule.step(target=target, return_outputs=False)
        if self.training:
            start = now()
            with torch.no_grad():  # new weights, as in the graph: those of the stage stay
                updated = [
                    torch.add(p, p.grad, alpha=-LEARNING_RATE) for p in learnt if p.grad is not None
                ]
            stage.note(UPDATE, -1, start)
            del updated
        return list(stage.laps)

    def _check(self, stage: _Timed, schedule: Any, part: Part) -> None:
        """Run a first step, and leave what it computed for the parent to compare."""
        stage.kept = {}
        self._step(stage, schedule)
        found: dict[str, Any] = {"outputs": [], "loss": None, "gradients": {}}
        if stage.is_last:
            outputs = [part.leaves(stage.kept[k]) for k in sorted(stage.kept)]
            found["outputs"] = [[_on_cpu(x) for x in leaves] for leaves in outputs]
            found["loss"] = sum(self.losses) * self.job.scale if self.training else None
        found["gradients"] = {
            name: p.grad.cpu() for name, p in stage.submod.named_parameters() if p.grad is not None
        }
        stage.kept = None
        torch.save(found, Path(self.job.folder, f"stage{self.rank}.pt"))

    def _handover(self, part: Part) -> float:
        """Return the seconds that what this stage makes takes to the next one, both being idle."""
        received = [torch.zeros_like(x, device=self.wire) for x in part.received]
        made = [torch.zeros_like(x, device=self.wire) for x in part.made]
        found = 0.0
        for edge in range(self.count - 1):
            if self.rank == edge:
                found = handover_s(made, edge + 1, first=True)
            elif self.rank == edge + 1:
                handover_s(received, edge, first=False)
            dist.barrier()
        return found


def _bridge(module: nn.Module, device: torch.device, wire: torch.device) -> None:
    """Let a module on a device take tensors from where they arrive, and return them there."""

    def bring(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(x.to(device) for x in args)

    def take(_: nn.Module, __: tuple[Any, ...], made: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(x.to(wire) for x in made)

    module.register_forward_pre_hook(bring)
    module.register_forward_hook(take)


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return all parameters and buffers of a module, by name."""
    return {
        name: value.detach().cpu()
        for named in (module.named_parameters, module.named_buffers)
        for name, value in named(remove_duplicate=False)
    }


def take_state(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Give a module the parameters and buffers of another one that was made alike."""
    with torch.no_grad():
        for named in (module.named_parameters, module.named_buffers):
            for name, value in named(remove_duplicate=False):
                value.copy_(state[name])


def _on_cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, torch.Tensor) else value
