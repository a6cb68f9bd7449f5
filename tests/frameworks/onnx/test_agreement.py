"""One transformer by two roads: as PyTorch has it, and as a file that PyTorch exported."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs talos-opt[torch]")

import talos_opt  # noqa: E402
from talos_opt.core.problem import Problem  # noqa: E402
from talos_opt.frameworks.onnx import profile_model  # noqa: E402
from talos_opt.frameworks.onnx.inputs import declared_inputs, draw, specs_of  # noqa: E402
from talos_opt.frameworks.onnx.reading import read_model  # noqa: E402
from talos_opt.frameworks.torch import profile_module  # noqa: E402

WORDS, WIDTH, HEADS, LENGTH = 300, 128, 4, 48


class Block(torch.nn.Module):
    """Attention and two products, each behind a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(WIDTH) for _ in range(2))
        self.three, self.out = (torch.nn.Linear(WIDTH, WIDTH * k) for k in (3, 1))
        self.wide, self.back = torch.nn.Linear(WIDTH, 512), torch.nn.Linear(512, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        found = self.three(self.norms[0](x)).view(batch, length, 3, HEADS, width // HEADS)
        query, key, value = found.permute(2, 0, 3, 1, 4).unbind(0)
        scores = torch.softmax(query @ key.transpose(2, 3) * (width // HEADS) ** -0.5, -1)
        x = x + self.out((scores @ value).transpose(1, 2).reshape(x.shape))
        return x + self.back(torch.nn.functional.gelu(self.wide(self.norms[1](x))))


def make() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Embedding(WORDS, WIDTH), Block(), Block()).eval()


def held(problem: Problem) -> tuple[int, float]:
    """Return the bytes of weights, and of what else is alive at the peak, workspaces left out."""
    weights = sum(op.memory.weights for op in problem.ops)
    result = talos_opt.solve(problem, "single", time_limit=2)
    assert result.metrics is not None
    (peak,) = result.metrics.peak_memory.values()
    return weights, peak - weights


def test_weights_activations_and_flops_agree(tmp_path: Path) -> None:
    ids = torch.zeros(2, LENGTH, dtype=torch.int64)
    path = tmp_path / "block.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is deprecated, the other one not installed
        torch.onnx.export(make(), (ids,), str(path), input_names=["ids"], dynamo=False)
    source = read_model(str(path))
    specs = specs_of(declared_inputs(source.proto), [], {})
    ours = profile_model(source, specs, draw(specs), devices=("estimate:xeon-8480+",))
    theirs = profile_module(make(), (ids,), devices=("estimate:xeon-8480+",))
    (weights, alive), (expected, others) = held(ours.problem()), held(theirs.problem())
    assert weights == pytest.approx(expected, rel=0.01)
    assert alive == pytest.approx(others, rel=0.01)
    total = sum(op.flops or 0 for op in ours.ops)
    assert total == pytest.approx(sum(op.flops or 0 for op in theirs.ops), rel=0.01)
