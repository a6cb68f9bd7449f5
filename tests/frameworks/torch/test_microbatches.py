"""Micro-batches, and what the plain module makes of a step."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.frameworks.torch.arguments import Arguments, arguments  # noqa: E402
from talos_opt.frameworks.torch.loading import make_arguments  # noqa: E402
from talos_opt.frameworks.torch.microbatches import draw_microbatches, expect, join  # noqa: E402
from talos_opt.frameworks.torch.training import set_mode  # noqa: E402
from tests.frameworks.torch.staged import Summed, labelled  # noqa: E402

IDS = ("ids=6:int64:0-19", "labels=6:int64:0-4")


def differ(batches: list[Arguments]) -> bool:
    values = [one.tensors[0] for one in batches]
    return not any(torch.equal(a, b) for k, a in enumerate(values) for b in values[:k])


def test_every_microbatch_has_data_of_its_own() -> None:
    drawn = make_arguments(["6x4"])
    batches = draw_microbatches(drawn, 3)
    assert differ(batches)
    assert torch.equal(batches[0].tensors[0], drawn.tensors[0])
    assert differ(draw_microbatches(arguments((torch.randn(6, 4),)), 3))


def test_a_batch_of_microbatches() -> None:
    shared = torch.arange(4)
    batches = [arguments((torch.full((2, 3), float(k)), shared)) for k in range(3)]
    joined = join(batches)
    assert [tuple(value.shape) for value in joined.tensors] == [(6, 3), (4,)]
    with pytest.raises(ValueError, match="without a batch dimension differ"):
        join([batches[0], arguments((torch.ones(2, 3), shared + 1))])


@pytest.mark.parametrize(("make", "specs", "scale"), [(labelled, IDS, 1 / 3), (Summed, ["6x4"], 1)])
def test_the_loss_of_a_step_is_the_mean_or_the_sum(make, specs, scale) -> None:  # type: ignore[no-untyped-def]
    module = make()
    set_mode(module, "training")
    batches = draw_microbatches(make_arguments(specs), 3)
    expected = expect(module, batches, "training")
    assert expected.scale == pytest.approx(scale)
    assert expected.notes == ()
    losses = [module(*one.tensors) for one in batches]
    found = [loss["loss"] if isinstance(loss, dict) else loss for loss in losses]
    assert expected.loss == pytest.approx(sum(map(torch.Tensor.item, found)) * scale, rel=1e-5)


def test_normalised_batches_are_compared_one_after_the_other() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    set_mode(module, "training")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    expected = expect(module, draw_microbatches(make_arguments(["6x4"]), 2), "training")
    assert "neither the mean nor the sum" in expected.notes[0]
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_what_differs_is_noticed() -> None:
    module = labelled()
    set_mode(module, "training")
    expected = expect(module, draw_microbatches(make_arguments(IDS), 2), "training")
    assert expected.loss is not None
    good = dict(expected.gradients)
    assert expected.compare_training(expected.loss, good) == (0.0, True)
    assert not expected.compare_training(expected.loss * 1.01, good)[1]
    for name, gradient in good.items():  # each is far below 1
        assert not expected.compare_training(expected.loss, {**good, name: gradient * 1.01})[1]
    del good["head.map.bias"]
    assert not expected.compare_training(expected.loss, good)[1]
    leaves = [list(leaves) for leaves in expected.each]
    assert expected.compare_outputs(leaves) == (0.0, True)
    leaves[1][1] = leaves[1][1] + 0.01
    assert not expected.compare_outputs(leaves)[1]


def test_outputs_are_compared_with_those_of_the_whole_batch() -> None:
    module = nn.Sequential(nn.Linear(4, 4)).eval()
    expected = expect(module, draw_microbatches(make_arguments(["6x4"]), 2), "inference")
    assert expected.whole is not None
    assert expected.whole[0].shape == (12, 4)
    assert expected.compare_outputs(expected.each)[1]
    other = dataclasses.replace(expected, whole=(expected.whole[0] + 1,))
    assert not other.compare_outputs(expected.each)[1]


def test_a_model_that_does_not_run() -> None:
    with pytest.raises(InputError, match="does not run on inputs 6x3"):
        expect(nn.Linear(4, 4), [make_arguments(["6x3"])], "inference")
