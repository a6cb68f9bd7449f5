"""Placed modules: called, trained and refused as the plain module would be."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import torch.utils._pytree as pytree  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import talos_opt  # noqa: E402
from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.core.result import Result, Status  # noqa: E402
from talos_opt.frameworks.common.running import read_plan  # noqa: E402
from talos_opt.frameworks.torch import place_module  # noqa: E402
from talos_opt.frameworks.torch.capture import capture  # noqa: E402
from talos_opt.frameworks.torch.loading import make_inputs  # noqa: E402
from talos_opt.frameworks.torch.placed import PlacedModule  # noqa: E402
from talos_opt.frameworks.torch.run import captured_ops  # noqa: E402
from talos_opt.frameworks.torch.stepping import Stepper, require_no_gradient_inside  # noqa: E402
from talos_opt.frameworks.torch.training import set_mode  # noqa: E402
from tests.frameworks.torch import kinds, nets  # noqa: E402
from tests.frameworks.torch.synthetic import ON_CPU, problem_of, random_schedule  # noqa: E402


def gpt2() -> nn.Module:
    """A decoder with tied embeddings and without dropout; returns a ModelOutput."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    size = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16, "vocab_size": 40}
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(**size, **off, bos_token_id=0, eos_token_id=0))


def small() -> nn.Module:
    """Two layers; takes 1 x 3."""
    return nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))


NETS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "cnn": (nets.branches, ["2x3x16x16"]),
    "lstm": (nets.several, ["2x6x8"]),
    "gpt2": (gpt2, ["2x8:int64:0-39"]),
    "tied": (nets.tied, ["4x5:int64:0-19"]),
}


def place(module: nn.Module, inputs: Any, mode: str = "inference", seed: int = 3) -> PlacedModule:
    """Place a module at random over devices that are all the host."""
    captured = capture(module, inputs, mode)
    return PlacedModule(captured, random_schedule(problem_of(captured), seed), ON_CPU)


@pytest.fixture(scope="module")
def branches() -> PlacedModule:
    return place(nets.branches(), make_inputs(["2x3x16x16"]))


def leaves(value: Any) -> list[Any]:
    return list(pytree.tree_leaves(value))


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    for x, y in zip(leaves(a), leaves(b), strict=True):
        torch.testing.assert_close(x, y)


def step(module: nn.Module, given: Any, optimiser: torch.optim.Optimizer) -> Tensor:
    """Take a step with a loss that is not the one that was captured."""
    optimiser.zero_grad()
    made = next(leaf for leaf in leaves(module(*given)) if leaf.requires_grad)
    weights = torch.linspace(-1, 1, made.numel()).reshape(made.shape)
    loss = (made * weights).sum() + made.pow(2).mean()
    loss.backward()
    optimiser.step()
    return loss.detach()


@pytest.mark.parametrize("name", NETS)
def test_it_trains_as_the_plain_module_does(name: str) -> None:
    make, shapes = NETS[name]
    plain = make()
    set_mode(plain, "training")
    placed = place(make(), make_inputs(shapes), "training")
    assert len(set(placed.devices)) > 1
    assert [n for n, _ in placed.named_parameters()] == [n for n, _ in plain.named_parameters()]
    optimisers = [torch.optim.Adam(m.parameters(), 0.01) for m in (placed, plain)]
    for seed in range(3):
        given = make_inputs(shapes, seed=seed)
        assert_same(placed(*given), plain(*given))
        a, b = (step(m, given, o) for m, o in zip((placed, plain), optimisers, strict=True))
        torch.testing.assert_close(a, b)
        for p, q in zip(placed.parameters(), plain.parameters(), strict=True):
            assert (p.grad is None) == (q.grad is None)
            if q.grad is not None:
                torch.testing.assert_close(p.grad, q.grad)
    assert_same(placed.state_dict(), plain.state_dict())  # running statistics too


@pytest.mark.parametrize("name", ["cnn", "gpt2"])
def test_inference_of_other_batches(name: str) -> None:
    make, shapes = NETS[name]
    module = make()
    plain = copy.deepcopy(module).eval()
    placed = place(module, make_inputs(shapes))
    for seed in range(1, 3):
        given = make_inputs(shapes, seed=seed)
        with torch.no_grad():
            expected = plain(*given, **({"use_cache": False} if name == "gpt2" else {}))
        found = placed(*given)
        assert_same(found, expected)
        assert not any(leaf.requires_grad for leaf in leaves(found))


