"""Small models of kinds that are hard to capture; plain torch, random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Base(nn.Module):
    """One layer, for models that differ in what they do around it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Linear(8, 8)


class Numpy(Base):
    """Computes with NumPy in the middle."""

    def forward(self, x: Tensor) -> Tensor:
        return self.a(torch.from_numpy(self.a(x).detach().numpy() * 2))


class Foreign(Base):
    """Goes through an array that no tracer follows."""

    def forward(self, x: Tensor) -> Tensor:
        values = memoryview(self.a(x).detach().numpy()).tolist()
        return self.a(torch.tensor(values))


class Masked(nn.Module):
    """A transformer's encoder with a mask that is causal, kept as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x, mask=self.mask)


class OwnParameter(Base):
    """Changes its own parameter, and would go on with every call."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.a.weight.mul_(0.5)
        return self.a(x)


class OwnData(Base):
    """Puts another tensor into its parameter."""

    def forward(self, x: Tensor) -> Tensor:
        self.a.weight.data = self.a.weight.data.clamp(-0.1, 0.1)
        return self.a(x)


class Round(torch.autograd.Function):
    """Rounds, and hands gradients through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class StraightThrough(Base):
    """Has a backward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return self.a(Round.apply(self.a(x) * 3))


class EarlyExit(Base):
    """Ends early where it is sure."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        if y.max() > 0.9:
            return y
        return self.a(y)


class Cond(Base):
    """Goes one of two ways, inside the graph."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(
            x.sum() > 0, lambda v: self.a(v).relu(), lambda v: self.a(self.a(v)), (x,)
        )


class While(Base):
    """Goes round in the graph."""

    def forward(self, x: Tensor) -> Tensor:
        from torch._higher_order_ops import while_loop

        steps = (x.sum() > 0).long() + 2
        return while_loop(
            lambda i, v: i > 0, lambda i, v: (i - 1, torch.tanh(v) + 0.1), (steps, self.a(x))
        )[1]


class Flexible(Base):
    """Attention whose scores a function changes."""

    def forward(self, x: Tensor) -> Tensor:
        from torch.nn.attention.flex_attention import flex_attention

        query = self.a(x)[None, None]
        return flex_attention(query, query, query, score_mod=lambda s, b, h, i, j: s + i - j)


class Item(Base):
    """Takes a number out of a tensor and computes on."""

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) * x.max().item()


class BooleanMask(Base):
    """Its output is as long as values say."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return y[y > 0]


class Packed(nn.Module):
    """An LSTM over sequences of different lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 8, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        out, _ = self.lstm(packed)
        return nn.utils.rnn.pad_packed_sequence(out, batch_first=True)[0]


class Noise(Base):
    """Draws random numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(self.a(x), 0.5, training=True) + torch.randn(8)


class Restless(Base):
    """Draws random numbers that torch does not know of."""

    def forward(self, x: Tensor) -> Tensor:
        import random

        return self.a(x) * random.random()


class Makes(Base):
    """Makes constants, without a word about where."""

    def forward(self, x: Tensor) -> Tensor:
        sums = torch.zeros(4, 8).index_add(0, torch.arange(x.shape[0]) % 4, self.a(x))
        return sums + torch.tensor([1.0, 2.0] * 4)


class OnTheHost(Base):
    """Makes a tensor on the CPU, by name."""

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + torch.zeros(8, device="cpu")


class KeywordOnly(Base):
    """Takes its inputs by name alone."""

    def forward(self, *, x: Tensor, scale: float = 1.0) -> Tensor:
        return self.a(x) * scale


class Nested(Base):
    """Takes a dict with a list in it, and returns the like."""

    def forward(self, batch: dict[str, Any], shift: Tensor | None = None) -> dict[str, Any]:
        y = self.a(batch["x"])
        for state in batch["states"]:
            y = y + state
        y = y if shift is None else y - shift
        return {"y": y, "more": [y.sum(), (batch["x"] * 2,)]}


class Sequence(nn.Module):
    """Like T5 or Whisper: what the decoder begins with comes by name, after other options."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(20, 8)
        self.mix = nn.Linear(8, 8)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
    ) -> Tensor:
        if decoder_input_ids is None:
            raise ValueError("decoder_input_ids is missing")
        seen = self.mix(self.embed(input_ids)).mean(1, keepdim=True)
        return self.embed(decoder_input_ids) + seen


class Constant(Base):
    """One of its outputs depends on no input."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(x), self.a.weight * 2


def sequence() -> nn.Module:
    return Sequence()


def nested() -> nn.Module:
    return Nested()


def given() -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs of `Nested`, as ``--inputs`` takes them."""
    rng = torch.Generator().manual_seed(1)
    x, one, two = (torch.randn(4, 8, generator=rng) for _ in range(3))
    return ({"x": x, "states": [one, two]},), {"shift": torch.ones(8)}
