"""Stages of a module: what torch.distributed.pipelining makes of split points."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import torch.utils._pytree as pytree  # noqa: E402
from torch.distributed.pipelining import SplitPoint, pipeline  # noqa: E402

import talos_opt  # noqa: E402
from talos_opt.core.granularity import by_module  # noqa: E402
from talos_opt.core.pipelining.step import Pipeline  # noqa: E402
from talos_opt.formats.stage_split import layer_split, split_points  # noqa: E402
from talos_opt.frameworks.torch.profile import profile_module  # noqa: E402


class Net(torch.nn.Module):  # type: ignore[name-defined, misc]
    """Layers of different widths between an embedding and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Linear(4, 16)
        self.layers = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU()) for _ in range(6)
        )
        self.head = torch.nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x)
        for layer in self.layers:
            x = x + layer(x)
        return self.head(x)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_from_a_profile_to_the_stages_of_torch(mode: str) -> None:
    torch.manual_seed(0)
    module, example = Net().eval(), torch.randn(8, 4)
    profile = profile_module(
        module, [example], mode=mode, devices=["estimate:a100", "estimate:t4"], max_time_s=1.0
    )
    problem = profile.problem()
    problem = problem.with_stages({"rule": "ordered", "use_all": True})
    problem = problem.with_objective("bottleneck")
    problem = by_module(problem, no_split=["layers.*"])
    result = talos_opt.solve(problem, "cpsat", time_limit=5.0)
    assert result.schedule is not None
    begins, devices = split_points(problem, result.schedule)
    assert devices == list(problem.device_ids)
    split = layer_split(problem, result.schedule)
    assert sum(split.counts) == 6
    step = Pipeline(problem, result.schedule.device).run("1f1b", 4)
    assert len(step.stages) == 2
    assert step.time >= 4 * step.busy.max() / 4
    pipe = pipeline(
        module, mb_args=(example,), split_spec=dict.fromkeys(begins, SplitPoint.BEGINNING)
    )
    assert pipe.num_stages == len(devices)
    torch.testing.assert_close(pytree.tree_leaves(pipe(example))[0], module(example))
