"""Models of every awkward kind are captured rightly, or refused with a reason and a way out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs talos-opt[torch]")

from torch import nn  # noqa: E402

from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.frameworks.torch.capture import capture  # noqa: E402
from talos_opt.frameworks.torch.captured import Captured  # noqa: E402
from talos_opt.frameworks.torch.checking import run_graph  # noqa: E402
from talos_opt.frameworks.torch.comparing import compare_outputs  # noqa: E402
from talos_opt.frameworks.torch.lines import line_of  # noqa: E402
from talos_opt.frameworks.torch.ops import describe_ops  # noqa: E402
from talos_opt.frameworks.torch.run import run_schedule  # noqa: E402
from tests.frameworks.torch import kinds  # noqa: E402
from tests.frameworks.torch.synthetic import ON_CPU, problem_of, random_schedule  # noqa: E402

INFERENCE, TRAINING = "inference", "training"


def values(*shape: int, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_right(captured: Captured, *others: Any) -> None:
    """The graph agrees with the module on inputs that it was not captured with."""
    for inputs in others:
        expected = captured.reference(inputs)
        assert compare_outputs(expected, run_graph(captured, captured.given(inputs).tensors))[1]


@cache
def captured_kind(make: Callable[[], Any], mode: str) -> tuple[Captured, tuple[int, ...]]:
    """Return a captured model, and the shape of its input."""
    module = make()
    shape = (2, 4, 8) if isinstance(module, kinds.Masked | nn.RNNBase) else (4, 8)
    return capture(module, (values(*shape),), mode), shape


RIGHT: list[tuple[Callable[[], Any], str, str]] = [
    (kinds.Numpy, INFERENCE, "strict export"),
    (kinds.Masked, INFERENCE, "export"),
    (kinds.Masked, TRAINING, "export"),
    (kinds.OwnParameter, INFERENCE, "export"),
    (kinds.OwnParameter, TRAINING, "export"),
    (kinds.OwnData, INFERENCE, "fx"),
    (kinds.StraightThrough, INFERENCE, "export"),
    (kinds.StraightThrough, TRAINING, "fx"),
    (kinds.Cond, INFERENCE, "export"),
    (kinds.Cond, TRAINING, "export"),
    (kinds.While, INFERENCE, "export"),
    (kinds.Flexible, INFERENCE, "export"),
    (kinds.Item, INFERENCE, "export"),
    (kinds.Makes, INFERENCE, "export"),
    (kinds.Constant, INFERENCE, "export"),
    (lambda: nn.LSTM(8, 8, 2, batch_first=True, bidirectional=True), TRAINING, "export"),
    (lambda: nn.GRU(8, 8), TRAINING, "export"),
]


@pytest.mark.parametrize(("make", "mode", "by"), RIGHT)
def test_a_graph_agrees_with_its_module_on_other_inputs(
    make: Callable[[], Any], mode: str, by: str
) -> None:
    captured, shape = captured_kind(make, mode)
    assert captured.by == by
    assert captured.other is not None
    assert_right(captured, (values(*shape, seed=1),), (-values(*shape, seed=2) - 1,))
    document = random_schedule(problem_of(captured), 1)
    report = run_schedule(captured, captured.other, document, ON_CPU, repeats=1, warmup=0)
    assert report.outputs_equal


def test_what_a_model_changes_itself_is_left_as_it_was() -> None:
    module = kinds.OwnParameter()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    captured = capture(module, (values(4, 8),), TRAINING)
    captured.reference((values(4, 8),))
    assert all(torch.equal(value, before[n]) for n, value in module.state_dict().items())


def test_gradients_are_those_of_the_backward_that_was_written() -> None:
    module, x = kinds.StraightThrough(), values(4, 8)
    captured = capture(module, (x,), TRAINING)
    (module(x) ** 2).mean().backward()
    pairs = zip(captured.outputs, run_graph(captured, (x,)), strict=True)
    found = {spec.target: value for spec, value in pairs if spec.kind == "gradient"}
    torch.testing.assert_close(found["a.weight"], module.a.weight.grad)
    assert "as where the backward of a custom autograd.Function is left out" in captured.notes[0]


@pytest.mark.parametrize("mode", [INFERENCE, TRAINING])
def test_a_branch_is_one_op_with_its_cost(mode: str) -> None:
    captured, _ = captured_kind(kinds.Cond, mode)
    ops = {op.id: op for op in describe_ops(captured)}
    assert ops["cond"].type == "cond"
    assert ops["cond"].flops == 3 * 2 * 4 * 8 * 8  # both ways: one product, and two
    assert ops["cond"].weights == (8 * 8 + 8) * 4


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (
        kinds.EarlyExit,
        r"which way the model goes depends on the values .*kinds\.py:\d+: if y\.max\(\) > 0\.9\)"
        r": let torch\.where or torch\.cond decide",
    ),
    (kinds.BooleanMask, r"the shape of op index .*depends on values \(.*kinds\.py:\d+\): keep"),
    (kinds.Foreign, r"NumPy computes outside of the graph \(.*kinds\.py:\d+.*its graph is wrong"),
    (kinds.Restless, r"two runs of the model on one input differ, by random numbers"),
    (lambda: torch.jit.script(nn.Sequential(nn.Linear(8, 8))), "is TorchScript, .*: give the"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "complaint"), REFUSED)
def test_what_cannot_be_captured_is_told_with_a_way_out(
    make: Callable[[], Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        capture(make(), (values(4, 8),))


def test_loops_are_not_trained() -> None:
    with pytest.raises(InputError, match=r"for training: while_loop has no gradients .*: for tr"):
        capture(kinds.While(), (values(4, 8),), TRAINING)


def test_packed_sequences_are_refused() -> None:
    inputs = (values(3, 5, 8), torch.tensor([5, 3, 2]))
    with pytest.raises(InputError, match=r"packed sequences .*kinds\.py:\d+.*give the RNN the pad"):
        capture(kinds.Packed(), inputs)


@pytest.mark.filterwarnings("ignore")
def test_quantized_modules_are_refused() -> None:
    quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 8)), {nn.Linear})
    with pytest.raises(InputError, match=r"its part 0 is a quantized Linear, .*: give the model"):
        capture(quantized, (values(4, 8),))


def test_of_a_compiled_module_the_module_inside_is_captured() -> None:
    module = nn.Sequential(nn.Linear(8, 8))
    captured = capture(torch.compile(module), (values(4, 8),))
    assert captured.module is module
    assert {p.target for p in captured.placeholders} == {"0.weight", "0.bias", 0}


def test_random_numbers_are_drawn_alike_for_the_graph_and_the_module() -> None:
    captured = capture(kinds.Noise(), (values(4, 8),))
    assert captured.other is not None
    assert captured.notes == ()


def test_an_output_that_no_input_reaches_is_named() -> None:
    assert capture(kinds.Constant(), (values(4, 8),)).notes == ("output 1 depends on no input",)


def test_a_model_that_runs_on_no_second_input_is_captured_with_a_note() -> None:
    class Fussy(kinds.Base):
        def forward(self, x: Any) -> Any:
            if not torch.compiler.is_compiling() and not bool((x == 1).all()):
                raise ValueError("ones only")
            return self.a(x)

    captured = capture(Fussy(), (torch.ones(4, 8),))
    assert captured.other is None
    assert "on which the model does not run: ValueError: ones only" in captured.notes[0]


def test_a_tensor_made_on_the_cpu_in_a_model_without_memory() -> None:
    with torch.device("meta"):
        module = kinds.OnTheHost()
    there = capture(kinds.OnTheHost(), (torch.ones(4, 8),), "training")
    empty = capture(module, (torch.empty(4, 8, device="meta"),), "training")
    assert [empty.op_id(op) for op in empty.ops()] == [there.op_id(op) for op in there.ops()]


META = [
    (kinds.Makes, TRAINING),
    (kinds.Masked, INFERENCE),
    (kinds.StraightThrough, TRAINING),
    (kinds.Noise, INFERENCE),
]


@pytest.mark.parametrize(("make", "mode"), META)
def test_models_without_memory(make: Callable[[], Any], mode: str) -> None:
    with torch.device("meta"):
        module = make()
    x = torch.empty((2, 4, 8) if make is kinds.Masked else (4, 8), device="meta")
    captured = capture(module, (x,), mode)
    assert captured.other is None
    if make is kinds.StraightThrough:
        assert captured.by == "fx"
        assert "torch.export leaves out the backward of Round" in captured.notes[0]


def test_ops_tell_the_line_of_the_users_code() -> None:
    captured = capture(kinds.Nested(), kinds.given()[0])
    lines = {node.name: line_of(node) for node in captured.ops()}
    code = (kinds.__file__ or "").rpartition("/")[2]
    assert all(line.startswith(f"tests/frameworks/torch/{code}:") for line in lines.values())
    ops = {op.id: op.record() for op in describe_ops(captured)}
    assert ops["linear"].attrs["line"] == lines["linear"]
    assert ops["linear"].attrs["module"] == "a"


NAMED: list[tuple[Callable[[], Any], Any, dict[str, Any]]] = [
    (kinds.KeywordOnly, {"x": values(4, 8)}, {}),
    (kinds.KeywordOnly, {"x": values(4, 8), "scale": 2.0}, {}),
    (kinds.Nested, *kinds.given()),
    (kinds.Nested, (), {**kinds.given()[1], "batch": kinds.given()[0][0]}),
    (
        kinds.Sequence,
        (torch.tensor([[1, 2, 3]]),),
        {"decoder_input_ids": torch.tensor([[4, 5]])},
    ),
]


@pytest.mark.parametrize("mode", [INFERENCE, TRAINING])
@pytest.mark.parametrize(("make", "inputs", "kwargs"), NAMED)
def test_inputs_by_name_and_nested(
    make: Callable[[], Any], inputs: Any, kwargs: dict[str, Any], mode: str
) -> None:
    captured = capture(make(), inputs, mode, kwargs=kwargs)
    assert captured.by == "export"
    given = captured.arguments
    assert_right(captured, [tensor.flip(0) for tensor in given.tensors])
    assert all(name.isdecimal() or not name[0].isdecimal() or "[" in name for name in given.names)


@pytest.mark.parametrize("mode", [INFERENCE, TRAINING])
def test_what_is_no_tensor_is_fixed_and_returned(mode: str) -> None:
    class Options(kinds.Base):
        def forward(self, x: Any, times: int = 2, flag: bool = True) -> dict[str, Any]:
            return {"y": self.a(x) * times if flag else x, "times": times, "none": None}

    captured = capture(Options(), (values(4, 8), 3), mode)
    assert captured.other is not None
    pairs = zip(captured.outputs, run_graph(captured, (values(4, 8),)), strict=True)
    found = {spec.target: value for spec, value in pairs if spec.kind == "user_output"}
    assert (found[1], found[2]) == (3, None)


class Less(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a.float() - b


def test_inputs_by_name_may_come_in_another_order_later() -> None:
    a, b = torch.full((2,), 7.0), torch.full((2,), 2.0)
    captured = capture(Less(), {"a": a, "b": b})
    for given in ({"a": a, "b": b}, {"b": b, "a": a}, (a, b)):
        assert run_graph(captured, captured.given(given).tensors)[0].tolist() == [5, 5]
        assert captured.reference(given)[0].tolist() == [5, 5]
    with pytest.raises(InputError, match="the inputs are x, a; the model was captured with a, b"):
        captured.reference({"x": a, "a": b})
    with pytest.raises(ValueError, match="1 inputs given, the model was captured with 2"):
        captured.reference((a,))


def test_a_single_tensor_is_the_only_argument() -> None:
    rows = torch.arange(6.0).reshape(1, 6)
    captured = capture(nn.Softmax(-1), rows)
    assert [tuple(value.shape) for value in captured.arguments.tensors] == [(1, 6)]
    assert captured.reference(rows)[0].shape == (1, 6)


class Held:
    def __init__(self, *layers: torch.Tensor) -> None:
        self.layers = [{"keys": layer} for layer in layers]


class Reader(nn.Module):
    def forward(self, x: torch.Tensor, cache: Held) -> torch.Tensor:
        return x + cache.layers[0]["keys"]


def test_objects_that_hide_tensors_are_refused() -> None:
    x = torch.ones(2)
    with pytest.raises(InputError, match=r"input cache is a Held, whose tensors would become"):
        capture(Reader(), {"x": x, "cache": Held(x)})


def test_inputs_of_eight_bits() -> None:
    eight = torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn)
    captured = capture(Less(), (eight, torch.ones(2)))
    assert captured.other is not None
    assert sorted(captured.other[0].float().tolist()) == [0.75, 1.5]


def test_wrong_names_are_told_with_what_forward_takes() -> None:
    with pytest.raises(InputError, match=r"inputs y=4x8: .*'y'.*forward takes \(\*, x, scale=1"):
        capture(kinds.KeywordOnly(), {"y": values(4, 8)})


def test_inputs_that_are_missing_are_told() -> None:
    with pytest.raises(InputError, match=r"is missing.*forward also takes .*, decoder_input_ids$"):
        capture(kinds.Sequence(), (torch.tensor([[1, 2]]),))
