"""Small models that `benchmarks.fidelity` runs: of long ops and of short ones, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.gpu_nets import GPT2, Case, TwoBranches, case, resnet


@dataclass(frozen=True)
class Trial:
    """A case and the mode that it is run in.

    Parameters
    ----------
    case : Case
    mode : {'inference', 'training'}
    """

    case: Case
    mode: str = "inference"


class DLRM(nn.Module):
    """A recommender (Naumov et al., 2019): many lookups of next to no work between two MLPs."""

    def __init__(self, bags: int = 26, rows: int = 2000, width: int = 32) -> None:
        super().__init__()
        self.bags = nn.ModuleList(nn.EmbeddingBag(rows, width, mode="sum") for _ in range(bags))
        self.below = _mlp(13, 128, width)
        self.above = _mlp(width + (bags + 1) * bags // 2, 256, 1)
        rows_, columns = torch.tril_indices(bags + 1, bags + 1, -1)
        self.register_buffer("rows", rows_)
        self.register_buffer("columns", columns)

    def forward(self, dense: Tensor, sparse: Tensor) -> Tensor:
        x = self.below(dense)
        found = [bag(sparse[:, k]) for k, bag in enumerate(self.bags)]
        z = torch.stack([x, *found], 1)
        pairs = (z @ z.transpose(1, 2))[:, self.rows, self.columns]
        return torch.sigmoid(self.above(torch.cat([x, pairs], 1)))


class Cells(nn.Module):
    """Layers of LSTM cells, unrolled over time by Python."""

    def __init__(self, layers: int = 2, width: int = 64) -> None:
        super().__init__()
        self.cells = nn.ModuleList(nn.LSTMCell(width, width) for _ in range(layers))
        self.head = nn.Linear(width, 10)

    def forward(self, series: Tensor) -> Tensor:
        states = [(torch.zeros_like(series[:, 0]),) * 2 for _ in self.cells]
        for step in range(series.shape[1]):
            x = series[:, step]
            for k, cell in enumerate(self.cells):
                states[k] = cell(x, states[k])
                x = states[k][0]
        return cast(Tensor, self.head(states[-1][0]))


class Towers(nn.Module):
    """Independent towers of matrix products, joined by a small one."""

    def __init__(self, count: int = 2, depth: int = 4, width: int = 512) -> None:
        super().__init__()
        self.towers = nn.ModuleList(_mlp(width, *(width,) * depth) for _ in range(count))
        self.join = nn.Linear(width, 8)

    def forward(self, x: Tensor) -> Tensor:
        made = [tower(x) for tower in self.towers]
        return cast(Tensor, self.join(torch.stack(made).sum(0)))


class ConvTowers(nn.Module):
    """Two towers of convolutions over two images."""

    def __init__(self, depth: int = 4, channels: int = 32) -> None:
        super().__init__()
        self.left, self.right = (_convs(depth, channels) for _ in range(2))
        self.join = nn.Linear(2 * channels, 10)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return cast(Tensor, self.join(torch.cat([self.left(left), self.right(right)], 1)))


class InPlace(nn.Module):
    """Slices written, values changed in place, a buffer that counts: short ops all."""

    def __init__(self, rounds: int = 12, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(rounds))
        self.register_buffer("seen", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        held = torch.zeros_like(x)
        for k, layer in enumerate(self.layers):
            y = layer(x)
            y.add_(held).relu_()
            held[:, k] = y.mean(1)
            x = y.mul_(0.5)
        self.seen.add_(x.detach().mean(0))
        return x + held


class UNet(nn.Module):
    """An encoder and a decoder of convolutions with skips between them."""

    def __init__(self, levels: int = 3, channels: int = 16) -> None:
        super().__init__()
        widths = [channels << k for k in range(levels)]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise([3, *widths]))
        self.up = nn.ModuleList(
            nn.Conv2d(a + b, b, 3, padding=1) for a, b in pairwise(reversed(widths))
        )
        self.head = nn.Conv2d(channels, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for k, conv in enumerate(self.down):
            x = functional.relu(conv(functional.max_pool2d(x, 2) if k else x))
            skips.append(x)
        skips.pop()
        for conv in self.up:
            x = functional.interpolate(x, scale_factor=2.0)
            x = functional.relu(conv(torch.cat([x, skips.pop()], 1)))
        return cast(Tensor, self.head(x))


class Experts(nn.Module):
    """Layers whose experts all work, and are weighed by a gate."""

    def __init__(self, layers: int = 2, count: int = 4, width: int = 128) -> None:
        super().__init__()
        self.gates = nn.ModuleList(nn.Linear(width, count) for _ in range(layers))
        self.layers = nn.ModuleList(
            nn.ModuleList(_mlp(width, 4 * width, width) for _ in range(count))
            for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for gate, experts in zip(self.gates, self.layers, strict=True):
            weights = torch.softmax(gate(x), -1)
            made = [
                expert(x) * weights[:, k : k + 1] for k, expert in enumerate(cast(Any, experts))
            ]
            x = x + torch.stack(made).sum(0)
        return x


def _mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inside, outside in pairwise(widths):
        layers += [nn.Linear(inside, outside), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _convs(depth: int, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.ReLU()]
    for _ in range(depth):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _normal(*shapes: tuple[int, ...]) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: tuple(torch.randn(shape) for shape in shapes)


def full() -> tuple[Trial, ...]:
    """Return the models in the size that is measured: steps of one to some tens of ms."""
    dlrm = case("DLRM", DLRM, lambda: (torch.randn(32, 13), torch.randint(0, 2000, (32, 26, 4))))
    towers = case("two towers", Towers, _normal((64, 512)))
    gpt2 = case("GPT-2", partial(GPT2, 3, 128, 4, 1000), lambda: (torch.randint(0, 1000, (2, 64)),))
    branches = partial(TwoBranches, 4, 32, 50)
    return (
        Trial(case("ResNet", partial(resnet, (2, 2, 2), 16), _normal((2, 3, 96, 96)))),
        Trial(case("U-Net", UNet, _normal((1, 3, 128, 128)))),
        Trial(gpt2),
        Trial(case("MLP", lambda: _mlp(512, *(512,) * 8, 10), _normal((64, 512)))),
        Trial(dlrm),
        Trial(case("LSTM cells", Cells, _normal((8, 20, 64)))),
        Trial(case("in place", InPlace, _normal((16, 64)))),
        Trial(case("experts", Experts, _normal((64, 128)))),
        Trial(towers),
        Trial(case("four towers", partial(Towers, 4), _normal((64, 512)))),
        Trial(case("conv towers", ConvTowers, _normal((2, 3, 48, 48), (2, 3, 48, 48)))),
        Trial(case("two branches", branches, _normal((2, 3, 48, 48), (2, 50, 32)))),
        Trial(towers, "training"),
        Trial(gpt2, "training"),
    )


def small() -> tuple[Trial, ...]:
    """Return two small models: to try the benchmark, not the machine."""
    return (
        Trial(case("DLRM", partial(DLRM, 2, 10, 4), lambda: (
            torch.randn(2, 13), torch.randint(0, 10, (2, 2, 3))
        ))),
        Trial(case("two towers", partial(Towers, 2, 2, 8), _normal((4, 8))), "training"),
    )  # fmt: skip
