"""Captured graphs compute what their modules do, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="needs talos-opt[torch]")

from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.frameworks.torch import capture as capture_module  # noqa: E402
from talos_opt.frameworks.torch.capture import capture  # noqa: E402
from talos_opt.frameworks.torch.captured import Captured  # noqa: E402
from talos_opt.frameworks.torch.ops import describe_ops  # noqa: E402
from tests.frameworks.datasheets import assert_within_datasheets  # noqa: E402
from tests.frameworks.torch import nets  # noqa: E402

MODES = ("inference", "training")


def image(batch: int = 2, size: int = 32) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def tokens() -> torch.Tensor:
    return torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(1))


def run(captured: Captured, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    with torch.no_grad():
        values = captured.flat_values(inputs)
        return list(torch.fx.Interpreter(captured.graph_module).run(*values))


def by_place(
    captured: Captured, inputs: tuple[torch.Tensor, ...]
) -> dict[tuple[str, str | int], torch.Tensor]:
    """Return the outputs by their kind and target."""
    names = [(spec.kind, spec.target) for spec in captured.outputs]
    return dict(zip(names, run(captured, inputs), strict=True))


def assert_as_plain(captured: Captured, inputs: tuple[torch.Tensor, ...]) -> None:
    found, expected = run(captured, inputs), captured.reference(inputs)
    for spec, a, b in zip(captured.outputs, found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=str(spec))


NETS: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[], torch.Tensor]]] = {
    "branches": (nets.branches, image),
    "tied": (nets.tied, tokens),
    "googlenet": (nets.googlenet_like, image),
    "bert": (nets.bert, tokens),
    "llama": (lambda: nets.llama(cache=True), tokens),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NETS)
def test_the_graph_computes_what_the_module_does(name: str, mode: str) -> None:
    if name in ("bert", "llama"):
        pytest.importorskip("transformers")
    make, given = NETS[name]
    inputs = (given(),)
    captured = capture(make(), inputs, mode)
    assert captured.by == "export"
    assert_as_plain(captured, inputs)
    kinds = {node.op for node in captured.graph_module.graph.nodes}
    assert kinds == {"placeholder", "call_function", "output"}
    assert_within_datasheets(describe_ops(captured))


class Masked(torch.nn.Module):
    """Attention with a mask, which no kernel of the meta device takes as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = torch.nn.Linear(8, 24)
        self.scale = torch.full((2, 8), 0.5)  # neither a parameter nor a buffer
        self.register_buffer("mask", torch.ones(6, 6, dtype=torch.bool).tril())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.view(2, 6, 2, 4).transpose(1, 2) for part in self.heads(x).chunk(3, -1))
        attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, self.mask)
        return attended.mean((1, 2)).repeat(1, 2) * self.scale


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [Masked, nets.several])
def test_a_model_without_memory_has_the_same_ops(
    make: Callable[[], torch.nn.Module], mode: str
) -> None:
    x = torch.randn(2, 6, 8)
    with torch.device("meta"):
        module = make()
    before = dict(module.named_parameters()) | dict(module.named_buffers())
    meta, here = capture(module, (x.to("meta"),), mode), capture(make(), (x,), mode)
    edges_there, edges_here = (
        # Which of two equal gradients of an LSTM's biases is read, torch decides anew each time.
        [(node.name, node.target, {op for op, _ in found.reads(node)}) for node in found.ops()]
        for found in (meta, here)
    )
    assert edges_there == edges_here
    assert meta.outputs == here.outputs
    assert meta.placeholders == here.placeholders
    after = dict(module.named_parameters()) | dict(module.named_buffers())
    assert all(after[name] is tensor for name, tensor in before.items())
    weights = [p for p in meta.placeholders if p.kind in ("parameter", "buffer")]
    assert all(p.value is before[p.target] for p in weights)


def test_resnet50_by_export() -> None:
    inputs = (image(1),)
    captured = capture(nets.resnet50(), inputs)
    assert_as_plain(captured, inputs)
    assert sum("conv2d" in captured.op_id(node) for node in captured.ops()) == 53
    assert_within_datasheets(describe_ops(captured))


