"""Stages that a module is cut into, in one process."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.frameworks.torch.arguments import arguments  # noqa: E402
from talos_opt.frameworks.torch.cutting import Part, cut, move_part  # noqa: E402
from tests.frameworks.torch.staged import Labelled  # noqa: E402

IDS, LABELS = torch.tensor([1, 2, 3]), torch.tensor([0, 1, 4])
GIVEN = {"ids": IDS, "labels": LABELS}


def run(parts: list[Part], values: list[torch.Tensor]) -> list[torch.Tensor]:
    made: tuple[torch.Tensor, ...] = ()
    for part in parts:
        inputs = {name: values[k] for name, k in part.inputs.items()}
        received = [x.detach().requires_grad_(x.requires_grad) for x in made]
        made = part.module(*received, **inputs)
        assert [x.shape for x in made] == [x.shape for x in part.made]
    return parts[-1].leaves(made)


def test_the_stages_compute_what_the_module_does() -> None:
    module = Labelled().eval()
    parts = cut(module, arguments(GIVEN), ["layers.1", "head"])
    expected = module(IDS, LABELS)
    loss, logits = run(parts, [IDS, LABELS])
    torch.testing.assert_close(loss, expected["loss"])
    torch.testing.assert_close(logits, expected["logits"])
    assert [sorted(part.inputs.values()) for part in parts] == [[0], [], [1]]
    names = [{name for name, _ in part.module.named_parameters()} for part in parts]
    assert names[0] == {"embed.weight", "layers.0.map.weight", "layers.0.map.bias"}
    assert set.union(*names) == {name for name, _ in module.named_parameters()}


def test_a_skip_connection_goes_through_the_stages_between() -> None:
    parts = cut(Labelled().eval(), arguments(GIVEN), ["layers.1", "layers.2"])
    assert [len(part.made) for part in parts[:2]] == [2, 2]
    assert all(x.requires_grad for part in parts[:2] for x in part.made)


def test_what_was_received_is_not_changed_in_place() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4)).eval()
    first, second = cut(module, arguments((torch.ones(2, 4),)), ["1"])
    (made,) = first.module(input_0=torch.ones(2, 4))
    received = made.detach().requires_grad_()
    second.module(received)[0].sum().backward()
    assert received.grad is not None
    torch.testing.assert_close(received, made)


def test_a_view_of_what_was_received_is_not_changed_either() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Unflatten(1, (2, 2)), nn.ReLU(inplace=True)).eval()
    first, second = cut(module, arguments((torch.ones(2, 4),)), ["1"])
    received = first.module(input_0=torch.ones(2, 4))[0].detach().requires_grad_()
    second.module(received)[0].sum().backward()
    assert received.grad is not None


class Turned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x).t())


def test_what_is_handed_on_is_contiguous() -> None:
    module = Turned().eval()
    first, second = cut(module, arguments((torch.ones(2, 4),)), ["b"])
    (made,) = first.module(input_0=torch.ones(2, 4))
    assert made.is_contiguous()
    assert first.made[0].stride() == second.received[0].stride() == made.stride()
    torch.testing.assert_close(second.module(made)[0], module(torch.ones(2, 4)))


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(4, 4)
        self.kept = torch.ones(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.map(x) * self.kept + torch.arange(4, device=x.device)


def test_a_stage_moves_with_its_constants() -> None:
    (part,) = cut(Constant().eval(), arguments((torch.ones(2, 4),)), [])
    move_part(part, torch.device("meta"))
    (made,) = part.module(input_0=torch.ones(2, 4, device="meta"))
    assert made.device.type == "meta"


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(self.b(x)))


@pytest.mark.parametrize(
    ("begins", "message"),
    [
        (["c"], "no module 'c'"),
        (["b"], "begin with b, but the model calls b, b"),
        (["a", "b"], "calls b, a, b"),
    ],
)
def test_modules_that_no_stage_can_begin_with(begins: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cut(Twice().eval(), arguments((torch.ones(2, 4),)), begins)
