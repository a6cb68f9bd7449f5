"""Predicted peaks held against the storages that are alive when a graph runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.functional import scaled_dot_product_attention  # noqa: E402

from talos_opt.frameworks.torch.capture import capture  # noqa: E402
from tests.frameworks.torch import nets  # noqa: E402
from tests.frameworks.torch.storages import measured_peak, predicted_peak  # noqa: E402

nn = torch.nn


class Attends(nn.Module):
    """A layer of GPT-2: queries, keys and values are parts of one product."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.all, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        parts = self.all(self.before(x)).split(x.shape[-1], dim=2)
        q, k, v = (p.view(*p.shape[:2], self.heads, -1).transpose(1, 2) for p in parts)
        y = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(x.shape))
        return x + self.down(nn.functional.gelu(self.up(self.after(x))))


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 32)
        self.layers = nn.Sequential(Attends(), Attends())
        self.head = nn.Linear(32, 50, bias=False)

    def forward(self, ids: Any) -> Any:
        return self.head(self.layers(self.table(ids)))


class Gates(nn.Module):
    """An LSTM cell by hand: parts of one product, some of which are read long before others."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 4 * width), nn.Linear(width, 4 * width)

    def forward(self, x: Any) -> Any:
        h = c = x.new_zeros(x.shape[0], self.second.in_features)
        for k in range(x.shape[1]):
            i, f, g, o = (self.first(x[:, k]) + self.second(h)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h


class Outlives(nn.Module):
    """A part of a large tensor that is read when all else of it is done with."""

    def forward(self, x: Any) -> Any:
        large = x.exp()
        part = large[:, :1]
        small = large.sum(1, keepdim=True)
        wide = small.expand_as(x).contiguous()
        return (wide * 2).sum() + part.sum()


class Returns(nn.Module):
    """States of all layers are returned, one of them as a view."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))

    def forward(self, x: Any) -> Any:
        states = []
        for layer in self.layers:
            x = layer(x).tanh()
            states.append(x.t() if len(states) == 1 else x)
        return states, (x * 2).exp()


def sequential() -> Any:
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.Linear(256, 8))


def ids() -> Any:
    return torch.arange(48).view(2, 24)


CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any], str]] = {
    "decoder": (Decoder, ids, "inference"),
    "decoder, training": (Decoder, ids, "training"),
    "convolutions": (nets.googlenet_like, lambda: torch.randn(1, 3, 64, 64), "inference"),
    "convolutions, training": (nets.branches, lambda: torch.randn(2, 3, 32, 32), "training"),
    "perceptron": (sequential, lambda: torch.randn(32, 64), "inference"),
    "perceptron, training": (sequential, lambda: torch.randn(32, 64), "training"),
    "recurrent": (nets.several, lambda: torch.randn(2, 6, 8), "inference"),
    "gates": (Gates, lambda: torch.randn(8, 5, 16), "inference"),
    "gates, training": (Gates, lambda: torch.randn(8, 5, 16), "training"),
    "states": (Returns, lambda: torch.randn(16, 64), "inference"),
    "a part outlives the rest": (Outlives, lambda: torch.randn(64, 64), "inference"),
}


@pytest.mark.parametrize("name", CASES)
def test_peaks_are_those_of_storages(name: str) -> None:
    make, given, mode = CASES[name]
    torch.manual_seed(0)
    captured = capture(make(), (given(),), mode)
    measured, predicted = measured_peak(captured), predicted_peak(captured)
    assert predicted == measured
