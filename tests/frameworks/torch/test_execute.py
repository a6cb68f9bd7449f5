"""Running a captured model under placements: equal outputs, and the transfers of the schedule."""

from __future__ import annotations

import itertools
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from talos_opt.frameworks.torch import steps, substitutes  # noqa: E402
from talos_opt.frameworks.torch.capture import capture  # noqa: E402
from talos_opt.frameworks.torch.captured import Captured  # noqa: E402
from talos_opt.frameworks.torch.execute import Execution, Executor, Hop  # noqa: E402
from talos_opt.frameworks.torch.run import compare_outputs  # noqa: E402
from tests.frameworks.torch import nets  # noqa: E402
from tests.frameworks.torch.synthetic import moves, problem_of, random_schedule  # noqa: E402

CPU = torch.device("cpu")


def image(size: int) -> tuple[Any, ...]:
    return (torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1)),)


def ids(top: int) -> tuple[Any, ...]:
    return (torch.randint(0, top, (2, 12), generator=torch.Generator().manual_seed(1)),)


MODELS: dict[str, tuple[Callable[[], Any], Callable[[], tuple[Any, ...]]]] = {
    "branches": (nets.branches, lambda: image(16)),
    "googlenet": (nets.googlenet_like, lambda: image(64)),
    "tied": (nets.tied, lambda: ids(50)),
    "bert": (nets.bert, lambda: ids(500)),
    "several": (nets.several, lambda: (torch.randn(2, 6, 8),)),
}


@pytest.fixture(scope="module")
def captures() -> Callable[[str, str], tuple[Captured, tuple[Any, ...]]]:
    known: dict[tuple[str, str], tuple[Captured, tuple[Any, ...]]] = {}

    def find(name: str, mode: str) -> tuple[Captured, tuple[Any, ...]]:
        if name == "bert":
            pytest.importorskip("transformers", reason="transformers is not installed")
        if (name, mode) not in known:
            make, inputs = MODELS[name]
            given = inputs()
            known[name, mode] = (capture(make(), given, mode), given)
        return known[name, mode]

    return find


def execute(captured: Captured, inputs: tuple[Any, ...], document: dict[str, Any]) -> Execution:
    executor = Executor(
        captured,
        {row["op"]: row["device"] for row in document["ops"]},
        dict.fromkeys(("cpu0", "gpu0", "gpu1"), CPU),
        captured.flat_values(inputs),
        {row["op"]: row["start"] for row in document["ops"]},
        [Hop(row["op"], row["from"], row["to"], row.get("output", "")) for row in moves(document)],
    )
    return executor.run()


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", list(MODELS))
def test_random_placements(captures: Any, name: str, mode: str) -> None:
    captured, inputs = captures(name, mode)
    expected = captured.reference(inputs)
    problem = problem_of(captured)
    for seed in range(3):
        document = random_schedule(problem, seed)
        done = execute(captured, inputs, document)
        error, equal = compare_outputs(expected, done.outputs)
        assert equal, error
        assert len(done.ops) == len(document["ops"])
        moved = Counter((m.op, m.output, m.device, m.target, m.bytes) for m in done.transfers)
        planned = (
            (t["op"], t.get("output", ""), t["from"], t["to"], t["bytes"]) for t in moves(document)
        )
        assert moved == Counter(planned)
        assert set(moved.values()) == {1}, "a tensor moves once over a hop"


def test_ops_run_in_the_order_of_the_schedule(captures: Any) -> None:
    captured, inputs = captures("branches", "inference")
    document = random_schedule(problem_of(captured), 3)
    done = execute(captured, inputs, document)
    starts = {row["op"]: row["start"] for row in document["ops"]}
    assert len({span.device for span in done.ops}) > 1
    for device in {span.device for span in done.ops}:
        spans = [span for span in done.ops if span.device == device]
        order = [starts[span.op] for span in spans]
        assert order == sorted(order)
        assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(spans))


