"""What stands in for an op where it runs on another device than it was captured on.

A graph is captured on the CPU. Some kernels lay their output out differently elsewhere, so that a
view of it has to be a copy there; and in training, attention is a kernel that only the CPU has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

_aten: Any = torch.ops.aten


def callee(node: fx.Node, device: torch.device | str, *, mixed: bool = False) -> Callable[..., Any]:
    """Return what a call calls on a device.

    Parameters
    ----------
    node : torch.fx.Node
    device : torch.device or str
    mixed : bool
        Whether some other ops run elsewhere than on the CPU: what they make may come here.
    """
    assert callable(node.target), "captured graphs hold calls of functions only"
    if torch.device(device).type == "cpu":
        return (_LAID_OUT if mixed else _HERE).get(node.target, node.target)
    return _ELSEWHERE.get(node.target, node.target)


def place_call(node: fx.Node, device: torch.device | str) -> dict[str, Any]:
    """Return a call's keyword arguments with the device that they name replaced.

    Calls such as ``arange`` and ``_to_copy`` say where their output goes; under a placement that
    is the device that they run on.
    """
    kwargs = dict(node.kwargs)
    if kwargs.get("device") is not None:
        kwargs["device"] = torch.device(device)
    return kwargs


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what ``_scaled_dot_product_flash_attention_for_cpu`` does, on any device.

    Parameters
    ----------
    query, key, value : (b, h, t, d), (b, h, s, d) and (b, h, s, d) Tensor
    dropout_p : float
        0: captured graphs hold no dropout.
    is_causal : bool
    attn_mask : (b, h, t, s) Tensor, optional
        Added to the scores.
    scale : float, optional
        Default: 1 / sqrt(d).

    Returns
    -------
    output : (b, h, t, d) Tensor
    logsumexp : (b, h, t) Tensor
        In float32 at least.
    """
    scores = _scores(query, key, is_causal, attn_mask, scale)
    total = torch.logsumexp(scores, -1)
    total = total.masked_fill(total == -torch.inf, 0.0)  # a row that may look at nothing is 0
    weights = torch.exp(scores - total.unsqueeze(-1)).to(value.dtype)
    return weights @ value, total


def attention_backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    dropout_p: float,
    is_causal: bool,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value; see `attention`.

    Dao et al., FlashAttention, 2022, Appendix B.2.
    """
    scores = _scores(query, key, is_causal, attn_mask, scale)
    weights = torch.exp(scores - logsumexp.unsqueeze(-1)).to(value.dtype)
    moved = grad_out @ value.transpose(-1, -2)
    slope = weights * (moved - (grad_out * out).sum(-1, keepdim=True))
    slope = slope * _scale(query, scale)
    return slope @ key, slope.transpose(-1, -2) @ query, weights.transpose(-1, -2) @ grad_out


def _scores(
    query: Tensor, key: Tensor, is_causal: bool, mask: Tensor | None, scale: float | None
) -> Tensor:
    wide = torch.promote_types(query.dtype, torch.float32)
    scores = (query @ key.transpose(-1, -2) * _scale(query, scale)).to(wide)
    if is_causal:
        rows, columns = scores.shape[-2:]
        seen = torch.ones(rows, columns, dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -torch.inf)
    return scores if mask is None else scores + mask


def _scale(query: Tensor, scale: float | None) -> float:
    return query.shape[-1] ** -0.5 if scale is None else scale


def rnn_layer(*args: Any) -> Any:
    """Return what ``mkldnn_rnn_layer`` does, with what its backward pass needs.

    It keeps that only where gradients are recorded; here nothing requires one.
    """
    with torch.enable_grad():
        return _aten.mkldnn_rnn_layer.default(*args)


_HERE: dict[Any, Callable[..., Any]] = {_aten.mkldnn_rnn_layer.default: rnn_layer}
_LAID_OUT: dict[Any, Callable[..., Any]] = _HERE | {_aten.view.default: _aten.reshape.default}
_ELSEWHERE: dict[Any, Callable[..., Any]] = _LAID_OUT | {
    _aten._scaled_dot_product_flash_attention_for_cpu.default: attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward.default: attention_backward,
}
