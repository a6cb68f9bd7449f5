"""Running under placements: equal outputs, the hops that were asked for, queues that hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs talos-opt[tensorflow]")

from talos_opt.core.errors import InputError  # noqa: E402
from talos_opt.frameworks.common.running import Hop  # noqa: E402
from talos_opt.frameworks.tensorflow.devices import device_string, device_strings  # noqa: E402
from talos_opt.frameworks.tensorflow.execute import execute  # noqa: E402
from talos_opt.frameworks.tensorflow.folding import sort_nodes  # noqa: E402
from tests.frameworks.tensorflow.placements import (  # noqa: E402
    captured_net,
    direct_hops,
    inputs_of,
    random_placement,
)

CPUS = {"a": "/device:CPU:0", "b": "/device:CPU:1", "c": "/device:CPU:2"}


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", ["cnn", "branches", "bert", "two_inputs", "loop", "several"])
def test_outputs_are_those_of_the_model_and_sends_those_asked_for(name: str, mode: str) -> None:
    captured, inputs = captured_net(name, mode), inputs_of(name)
    expected = captured.reference(inputs)
    for seed, devices in enumerate(("ab", "abc")):
        where = random_placement(captured, devices, seed)
        hops = direct_hops(captured, where)
        assert hops or name == "loop"  # where almost everything shares a device
        found = execute(captured, inputs, where, CPUS, hops=hops, threads=1, repeats=1)
        assert len(found.outputs) == len(expected)
        for a, b in zip(expected, found.outputs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        assert found.sends == set(hops)
        arrived = {Hop(m.op, m.device, m.target, m.output) for m in found.executions[0].transfers}
        assert arrived == found.sends
        for span in found.executions[0].transfers:
            assert span.end_s >= span.start_s


def test_without_hops_tensors_come_straight() -> None:
    captured, inputs = captured_net("bert"), inputs_of("bert")
    where = random_placement(captured, "ab", 0)
    found = execute(captured, inputs, where, CPUS, threads=1, repeats=1)
    assert found.sends == set(direct_hops(captured, where))


def test_a_tensor_goes_over_the_devices_that_it_is_sent_over() -> None:
    captured, inputs = captured_net("twice"), inputs_of("twice")
    first, *others = captured.op_ids()
    where = {first: "a", **dict.fromkeys(others, "c")}
    hops = [Hop(first, "b", "c"), Hop(first, "a", "b")]
    found = execute(captured, inputs, where, CPUS, hops=hops, threads=1, repeats=1)
    assert found.sends == set(hops)
    np.testing.assert_allclose(found.outputs[0], 2 * inputs[0])
    one, two = found.executions[0].transfers
    assert (one.device, one.target, two.device, two.target) == ("a", "b", "b", "c")
    assert one.end_s <= two.end_s


def test_each_device_runs_its_ops_in_the_order_asked_for() -> None:
    captured, inputs = captured_net("branches"), inputs_of("branches")
    where = random_placement(captured, "ab", 3)
    needed = {op: list(captured.folded.producers(op)) for op in captured.op_ids()}
    backwards = sort_nodes({op: needed[op] for op in reversed(captured.op_ids())})
    found = execute(captured, inputs, where, CPUS, order=backwards, threads=1, repeats=3)
    for execution in found.executions:
        starts = {span.op: span.start_s for span in execution.ops}
        ends = {span.op: span.end_s for span in execution.ops}
        for device in "ab":
            queue = [op for op in backwards if where[op] == device]
            for before, after in pairwise(queue):
                assert ends[before] <= starts[after] + 1e-6


def test_an_order_against_the_graph_is_refused() -> None:
    captured, inputs = captured_net("branches"), inputs_of("branches")
    where = dict.fromkeys(captured.op_ids(), "a")
    with pytest.raises(InputError, match="contradicts the graph"):
        execute(captured, inputs, where, CPUS, order=captured.op_ids()[::-1], repeats=1)


def test_a_variable_on_two_devices_is_refused() -> None:
    captured, inputs = captured_net("cnn", "training"), inputs_of("cnn")
    where = {op: "ab"[k % 2] for k, op in enumerate(captured.op_ids())}
    with pytest.raises(InputError, match=r"variable .* is read on"):
        execute(captured, inputs, where, CPUS, repeats=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu", "/device:CPU:0"), ("cpu:1", "/device:CPU:1"), ("CPU:3", "/device:CPU:3"),
        ("cuda:1", "/device:GPU:1"), ("gpu", "/device:GPU:0"), ("/device:GPU:2", "/device:GPU:2"),
    ],
)  # fmt: skip
def test_device_strings(text: str, expected: str) -> None:
    assert device_string(text) == expected


def test_devices_of_a_schedule() -> None:
    assert device_strings(["cpu10", "cpu9"]) == {"cpu9": CPUS["a"], "cpu10": CPUS["b"]}
    given = device_strings(["cpu0", "host"], {"host": "cpu:0"})
    assert given == {"host": CPUS["a"], "cpu0": CPUS["b"]}


@pytest.mark.parametrize(
    ("names", "given", "complaint"),
    [
        (["npu"], {}, "--map gives no TensorFlow device for 'npu'"),
        (["cpu"], {"cpu": "tpu:0"}, "device 'tpu:0' is unknown"),
        (["a", "b"], {"a": "cpu", "b": "cpu:0"}, "are both /device:CPU:0"),
        (["gpu99"], {}, "'/device:GPU:99' is not available"),
        (["gpu:99"], {}, "'/device:GPU:99' is not available"),  # as profile calls it
    ],
)
def test_devices_that_are_not_clear(names: list, given: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        device_strings(names, given)
