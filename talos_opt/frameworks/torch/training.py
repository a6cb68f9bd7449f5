"""One step of training: which number is minimised, and what the plain module makes of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import nn

from talos_opt.core.errors import InputError
from talos_opt.frameworks.torch.arguments import Arguments
from talos_opt.frameworks.torch.signature import Output

#: Step of the plain gradient descent that ends a training graph.
LEARNING_RATE = 1e-3


def set_mode(module: nn.Module, mode: str) -> None:
    """Put a module into the state that it is captured, measured and compared in.

    Inference: evaluation. Training: normalisation layers with running statistics train; all
    else evaluates, so that dropout and the like are off and two runs agree. Decoders of
    transformers return no cache, which is not a tensor.
    """
    module.eval()
    for part in module.modules():
        if getattr(getattr(part, "config", None), "use_cache", None) is True:
            part.config.use_cache = False  # type: ignore[union-attr]
    if mode == "training":
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._NormBase) and part.track_running_stats:
                part.train()


def loss_index(out_spec: Any, count: int) -> int | None:
    """Return which of the flat outputs is called `loss`, if one is.

    Parameters
    ----------
    out_spec : pytree.TreeSpec
    count : int
        Flat outputs.
    """
    numbered = pytree.tree_unflatten(list(range(count)), out_spec)
    found = numbered.get("loss") if isinstance(numbered, dict) else getattr(numbered, "loss", None)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def minimised(leaves: Sequence[Any], named: int | None) -> int:
    """Return which flat output is minimised: the one called `loss`; else the first with a gradient.

    Raises
    ------
    InputError
        If no output depends on anything that has a gradient.
    """
    able = [k for k, leaf in enumerate(leaves) if _differentiable(leaf)]
    if named is not None and named in able:
        return named
    if able:
        return able[0]
    raise InputError("no output of the model has a gradient: there is nothing to train")


def loss_of(leaves: Sequence[Any], named: int | None) -> torch.Tensor:
    """Return what is minimised: an output that is a single number, or its mean square.

    Raises
    ------
    InputError
        If there is none; see `minimised`, which says which output it is.
    """
    chosen: torch.Tensor = leaves[minimised(leaves, named)]
    if chosen.numel() == 1:
        return chosen.reshape(())
    return (chosen * chosen).mean()


def _differentiable(leaf: Any) -> bool:
    return (
        isinstance(leaf, torch.Tensor)
        and leaf.requires_grad
        and (leaf.is_floating_point())
        and leaf.numel() > 0
    )


def training_step(module: nn.Module, inputs: Arguments, specs: Sequence[Output]) -> list[Any]:
    """Run a module forwards and backwards; return one value for each output of its graph.

    Neither its weights and their gradients nor its buffers are changed.
    """
    given = inputs.replace([value.clone() for value in inputs.tensors])
    with restored(module, specs) as now, recurrent_training(module):
        leaves, out_spec = pytree.tree_flatten(given.call(module))
        loss = loss_of(leaves, loss_index(out_spec, len(leaves)))
        wanted = sorted({str(s.target) for s in specs if s.kind in ("gradient", "update")})
        parameters = dict(module.named_parameters(remove_duplicate=False))
        found = torch.autograd.grad(loss, [parameters[name] for name in wanted])
        after, stepped = now(), {name: parameters[name].detach().clone() for name in wanted}
    gradients = dict(zip(wanted, found, strict=True))
    values: list[Any] = []
    for spec in specs:
        if spec.kind == "loss":
            values.append(loss.detach())
        elif spec.kind == "user_output":
            leaf = leaves[int(spec.target)]
            values.append(leaf.detach() if isinstance(leaf, torch.Tensor) else leaf)
        elif spec.kind == "gradient":
            values.append(gradients[str(spec.target)])
        elif spec.kind == "update":
            target = str(spec.target)
            values.append(stepped[target] - LEARNING_RATE * gradients[target])
        else:
            source: Any = after if isinstance(spec.target, str) else given.tensors
            values.append(source[spec.target])
    return values


@contextlib.contextmanager
def recurrent_training(module: nn.Module) -> Iterator[None]:
    """Let recurrent layers train, without dropout: cuDNN differentiates no others."""
    layers = [part for part in module.modules() if isinstance(part, nn.RNNBase)]
    before = [(layer.training, layer.dropout) for layer in layers]
    try:
        for layer in layers:
            layer.training, layer.dropout = True, 0.0
        yield
    finally:
        for layer, (training, dropout) in zip(layers, before, strict=True):
            layer.training, layer.dropout = training, dropout


@contextlib.contextmanager
def restored(
    module: nn.Module, specs: Sequence[Output] = ()
) -> Iterator[Callable[[], dict[str, torch.Tensor]]]:
    """Put a module's buffers, and the parameters that it changes itself, back as they were.

    Yields
    ------
    callable
        Returns copies of what they are at the time.
    """
    changed = {s.target for s in specs if s.kind == "mutation"}

    def held() -> dict[str, torch.Tensor]:
        named = {n: p for n, p in module.named_parameters(remove_duplicate=False) if n in changed}
        return {**named, **dict(module.named_buffers(remove_duplicate=False))}

    def now() -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in held().items()}

    before = now()
    try:
        yield now
    finally:
        with torch.no_grad():
            for name, value in held().items():
                if name in before and value.shape == before[name].shape:
                    value.copy_(before[name])


def own_backward(module: nn.Module, inputs: Arguments) -> str:
    """Return a ``torch.autograd.Function`` that a module calls; empty if none.

    Its backward is what its author says, which need not be the derivative of its forward.
    """
    function: Any = torch.autograd.Function
    plain, found = function.__dict__["apply"], []

    def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        found.append(cls.__name__)
        return plain.__func__(cls, *args, **kwargs)

    function.apply = classmethod(apply)
    try:
        with contextlib.suppress(Exception), torch.no_grad(), restored(module):
            inputs.replace([value.clone() for value in inputs.tensors]).call(module)
    finally:
        function.apply = plain
    return found[0] if found else ""
