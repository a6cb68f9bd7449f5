"""The micro-batches of a step, and what the plain module makes of them."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import nn

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.loading import explain
from talos_opt.frameworks.torch.arguments import Arguments
from talos_opt.frameworks.torch.checking import seeded, varied
from talos_opt.frameworks.torch.comparing import compare_outputs
from talos_opt.frameworks.torch.training import (
    LEARNING_RATE,
    loss_index,
    loss_of,
    recurrent_training,
    restored,
)

#: Losses are one number, and sums of many: they agree within this share of it.
_CLOSE = 1e-4
#: Gradients below this share of the largest may be nothing but rounding.
_NOISE = 1e-3
#: Steps of the plain module that are timed, at most.
_REPEATS = 3


def draw_microbatches(given: Arguments, count: int) -> list[Arguments]:
    """Return micro-batches of the same shapes: the example, and others like it.

    Parameters
    ----------
    given : Arguments
        One micro-batch. The others are drawn as it was, with other seeds, where it was drawn; else
        its floats are put into other orders, and whole numbers drawn from those that are there.
    count : int
    """
    plain = dataclasses.replace(given, redraw=None)
    found = [plain]
    for k in range(1, count):
        if given.redraw is not None:
            found.append(plain.replace(list(given.redraw(k))))
        else:
            seeds = range(k * len(given.tensors), (k + 1) * len(given.tensors))
            values = [varied(v, s) for v, s in zip(given.tensors, seeds, strict=True)]
            found.append(plain.replace(values))
    return found


def join(microbatches: Sequence[Arguments]) -> Arguments:
    """Return one batch of several: tensors joined along their first dimension.

    Those that are as long there as the first tensor that is not a scalar; the others have to be
    the same in all micro-batches.
    """
    first = microbatches[0]
    length = next((value.shape[0] for value in first.tensors if value.dim()), 0)
    joined = []
    for same in zip(*(one.tensors for one in microbatches), strict=True):
        if same[0].dim() and same[0].shape[0] == length:
            joined.append(torch.cat(same))
        elif all(torch.equal(same[0], value) for value in same):
            joined.append(same[0])
        else:
            raise ValueError("inputs without a batch dimension differ")
    return first.replace(joined)


@dataclass(frozen=True)
class Expected:
    """What a step should give.

    Parameters
    ----------
    microbatches : tuple of Arguments
    named : int, optional
        Which of the outputs is the loss: see `training.loss_of`.
    whole : tuple, optional
        The model's outputs, flat, of the whole batch; None: it takes no batch of that size.
    each : tuple of tuple
        Of each micro-batch.
    loss : float, optional
        Of the step; None in inference.
    gradients : mapping of str to torch.Tensor
        By parameter.
    scale : float
        What the loss of a micro-batch counts in that of the step.
    notes : tuple of str
    """

    microbatches: tuple[Arguments, ...]
    named: int | None
    whole: tuple[Any, ...] | None
    each: tuple[tuple[Any, ...], ...]
    loss: float | None = None
    gradients: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)
    scale: float = 1.0
    notes: tuple[str, ...] = ()

    def compare_outputs(self, found: Sequence[Sequence[Any]]) -> tuple[float, bool]:
        """Return the largest error of outputs of all micro-batches, and whether they agree.

        Compared with the whole batch's where they can be joined, else each with its own.
        """
        joined = _joined(self.whole, found)
        if self.whole is not None and joined is not None:
            return compare_outputs(self.whole, joined)
        pairs = [compare_outputs(a, b) for a, b in zip(self.each, found, strict=True)]
        return max(error for error, _ in pairs), all(equal for _, equal in pairs)

    def compare_training(
        self, loss: float, gradients: dict[str, torch.Tensor]
    ) -> tuple[float, bool]:
        """Return the largest error of the loss and all gradients, and whether they agree."""
        assert self.loss is not None
        if gradients.keys() != self.gradients.keys():
            return math.inf, False
        error, equal = abs(loss - self.loss), _close(loss, self.loss)
        sizes = {name: _largest(gradient) for name, gradient in self.gradients.items()}
        least = _NOISE * max(sizes.values(), default=0.0)
        for name, expected in self.gradients.items():
            # Many gradients are far below 1, where outputs would count as equal anyway.
            size = max(sizes[name], least) or 1.0
            off, same = compare_outputs([expected / size], [gradients[name] / size])
            error, equal = max(error, off * size), equal and same
        return error, equal


def expect(module: nn.Module, microbatches: Sequence[Arguments], mode: str) -> Expected:
    """Run the plain module on the whole batch, and on each of its micro-batches.

    The step's loss is the mean of the micro-batches' where the whole batch's is that, or their
    sum. Where it is neither (batches are normalised, or weighted), the step is what adding up the
    plain module's gradients gives, and a note says so.

    Raises
    ------
    InputError
        If the module does not run on a micro-batch, or has no loss.
    """
    given = tuple(microbatches)
    with restored(module), recurrent_training(module):
        training = mode == "training"
        runs = [_run(module, one, training=training) for one in given]
        each = tuple(run.leaves for run in runs)
        named = runs[0].named
        joined = _try_join(given)
        whole: _Run | None = None
        if joined is not None:
            with contextlib.suppress(InputError):
                whole = _run(module, joined, training=training, learn=training)
        if not training:
            return Expected(given, named, whole.leaves if whole else None, each)
        if whole is not None:
            total = sum(run.loss for run in runs)
            for scale in (1 / len(given), 1.0):
                if _close(whole.loss, total * scale):
                    return Expected(given, named, None, each, whole.loss, whole.gradients, scale)
        return _accumulated(module, given, named, each, whole=whole is not None)


def _accumulated(
    module: nn.Module,
    given: tuple[Arguments, ...],
    named: int | None,
    outputs: tuple[tuple[Any, ...], ...],
    *,
    whole: bool,
) -> Expected:
    scale, total = 1 / len(given), 0.0
    gradients: dict[str, torch.Tensor] = {}
    for one in given:
        run = _run(module, one, training=True, learn=True)
        total += run.loss * scale
        for name, gradient in run.gradients.items():
            gradients[name] = gradients.get(name, 0) + gradient * scale
    why = (
        "the loss of the whole batch is neither the mean nor the sum of the micro-batches'"
        if whole
        else "the model does not run on all micro-batches as one batch"
    )
    note = f"{why}: compared with the plain model's micro-batches, one after the other"
    return Expected(given, named, None, outputs, total, gradients, scale, (note,))


@dataclass(frozen=True)
class _Run:
    leaves: tuple[Any, ...]
    named: int | None
    loss: float = 0.0
    gradients: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)


def _run(module: nn.Module, given: Arguments, *, training: bool, learn: bool = False) -> _Run:
    """Call a module; in training with its loss, and if asked for the gradients."""
    copied = given.replace([value.clone() for value in given.tensors])
    try:
        with torch.set_grad_enabled(training), seeded(given.tensors):
            leaves, out_spec = pytree.tree_flatten(copied.call(module))
    except Exception as error:
        raise InputError(
            f"the model does not run on inputs {given.describe(types=False)}: {explain(error)}"
        ) from error
    named = loss_index(out_spec, len(leaves))
    kept = tuple(x.detach() if isinstance(x, torch.Tensor) else x for x in leaves)
    if not training:
        return _Run(kept, named)
    loss = loss_of(leaves, named)
    if not learn:
        return _Run(kept, named, float(loss.detach()))
    learnt = {name: p for name, p in module.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, list(learnt.values()), allow_unused=True)
    pairs = zip(learnt, found, strict=True)
    gradients = {name: gradient for name, gradient in pairs if gradient is not None}
    return _Run(kept, named, float(loss.detach()), gradients)


def time_plain(module: nn.Module, expected: Expected, mode: str, repeats: int) -> float:
    """Return the seconds of a step of the plain module in this process, micro-batches in turn."""
    times = []
    learnt = [p for p in module.parameters() if p.requires_grad]
    before = [p.grad for p in learnt]
    with restored(module), recurrent_training(module):
        for _ in range(1 + min(repeats, _REPEATS)):
            for p in learnt:
                p.grad = None
            given = [
                one.replace([value.clone() for value in one.tensors])
                for one in expected.microbatches
            ]
            began = time.perf_counter()
            for one in given:
                with torch.set_grad_enabled(mode == "training"):
                    leaves = pytree.tree_leaves(one.call(module))
                    if mode == "training":
                        torch.autograd.backward(loss_of(leaves, expected.named) * expected.scale)
            if mode == "training":
                with torch.no_grad():
                    updated = [
                        torch.add(p, p.grad, alpha=-LEARNING_RATE)
                        for p in learnt
                        if p.grad is not None
                    ]
                    del updated
            times.append(time.perf_counter() - began)
    for p, gradient in zip(learnt, before, strict=True):
        p.grad = gradient
    return statistics.median(times[1:])  # the first one warms up


def _try_join(microbatches: Sequence[Arguments]) -> Arguments | None:
    try:
        return join(microbatches)
    except (RuntimeError, ValueError):
        return None


def _joined(whole: Sequence[Any] | None, found: Sequence[Sequence[Any]]) -> list[Any] | None:
    """Return outputs of all micro-batches joined, if all of them can be."""
    joined = []
    for expected, *same in zip(whole or (), *found, strict=False):
        if not all(isinstance(value, torch.Tensor) and value.dim() for value in (expected, *same)):
            return None
        if sum(value.shape[0] for value in same) != expected.shape[0]:
            return None
        joined.append(torch.cat(same))
    return joined


def _largest(value: torch.Tensor) -> float:
    return float(value.abs().max()) if value.numel() else 0.0


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_CLOSE, abs_tol=1e-9)