def test_a_state_goes_to_the_original_and_back() -> None:
    module, other = nets.tied(), nets.tied()
    placed = place(module, (ids := make_inputs(["4x5:int64:0-19"])))
    with torch.no_grad():
        other.mix.weight.add_(1)
    assert placed.state_dict().keys() == other.state_dict().keys()
    placed.load_state_dict(other.state_dict())
    assert placed.original is module
    assert module.mix.weight is dict(placed.named_parameters())["mix.weight"]
    with torch.no_grad():
        assert_same(placed(*ids), other.eval()(*ids))


class Odd(nn.Module):
    """Views, in-place ops, None and nested outputs, and a buffer that counts calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor, *, scale: float = 2.0, mask: Tensor | None = None) -> Any:
        self.calls += 1
        h = self.a(x).view(2, 3, 2).transpose(1, 2)
        h[:, 0] *= scale
        y = self.b(h.reshape(2, 6)) + self.calls + x.reshape(3, 4)[:, :1].sum()
        y.clamp_(min=-1)
        y = y if mask is None else y * mask
        return {"y": y, "none": None, "more": [(y.detach().argmax(-1), 3), y]}


@pytest.fixture(scope="module")
def odd() -> tuple[PlacedModule, nn.Module]:
    x = torch.arange(12.0).reshape(2, 6) / 12
    inputs = {"x": x, "mask": torch.ones(2, 6)}
    return place(Odd(), inputs, "training"), Odd().eval()


def test_layouts_names_buffers_and_nested_outputs(odd: tuple[PlacedModule, nn.Module]) -> None:
    placed, plain = odd
    x, mask = torch.randn(6, 2).t(), torch.rand(2, 6)[:, ::1]
    assert not x.is_contiguous()
    for _ in range(2):
        found, expected = placed(mask=mask, x=x), plain(x, scale=2.0, mask=mask)
        assert found["none"] is None
        assert found["more"][0][1] == 3
        assert_same(found, expected)
    torch.testing.assert_close(placed.original.calls, plain.calls)
    placed.zero_grad()
    for value in (found, expected):  # both names of one output carry gradients
        (value["y"].sum().expand(3).sum() + value["more"][1].t()[0].sum()).backward()
    for p, q in zip(placed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_a_gradient_that_was_not_captured_is_refused() -> None:
    placed = place(nets.tied(), (ids := make_inputs(["4x5:int64:0-19"])), "training")
    message = r"depends on output \['hidden'\], .* captured for output \['logits'\] alone"
    with pytest.raises(InputError, match=message):
        placed(*ids)["hidden"].sum().backward()
    placed = place(small(), (x := torch.ones(1, 3)))
    with pytest.raises(InputError, match="has no gradients: profile it with mode='training'"):
        placed.train()
    frozen = small()
    frozen[0].requires_grad_(False)
    placed = place(frozen, x, "training")
    with pytest.raises(InputError, match=r"pass input\.detach\(\)"):
        placed(torch.ones(1, 3, requires_grad=True))
    frozen[0].requires_grad_(True)
    with pytest.raises(InputError, match=r"0\.weight, 0\.bias had requires_grad=False"):
        placed(x)


def test_what_backward_needs_may_not_change_in_between() -> None:
    placed = place(small(), torch.ones(1, 3), "training")
    loss = placed(torch.ones(1, 3)).sum()
    with torch.no_grad():
        placed.original[1].weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    loss = placed(torch.ones(1, 3)).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_a_model_that_returns_its_loss() -> None:
    ids = torch.arange(16).reshape(2, 8)
    plain = gpt2()
    set_mode(plain, "training")
    placed = place(gpt2(), {"input_ids": ids, "labels": ids}, "training")
    with pytest.raises(IndexError, match="out of range"):
        placed(ids + 100, labels=ids)
    for module in (placed, plain):  # by position what was captured by name
        loss = module(ids, labels=ids).loss
        (3 * loss).backward(retain_graph=True)
        loss.backward()
    for p, q in zip(placed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_modes(branches: PlacedModule) -> None:
    assert not branches.training
    assert branches.eval() is branches
    trained = place(nets.branches(), make_inputs(["2x3x16x16"]), "training")
    assert trained.training
    with pytest.raises(InputError, match=r"stem\.1 normalises by the batch"):
        trained.eval()
    assert not place(nets.tied(), make_inputs(["4x5:int64:0-19"]), "training").eval().training


def test_dropout_is_refused_or_left_out() -> None:
    def dropping() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 2))

    captured = capture(dropping(), (x := torch.ones(1, 3)), "training")
    document = random_schedule(problem_of(captured), 0)
    with pytest.raises(InputError, match=r"1 would drop values at random .* without_dropout"):
        place_module(dropping(), x, document, device_map=ON_CPU)
    placed = place_module(dropping(), x, document, device_map=ON_CPU, without_dropout=True)
    assert placed.training  # as the schedule says
    torch.testing.assert_close(placed(x), placed(x))


def test_random_numbers_are_drawn_anew() -> None:
    placed = place(kinds.Noise(), (x := torch.ones(4, 8)), "training")
    first, second = placed(x), placed(x)
    assert not torch.equal(first, second)
    first.sum().backward()  # by the mask of the first call
    dropped = (first.detach() == 0).sum()
    assert placed.original.a.bias.grad.sum() <= 2 * (32 - dropped)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: torch.ones(3, 3, 16, 16), "input x is 3x3x16x16:float32, expected 2x3x16x16:fl"),
        (lambda: torch.ones(2, 3, 16, 16, dtype=torch.float64), "expected 2x3x16x16:float32"),
        (lambda: [1], "input x\\[0\\] was not there|input x is missing"),
        (lambda: None, "input x is None, expected a tensor"),
    ],
)
def test_inputs_that_do_not_fit(
    branches: PlacedModule, given: Callable[[], Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        branches(given())


def test_values_that_are_no_tensors_are_fixed(odd: tuple[PlacedModule, nn.Module]) -> None:
    placed, _ = odd
    x = torch.ones(2, 6)
    with pytest.raises(InputError, match=r"input scale is 3\.0, expected 2\.0"):
        placed(x, scale=3.0, mask=x)
    with pytest.raises(InputError, match="input mask is None, expected a tensor"):
        placed(x)
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        placed(x, other=1)


def test_schedules_and_devices_that_do_not_fit() -> None:
    x = torch.ones(1, 3)
    captured = capture(small(), x)
    document = random_schedule(problem_of(captured), 3)
    missing = {**ON_CPU, "gpu1": "cuda:99"}
    with pytest.raises(InputError, match="gpu1 is mapped to 'cuda:99', but torch finds"):
        place_module(small(), x, document, device_map=missing)
    with pytest.raises(InputError, match="device_map names 'gpu9'"):
        place_module(small(), x, document, device_map={**ON_CPU, "gpu9": "cpu"})
    with pytest.raises(InputError, match="a schedule of another graph"):
        place_module(nets.tied(), make_inputs(["4x5:int64:0-19"]), document, device_map=ON_CPU)
    made = document["made"]
    stated = {**made, "description": f"{made['description']}; inputs: 4x3:float32"}
    with pytest.raises(InputError, match="profiled with inputs 4x3:float32, and the model"):
        place_module(small(), x, document | {"made": stated}, device_map=ON_CPU)
    with torch.device("meta"):
        empty = small()
    with pytest.raises(InputError, match="on the meta device and have no values"):
        place_module(empty, x, document, device_map=ON_CPU)


def test_it_is_neither_moved_nor_copied(branches: PlacedModule) -> None:
    with pytest.raises(InputError, match="stays on its devices"):
        branches.double()
    other = place(nn.Linear(3, 2), (x := torch.ones(1, 3)))
    other.original.double()
    with pytest.raises(InputError, match="parameter weight has another shape or type"):
        other(x)
    with pytest.raises(InputError, match=r"save its state_dict\(\)"):
        copy.deepcopy(branches)
    assert "gpu0=cpu" in repr(branches)


def test_ops_run_where_the_schedule_puts_them() -> None:
    captured = capture(nets.several(), make_inputs(["2x6x8"]), "training")
    document = random_schedule(problem_of(captured), 3)
    device = {row["op"]: row["device"] for row in document["ops"]}
    stepper = Stepper(
        captured,
        read_plan(captured_ops(captured), document),
        {name: torch.device("cpu") for name in set(device.values())},
        1,
    )
    ran = [
        {step.op: name for name, program in half.programs.items() for step in program.steps}
        for half in (stepper._forward, stepper._backward)
    ]
    assert all(device[op] == name for half in ran for op, name in half.items())
    assert all(len(set(half.values())) > 1 for half in ran)
    assert not ran[0].keys() & ran[1].keys()
    # The loss and its gradient are the user's, and so are the steps of the weights.
    left = device.keys() - ran[0].keys() - ran[1].keys()
    steps = {op for op in left if op.startswith("sgd_")}
    assert len(steps) == len(stepper.trained)
    assert len(left - steps) < 10


def test_backward_reads_what_forward_had_before_it_changed_it() -> None:
    captured = capture(nets.branches(), (x := make_inputs(["2x3x16x16"])), "training")
    document = random_schedule(problem_of(captured), 3)
    stepper = PlacedModule(captured, document, ON_CPU)._stepper
    mean = captured.module.stem[1].running_mean
    before = mean.clone()
    _, read = stepper.forward(x)
    names = [p.target for p in captured.placeholders]
    torch.testing.assert_close(read[names.index("stem.1.running_mean")], before)
    assert not torch.equal(mean, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", [name for name in NETS if name != "lstm"])
def test_on_a_cpu_and_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    make, shapes = NETS[name]
    plain = make()
    set_mode(plain, "training")
    captured = capture(make(), make_inputs(shapes), "training")
    document = random_schedule(problem_of(captured), 3)
    where = {"cpu0": "cpu", "gpu0": "cuda:0", "gpu1": "cuda:0"}
    placed = PlacedModule(captured, document, where)
    assert {device.type for device in placed.devices.values()} == {"cpu", "cuda"}
    optimisers = [torch.optim.SGD(m.parameters(), 0.01) for m in (placed, plain)]
    for _ in range(2):
        for module, optimiser in zip((placed, plain), optimisers, strict=True):
            optimiser.zero_grad()
            made = next(leaf for leaf in leaves(module(*make_inputs(shapes))) if leaf.requires_grad)
            made.pow(3).sum().backward()
            optimiser.step()
    for p, q in zip(placed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p.cpu(), q, rtol=1e-3, atol=1e-4)


def test_gradients_of_an_lstm_are_refused_on_a_gpu() -> None:
    make, shapes = NETS["lstm"]
    captured = capture(make(), make_inputs(shapes), "training")
    where = dict.fromkeys((op.id for op in captured_ops(captured)), "gpu0")
    devices = {"gpu0": torch.device("cuda:0"), "cpu0": torch.device("cpu")}
    with pytest.raises(InputError, match=r"the gradient of an LSTM layer, is on gpu0 \(cuda:0\)"):
        require_no_gradient_inside(captured, where, devices)
    require_no_gradient_inside(captured, dict.fromkeys(where, "cpu0"), devices)


def test_calls_leave_no_tensors_behind() -> None:
    placed = place(small(), (x := torch.ones(1, 3)), "training")
    optimiser = torch.optim.SGD(placed.parameters(), 0.1)

    def count() -> int:
        return sum(type(value) in (Tensor, nn.Parameter) for value in gc.get_objects())

    step(placed, (x,), optimiser)
    gc.collect()
    before = count()
    gc.disable()  # what only a collection would free is a leak for whoever trains
    try:
        for _ in range(3):
            step(placed, (x,), optimiser)
            placed(x)
        assert count() <= before
    finally:
        gc.enable()


def test_ways_to_give_a_schedule(tmp_path: Path) -> None:
    module, inputs = small().eval(), make_inputs(["1x3"])
    expected = module(*inputs)
    problem = problem_of(capture(module, inputs))
    document = random_schedule(problem, 3)
    found = talos_opt.solve(problem, "single")
    path = tmp_path / "schedule.json"
    talos_opt.write_schedule(found, path)
    for given in (document, found, path, str(path)):
        assert_same(place_module(module, inputs, given, device_map=ON_CPU)(*inputs), expected)
    nothing = Result(problem, Status.INFEASIBLE, None, 1.0, "single", reason="too little memory")
    for given, message in (
        (nothing, "the result has no schedule: too little memory"),
        (found.schedule, "schedule is of type Schedule, expected a Result, a talos-schedule/1"),
        (tmp_path / "absent.json", "absent.json"),
    ):
        with pytest.raises(InputError, match=message):
            place_module(module, inputs, given, device_map=ON_CPU)
