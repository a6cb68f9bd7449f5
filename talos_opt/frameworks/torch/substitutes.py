"""What stands in for an op that does not run as it was captured, or not on every device.

A graph is captured on the CPU. Some kernels lay their output out differently elsewhere, so that a
view of it has to be a copy there; and in training, attention and a layer of an LSTM are kernels
that only the CPU has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        return (_LAID_OUT if mixed else _ON_CPU).get(node.target, node.target)
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


def recurrent(*given: Any) -> tuple[Tensor, ...]:
    """Return what ``mkldnn_rnn_layer`` does where gradients are recorded.

    Elsewhere it makes no workspace, which its gradient reads.
    """
    with torch.enable_grad():
        made: tuple[Tensor, ...] = _aten.mkldnn_rnn_layer.default(*given)
    return made


def recurrent_elsewhere(x: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what ``mkldnn_rnn_layer`` does, on any device; the workspace is empty.

    Parameters
    ----------
    x : (t, b, i) Tensor
    *given
        Two weights, two biases, and the first hidden and cell state, (b, h); whether x is read
        backwards; and what is the same for every layer of an LSTM.
    """
    *weights, hidden, cell, reverse = given[:7]
    return *_recur(x, weights, hidden, cell, reverse), x.new_empty(0)


def recurrent_backward(x: Tensor, *given: Any) -> tuple[Tensor, ...]:
    """Return the gradients of x, both weights, both biases, and both states.

    The layer is run once more: what other kernels keep for their gradients, this one's have not.

    Parameters
    ----------
    x : (t, b, i) Tensor
    *given
        Weights, biases and states as above; the three results and their gradients, of which some
        may be None; whether x was read backwards; and what is the same for every layer.
    """
    slopes, reverse = given[9:12], given[12]
    with torch.enable_grad():
        leaves = [value.detach().requires_grad_() for value in (x, *given[:6])]
        made = _recur(leaves[0], leaves[1:5], leaves[5], leaves[6], reverse)
        pairs = [(a, b) for a, b in zip(made, slopes, strict=True) if b is not None]
        return torch.autograd.grad([a for a, _ in pairs], leaves, [b for _, b in pairs])


def _recur(
    x: Tensor, weights: Sequence[Tensor], hidden: Tensor, cell: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a layer of an LSTM; torch calls the best kernel that the device has."""
    states = [hidden.unsqueeze(0).contiguous(), cell.unsqueeze(0).contiguous()]
    train = torch.is_grad_enabled()  # some kernels have no gradient otherwise
    given = x.flip(0) if reverse else x
    made, last, memory = _aten.lstm.input(
        given, states, list(weights), True, 1, 0.0, train, False, False
    )
    return made.flip(0) if reverse else made, last.squeeze(0), memory.squeeze(0)


_ON_CPU: dict[Any, Callable[..., Any]] = {_aten.mkldnn_rnn_layer.default: recurrent}
_LAID_OUT: dict[Any, Callable[..., Any]] = _ON_CPU | {_aten.view.default: _aten.reshape.default}
_ELSEWHERE: dict[Any, Callable[..., Any]] = _LAID_OUT | {
    _aten._scaled_dot_product_flash_attention_for_cpu.default: attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward.default: attention_backward,
    _aten.mkldnn_rnn_layer.default: recurrent_elsewhere,
    _aten.mkldnn_rnn_layer_backward.default: recurrent_backward,
}