def test_without_hops_tensors_go_straight(captures: Any) -> None:
    captured, inputs = captures("googlenet", "inference")
    document = random_schedule(problem_of(captured, via=False), 0)
    placement = {row["op"]: row["device"] for row in document["ops"]}
    devices = dict.fromkeys(("cpu0", "gpu0", "gpu1"), CPU)
    done = Executor(captured, placement, devices, captured.flat_values(inputs)).run()
    assert len(done.transfers) == len(moves(document))
    assert compare_outputs(captured.reference(inputs), done.outputs)[1]


def test_values_are_freed_after_their_last_reader(captures: Any) -> None:
    captured, inputs = captures("bert", "inference")
    document = random_schedule(problem_of(captured), 1)
    done = execute(captured, inputs, document)
    assert done.peak_values < len(document["ops"]) / 4


def test_what_a_thread_raises_ends_the_others(captures: Any) -> None:
    captured, inputs = captures("branches", "inference")
    problem = problem_of(captured)
    document = random_schedule(problem, 3)
    executor = Executor(
        captured,
        {row["op"]: row["device"] for row in document["ops"]},
        dict.fromkeys(("cpu0", "gpu0", "gpu1"), CPU),
        captured.flat_values(inputs),
    )

    def fail(*_: Any) -> None:
        raise FloatingPointError("by the test")

    name = max(executor.programs, key=lambda name: len(executor.programs[name].steps))
    todo = executor.programs[name].steps
    whole, todo[:] = list(todo), [step._replace(call=fail) for step in todo]
    with pytest.raises(FloatingPointError, match="by the test"):
        executor.run()
    todo[:] = whole
    assert compare_outputs(captured.reference(inputs), executor.run().outputs)[1]


def test_an_interrupt_ends_every_thread(captures: Any) -> None:
    captured, inputs = captures("branches", "inference")
    document = random_schedule(problem_of(captured), 3)
    executor = Executor(
        captured,
        {row["op"]: row["device"] for row in document["ops"]},
        dict.fromkeys(("cpu0", "gpu0", "gpu1"), CPU),
        captured.flat_values(inputs),
    )
    expected = captured.reference(inputs)
    threads = torch.get_num_threads()
    lasts = min(executor.run().wall_s for _ in range(3))
    draw = random.Random(0)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    interrupted = 0
    try:
        for _ in range(1000):
            if interrupted > 20:
                break
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + 1.5 * lasts * draw.random())
                found = executor.run()
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert compare_outputs(expected, found.outputs)[1]
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 10
    assert compare_outputs(expected, executor.run().outputs)[1]
    assert torch.get_num_threads() == threads


def test_threads_end_with_their_executor(captures: Any) -> None:
    captured, inputs = captures("branches", "inference")
    document = random_schedule(problem_of(captured), 3)
    before = set(threading.enumerate())
    executor = Executor(
        captured,
        {row["op"]: row["device"] for row in document["ops"]},
        dict.fromkeys(("cpu0", "gpu0", "gpu1"), CPU),
        captured.flat_values(inputs),
    )
    executor.run()
    own = set(threading.enumerate()) - before
    assert len(own) == 3
    del executor
    for thread in own:
        thread.join(5)
    assert not any(thread.is_alive() for thread in own)


def test_attention_elsewhere_is_that_of_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, 8, 4)
    q, k, v, grad = (torch.randn(shape, generator=generator) for _ in range(4))
    mask = torch.randn((2, 1, 8, 8), generator=generator)
    mask[0, 0, 0] = -torch.inf  # a row that may look at nothing
    aten = torch.ops.aten
    for causal, given, scale in ((True, None, None), (False, mask, 0.3), (False, None, None)):
        more = {"attn_mask": given, "scale": scale}
        there = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, **more)
        here = substitutes.attention(q, k, v, 0.0, causal, attn_mask=given, scale=scale)
        torch.testing.assert_close(here, there)
        back = aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad, q, k, v, *there, 0.0, causal, **more
        )
        torch.testing.assert_close(
            substitutes.attention_backward(
                grad, q, k, v, *here, 0.0, causal, attn_mask=given, scale=scale
            ),
            back,
        )


