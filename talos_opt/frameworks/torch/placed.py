"""A module under a placement, to be called like the module: for inference, or to train it.

Both halves of a step run by the executor that `run torch` has. To autograd the whole forward pass
is one function, whose gradient is the backward pass as it was captured and placed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
import torch.utils._pytree as pytree
from torch import nn

from talos_opt.core.errors import InputError
from talos_opt.core.result import Result
from talos_opt.formats.schedule import ScheduleFile, open_schedule
from talos_opt.formats.schedule_header import read_header
from talos_opt.frameworks.common.running import other_inputs, read_plan
from talos_opt.frameworks.common.threads import require_threads
from talos_opt.frameworks.torch.arguments import arguments, is_meta
from talos_opt.frameworks.torch.calling import Signature, some, statistics_of, trains_apart
from talos_opt.frameworks.torch.capture import capture, storage_key
from talos_opt.frameworks.torch.captured import Captured, Inputs
from talos_opt.frameworks.torch.devices import torch_devices
from talos_opt.frameworks.torch.run import captured_ops, captured_picks
from talos_opt.frameworks.torch.stepping import Stepper
from talos_opt.frameworks.torch.tracing import OUT_SPEC

__all__ = ["PlacedModule", "place_module"]

_function: Any = torch.autograd.Function


def place_module(
    module: nn.Module,
    inputs: Inputs,
    schedule: Mapping[str, Any] | ScheduleFile | Result | str | os.PathLike[str],
    *,
    device_map: Mapping[str, str] | None = None,
    mode: str | None = None,
    threads: int | None = None,
    without_dropout: bool = False,
) -> PlacedModule:
    """Return a module that runs under a schedule's placement, and is called like `module`.

    Parameters
    ----------
    module : torch.nn.Module
        With its weights, on one device. Its parameters and buffers go to the devices that read
        them, and are those of the placed module: it is no copy.
    inputs : sequence, mapping or Arguments
        Example inputs, as `profile_module` takes them; of the shapes that it was profiled with.
    schedule : mapping, ScheduleFile, Result or path
        A result, or a talos-schedule/1 document or file.
    device_map : mapping of str to str, optional
        Torch device of each device of the schedule, such as ``{"gpu1": "cuda:0"}``; default:
        ``cpu`` for what begins with it, ``cuda:N`` for ``gpuN``.
    mode : {'inference', 'training'}, optional
        What the schedule is of; default: as the description of its graph says, else inference.
    threads : int, optional
        Intra-op threads of each CPU device; default: torch's, shared out among those in use.
    without_dropout : bool
        Train without dropout a module that has some. A training step is captured without it, so
        such a module is refused otherwise.

    Raises
    ------
    InputError
        If the schedule is of another graph or of other shapes, a device is not there, or the
        module cannot be captured, has no values, or would train otherwise.
    """
    given, opened = arguments(inputs), open_schedule(schedule)
    if mode is None:
        mode = _mode_of(opened)
    if isinstance(module, nn.Module) and is_meta(module, given):
        raise InputError(
            "the module or its inputs are on the meta device and have no values: give a module "
            "with its weights"
        )
    dropping = trains_apart(module) if mode == "training" and not without_dropout else []
    if dropping:
        raise InputError(
            f"{some(dropping)} would drop values at random in training, and a training step is "
            "captured without dropout: set p to 0, or pass without_dropout=True"
        )
    return PlacedModule(capture(module, given, mode), opened, device_map, threads=threads)


def _mode_of(schedule: Mapping[str, Any] | ScheduleFile) -> str:
    made = schedule.made if isinstance(schedule, ScheduleFile) else read_header(schedule)
    return "training" if (made.description or "").startswith("torch training") else "inference"


class PlacedModule(nn.Module):
    """A captured module under a placement; made by `place_module`.

    Parameters
    ----------
    captured : Captured
    schedule, device_map, threads
        As for `place_module`.

    Attributes
    ----------
    original : torch.nn.Module
        The module that was captured.
    devices : dict of str to torch.device
        Torch device of each device of the schedule that is used.
    notes : tuple of str
        What in the schedule does not fit the model, and what else its user should know.
    """

    original: nn.Module
    training: bool

    def __init__(
        self,
        captured: Captured,
        schedule: Mapping[str, Any] | ScheduleFile,
        device_map: Mapping[str, str] | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        described = captured.arguments.describe()
        plan = read_plan(captured_ops(captured), schedule, captured_picks(captured))
        made = schedule.made if isinstance(schedule, ScheduleFile) else read_header(schedule)
        for note in other_inputs(made.description, described):
            raise InputError(note.partition(": the predicted")[0])
        require_threads(threads)
        used = {*plan.device.values(), *(d for hop in plan.hops for d in (hop.source, hop.target))}
        for name in device_map or {}:
            if name not in {*used, *plan.devices}:
                raise InputError(
                    f"device_map names {name!r}, which the schedule does not have, expected "
                    f"some of {', '.join(plan.devices)}"
                )
        ordered = [name for name in dict.fromkeys((*plan.devices, *sorted(used))) if name in used]
        self.devices = torch_devices(ordered, device_map)
        self.notes = (*plan.notes, *captured.notes)
        self._signature = Signature(captured.module, captured.arguments)
        self._stepper = Stepper(captured, plan, self.devices, threads)
        vars(self)["original"] = captured.module  # no part of this one
        # The same dicts, not copies: whoever asks for parameters or parts gets the module's.
        for held in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            vars(self)[held] = vars(captured.module)[held]
        self.training = self._stepper.trains

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module under its placement; what it takes and returns is as the original's.

        Raises
        ------
        InputError
            If inputs have other shapes, types or names, or other values where they are no
            tensors; if gradients are asked for that were not captured.
        """
        given = self._signature.tensors(args, kwargs)
        if not self._stepper.trains or not torch.is_grad_enabled():
            leaves, _ = self._stepper.forward(given)
        else:
            self._stepper.require_captured(given)
            rest: list[Any] = []
            parameters = [source() for source in self._stepper.trained]
            tensors = iter(_Step.apply(self._stepper, given, rest, *parameters))
            leaves = [next(tensors) if item is _TENSOR else item for item in rest]
        return pytree.tree_unflatten(leaves, self._stepper.captured.graph_module.meta[OUT_SPEC])

    def train(self, mode: bool = True) -> PlacedModule:
        """Stay in the mode that the module was captured in; another one is refused.

        A training step without layers that keep statistics computes the same in evaluation, so
        there it may be asked for.

        Raises
        ------
        InputError
            If the captured graph computes something else in that mode.
        """
        if mode and not self._stepper.trains:
            raise InputError(
                "the module was placed by a schedule of its inference and has no gradients: "
                "profile it with mode='training', solve and place that"
            )
        apart = statistics_of(self.original) if self._stepper.trains and not mode else []
        if apart:
            raise InputError(
                f"the module was placed by a schedule of its training, in which {some(apart)} "
                "normalises by the batch: for evaluation place it by a schedule of its inference"
            )
        self.training = mode
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the original's."""
        return self.original.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load into the original, whose parameters and buffers these are."""
        return self.original.load_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise InputError(
            "a placed module stays on its devices and in its types: change the original, and place "
            "it again"
        )

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise InputError(
            "a placed module holds threads and cannot be copied or saved: save its state_dict()"
        )

    def extra_repr(self) -> str:
        """Return its devices."""
        return ", ".join(f"{name}={device}" for name, device in self.devices.items())


#: Stands for a tensor among the outputs.
_TENSOR = object()


class _Step(_function):  # type: ignore[misc]
    """The forward pass as one function of the parameters that are trained."""

    @staticmethod
    def forward(
        ctx: Any, stepper: Stepper, given: list[torch.Tensor], rest: list[Any], *parameters: Any
    ) -> tuple[torch.Tensor, ...]:
        outputs, read = stepper.forward(given)
        ctx.stepper = stepper
        ctx.others = [None if isinstance(value, torch.Tensor) else value for value in read]
        tensors = [value if isinstance(value, torch.Tensor) else None for value in read]
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        held = {storage_key(value) for value in tensors if value is not None}
        made, fixed, ctx.positions = [], [], []
        for k, (value, able) in enumerate(zip(outputs, stepper.able, strict=True)):
            rest.append(_TENSOR if isinstance(value, torch.Tensor) else value)
            if not isinstance(value, torch.Tensor):
                continue
            # Who changes a tensor in place that the backward pass reads is to be told so.
            alias = value.detach() if storage_key(value) in held else value.data
            made.append(alias)
            ctx.positions.append(k)
            if not able or not (value.is_floating_point() or value.is_complex()):
                fixed.append(alias)
        ctx.mark_non_differentiable(*fixed)
        return tuple(made)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *tangents: torch.Tensor | None) -> tuple[Any, ...]:
        total = None
        for k, tangent in zip(ctx.positions, tangents, strict=True):
            if tangent is None:
                continue
            if not ctx.stepper.seeded[k]:
                raise InputError(ctx.stepper.wrong_output(k))
            total = tangent if total is None else total + tangent
        if total is None:
            return (None,) * (3 + len(ctx.needs_input_grad[3:]))
        saved = ctx.saved_tensors
        read = [b if a is None else a for a, b in zip(saved, ctx.others, strict=True)]
        found = ctx.stepper.backward(total, read)
        wanted = ctx.needs_input_grad[3:]
        return (None, None, None, *(g if w else None for g, w in zip(found, wanted, strict=True)))
