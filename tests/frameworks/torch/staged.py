"""Models of stages that the tests run in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal

import torch
from torch import Tensor, nn
from torch.nn import functional


class Layer(nn.Module):
    """A residual layer that begins in place."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.map = nn.ReLU(inplace=True), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.map(self.act(x.clone()))


class Head(nn.Module):
    """Reads what the embedding made, over all layers."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(8, 5)

    def forward(self, x: Tensor, first: Tensor) -> Tensor:
        return self.map(x + first)


class Labelled(nn.Module):
    """Layers with a skip connection over all of them; the last stage reads the labels."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.layers = nn.ModuleList(Layer() for _ in range(3))
        self.head = Head()

    def forward(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        first = x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        logits = self.head(x, first)
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


def labelled() -> nn.Module:
    """Return it with weights that no other process makes: they have to be handed over."""
    torch.manual_seed(os.getpid())
    return Labelled()


def killed() -> nn.Module:
    """Return it, but not in a process of a stage, which is killed as if memory had run out."""
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return labelled()


class Summed(nn.Module):
    """Its loss is the sum over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x).square().sum()