@pytest.mark.parametrize("reverse", [False, True])
def test_an_lstm_elsewhere_is_that_of_the_cpu(reverse: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    # Input; two weights, two biases; hidden and cell state.
    shapes = ((5, 2, 3), (16, 3), (16, 4), (16,), (16,), (2, 4), (2, 4))
    given = [torch.randn(shape, generator=generator) for shape in shapes]
    aten = torch.ops.aten
    lstm, *more = 2, 4, 1, True  # and hidden size, layers, biases
    there = substitutes.recurrent(*given, reverse, [], lstm, *more, False, False, False)
    here = substitutes.recurrent_elsewhere(*given, reverse, [], lstm, *more, False, False, False)
    torch.testing.assert_close(here[:3], there[:3])
    slope = torch.randn((5, 2, 4), generator=generator)
    rest = (reverse, lstm, *more, True, False, [], False)
    back = aten.mkldnn_rnn_layer_backward(
        *given, *there[:3], slope, None, slope[0], *rest, there[3]
    )
    again = substitutes.recurrent_backward(*given, *here[:3], slope, None, slope[0], *rest, here[3])
    torch.testing.assert_close(again, back)


def test_what_stands_in_elsewhere_trains_as_well(
    captures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured, inputs = captures("several", "training")
    monkeypatch.setattr(steps, "callee", lambda node, *_, **__: substitutes.callee(node, "cuda"))
    done = execute(captured, inputs, random_schedule(problem_of(captured), 0))
    assert compare_outputs(captured.reference(inputs), done.outputs)[1]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_recurrent_layers_train_in_a_step_and_only_there(dropout: float) -> None:
    # cuDNN differentiates no recurrent layer that evaluates.
    module = torch.nn.LSTM(8, 8, 2, dropout=dropout, batch_first=True)
    seen = []
    module.register_forward_hook(lambda lstm, *_: seen.append((lstm.training, lstm.dropout)))
    captured = capture(module, [torch.randn(2, 4, 8)], "training")
    seen.clear()
    captured.reference([torch.randn(2, 4, 8)])
    assert seen == [(True, 0.0)]
    assert (module.training, module.dropout) == (False, dropout)


def test_nothing_is_changed_by_a_run(captures: Any) -> None:
    captured, inputs = captures("branches", "training")
    before = {name: t.clone() for name, t in captured.module.state_dict().items()}
    document = random_schedule(problem_of(captured), 1)
    first, second = (execute(captured, inputs, document) for _ in range(2))
    assert compare_outputs(first.outputs, second.outputs) == (0.0, True)
    for name, tensor in captured.module.state_dict().items():
        assert torch.equal(tensor, before[name]), name


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@needs_cuda
@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", list(MODELS))
def test_with_cuda(captures: Any, name: str, mode: str) -> None:
    captured, inputs = captures(name, mode)
    expected = captured.reference(inputs)
    devices = {"cpu0": CPU, "gpu0": torch.device("cuda:0"), "gpu1": torch.device("cuda:0")}
    for seed in range(3):
        document = random_schedule(problem_of(captured), seed)
        executor = Executor(
            captured,
            {row["op"]: row["device"] for row in document["ops"]},
            devices,
            captured.flat_values(inputs),
            hops=[
                Hop(row["op"], row["from"], row["to"], row.get("output", ""))
                for row in moves(document)
            ],
        )
        for _ in range(3):  # memory and streams are used again
            assert compare_outputs(expected, executor.run().outputs, tf32=True)[1]


@needs_cuda
def test_memory_of_a_cuda_device_is_told(captures: Any) -> None:
    captured, inputs = captures("googlenet", "inference")
    ids = [captured.op_id(node) for node in captured.ops()]
    devices = {"cpu0": CPU, "gpu0": torch.device("cuda:0")}
    values = captured.flat_values(inputs)
    executor = Executor(captured, dict.fromkeys(ids, "gpu0"), devices, values)
    weights = sum(value.numel() * value.element_size() for value in values)
    first, second = (executor.run().peak_bytes for _ in range(2))
    assert set(second) == {"gpu0"}
    assert weights < second["gpu0"] <= first["gpu0"]
