"""Why a model cannot be captured, in plain words, and what its author can do about it."""

from __future__ import annotations

import traceback

import torch
from torch import nn

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.loading import explain, user_line

_BRANCHES = (
    "Could not guard on data-dependent",
    "Data-dependent branching",
    "Data dependent branching",
    "value out of a tracing tensor",
    "Could not extract specialized integer",
)
#: Modules of eager quantization, dynamic or static.
_QUANTIZED = ("torch.ao.nn.quantized", "torch.nn.quantized")


def reason(error: BaseException) -> str:
    """Return why capturing failed: what happened, the user's line, and a way out if one is known.

    Parameters
    ----------
    error : Exception
        What torch raised.
    """
    place = user_line(error)
    where = f" ({place})" if place else ""
    message = str(error)
    if _through(error, "torch/nn/utils/rnn.py") or (
        "FakeTensor" in message and _through(error, "torch/nn/modules/rnn.py")
    ):
        return (
            f"packed sequences depend on the values of their lengths{where}: give the RNN the "
            "padded batch, and mask what it returns"
        )
    if _through(error, "torch/_higher_order_ops/while_loop.py"):
        return (
            f"while_loop has no gradients that a graph can hold{where}: for training, write a "
            "Python loop with a fixed number of rounds"
        )
    if any(text in message for text in _BRANCHES):
        return f"{_branching(place)}{where}: {_instead(place)}"
    if ".numpy()" in message or ("numpy" in message and "FakeTensor" in message):
        return f"NumPy computes outside of the graph{where}: compute with torch in forward"
    if "fake tensor in the exported program constant" in message:
        return (
            "forward puts tensors that it made into the module (an assignment to .data, or to an "
            "attribute): use in-place ops such as copy_ on registered buffers"
        )
    return explain(error)


def _through(error: BaseException, file: str) -> bool:
    """Whether an error came through a file."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.filename.replace("\\", "/").endswith(file) for frame in frames)


def _branching(place: str) -> str:
    code = place.partition(": ")[2]
    if code.startswith(("if ", "elif ", "while ", "assert ")):
        return "which way the model goes depends on the values of a tensor"
    return "the model needs the values of a tensor as numbers"


def _instead(place: str) -> str:
    code = place.partition(": ")[2]
    if code.startswith("assert "):
        return "leave the assertion out of forward"
    if "mask" in code:
        return (
            "torch asks whether the mask is causal: say so with is_causal=True or is_causal=False"
        )
    if code.startswith(("if ", "elif ", "while ")):
        return (
            "let torch.where or torch.cond decide inside the graph, or split the model there into "
            "modules that are profiled one by one"
        )
    return (
        "keep the number in a tensor, without .item(), float() or bool(); where it decides, use "
        "torch.where or torch.cond"
    )


def plain_module(module: nn.Module) -> nn.Module:
    """Return the module inside ``torch.compile``'s, or itself.

    Raises
    ------
    InputError
        If it, or a part of it, is of a kind that no graph can be captured of.
    """
    module = getattr(module, "_orig_mod", module)
    for name, part in module.named_modules():
        which = f"its part {name}" if name else "the model"
        if isinstance(part, torch.jit.ScriptModule):
            raise InputError(
                f"the model cannot be captured: {which} is TorchScript, which holds no Python to "
                "follow: give the module that was scripted or traced"
            )
        if type(part).__module__.startswith(_QUANTIZED):
            raise InputError(
                f"the model cannot be captured: {which} is a quantized {type(part).__name__}, "
                "whose packed weights are not tensors: give the model before quantization, or one "
                "with quantized tensors (torchao)"
            )
    return module
