"""Models that `benchmarks.gpu` runs; torch alone makes them, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Case:
    """A model and inputs for it.

    Parameters
    ----------
    name : str
    make : callable
        Returns the model, the same whenever it is called.
    inputs : callable
        Returns its inputs, likewise.
    """

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]


class Bottleneck(nn.Module):
    """Three convolutions beside a short cut (He et al., 2016)."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        outside = 4 * width
        self.body = nn.Sequential(
            *_conv(inside, width, 1), nn.ReLU(),
            *_conv(width, width, 3, stride), nn.ReLU(),
            *_conv(width, outside, 1),
        )  # fmt: skip
        same = stride == 1 and inside == outside
        self.short = nn.Identity() if same else nn.Sequential(*_conv(inside, outside, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.short(x))


def _conv(inside: int, outside: int, size: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(inside, outside, size, stride, size // 2, bias=False)
    return conv, nn.BatchNorm2d(outside)


def resnet(blocks: tuple[int, ...] = (3, 4, 6, 3), width: int = 64) -> nn.Module:
    """ResNet-50, or one with fewer blocks and channels."""
    layers: list[nn.Module] = [*_conv(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inside = width
    for stage, count in enumerate(blocks):
        for k in range(count):
            stride = 2 if stage and k == 0 else 1
            layers.append(Bottleneck(inside, width << stage, stride))
            inside = 4 * width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 1000))


class Block(nn.Module):
    """A transformer's block, norms first, as in GPT-2."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        parts = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, tokens, width))
        y = functional.gelu(self.up(self.norm2(x)), approximate="tanh")
        return cast(Tensor, x + self.down(y))


class GPT2(nn.Module):
    """GPT-2 (Radford et al., 2019): learned positions, the embedding is the head as well."""

    def __init__(self, layers: int = 12, width: int = 768, heads: int = 12, top: int = 50257):
        super().__init__()
        self.tokens, self.places = nn.Embedding(top, width), nn.Embedding(1024, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, top, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.tokens(ids) + self.places(places)
        return cast(Tensor, self.head(self.norm(self.blocks(x))))


class TwoBranches(nn.Module):
    """A branch that suits a GPU beside one that suits a CPU, joined at the end.

    Wide convolutions, and a recurrence of many steps of next to no work, whose kernels take
    longer to start than to run.
    """

    def __init__(self, convs: int = 12, channels: int = 256, steps: int = 100, state: int = 32):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1)]
        for _ in range(convs):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
        self.look = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.steps = steps
        self.cell = nn.Linear(2 * state, state)
        self.join = nn.Linear(channels + state, 10)

    def forward(self, image: Tensor, series: Tensor) -> Tensor:
        hidden = torch.zeros_like(series[:, 0])
        for k in range(self.steps):
            hidden = torch.tanh(self.cell(torch.cat([series[:, k], hidden], 1)))
        return cast(Tensor, self.join(torch.cat([self.look(image), hidden], 1)))


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


def case(name: str, make: Callable[[], nn.Module], inputs: Callable[[], Inputs]) -> Case:
    def seeded() -> Inputs:
        torch.manual_seed(1)
        return inputs()

    return Case(name, partial(_seeded, make), seeded)


def full() -> tuple[Case, ...]:
    """Return the models in the size that is measured."""
    return (
        case("ResNet-50", resnet, lambda: (torch.randn(16, 3, 224, 224),)),
        case("GPT-2", GPT2, lambda: (torch.randint(0, 50257, (4, 256)),)),
        case(
            "two branches",
            TwoBranches,
            lambda: (torch.randn(16, 3, 64, 64), torch.randn(16, 100, 32)),
        ),
    )


def small() -> tuple[Case, ...]:
    """Return small models of the same kinds: to try the benchmark, not the machine."""
    return (
        case("ResNet", partial(resnet, (1, 1), 8), lambda: (torch.randn(2, 3, 32, 32),)),
        case("GPT-2", partial(GPT2, 2, 32, 2, 100), lambda: (torch.randint(0, 100, (2, 16)),)),
        case(
            "two branches",
            partial(TwoBranches, 2, 8, 6, 4),
            lambda: (torch.randn(2, 3, 16, 16), torch.randn(2, 6, 4)),
        ),
    )
