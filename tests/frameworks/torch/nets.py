"""Networks that the tests capture, profile and run; plain torch, random weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Branches(nn.Module):
    """A small CNN: two branches of different cost, joined, and a head."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width))
        self.left = nn.Conv2d(width, width, 5, padding=2)
        self.right = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(inplace=True))
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.stem(x))
        joined = torch.cat([torch.relu(self.left(x)), self.right(x)], dim=1)
        return self.head(self.drop(joined.mean((2, 3))))


def branches() -> nn.Module:
    torch.manual_seed(0)
    return Branches()


class Tied(nn.Module):
    """Embedding and output projection are one matrix; a view of the input is returned too."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.mix = nn.Linear(16, 16)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.full((16,), 0.5), persistent=False)
        self.unused = nn.Linear(4, 4)

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        hidden = torch.tanh(self.mix(self.embed(ids))) * self.scale
        return {"logits": self.head(hidden), "hidden": hidden.transpose(1, 2)}


def tied() -> nn.Module:
    torch.manual_seed(0)
    return Tied()


class Several(nn.Module):
    """Ops with several results: an LSTM, chunks, a topk, and a layer norm's gradient."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.recur = nn.LSTM(8, width, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width // 3, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(self.recur(x)[0])
        a, b, c = x.chunk(3, -1)
        mixed = torch.sigmoid(a) * b + c
        values, indices = mixed.topk(2, -1)
        return self.head(mixed) * values.sum(-1, keepdim=True), x.gather(-1, indices)


def several() -> nn.Module:
    torch.manual_seed(0)
    return Several()


class Inception(nn.Module):
    """Four branches, as in GoogLeNet."""

    def __init__(self, inside: int, sizes: tuple[int, int, int, int]) -> None:
        super().__init__()
        a, b, c, d = sizes
        self.one = _conv(inside, a, 1)
        self.three = nn.Sequential(_conv(inside, b // 2, 1), _conv(b // 2, b, 3))
        self.five = nn.Sequential(_conv(inside, c // 2, 1), _conv(c // 2, c, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), _conv(inside, d, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


def _conv(inside: int, outside: int, size: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inside, outside, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


def googlenet_like() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        _conv(3, 16, 7, 2),
        nn.MaxPool2d(3, 2, 1),
        Inception(16, (8, 16, 8, 8)),
        Inception(40, (16, 32, 16, 8)),
        nn.MaxPool2d(3, 2, 1),
        Inception(72, (32, 48, 16, 16)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(112, 10),
    )


class Bottleneck(nn.Module):
    """ResNet's block of three convolutions beside a shortcut."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        outside = 4 * width
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += self.downsample(x)
        return self.relu(out)


def resnet50() -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = [_conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    inside = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for k in range(blocks):
            layers.append(Bottleneck(inside, width, stride if k == 0 else 1))
            inside = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 1000))


def bert(layers: int = 2) -> nn.Module:
    """BERT with few and narrow layers; takes token ids."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=500,
        hidden_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
    )
    return BertModel(config)


def llama(layers: int = 2, *, cache: bool = False) -> nn.Module:
    """A decoder with tied embeddings; takes token ids."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        use_cache=cache,
    )
    return LlamaForCausalLM(config)


class Picky(nn.Module):
    """Its path depends on values: no graph holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        if y.sum() > 0:  # the line that the error names
            y = y * 2
        return y


def picky() -> nn.Module:
    return Picky()


def number() -> int:
    return 3


def broken() -> nn.Module:
    raise RuntimeError("no weights today")


#: An instance rather than a callable.
READY = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