def test_gradients_are_those_of_autograd() -> None:
    module, x = nets.branches(), image()
    captured = capture(module, (x,), "training")
    result = by_place(captured, (x,))
    loss = (module(x) ** 2).mean()
    loss.backward()
    torch.testing.assert_close(result["loss", 0], loss.detach())
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(result["gradient", name], parameter.grad)
        stepped = parameter.detach() - 1e-3 * parameter.grad
        torch.testing.assert_close(result["update", name], stepped)


def test_training_leaves_the_module_as_it_was() -> None:
    module, x = nets.branches(), image()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    captured = capture(module, (x,), "training")
    captured.reference((x,))
    run(captured, (x,))
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in module.parameters())
    mutated = {o.target for o in captured.outputs if o.kind == "mutation"}
    assert mutated == {
        "stem.1.running_mean", "stem.1.running_var", "stem.1.num_batches_tracked"
    }  # fmt: skip


def test_a_loss_that_the_model_returns_is_taken() -> None:
    class WithLoss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            y = self.linear(x)
            return {"logits": y, "loss": y.abs().sum()}

    module, x = WithLoss(), torch.ones(3, 4)
    captured = capture(module, (x,), "training")
    result = by_place(captured, (x,))
    torch.testing.assert_close(result["loss", 0], module(x)["loss"].detach())


@pytest.mark.parametrize("mode", MODES)
def test_tracing_stands_in_for_export(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(capture_module, "export_inference", fail)
    monkeypatch.setattr(capture_module, "export_training", fail)
    for make, x in ((nets.branches, image()), (nets.tied, tokens())):
        captured = capture(make(), (x,), mode)
        assert captured.by == "fx"
        assert_as_plain(captured, (x,))


@pytest.mark.parametrize("mode", MODES)
def test_ids_are_the_same_on_every_capture(mode: str) -> None:
    first, second = (capture(nets.branches(), (image(),), mode) for _ in range(2))
    ids = [first.op_id(node) for node in first.ops()]
    assert ids == [second.op_id(node) for node in second.ops()]
    assert len(set(ids)) == len(ids)


def test_tied_weights_are_found() -> None:
    captured = capture(nets.tied(), (tokens(),))
    assert captured.tied == (frozenset({"embed.weight", "head.weight"}),)


def test_meta_models_need_no_memory() -> None:
    with torch.device("meta"):
        module = nets.tied()
    captured = capture(module, (tokens().to("meta"),))
    assert len(captured.ops()) == len(capture(nets.tied(), (tokens(),)).ops())


def test_what_cannot_be_captured_is_named_with_its_line() -> None:
    with pytest.raises(InputError, match=r"nets\.py:\d+: if y\.sum\(\) > 0"):
        capture(nets.picky(), (torch.ones(2, 4),))


def test_nothing_is_printed_when_capturing_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError):
        capture(nets.picky(), (torch.ones(2, 4),))
    assert capfd.readouterr() == ("", "")


def test_inputs_of_the_wrong_shape() -> None:
    with pytest.raises(InputError, match=r"does not run on inputs 2x5x32x32: .*3 channels"):
        capture(nets.branches(), (torch.ones(2, 5, 32, 32),))


def test_too_few_inputs() -> None:
    with pytest.raises(InputError, match="forward"):
        capture(nets.branches(), ())


def test_nothing_to_train() -> None:
    with pytest.raises(InputError, match="nothing to train"):
        capture(torch.nn.ReLU(), (torch.ones(2, 4),), "training")


def test_an_unknown_mode() -> None:
    with pytest.raises(InputError, match="expected one of inference, training"):
        capture(nets.branches(), (image(),), "both")


class Dropped(torch.nn.Module):
    """Dropout of a result, of an input, and as the last call; and a copy that was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.drop = torch.nn.Linear(4, 4), torch.nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = self.drop(self.linear(x)).clone()
        return self.drop(kept + self.drop(x))


def test_dropout_in_evaluation_is_no_op() -> None:
    captured = capture(Dropped(), (torch.ones(2, 4),))
    assert [node.name for node in captured.ops()] == ["linear", "clone_1", "add"]
    assert captured.by == "export"


def test_a_tensor_given_twice_is_two_inputs() -> None:
    class Product(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x.exp() * y

    x = torch.randn(2, 4)
    captured = capture(Product(), (x, x))
    assert (captured.by, captured.notes) == ("export", ())
    exp, mul = captured.ops()
    assert [node.name for node in mul.all_input_nodes] == [exp.name, "y"]
    assert torch.equal(captured.arguments.tensors[1], x)
