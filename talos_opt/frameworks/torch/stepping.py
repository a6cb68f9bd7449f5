"""The two halves of a step under a placement, with a module's own weights, call by call."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.utils._pytree as pytree

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.running import Planned
from talos_opt.frameworks.torch.calling import laid_out, slots_of, some
from talos_opt.frameworks.torch.capture import storage_key
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.execute import Executor
from talos_opt.frameworks.torch.halves import differentiable, hops_of, split
from talos_opt.frameworks.torch.steps import outputs
from talos_opt.frameworks.torch.tracing import MINIMISED, OUT_SPEC

#: Its substitute on a GPU runs the layer once more and asks torch for the gradient.
_LSTM_BACKWARD = torch.ops.aten.mkldnn_rnn_layer_backward.default


class Stepper:
    """Runs a captured module forwards, and backwards if it was captured in training.

    Parameters
    ----------
    captured : Captured
    plan : Planned
    devices : mapping of str to torch.device
        All that the plan uses.
    threads : int, optional
        Intra-op threads of each CPU device.

    Attributes
    ----------
    trained : list of callable
        Give the parameters that have a gradient, as they are at the time.
    able : list of bool
        Of every output of the module: whether one of these reaches it.
    seeded : list of bool
        Of every output of the module: whether the backward pass was captured for it.
    """

    def __init__(
        self,
        captured: Captured,
        plan: Planned,
        devices: Mapping[str, torch.device],
        threads: int | None,
    ) -> None:
        self.captured, self.devices = captured, dict(devices)
        self._halves = split(captured)
        back = self._halves.backward
        if back is not None:
            require_no_gradient_inside(back, plan.device, self.devices)
        self._forward = self._executor(self._halves.forward, plan, threads)
        self._backward = None if back is None else self._executor(back, plan, threads)
        self._lock = threading.Lock()
        self._find_tensors()
        self._find_outputs()
        self._move_home()

    @property
    def trains(self) -> bool:
        """Whether there is a backward pass."""
        return self._backward is not None

    def _executor(self, part: Captured, plan: Planned, threads: int | None) -> Executor:
        hops = hops_of(self.captured, part, plan)
        first: Executor | None = getattr(self, "_forward", None)  # both have the same threads
        workers = None if first is None else first.workers
        return Executor(part, plan.device, self.devices, None, plan.start_s, hops, threads, workers)

    def _find_tensors(self) -> None:
        """Find what gives each placeholder its value, and what of it has to be kept."""
        captured, halves = self.captured, self._halves
        slots = slots_of(captured.module)
        self._sources = [
            slots.get(str(p.target)) if p.kind in ("parameter", "buffer") else None
            for p in captured.placeholders
        ]
        # As they are now: who changes the type of a parameter changes this very tensor.
        self._like = [_outline(p.value) for p in captured.placeholders]
        self._changed = [slots[t] if isinstance(t, str) else t for t in halves.mutated]
        self.trained = [slots[name] for name in halves.gradients]
        self._frozen = {
            name: slots[name]
            for name, value in captured.module.named_parameters()
            if not value.requires_grad
        }
        programs = {} if self._backward is None else self._backward.programs
        read = {node.name for program in programs.values() for node in program.given}
        self._read_back = [p.name in read for p in captured.placeholders]
        # What the forward half changes and the backward half reads has to stay as it was.
        self._kept = [p.name in read and p.target in halves.mutated for p in captured.placeholders]

    def _find_outputs(self) -> None:
        captured = self.captured
        pairs = zip(captured.outputs, outputs(captured), strict=True)
        user = [item for spec, item in pairs if spec.kind == "user_output"]
        chosen = captured.graph_module.meta.get(MINIMISED)
        self.able = differentiable(captured, self._halves.gradients)
        self.seeded = [chosen is not None and item is user[chosen] for item in user]

    def _move_home(self) -> None:
        """Bring parameters and buffers to the devices that read them first."""
        home: dict[str, torch.device] = {}
        for executor in (self._forward, self._backward):
            for name, program in () if executor is None else executor.programs.items():
                for node in program.given:
                    home.setdefault(node.name, self.devices[name])
        owners: dict[object, set[int]] = {}
        tensors = [None if source is None else source() for source in self._sources]
        for value in tensors:
            if value is not None:
                owners.setdefault(storage_key(value), set()).add(id(value))
        nodes = self.captured.graph_module.graph.find_nodes(op="placeholder")
        with torch.no_grad():
            for node, value in zip(nodes, tensors, strict=True):
                there = home.get(node.name)
                if value is None or there is None or value.device == there:
                    continue
                if len(owners[storage_key(value)]) == 1:  # others are copied when they are read
                    value.data = value.data.to(there)
                    if value.grad is not None:
                        value.grad = value.grad.to(there)

    def require_captured(self, given: Sequence[torch.Tensor]) -> None:
        """Raise `InputError` if a gradient will be asked for that was not captured."""
        if any(value.requires_grad for value in given):
            raise InputError(
                "an input requires a gradient, and the captured training step has gradients of "
                "parameters only: pass input.detach()"
            )
        thawed = [name for name, source in self._frozen.items() if source().requires_grad]
        if thawed:
            raise InputError(
                f"{some(thawed)} had requires_grad=False when the training step was captured, so "
                "it has no gradient: profile and solve again with it"
            )

    def forward(self, given: Sequence[torch.Tensor]) -> tuple[list[Any], list[Any]]:
        """Return the outputs, and what the backward half reads: placeholders, then saved values."""
        with self._lock, torch.no_grad():
            values = [self._value(k, given) for k in range(len(self._sources))]
            self._forward.give(values)
            try:
                made = self._forward.run().outputs
            finally:
                self._forward.forget()
            user, count = self._halves.user, len(self._changed)
            changed, saved = made[user : user + count], made[user + count :]
            kept = [
                value.clone() if keep else value if read else None
                for value, keep, read in zip(values, self._kept, self._read_back, strict=True)
            ]
            for target, value in zip(self._changed, changed, strict=True):
                tensor = given[target] if isinstance(target, int) else target()
                tensor.copy_(value)
            return made[:user], [*kept, *saved]

    def _value(self, k: int, given: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the present value of a placeholder."""
        placeholder, source, own = self.captured.placeholders[k], self._sources[k], self._like[k]
        if placeholder.kind == "input":
            return laid_out(given[int(placeholder.target)].detach(), own)
        if source is None:
            assert placeholder.value is not None
            return placeholder.value
        value: torch.Tensor = source().detach()
        if value.shape != own.shape or value.dtype != own.dtype:
            raise InputError(
                f"{placeholder.kind} {placeholder.target} has another shape or type than when the "
                "module was placed: place it again"
            )
        return value

    def backward(self, tangent: torch.Tensor, read: Sequence[Any]) -> list[Any]:
        """Return the gradients of the parameters for a gradient of the minimised output."""
        assert self._backward is not None
        assert self._halves.seed is not None
        like = self._halves.seed.meta["val"]
        with self._lock, torch.no_grad():
            shaped = tangent.reshape(like.shape)
            laid = torch.empty_strided(
                like.shape, like.stride(), dtype=like.dtype, device=tangent.device
            ).copy_(shaped)
            self._backward.give([*read, laid])
            try:
                return self._backward.run().outputs
            finally:
                self._backward.forget()

    def wrong_output(self, position: int) -> str:
        """Say that a loss depends on an output that the backward pass was not captured for."""
        spec = self.captured.graph_module.meta[OUT_SPEC]
        numbered = pytree.tree_unflatten(list(range(self._halves.user)), spec)
        names = [
            pytree.keystr(path) or "it" for path, _ in pytree.tree_flatten_with_path(numbered)[0]
        ]
        return (
            f"the loss depends on output {names[position]}, and the backward pass was captured for "
            f"output {names[self.seeded.index(True)]} alone: detach the others, or let the module "
            "return its loss first, or as 'loss', and profile that"
        )


def require_no_gradient_inside(
    part: Captured, where: Mapping[str, str], devices: Mapping[str, torch.device]
) -> None:
    """Refuse a backward pass whose ops ask torch for gradients on a GPU.

    There torch has one thread for gradients on each GPU. It waits for the whole backward pass, and
    so for an op that would have to run on that thread.

    Raises
    ------
    InputError
        Naming the op and its device.
    """
    for node in part.graph_module.graph.nodes:
        device = where.get(node.name)
        if node.target is _LSTM_BACKWARD and device and devices[device].type == "cuda":
            raise InputError(
                f"op {node.name!r}, the gradient of an LSTM layer, is on {device} "
                f"({devices[device]}), where a module that is trained by autograd cannot run it: "
                "pin the layer to a CPU, or profile it for inference"
            )


def _outline(value: torch.Tensor | None) -> torch.Tensor:
    """Return a tensor without memory of the same shape, strides and type."""
    assert value is not None
    if value.layout != torch.strided:
        return value.to("meta")
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
