"""Whether a transformer's mask is causal: torch asks that of its values, which no tracer has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from talos_opt.frameworks.torch.arguments import Arguments, is_meta
from talos_opt.frameworks.torch.training import restored

_transformer: Any = nn.modules.transformer
_ASKS = "_detect_is_causal_mask"


@contextlib.contextmanager
def answered(module: nn.Module, given: Arguments) -> Iterator[None]:
    """Answer the question while capturing as it was answered in a plain run, time after time.

    What it is about is a hint only, beside the mask itself; the check on a second input sees a
    hint that was wrong there. A model without memory has no answers: its masks are taken for any.
    """
    kinds = (nn.TransformerEncoder, nn.TransformerDecoder)
    asked = any(isinstance(part, kinds) for part in module.modules())
    plain = getattr(_transformer, _ASKS, None)
    if not asked or plain is None:
        yield
        return
    if is_meta(module, given):
        with _replaced(lambda *_, **__: False):
            yield
        return
    answers: list[bool] = []

    def note(*args: Any, **kwargs: Any) -> bool:
        answers.append(bool(plain(*args, **kwargs)))
        return answers[-1]

    with contextlib.suppress(Exception), _replaced(note), torch.no_grad(), restored(module):
        given.replace([value.clone() for value in given.tensors]).call(module)
    left = iter(answers)

    def answer(*args: Any, **kwargs: Any) -> bool:
        known = next(left, None)
        return bool(plain(*args, **kwargs)) if known is None else known

    with _replaced(answer):
        yield


@contextlib.contextmanager
def _replaced(function: Any) -> Iterator[None]:
    before = getattr(_transformer, _ASKS)
    setattr(_transformer, _ASKS, function)
    try:
        yield
    finally:
        setattr(_transformer, _ASKS, before)
